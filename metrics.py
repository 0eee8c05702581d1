"""How good a generator is, in numbers: python metrics.py checkpoint/data_025000000.model data

The sliced Wasserstein distance (swd.py) between real pictures of its size and as many generated
ones, without truncation, rounded to 8 bits as the real ones are. No pretrained network is needed.
For comparison, the same distance between two halves of the real pictures: about what a perfect
generator would have at half as many.
"""
import sys

from tqdm import tqdm

import snapshot
import swd
from cli import Parser, add_device_argument, bring_up, run
from dataset import PictureFolder, load_batch
from grid import to_pixels
from painter import Painter

CHUNK = 64


def main(argv=None):
    args = parse_arguments(argv)
    header, arrays = snapshot.load_any(args.checkpoint)
    folder = PictureFolder(args.data, header["size"])
    folder.check()
    count = min(args.images, len(folder))
    if count < args.images:
        print(f"note: {folder.path} has {count} pictures, not {args.images}: distances of few "
              "pictures are larger, compare only equal numbers", file=sys.stderr)
    bring_up(args.device)
    painter = Painter(header, arrays, args.checkpoint, truncation_psi=1.0)
    real, fake = swd.Descriptors(), swd.Descriptors()
    files = folder.files(0, count, args.seed)
    with tqdm(total=count, unit="picture", delay=2) as bar:
        for first in range(0, count, CHUNK):
            some = range(first, min(first + CHUNK, count))
            pictures, _ = load_batch(files[first:some.stop], [False] * len(some), header["size"],
                                     header["model"]["channels"])
            real.add(pictures)
            latents = painter.latents(range(args.seed + first, args.seed + some.stop))
            painted = to_pixels(painter.paint(painter.styles_of(latents)))
            fake.add(painted.transpose(0, 3, 1, 2)[:, :pictures.shape[1]])
            bar.update(len(some))
    found, floor = swd.distance(real, fake), swd.distance_of_halves(real)
    print(f"{args.checkpoint}: {snapshot.source(header)}")
    print(f"sliced Wasserstein distance × 1000 to {folder.path}, {count:,} pictures, seed "
          f"{args.seed}, no truncation")
    for name in found:
        what = "mean" if name == "mean" else f"size {name}"
        print(f"  {what:10} {found[name]:8.2f}    (two halves of the real ones: {floor[name]:.2f})")
    return 0


def parse_arguments(argv):
    parser = Parser(description=__doc__)
    parser.add_argument("checkpoint", help="a .model file that train.py wrote, or other weights")
    parser.add_argument("data", help="folder that holds 8/, 16/ … of the real pictures")
    parser.add_argument("--images", type=int, default=8192, metavar="N",
                        help="real and generated pictures to compare (default 8192, as the paper; "
                        "all there are where there are fewer; 0.15 MB of memory for each at every "
                        "level of detail)")
    parser.add_argument("--seed", type=int, default=0, metavar="N",
                        help="of the choice of pictures and of the latents (default 0)")
    add_device_argument(parser)
    args = parser.parse_args(argv)
    if args.images < 2:
        parser.error(f"--images: found {args.images}, wanted 2 or more")
    if args.seed < 0:
        parser.error(f"--seed: found {args.seed}, wanted 0 or more")
    return args


if __name__ == "__main__":
    run(main)
