"""How good a generator is, in numbers: python metrics.py checkpoint/data_025000000.model data

Real pictures of its size are compared with as many generated ones, painted without truncation and
with noise of their own, rounded to 8 bits as the real ones are.

    swd       sliced Wasserstein distance over the Laplacian pyramid: are details alike?
    ms_ssim   multi-scale similarity of pairs of generated pictures: do they differ?
    fid, kid, pr    Fréchet and kernel distance, precision and recall of Inception features:
              need --inception
    ppl       perceptual path length: is the latent space smooth? needs --lpips
    parts     of pictures that avatars.py composed, or that have labels: which parts appear, how
              often, and how many pictures are whole; with Fréchet distance, precision and recall of
              the features of a network that attributes.py trained to see parts, or labels: needs
              --features

The first two need no pretrained network. --nearest writes a figure that shows whether the pictures
are copies of those that were trained on.
"""
import os
import shlex
import sys

from tqdm import tqdm

from backend.errors import UserError, counted
from backend.files import make_folder, naming
from cli import MOST_SEED, Parser, add_device_arguments, bring_up, run, size_argument
from dataset import PictureFolder, check_root, read_labels
from measures import attributes, inception, lpips, nearest
from measures.evaluate import (
    LEAST_SIZE,
    METRICS,
    OF_FEATURES,
    Measure,
    Real,
    attribute_of,
    check_files,
    evaluate,
    load_networks,
    metrics_argument,
)
from pictures import origin
from pictures.grid import make_grid, save_png
from weights import snapshot


def main(argv=None):
    args = parse_arguments(argv)
    header, arrays = snapshot.load_any(args.checkpoint, args.size)
    snapshot.say_guess(header, args.checkpoint)
    snapshot.check_channels(header, args.checkpoint)
    check_root(args.data, f"python metrics.py {shlex.quote(args.checkpoint)}")
    labels = labels_in(args, header)
    folder = PictureFolder(args.data, header["size"], known=labels)
    folder.check(header["model"]["channels"])
    for metric, least in LEAST_SIZE.items():
        if metric in args.metrics and header["size"] < least:
            raise UserError(f"--metrics {metric}: {args.checkpoint} is of size {header['size']}, "
                            f"wanted {least} or more")
    if args.ppl_crop and header["size"] < 32:
        raise UserError(f"--ppl_crop: {args.checkpoint} is of size {header['size']}, wanted 32 or "
                        "more")
    mirror = args.mirror or bool(header.get("settings", {}).get("mirror"))
    if len(folder) < 2:
        raise UserError(f"{folder.path}: found {counted(len(folder), 'picture')}, wanted 2 or more "
                        "to compare")
    if len(folder) < args.images:
        print(f"note: {folder.path} has {len(folder)} pictures, not {args.images}: distances of "
              "few pictures are larger, compare only equal numbers", file=sys.stderr)
    made = args.nearest and nearest_made(args, arrays, folder, mirror)
    folders = {"": folder} | (by_class(folder, labels) if args.by_class else {})
    bring_up(args.device, args.cuda_home)
    network, perceptual, parts = load_networks(args.metrics, args.inception, args.lpips,
                                               args.features)
    if parts:
        parts.check(header["model"]["channels"])
        if labels and not attribute_of(labels, parts):
            print(f"note: {args.features} knows other things than the classes of {args.data}, and "
                  "cannot say how many pictures show theirs: attributes.py learns these where no "
                  "attributes.csv tells of the pictures", file=sys.stderr)
    generator = snapshot.make_generator(header, arrays, args.checkpoint)
    print(f"{args.checkpoint}: {snapshot.source(header)}, against {folder.path}" +
          (", mirrored or not as in training" if mirror else "") + "; no truncation")
    for kind, some in folders.items():
        count = min(args.images, len(some))
        if count < 2:
            print(f"{kind}: {counted(count, 'picture')}, too few to compare")
            continue
        wanted = args.metrics - ({"ppl"} if kind else set())    # whose ways are within one class
        total = count * (bool(wanted - {"ppl"}) + 2 * ("ppl" in wanted))
        with tqdm(total=total, unit="picture", delay=2, leave=False) as bar:
            measure = Measure(wanted, args.seed, network, parts=parts, labels=labels)
            real = Real(some, header["model"]["channels"], mirror, args.seed)
            found = evaluate(measure, perceptual, generator, header["size"], header["alpha"], real,
                             count, args.ppl_crop, bar.update)
        for path, reason in [*real.unreadable.items()][:1]:
            print(f"note: {counted(len(real.unreadable), 'picture')} cannot be read (such as "
                  f"{path}: {reason}); others are counted twice instead", file=sys.stderr)
        print(f"{kind}:\n" * bool(kind), end="")
        for _, *line in found:
            say(args, count, *line)
    if args.nearest:
        real = Real(folder, header["model"]["channels"], mirror, args.seed)
        write_nearest(args, generator, header, real, network, parts, made)
    return 0


def say(args, count, label, value, beside, how):
    print(f"  {label:24} {value:9.4g}   {count:,} pictures, seed {args.seed}, {how}" +
          (f" ({beside})" if beside else ""), flush=True)


def nearest_made(args, arrays, folder, mirror):
    """How the figure of --nearest is made. Raises UserError where its place is taken."""
    made = {"checkpoint": origin.weights(args.checkpoint, arrays),
            "data": origin.identity(folder.path, folder.fingerprint()["names"].encode()),
            "--mirror": mirror, "--seed": args.seed}
    file = args.features or args.inception
    if file:
        with naming(file), open(file, "rb") as there:
            made["features of"] = origin.identity(file, there.read())
    make_folder(os.path.dirname(os.path.abspath(args.nearest)), "--nearest: the folder")
    origin.check(args.nearest, made, "type --nearest OTHER.png to keep it")
    return made


def write_nearest(args, generator, header, real, network, parts, made):
    """The figure, and how far they are."""
    looks = {"pixels": nearest.flattened}
    if parts:
        looks["features that see parts"] = lambda pixels: parts.look(pixels)[0]
    elif network:
        looks["features of Inception"] = network.features
    with tqdm(total=len(real.folder), unit="picture", delay=2, leave=False) as bar:
        fakes, found = nearest.find(generator, header["size"], header["alpha"], real, args.seed,
                                    looks.values(), bar.update)
    images, columns = nearest.figure(fakes, [pictures for pictures, _, _ in found])
    with naming(args.nearest):
        save_png(make_grid(images, columns, max(64, header["size"])), args.nearest, made=made)
    for name, (_, distance, floor) in zip(looks, found):
        say(args, len(fakes), f"nearest in {name.partition(' ')[0]}", distance,
            f"real ones to other real ones: {floor:.4g}; far less: copies",
            f"of {len(real.folder):,} in {name}, root mean square, median")
    print(f"{args.nearest}: {len(fakes)} generated pictures, right of each the nearest real one "
          f"in {', then in '.join(looks)}")


def labels_in(args, header):
    """The Labels of DATA, which generated pictures then have as the real ones beside them; None
    where the network has none, or they are not known."""
    count, place = header["model"]["labels"], shlex.quote(args.data)
    if args.by_class and not count:
        raise UserError(f"--by_class: {args.checkpoint} is a network without labels: leave it out")
    if not count:
        return None
    try:
        labels = read_labels(args.data)
    except UserError as error:
        if args.by_class:
            raise
        print(f"note: {args.checkpoint} is a network with labels, whose pictures are painted of "
              f"all classes alike, for {place} has none "
              f"({str(error).partition(',')[0]})", file=sys.stderr)
        return None
    names = header.get("classes", [])
    if labels.how_many() != count or names and labels.classes and labels.classes != names:
        raise UserError(f"{args.data}: has {labels.how_many()} classes, {args.checkpoint} knows "
                        f"{'others' if labels.how_many() == count else count}: name the data that "
                        "it was trained on")
    return labels


def by_class(folder, labels):
    """{"class NAME": the PictureFolder of only those}."""
    return {f"class {name}": folder.of_class(number) for number, name in enumerate(labels.names())}


def parse_arguments(argv):
    parser = Parser(description=__doc__)
    parser.add_argument("checkpoint", help="a .model file that train.py wrote, or other weights")
    parser.add_argument("data", help="folder or .zip that holds 8/, 16/ … of the "
                        "real pictures")
    parser.add_argument("--metrics", type=metrics_argument, metavar="LIST", help="of "
                        + ",".join(METRICS) + " (default: all whose weights are named)")
    parser.add_argument("--inception", metavar="FILE", help=f"the Inception weights of FID: from "
                        f"{inception.WHERE}")
    parser.add_argument("--lpips", metavar="FILE", help=f"LPIPS weights: {lpips.WHERE}")
    parser.add_argument("--features", metavar="FILE", help="a network that knows parts of "
                        f"pictures: {attributes.WHERE}")
    parser.add_argument("--images", type=int, default=8192, metavar="N",
                        help="real and generated pictures to compare, and paths of ppl (default "
                        "8192; all there are where there are fewer; swd needs 0.25 MB of memory "
                        "for each at every level of detail). The papers have 16384 for swd, 10000 "
                        "for ms_ssim, 50000 for fid")
    parser.add_argument("--mirror", action="store_true", help="mirror half of the real pictures "
                        "(default: where the file says that training did)")
    parser.add_argument("--ppl_crop", action="store_true", help="of ppl, compare the part of the "
                        "pictures that the official code does, made for aligned faces: rows 3/8 "
                        "to 7/8, columns 1/4 to 3/4 (default: whole pictures)")
    parser.add_argument("--by_class", action="store_true", help="of a network with labels, measure "
                        "each class by itself too")
    parser.add_argument("--nearest", metavar="FILE.png", help=f"also write a figure of "
                        f"{nearest.COUNT} generated pictures, each beside the picture in DATA that "
                        "is nearest to it in pixels and, with --features or else "
                        "--inception, in features; and say how near they are, beside real ones")
    parser.add_argument("--seed", type=int, default=0, metavar="N",
                        help="of the choice of pictures and of the latents (default 0)")
    parser.add_argument("--size", type=size_argument, help="of other projects' weights: size in "
                        "pixels to which they were trained")
    add_device_arguments(parser)
    args = parser.parse_args(argv)
    if args.images < 2:
        parser.error(f"--images: found {args.images}, wanted 2 or more")
    if not 0 <= args.seed <= MOST_SEED:
        parser.error(f"--seed: found {args.seed}, wanted 0 to {MOST_SEED}")
    if args.nearest is not None and not args.nearest.lower().endswith(".png"):
        parser.error(f"--nearest: found {args.nearest or 'an empty name'}, wanted a name that ends "
                     "in .png")
    named = args.metrics
    if args.features and named and "parts" not in named.split(","):
        parser.error("--features: parts is not among the metrics: name it, or leave it out")
    args.metrics = set(args.metrics.split(",")) if args.metrics else \
        {"swd", "ms_ssim"} | (OF_FEATURES if args.inception else set()) | \
        ({"ppl"} if args.lpips else set()) | ({"parts"} if args.features else set())
    check_files(args.metrics, args.inception, args.lpips, args.features)
    if args.nearest and args.inception and not args.features and not OF_FEATURES & args.metrics:
        parser.error("--inception: none of fid, kid, pr is among the metrics: name one, or leave "
                     "it out")
    if args.ppl_crop and "ppl" not in args.metrics:
        parser.error("--ppl_crop: ppl is not among the metrics: type --lpips FILE, or leave it out")
    if not args.inception and not named:
        print(f"note: no FID, KID, precision and recall without --inception FILE, from "
              f"{inception.WHERE}", file=sys.stderr)
    return args


if __name__ == "__main__":
    run(main)
