"""What can be steered in a trained generator: python directions.py checkpoint/FFHQ_80000.model

    python directions.py MODEL
    python directions.py MODEL --with 3,8,12-20 --without 0-2,30-44 --name hat
    python directions.py MODEL --features data/attributes64.npz
    python generate.py MODEL --direction sample/FFHQ_80000/directions.npz:pca1 --amount -3,3

Finds directions in w: principal components of w (pca1 …); what changes the coarse, middle, fine or
all layers most (sefa_coarse1 …), the first of each kind being those that change the pictures most;
between seeds that you marked; and, with --features, one for each attribute that the network knows.
Writes directions.npz and a figure of each kind, a row for each direction from -3 to 3 of its
standard deviations, into sample/<name of the checkpoint>/.
"""
import os
import re
import shlex
import sys

from tqdm import tqdm

from backend.errors import counted
from backend.files import make_folder, naming
from cli import (
    Parser,
    add_device_arguments,
    add_out_arguments,
    bring_up,
    numbers_argument,
    run,
    size_argument,
)
from measures import attributes
from pictures import directions, figures, origin
from pictures.grid import make_grid, save_png, with_names
from pictures.painter import Painter
from pictures.search import Search
from weights import snapshot

AMOUNTS = (-3, -2, -1, 0, 1, 2, 3)
LARGEST = 128                   # pixels of a picture in the figures
MOST_DIRECTIONS, MOST_MARKED = 100, 1000


def main(argv=None):
    args = parse_arguments(argv)
    header, arrays = snapshot.load_any(args.checkpoint, args.size)
    snapshot.say_guess(header, args.checkpoint)
    snapshot.check_channels(header, args.checkpoint)
    label = None
    if args.label is not None:
        label = snapshot.label_of(args.label, header, args.checkpoint)
        args.label = snapshot.class_name(label, header)
    out = args.out or os.path.join("sample", os.path.splitext(os.path.basename(args.checkpoint))[0])
    made = {"checkpoint": origin.weights(args.checkpoint, arrays)}
    made |= origin.settings(args, ("size", "truncation_psi", "label", "count", "seed", "with",
                                   "without", "name"))
    if args.features:
        with naming(args.features), open(args.features, "rb") as file:
            made["--features"] = origin.identity(args.features, file.read())
    make_folder(out, "--out")
    path = os.path.join(out, "directions.npz")
    kinds = ["pca", "sefa"] + ["marked"] * bool(args.name) + ["attributes"] * bool(args.features)
    pictures = {kind: os.path.join(out, f"directions_{kind}.png") for kind in kinds}
    for file in [path, *pictures.values()]:
        if not args.overwrite:
            origin.check(file, made)
    bring_up(args.device, args.cuda_home)
    parts = attributes.Attributes(args.features) if args.features else None
    if parts:
        parts.check(header["model"]["channels"])
        if parts.doubts():
            print(parts.doubts(), file=sys.stderr)
    painter = Painter(header, arrays, args.checkpoint, args.truncation_psi, label=label)
    with tqdm(unit="picture", delay=2, leave=False) as bar:
        painter.done = bar.update
        search = Search(painter, args.count, args.seed)
        found = {"pca": search.pca(), "sefa": search.sefa()}
        if args.name:
            found["marked"] = [search.marked(args.name, getattr(args, "with"), args.without)]
        if parts:
            found["attributes"] = search.attributes(parts)
        found = with_own_names(found)
        directions.save(path, made, [one for some in found.values() for one, _ in some])
        for kind, some in found.items():
            if some:
                rows = [row(painter, search.example, args.seed, one) for one, _ in some]
                figure = with_names(rows, [one.name for one, _ in some])
                with naming(pictures[kind]):
                    save_png(figure, pictures[kind], made=made)
    say(found, path, pictures, args)
    return 0


def with_own_names(found):
    """The same, no two of one name: of attributes, other letters may have become one."""
    taken, result = set(), {}
    for kind, some in found.items():
        result[kind] = []
        for one, what in some:
            name, number = one.name, 2
            while name in taken:
                name, number = f"{one.name}_{number}", number + 1
            taken.add(name)
            result[kind].append((one._replace(name=name), what))
    return result


def row(painter, styles, seed, direction):
    """A PIL picture: the way along a direction."""
    images = figures.along(painter, styles, [seed], direction, AMOUNTS)
    picture = make_grid(images, len(AMOUNTS), max(64, painter.size))
    return picture.reduce(max(1, painter.size // LARGEST))


def say(found, path, pictures, args):
    for kind, some in found.items():
        for one, what in some:
            print(f"  {one.name:24} {what}")
        print(f"{counted(len(some), 'direction')} of kind {kind}" +
              (f", from -3 to 3 sigma in {pictures[kind]}" if some else ""))
    name = next((some[0][0].name for some in reversed(found.values()) if some), "NAME")
    print(f"Wrote {path}. To go along one, type: python generate.py {shlex.quote(args.checkpoint)} "
          f"--direction {shlex.quote(f'{path}:{name}')} --amount -3,3" +
          (f" --size {args.size}" if args.size else ""))


def parse_arguments(argv):
    parser = Parser(description=__doc__)
    parser.add_argument("checkpoint", help="a .model file that train.py wrote, or other weights")
    parser.add_argument("--count", type=int, default=8, metavar="N", help="directions of pca, and "
                        "of sefa for each range of layers (default 8)")
    parser.add_argument("--with", type=numbers_argument, metavar="LIST", help="seeds such as "
                        "0-9,15 whose pictures show something (20 are good), as generate.py "
                        "--seeds paints them, with the same --label")
    parser.add_argument("--without", type=numbers_argument, metavar="LIST",
                        help="and seeds whose pictures do not")
    parser.add_argument("--name", help="what to call that direction (default marked)")
    parser.add_argument("--features", metavar="FILE", help="a network that knows parts of "
                        f"pictures: {attributes.WHERE}")
    parser.add_argument("--seed", type=int, default=0, metavar="N",
                        help="of the picture in the figures, and the first of all (default 0)")
    parser.add_argument("--truncation_psi", type=float, default=0.7, help="of the pictures in "
                        "the figures, and of those that the order goes by; directions, and what "
                        "is said of attributes, are of pictures without truncation (default 0.7)")
    parser.add_argument("--label", metavar="NAME|NUMBER", help="of a network with labels: w of "
                        "this class only (default: of all)")
    parser.add_argument("--size", type=size_argument, help="of other projects' weights: size in "
                        "pixels to which they were trained")
    add_out_arguments(parser)
    add_device_arguments(parser)
    args = parser.parse_args(argv)
    those_with = getattr(args, "with")
    if bool(those_with) != bool(args.without):
        parser.error("--with and --without belong together: type both")
    if those_with and set(those_with) & set(args.without):
        parser.error(f"--with and --without: seed {min(set(those_with) & set(args.without))} is "
                     "in both")
    if those_with:
        setattr(args, "with", sorted({*those_with}))
        args.without = sorted({*args.without})
        counts = len(getattr(args, "with")), len(args.without)
        if min(counts) < 2 or sum(counts) > MOST_MARKED:
            parser.error(f"--with and --without: found {counts[0]} and {counts[1]} seeds, wanted "
                         f"two or more of each, 20 are good, and up to {MOST_MARKED:,} in all")
    if args.name and not those_with:
        parser.error("--name is of --with and --without: type them too")
    if those_with:
        args.name = args.name or "marked"
        if not re.fullmatch(directions.NAME, args.name):
            parser.error(f"--name: found {args.name}, wanted letters, digits and = . + - _")
        if re.fullmatch(r"(pca|sefa_[a-z]+)\d+", args.name):
            parser.error(f"--name: found {args.name}, which others are called: type another")
    if not 1 <= args.count <= MOST_DIRECTIONS:
        parser.error(f"--count: found {args.count}, wanted 1 to {MOST_DIRECTIONS}")
    if not 0 <= args.seed <= 2 ** 31:
        parser.error(f"--seed: found {args.seed}, wanted 0 to {2 ** 31}")
    return args


if __name__ == "__main__":
    run(main)
