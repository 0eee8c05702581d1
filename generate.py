"""Pictures from a trained generator: grids, single pictures, films.

    python generate.py checkpoint/FFHQ_80000.model
    python generate.py checkpoint/FFHQ_80000.model --figures truncation,noise
    python generate.py checkpoint/FFHQ_80000.model --seeds 0-35,85 --w styles.npz
    python generate.py checkpoint/FFHQ_80000.model --row_seeds 0-3 --col_seeds 7,9 --col_layers 0-3
    python generate.py checkpoint/FFHQ_80000.model --seeds 3,14,15 --film gif

Writes into sample/<name of the checkpoint>/. The file may be ours, which says all about its
network, or official StyleGAN1's or the PyTorch or Jittor port's (see convert.py).
"""
import os
import sys

import numpy as np
from tqdm import tqdm

import figures
import film
import snapshot
import styles_file
from cli import Parser, UserError, add_device_arguments, bring_up, run, size_argument
from figures import AT_ONCE
from grid import make_grid, save_png
from painter import NOISES, Painter

FIGURES = ("samples", "mixing", "interpolation", "truncation", "noise")
FPS = 24


def main(argv=None):
    args = parse_arguments(argv)
    header, arrays = snapshot.load_any(args.checkpoint, args.size)  # before Jittor starts
    if header.get("size_guessed"):
        print(f"note: {args.checkpoint} does not say to which size it was trained; painting "
              f"{header['size']}, the largest it has layers for. If that is noise, type --size 128 "
              "or less", file=sys.stderr)
    if header["model"]["channels"] not in (1, 3):
        raise UserError(f"{args.checkpoint}: its pictures have {header['model']['channels']} "
                        "channels, only 1 and 3 can be written")
    styles = styles_file.load(args.w, header) if args.w and not args.seeds else None
    out = args.out or os.path.join("sample", os.path.splitext(os.path.basename(args.checkpoint))[0])
    try:
        os.makedirs(out, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {out}: {error.strerror}") from None

    bring_up(args.device, args.cuda_home)
    painter = Painter(header, arrays, args.checkpoint, args.truncation_psi, args.truncation_layers,
                      args.noise)
    written = []
    with tqdm(unit="picture", delay=5) as bar:
        painter.done = bar.update
        if args.film:
            written.append(make_film(painter, args, out, bar))
        else:
            for name, picture in pictures(painter, args, styles, bar):
                written.append(os.path.join(out, name))
                save_png(picture, written[-1])
    if args.w and args.seeds:
        written.append(args.w)
        styles_file.save(args.w, painter, args.seeds)
    print(f"{args.checkpoint}: size {painter.size}, {snapshot.source(header)}; " +
          (f"styles of {args.w}" if styles else
           f"truncation_psi {args.truncation_psi:g}, noise {args.noise}"))
    for path in written if len(written) <= 12 else [*written[:3], "…", written[-1]]:
        print(f"  {path}")
    return 0


def pictures(painter, args, styles, bar):
    """Yields (file name, PIL picture) of everything but films."""
    if styles:
        yield from singles(painter, styles, bar)
    elif args.seeds:
        yield from seeds(painter, args.seeds, bar)
    elif args.row_seeds:
        cell, layers = max(painter.size, 64), mixed_layers(painter, args.col_layers)
        for name, some in layers.items():
            images = figures.mixing(painter, args.row_seeds, args.col_seeds, some)
            yield f"mixing_{name}.png", make_grid(images, len(args.col_seeds) + 1, cell)
    else:
        yield from grids(painter, args)


def singles(painter, styles, bar):
    """The styles of a file: its noise maps too, where it has some."""
    bar.total = len(styles["w"])
    for first in range(0, len(styles["w"]), AT_ONCE):
        images = painter.paint(styles["w"][first:first + AT_ONCE], noise=styles["noise"])
        for i, image in enumerate(images, first):
            yield f"w{i:06d}.png", make_grid(image[None], 1)


def seeds(painter, wanted, bar):
    """A picture of each seed, in constant memory."""
    bar.total = len(wanted)
    for first in range(0, len(wanted), AT_ONCE):
        some = wanted[first:first + AT_ONCE]
        for seed, image in zip(some, painter.paint(painter.styles(some), some)):
            yield f"seed{seed:06d}.png", make_grid(image[None], 1)


def grids(painter, args):
    """The figures that --figures names."""
    rows, columns, seed, cell = args.n_row, args.n_col, args.seed, max(painter.size, 64)
    for figure in args.figures:
        if figure == "samples":
            images = figures.samples(painter, range(seed, seed + rows * columns))
            yield "samples.png", make_grid(images, columns, cell)
        elif figure == "mixing":
            for name, layers in mixed_layers(painter, args.col_layers).items():
                images = figures.mixing(painter, range(seed + columns, seed + columns + rows),
                                        range(seed, seed + columns), layers)
                yield f"mixing_{name}.png", make_grid(images, columns + 1, cell)
        elif figure == "interpolation":
            images = figures.interpolation(painter, rows, columns, seed, args.space)
            yield "interpolation.png", make_grid(images, columns, cell)
        elif figure == "truncation":
            images = figures.truncation(painter, range(seed, seed + rows))
            yield "truncation.png", make_grid(images, len(figures.PSI), cell)
        else:
            images = figures.noise_effect(painter, range(seed, seed + rows))
            yield "noise.png", make_grid(images, 5, cell)


def mixed_layers(painter, wanted):
    """{name: layers}: --col_layers, or the paper's three levels."""
    if wanted is None:
        return painter.levels()
    if max(wanted) >= painter.layers:
        raise UserError(f"--col_layers: found {max(wanted)}, the layers of size {painter.size} are "
                        f"0 to {painter.layers - 1}")
    return {f"{min(wanted)}-{max(wanted)}": wanted}


def make_film(painter, args, out, bar):
    """Through --seeds with one picture, or through three stops with a grid of them."""
    if args.seeds:
        keys, columns = [args.seeds], 1
    else:
        cells, columns = args.n_row * args.n_col, args.n_col
        keys = np.arange(args.seed, args.seed + 3 * cells).reshape(3, cells).T
    bar.total = len(keys) * len(keys[0]) * args.frames
    path = os.path.join(out, f"interpolation.{args.film}")
    with film.WRITERS[args.film](path, FPS) as write:
        for images in figures.walk(painter, keys, args.frames, args.space):
            write(make_grid(images, columns, max(painter.size, 128)))
    return path


def parse_arguments(argv):
    parser = Parser(description=__doc__)
    parser.add_argument("checkpoint", help="a .model file that train.py wrote, or other weights")
    parser.add_argument("--figures", type=figures_argument, default=FIGURES[:3], metavar="LIST",
                        help="which grids to write, of " + ",".join(FIGURES) + " (default "
                        "samples,mixing,interpolation)")
    parser.add_argument("--n_row", type=int, default=4, help="rows of each grid (default 4)")
    parser.add_argument("--n_col", type=int, default=8, help="columns of each grid (default 8)")
    parser.add_argument("--seed", type=int, default=0,
                        help="seed of the first picture; the next have seed + 1, … (default 0)")
    parser.add_argument("--seeds", type=numbers_argument, metavar="LIST",
                        help="such as 0-35,85: write these pictures, one PNG for each, instead of "
                        "the grids; with --film, the stops of its way")
    parser.add_argument("--w", metavar="FILE.npz", help="the pictures of the styles in FILE, as "
                        "project.py writes it; with --seeds: write their styles to FILE")
    parser.add_argument("--row_seeds", type=numbers_argument, metavar="LIST",
                        help="only a mixing grid, of these seeds down its side")
    parser.add_argument("--col_seeds", type=numbers_argument, metavar="LIST",
                        help="and these along its top")
    parser.add_argument("--col_layers", type=numbers_argument, metavar="LIST",
                        help="the layers such as 0-3 whose style comes from the top, two for each "
                        "size from 4 on (default: three grids, for coarse, middle and fine ones)")
    parser.add_argument("--film", choices=sorted(film.WRITERS),
                        help="only a film that walks from picture to picture and back to the first")
    parser.add_argument("--frames", type=int, default=FPS, metavar="N",
                        help=f"of a film, from one picture to the next (default {FPS}, a second)")
    parser.add_argument("--space", choices=["z", "w"], default="z", help="interpolation along the "
                        "sphere of latents z, or straight between styles w (default z)")
    parser.add_argument("--noise", choices=NOISES, default="const", help="one set of maps for all "
                        "pictures, maps of each picture's own, or none (default const)")
    parser.add_argument("--truncation_psi", type=float, default=0.7,
                        help="0: the mean picture, 1: no truncation (default 0.7)")
    parser.add_argument("--truncation_layers", type=int, default=8,
                        help="how many layers it applies to, coarse ones first (default 8)")
    parser.add_argument("--size", type=size_argument, help="of other projects' weights: size in "
                        "pixels to which they were trained (default: the largest they have layers "
                        "for)")
    parser.add_argument("--out", help="folder for what is written (default sample/<checkpoint's "
                        "name>)")
    add_device_arguments(parser)
    args = parser.parse_args(argv)
    for flag in ("n_row", "n_col", "frames"):
        if getattr(args, flag) < 1:
            parser.error(f"--{flag}: found {getattr(args, flag)}, wanted 1 or more")
    for flag in ("seed", "truncation_layers"):
        if getattr(args, flag) < 0:
            parser.error(f"--{flag}: found {getattr(args, flag)}, wanted 0 or more")
    if bool(args.row_seeds) != bool(args.col_seeds):
        parser.error("--row_seeds and --col_seeds belong together: type both")
    only = [flag for flag, found in (
        ("--film", args.film), ("--row_seeds", args.row_seeds),
        ("--seeds" if args.seeds else "--w", (args.seeds or args.w) and not args.film),
        ("--w", args.w and args.film)) if found]
    if len(only) > 1:
        parser.error(f"{' and '.join(only)}: each writes something else, type one of them")
    return args


def numbers_argument(text):
    """argparse type: "0-35,85" → [0, 1, …, 35, 85]."""
    numbers = []
    for part in text.split(","):
        ends = [int(number) for number in part.split("-")]
        some = range(ends[0], ends[-1] + 1)
        if len(ends) > 2 or not some or some.stop > 2 ** 32 or len(some) > 10 ** 7:
            raise ValueError
        numbers.extend(some)
    return numbers


numbers_argument.__name__ = "list of numbers such as 0-35,85"


def figures_argument(text):
    """argparse type: names of FIGURES."""
    if not set(text.split(",")) <= set(FIGURES):
        raise ValueError
    return text.split(",")


figures_argument.__name__ = f"list of {', '.join(FIGURES)}"


if __name__ == "__main__":
    run(main)
