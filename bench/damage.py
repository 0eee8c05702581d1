"""What metrics.py says of real pictures that were damaged: does it rank them by how much?

    python bench/damage.py data/64 data/attributes64.npz

Compared are real pictures and as many others, of which a share is damaged in each of the ways in
which generators fail (training/attributes.py), or which lack some values of the first attribute, or
are few, repeated. Which parts they have is looked at, as metrics.py does; nothing is generated.
"""
import os
import sys

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from backend.errors import UserError  # noqa: E402
from cli import Parser, bring_up, run  # noqa: E402
from dataset import PictureFolder, to_float  # noqa: E402
from measures import attributes, evaluate  # noqa: E402
from networks.config import power_of_two  # noqa: E402
from pictures.grid import to_pixels  # noqa: E402

FEWEST = 50
COLUMNS = {"parts_fd": "distance", "parts_precision": "precision", "parts_recall": "recall",
           "parts_there": "there", "parts_apart": "apart", "whole": "whole", "swd": "SWD"}


def main():
    parser = Parser(description=__doc__)
    parser.add_argument("folder", help="of pictures of one size")
    parser.add_argument("features", help=attributes.WHERE)
    parser.add_argument("--images", type=int, default=2000, help="of each side (default 2000)")
    parser.add_argument("--shares", type=shares_argument, default=[0.1, 0.3, 1],
                        help="of damaged ones (default 0.1,0.3,1)")
    args = parser.parse_args()
    above, size = os.path.split(os.path.abspath(args.folder))
    if not power_of_two(size):
        raise UserError(f"{args.folder}: wanted a folder of one size, such as data/64")
    folder = PictureFolder(above, int(size))
    folder.check()
    if not FEWEST <= args.images <= len(folder) // 2:
        raise UserError(f"--images: found {args.images}, wanted {FEWEST} to half of the "
                        f"{len(folder):,} pictures in {args.folder}")
    bring_up("cpu")
    from training.attributes import DAMAGES
    parts = attributes.Attributes(args.features)
    pictures = evaluate.Real(folder, parts.channels, False, 0)
    real, fake = (pictures.load(range(i * args.images, (i + 1) * args.images)) for i in range(2))
    first = parts.look(fake)[1][:, 0]
    print(f"{'':22}" + "".join(f"{name:>10}" for name in COLUMNS.values()))
    show("as they are", real, fake, parts)
    for way in DAMAGES:
        for share in args.shares:
            show(f"{way.__name__} {share:.0%}", real, damaged(fake, way, share), parts)
    for missing in 1, 3, 6:
        kept = fake[first >= missing]
        if not len(kept):
            break
        show(f"{missing} of {first.max() + 1} missing", real,
             kept[np.arange(len(fake)) % len(kept)], parts)
    for count in [some for some in (500, 100, 20) if some < args.images]:
        show(f"{count} repeated", real, fake[np.arange(len(fake)) % count], parts)


def shares_argument(text):
    """argparse type: "0.1,1" → [0.1, 1.0]."""
    shares = [float(share) for share in text.split(",")]
    if not all(0 <= share <= 1 for share in shares):
        raise ValueError
    return shares


shares_argument.__name__ = "shares from 0 to 1, such as 0.1,0.3,1"


def damaged(pictures, way, share):
    """The first of uint8 `pictures` damaged, as many as `share` says, by a random degree."""
    rng, whole, found = np.random.default_rng(0), to_float(pictures), to_float(pictures)
    for i in range(round(share * len(found))):
        found[i] = way(whole[i], whole[-1 - i], rng)
    return to_pixels(found).transpose(0, 3, 1, 2)


def show(name, real, fake, parts):
    measure = evaluate.Measure({"parts", "swd"}, parts=parts, floors=False)
    for first in range(0, len(real), 500):
        measure.add(real[first:first + 500], fake[first:first + 500])
    values = {column: value for column, _, value, _, _ in measure.results()}
    print(f"{name:22}" + "".join(f"{values[column]:10.3g}" for column in COLUMNS), flush=True)


if __name__ == "__main__":
    run(main)
