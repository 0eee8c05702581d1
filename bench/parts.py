"""Which parts a generator has learned and which it misses, kind by kind.

    python bench/parts.py checkpoint/cats_000500000.model data/cats data/cats/attributes64.npz

Of each attribute that the network knows: how many of its values appear in generated pictures a
quarter as often as in real ones or more, how far the frequencies are apart (total variation, 0 to
1), and the values that are missed and those painted most, as generated share / real share.
"""
import os
import sys

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from cli import Parser, bring_up, run  # noqa: E402
from dataset import PictureFolder  # noqa: E402
from measures import attributes  # noqa: E402
from measures.evaluate import Real, generated  # noqa: E402
from weights import snapshot  # noqa: E402


def main():
    parser = Parser(description=__doc__)
    parser.add_argument("checkpoint", help="a .model file")
    parser.add_argument("data", help="folder or .zip that holds 8/, 16/ … of the real pictures")
    parser.add_argument("features", help=attributes.WHERE)
    parser.add_argument("--images", type=int, default=2000, help="of each side (default 2000)")
    args = parser.parse_args()
    header, arrays = snapshot.load_any(args.checkpoint)
    folder = PictureFolder(args.data, header["size"])
    bring_up("cpu")
    parts = attributes.Attributes(args.features)
    generator = snapshot.make_generator(header, arrays, args.checkpoint)
    real = Real(folder, parts.channels, False, 0)
    seen = [], []
    for first in range(0, args.images, attributes.CHUNK):
        some = range(first, min(first + attributes.CHUNK, args.images))
        seen[0].append(parts.look(real.load(some))[1])
        seen[1].append(parts.look(generated(generator, header["size"], header["alpha"], some))[1])
    for i, (name, values) in enumerate(parts.attributes.items()):
        p, q = (np.bincount(np.concatenate(one)[:, i], minlength=len(values)) / args.images
                for one in seen)
        there = (q >= p / 4) & (p > 0)
        order = sorted(np.flatnonzero(p), key=lambda value: q[value] / p[value])
        shown = [f"{values[v]}: {q[v]:.1%} / {p[v]:.1%}" for v in [*order[:3], *order[-2:]]]
        print(f"{name:12} {there.sum():3} of {(p > 0).sum():3}  apart {np.abs(p - q).sum() / 2:.2f}"
              f"   least {', '.join(shown[:3])}; most {', '.join(shown[3:])}", flush=True)
    return 0


if __name__ == "__main__":
    run(main)
