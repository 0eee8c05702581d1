"""Pictures from a trained generator: grids, single pictures, films.

    python generate.py checkpoint/FFHQ_80000.model
    python generate.py checkpoint/FFHQ_80000.model --figures truncation,noise
    python generate.py checkpoint/FFHQ_80000.model --seeds 0-35,85 --w styles.npz
    python generate.py checkpoint/FFHQ_80000.model --row_seeds 0-3 --col_seeds 7,9 --col_layers 0-3
    python generate.py checkpoint/FFHQ_80000.model --seeds 3,14,15 --film gif
    python generate.py checkpoint/FFHQ_80000.model --direction directions.npz:pca1 --amount -3,3
    python generate.py checkpoint/FFHQ_80000.model --seeds 0-99 --features features

Writes into sample/<name of the checkpoint>/. The file may be ours, which says all about its
network, or another project's: official StyleGAN1 or StyleGAN2, a port's (see convert.py).
"""
import functools
import os
import sys

import numpy as np
from tqdm import tqdm

from backend.errors import UserError, counted
from backend.files import make_folder, naming, remove_leftovers
from cli import bring_up, run
from networks.config import num_layers, truncated_layers
from pictures import directions, features, figures, film, origin, styles_file
from pictures.flags import FIGURES, FPS, amounts_of, is_way, parse_arguments
from pictures.grid import make_grid, save_png, single
from pictures.painter import Painter, at_once, levels
from weights import snapshot

MOST_PIXELS = 1 << 28
# Flags that decide what styles, and pictures of them, look like.
STYLES = ("size", "truncation_psi", "truncation_layers", "label", "direction", "amount")
PICTURES = (*STYLES, "noise", "scale", "amp")
OF_STYLES = ("noise", "size", "scale", "amp", "direction", "amount")    # those of --w


def main(argv=None):
    args = parse_arguments(argv, __doc__)
    header, arrays = snapshot.load_any(args.checkpoint, args.size)  # before Jittor starts
    snapshot.say_guess(header, args.checkpoint)
    snapshot.check_channels(header, args.checkpoint)
    if args.truncation_layers is None:
        args.truncation_layers = truncated_layers(header["model"]["arch"], header["size"])
    elif args.truncation_layers > (most := num_layers(header["size"])) and not args.w:
        print(f"note: --truncation_layers {args.truncation_layers}: {args.checkpoint} has {most} "
              "layers, no more", file=sys.stderr)
    labels, label = header["model"]["labels"], None
    if args.label is not None:
        several = snapshot.labels_of(args.label, header, args.checkpoint)
        args.label = ", ".join(snapshot.class_name(one, header) for one in several)
        label = several[0] if len(several) == 1 else in_turn(args, several)
    args.class_of = label if callable(label) else None
    if args.figures is None:
        args.figures = FIGURES[:3] + ("classes",) * (0 < labels <= 16 and args.label is None)
    if "classes" in args.figures and not labels:
        raise UserError(f"--figures classes: {args.checkpoint} is a network without labels")
    if args.features:
        layers = features.chosen_layers(args.feature_layers or features.DEFAULT[
            header["model"]["arch"]], snapshot.model_config(header, args.checkpoint),
            header["size"])
    styles = styles_file.load(args.w, header) if args.w and not args.seeds else None
    if styles and args.noise:                   # instead of the maps in that file
        styles["noise"] = None
    args.noise = args.noise or "const"
    check_extent(args, header["size"], labels, styles)
    way = shift = None
    if args.direction:
        direction = directions.load(args.direction, header)
        if is_way(args):
            way = direction
        else:
            shift = direction.shift(*amounts_of(args.amount))
        args.direction = origin.identity(direction.name, direction.shift(1))
    out = args.features or args.out or os.path.join("sample", os.path.splitext(os.path.basename(
        args.checkpoint))[0])
    make_folder(out, "--features" if args.features else "--out")
    checkpoint = {"checkpoint": origin.weights(args.checkpoint, arrays)}
    if args.w and args.seeds:
        make_folder(os.path.dirname(os.path.abspath(args.w)), "--w: the folder")
    made_styles = checkpoint | origin.settings(args, (*STYLES, "seeds"))
    if not args.overwrite and not args.features:
        for name, made in files(args, header["size"], styles, way):
            origin.check(os.path.join(out, name), checkpoint | made)
        if args.w and args.seeds:
            origin.check(args.w, made_styles, "type --w OTHER.npz to keep it, or --overwrite")

    bring_up(args.device, args.cuda_home, args.amp)
    painter = Painter(header, arrays, args.checkpoint, args.truncation_psi, args.truncation_layers,
                      args.noise, label, shift)
    written = []
    if args.features:
        return write_features(painter, args, layers, styles, checkpoint)
    with tqdm(unit="picture", delay=5) as bar:
        painter.done = bar.update
        some = pictures(painter, args, styles, way, bar)
        for name, made in files(args, painter.size, styles, way):
            path, made = os.path.join(out, name), checkpoint | made
            if args.film:
                make_film(painter, args, styles, way, path, made, bar)
            else:
                picture = next(some)
                with naming(path):
                    save_png(picture, path, made=made)
            written.append(path)
    if args.w and args.seeds:
        written.append(args.w)
        styles_file.save(args.w, painter, args.seeds, made_styles)
    print(f"{args.checkpoint}: size {painter.size}, {snapshot.source(header)}; " +
          (f"styles of {args.w}" if styles else
           f"truncation_psi {args.truncation_psi:g}, noise {args.noise}") +
          ("" if label is None else f", class {args.label}"))
    for path in written if len(written) <= 12 else [*written[:3], "…", written[-1]]:
        print(f"  {path}")
    if labels and (label is None or callable(label)):
        say_classes(args, header, painter, written)
    return 0


def in_turn(args, labels):
    """A function that gives which of several labels a seed has: those that are named in the order
    in which they stand, others as they follow; in a film of a grid, the stops of every cell."""
    stops = args.n_row * args.n_col if args.film and not (args.seeds or is_way(args)) else 1
    place = {}
    for seed in [*(args.seeds or ()), *(args.row_seeds or ()), *(args.col_seeds or ())]:
        place.setdefault(seed, len(place))
    most = len(place) or (3 if stops > 1 else len(labels))
    if most < len(labels):
        print(f"note: --label: found {len(labels)} classes for {counted(most, 'seed')}: the first "
              f"{most} alone are painted", file=sys.stderr)
    return lambda seed: labels[place.get(seed, (seed - args.seed) // stops) % len(labels)]


def say_classes(args, header, painter, written):
    """Which classes are where, in what was painted of several."""
    if args.seeds and not args.film:
        some = args.seeds[:12]
        drawn = painter.latents(some)[:, painter.generator.config.latent:].argmax(1)
        names = [f"{seed} {snapshot.class_name(i, header)}" for seed, i in zip(some, drawn)]
        print("  classes of the seeds: " + ", ".join(names) + ", …" * (len(args.seeds) > 12))
    elif any(os.path.basename(path) == "classes.png" for path in written):
        names = [snapshot.class_name(i, header) for i in range(header["model"]["labels"])]
        print("  rows of classes.png: " + ", ".join(names[:16]) + ", …" * (len(names) > 16))


def write_features(painter, args, layers, styles, checkpoint):
    """--features: a PNG and a .npz for each seed or style."""
    made = checkpoint | origin.settings(args, (*STYLES, "noise", "amp")) | {"layers": layers}
    if styles:
        painter.noise = styles["noise"] or painter.noise
        made["--w"] = origin.identity(args.w, styles["w"], *styles["noise"] or ())
        wanted = {f"w{i:06d}": i for i in range(len(styles["w"]))}
    else:
        made |= origin.settings(args, ("seeds",)) if args.class_of else {}
        wanted = {f"seed{seed:06d}": seed for seed in args.seeds}

    def styles_of(numbers):
        return painter.shift + styles["w"][numbers] if styles else painter.styles(numbers)

    with tqdm(unit="picture", delay=5) as bar:
        painter.done = bar.update
        features.write(args.features, painter, layers, wanted, styles_of, made)
    there = features.Features(args.features)
    print(f"{args.features}: {counted(len(there.names), 'picture')}, {there.channels:,} channels "
          f"of {', '.join(there.layers)}")
    return 0


def check_extent(args, size, labels, styles):
    """Raise UserError for pictures that would not fit into any memory."""
    rows, columns = (
        1 + max(args.n_row, len(args.row_seeds or ()),
                labels * ("classes" in args.figures and not args.film)),
        1 + max(args.n_col, len(args.col_seeds or ()), len(figures.PSI)))
    if is_way(args):
        rows = len(styles["w"] if styles else args.seeds or range(args.n_row))
        columns = args.n_col if not args.film or not (styles or args.seeds) else 1
    elif args.seeds or args.w:
        rows = columns = 1
    cell = at_least(128 if args.film else 64, size, args.scale)
    pixels = rows * columns * cell ** 2
    most = MOST_PIXELS // 8 if args.film else MOST_PIXELS
    if pixels > most:
        raise UserError(f"found {counted(rows * columns, 'picture')} with {pixels:,} pixels in one "
                        f"file, wanted at most {most:,}: lower --n_row, --n_col or --scale" +
                        ", or name fewer seeds or styles" * (rows > 1 and is_way(args)))
    if not args.film:
        return
    count = rows if is_way(args) and (styles or args.seeds) else 1 if args.seeds else \
        args.n_row * args.n_col
    columns = min(args.n_col, count)
    side = max(columns, -(-count // columns)) * (cell + 2) - 2
    if side > film.LONGEST_SIDE[args.film]:
        raise UserError(f"--film {args.film}: found frames of {side:,} pixels on a side, wanted at "
                        f"most {film.LONGEST_SIDE[args.film]:,}: lower --n_row, --n_col or --scale")


def files(args, size, styles, way):
    """Yields (file name, {flag: value} of all that decides what is in it) of what is painted."""
    own = styles and {"--w": origin.identity(args.w, styles["w"], *styles["noise"] or ())}
    if way:
        flags = ("n_col", "frames") if args.film else ("n_col",)
        rows = () if styles else ("seeds",) if args.seeds else ("n_row", "seed")
        yield (f"direction_{way.name}.{args.film or 'png'}",
               origin.settings(args, (*(OF_STYLES if styles else PICTURES), *flags, *rows)) |
               (own or {}))
    elif args.film:
        flags = ("seeds",) if args.seeds else ("n_row", "n_col", "seed")
        yield (f"interpolation.{args.film}",
               origin.settings(args, (*PICTURES, *flags, "frames", "space")))
    elif styles:
        made = own | origin.settings(args, OF_STYLES)
        yield from ((f"w{i:06d}.png", made) for i in range(len(styles["w"])))
    elif args.seeds:
        made = origin.settings(args, PICTURES)
        for seed in args.seeds:                 # whose class goes by its place among them
            one = {"class": args.class_of(seed)} if args.class_of else {}
            yield f"seed{seed:06d}.png", made | one
    else:
        for name, flags, _, _ in grids(args, size):
            yield name, origin.settings(args, (*PICTURES, *flags))


def pictures(painter, args, styles, way, bar):
    """Yields the PIL pictures of what `files` names, but films."""
    if way:
        amounts = np.linspace(*amounts_of(args.amount), args.n_col)
        yield make_grid(figures.along(painter, *to_move(painter, args, styles), way, amounts),
                        args.n_col, at_least(64, painter.size, args.scale))
    elif styles:
        yield from singles(painter, styles, args.scale, bar)
    elif args.seeds:
        yield from seeds(painter, args.seeds, args.scale, bar)
    else:
        cell = at_least(64, painter.size, args.scale)
        for _, _, columns, paint in grids(args, painter.size):
            yield make_grid(paint(painter), columns, cell)


def to_move(painter, args, styles):
    """(styles [N, layers, dlatent], seeds of their noise) of what goes along --direction."""
    if styles:
        painter.noise = styles["noise"] or painter.noise
        return styles["w"], range(len(styles["w"]))
    count = args.n_row * (args.n_col if args.film else 1)
    seeds = args.seeds or range(args.seed, args.seed + count)
    return painter.styles(seeds), seeds


def at_least(height, size, scale):
    """Pixels that a picture of `size` is high where it is shown: --scale's, or that many."""
    return size * scale if scale else max(size, height)


def singles(painter, styles, scale, bar):
    """The styles of a file: its noise maps too, where it has some."""
    bar.total = len(styles["w"])
    chunk = at_once(painter.size)
    for first in range(0, len(styles["w"]), chunk):
        some = styles["w"][first:first + chunk]
        images = painter.paint(painter.shift + some, range(first, first + len(some)),
                               styles["noise"])
        for image in images:
            yield single(image, at_least(1, painter.size, scale))


def seeds(painter, wanted, scale, bar):
    """A picture of each seed, in constant memory."""
    bar.total = len(wanted)
    chunk = at_once(painter.size)
    for first in range(0, len(wanted), chunk):
        some = wanted[first:first + chunk]
        for image in painter.paint(painter.styles(some), some):
            yield single(image, at_least(1, painter.size, scale))


def grids(args, size):
    """(file name, flags that decide it, columns, function of a Painter that gives its images) of
    each grid that is asked for."""
    rows, columns, seed = args.n_row, args.n_col, args.seed
    row_seeds, col_seeds = args.row_seeds, args.col_seeds
    mixing = "row_seeds", "col_seeds", "col_layers"
    if not row_seeds:
        row_seeds = range(seed + columns, seed + columns + rows)
        col_seeds = range(seed, seed + columns)
        mixing = "n_row", "n_col", "seed", "col_layers"
    found = []
    for figure in ["mixing"] if args.row_seeds else args.figures:
        if figure == "samples":
            found.append(("samples.png", ("n_row", "n_col", "seed"), columns, functools.partial(
                figures.samples, seeds=range(seed, seed + rows * columns))))
        elif figure == "mixing":
            found += [(f"mixing_{name}.png", mixing, len(col_seeds) + 1, functools.partial(
                figures.mixing, rows=row_seeds, columns=col_seeds, layers=layers))
                for name, layers in mixed_layers(size, args.col_layers).items()]
        elif figure == "interpolation":
            found.append(("interpolation.png", ("n_row", "n_col", "seed", "space"), columns,
                          functools.partial(figures.interpolation, rows=rows, columns=columns,
                                            seed=seed, space=args.space)))
        elif figure == "classes":
            found.append(("classes.png", ("n_col", "seed"), columns, functools.partial(
                figures.classes, seeds=range(seed, seed + columns))))
        elif figure == "truncation":
            found.append(("truncation.png", ("n_row", "seed"), len(figures.PSI), functools.partial(
                figures.truncation, seeds=range(seed, seed + rows))))
        else:
            found.append(("noise.png", ("n_row", "seed"), 5, functools.partial(
                figures.noise_effect, seeds=range(seed, seed + rows))))
    return found


def mixed_layers(size, wanted):
    """{name: layers}: --col_layers, or the paper's three levels."""
    if wanted is None:
        return levels(size)
    if max(wanted) >= num_layers(size):
        raise UserError(f"--col_layers: found {max(wanted)}, the layers of size {size} are 0 to "
                        f"{num_layers(size) - 1}")
    return {f"{min(wanted)}-{max(wanted)}": wanted}


def make_film(painter, args, styles, way, path, made, bar):
    """Along --direction and back, through --seeds with one picture, or through three stops with a
    grid of them."""
    if way:
        some, seeds = to_move(painter, args, styles)
        bar.total = 2 * len(some) * args.frames
        frames = figures.there_and_back(painter, some, seeds, way, amounts_of(args.amount),
                                        args.frames)
        columns = min(args.n_col, len(some))
    elif args.seeds:
        keys, columns = [args.seeds], 1
    else:
        cells, columns = args.n_row * args.n_col, args.n_col
        keys = np.arange(args.seed, args.seed + 3 * cells).reshape(3, cells).T
    if not way:
        bar.total = len(keys) * len(keys[0]) * args.frames
        frames = figures.walk(painter, keys, args.frames, args.space)
    remove_leftovers(path)
    with film.WRITERS[args.film](path, FPS, made) as write:
        for images in frames:
            write(make_grid(images, columns, at_least(128, painter.size, args.scale)))


if __name__ == "__main__":
    run(main)
