"""Trains a small network to see which parts a picture has, for metrics.py --features:

    python avatars.py data/64 --kind cats
    python attributes.py data/64
    python metrics.py checkpoint/data_025000000.model data --features data/attributes64.npz

What is in the pictures says an attributes.csv (file,ATTRIBUTE,…), in the folder, above it or in one
of the sizes beside it, or else the labels that resize.py wrote for pictures in sub-folders:

    python resize.py photos
    python attributes.py photos/64
"""
import os

from tqdm import tqdm

from backend.archive import is_archive
from backend.errors import UserError
from backend.files import make_folder, with_name
from cli import Parser, add_device_arguments, bring_up, run, size_argument
from dataset import PictureFolder, available_sizes
from measures import attributes
from networks.config import power_of_two


def main():
    args = parse_arguments()
    above, name = os.path.split(os.path.abspath(args.folder))
    if not power_of_two(name):
        sizes = available_sizes(args.folder) if os.path.exists(args.folder) else []
        raise UserError(f"{args.folder}: wanted the pictures of one size, such as " +
                        os.path.join(args.folder if sizes else "data", str(max(sizes, default=64))))
    folder = PictureFolder(above, int(name))
    folder.check()
    beside = os.path.dirname(with_name(args.folder))
    out = args.out or (f"{os.path.splitext(beside)[0]}_attributes{name}.npz" if is_archive(beside)
                       else os.path.join(beside, f"attributes{name}.npz"))
    if folder.size < attributes.SMALLEST:
        raise UserError(f"{args.folder}: wanted pictures of {attributes.SMALLEST} pixels or more")
    table, source = attributes.read_table(folder)
    if not out.endswith(".npz"):
        raise UserError(f"--out {out}: wanted a name that ends in .npz")
    if os.path.isdir(out):
        raise UserError(f"{out}: a folder, wanted a file to write: type --out OTHER.npz")
    if os.path.lexists(out) and not args.overwrite:
        raise UserError(f"{out} exists: type --out OTHER.npz to keep it, or --overwrite")
    print(f"What is in the pictures: {source}")
    make_folder(os.path.dirname(out) or ".", "--out")
    bring_up(args.device, args.cuda_home)
    from training.attributes import learn
    header, arrays = learn(folder, table, min(args.size, folder.size), args.seed, args.epochs,
                           print, steps)
    attributes.save(out, header, arrays)
    print(f"Wrote {out}")


def steps(total):
    bar = tqdm(total=total, unit=" batches", disable=None)

    def done(step):
        bar.update()
        if step + 1 == total:
            bar.close()
    return done


def parse_arguments():
    parser = Parser(description=__doc__)
    parser.add_argument("folder", metavar="DATA/64", help="folder of pictures of one size, or "
                        "DATA.zip/64")
    parser.add_argument("--out", metavar="FILE", help="file to write (default for DATA/64: "
                        "DATA/attributes64.npz, for DATA.zip/64: DATA_attributes64.npz)")
    parser.add_argument("--overwrite", action="store_true", help="replace that file")
    parser.add_argument("--size", type=size_argument, default=64, help="size in pixels that the "
                        "network looks at, 16 or more; larger pictures are reduced to it (default "
                        "64)")
    parser.add_argument("--epochs", type=int, default=12, metavar="N",
                        help="how often each picture is learned from (default 12)")
    parser.add_argument("--seed", type=int, default=0, metavar="N",
                        help="of weights and order (default 0)")
    add_device_arguments(parser)
    args = parser.parse_args()
    if args.size < attributes.SMALLEST:
        parser.error(f"--size: found {args.size}, wanted {attributes.SMALLEST} or more")
    for flag, least in ("epochs", 1), ("seed", 0):
        if getattr(args, flag) < least:
            parser.error(f"--{flag}: found {getattr(args, flag)}, wanted {least} or more")
    return args


if __name__ == "__main__":
    run(main)
