"""Pictures from a trained generator: a sample grid, style-mixing grids and an interpolation grid.

    python generate.py checkpoint/FFHQ_80000.model

Writes PNGs into sample/<name of the checkpoint>/. The file may be ours, which says all about its
network, or official StyleGAN1's or the PyTorch or Jittor port's (see convert.py).
"""
import os
import sys

import numpy as np
from tqdm import tqdm

import snapshot
from cli import Parser, UserError, add_device_argument, bring_up, run, size_argument
from config import num_layers, sizes_to
from grid import make_grid, save_png

# Layers as in figure 3 of the paper, by the sizes that they paint.
LEVELS = {"coarse": (4, 8), "middle": (16, 32), "fine": (64, 1024)}


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
    out = args.out or os.path.join("sample", os.path.splitext(os.path.basename(args.checkpoint))[0])
    try:
        os.makedirs(out, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {out}: {error.strerror}") from None

    bring_up(args.device)
    painter = Painter(header, arrays, args.checkpoint, args.truncation_psi, args.truncation_layers)
    if args.seeds:
        total, made = len(args.seeds), singles(painter, args.seeds)
        what = f"{total} pictures"
    else:
        total = args.n_row * args.n_col * 5 + 3 * (args.n_row + args.n_col)
        made = grids(painter, args.n_row, args.n_col, args.seed)
        what = f"seeds {args.seed} to {args.seed + args.n_row * args.n_col - 1}"
    written = []
    with tqdm(total=total, unit="picture", delay=5) as bar:
        painter.done = bar.update
        for name, picture in made:
            written.append(os.path.join(out, name))
            save_png(picture, written[-1])
    print(f"{args.checkpoint}: size {painter.size}, {snapshot.source(header)}; {what}, "
          f"truncation_psi {args.truncation_psi:g}")
    for path in written if len(written) <= 12 else [*written[:3], "…", written[-1]]:
        print(f"  {path}")
    return 0


def singles(painter, seeds):
    """Yields (file name, PIL picture) of each seed, in constant memory."""
    for first in range(0, len(seeds), 16):
        some = seeds[first:first + 16]
        for seed, image in zip(some, painter.paint(painter.styles(some))):
            yield f"seed{seed:06d}.png", make_grid(image[None], 1)


def grids(painter, rows, columns, seed):
    """Yields (file name, PIL picture) of each grid."""
    cell = max(painter.size, 64)
    images = painter.paint(painter.styles(range(seed, seed + rows * columns)))
    yield "samples.png", make_grid(images, columns, cell)
    for level, layers in painter.levels().items():
        images = mixing_grid(painter, range(seed, seed + columns),
                             range(seed + columns, seed + columns + rows), layers)
        yield f"mixing_{level}.png", make_grid(images, columns + 1, cell)
    yield "interpolation.png", make_grid(interpolation(painter, rows, columns, seed), columns, cell)


def parse_arguments(argv):
    parser = Parser(description=__doc__)
    parser.add_argument("checkpoint", help="a .model file that train.py wrote, or other weights")
    parser.add_argument("--n_row", type=int, default=4, help="rows of each grid (default 4)")
    parser.add_argument("--n_col", type=int, default=8, help="columns of each grid (default 8)")
    parser.add_argument("--seed", type=int, default=0,
                        help="seed of the first picture; the next have seed + 1, … (default 0)")
    parser.add_argument("--seeds", type=seeds_argument, metavar="LIST",
                        help="such as 0-35,85: write these pictures, one PNG for each, instead of "
                        "the grids")
    parser.add_argument("--truncation_psi", type=float, default=0.7,
                        help="0: the mean picture, 1: no truncation (default 0.7)")
    parser.add_argument("--truncation_layers", type=int, default=8,
                        help="how many layers it applies to, coarse ones first (default 8)")
    parser.add_argument("--size", type=size_argument, help="of other projects' weights: size in "
                        "pixels to which they were trained (default: the largest they have layers "
                        "for)")
    parser.add_argument("--out", help="folder for the PNGs (default sample/<checkpoint's name>)")
    add_device_argument(parser)
    args = parser.parse_args(argv)
    for flag in ("n_row", "n_col"):
        if getattr(args, flag) < 1:
            parser.error(f"--{flag}: found {getattr(args, flag)}, wanted 1 or more")
    for flag in ("seed", "truncation_layers"):
        if getattr(args, flag) < 0:
            parser.error(f"--{flag}: found {getattr(args, flag)}, wanted 0 or more")
    return args


def seeds_argument(text):
    """argparse type: "0-35,85" → [0, 1, …, 35, 85]."""
    seeds = []
    for part in text.split(","):
        ends = [int(number) for number in part.split("-")]
        numbers = range(ends[0], ends[-1] + 1)
        if len(ends) > 2 or not numbers or numbers.stop > 2 ** 32:
            raise ValueError
        seeds.extend(numbers)
    return seeds


seeds_argument.__name__ = "list of seeds such as 0-35,85"


def in_chunks(compute, rows, chunk):
    """compute(some rows) for all of `rows`, `chunk` at a time; yields arrays of the same rows.

    The last chunk is filled up, so that every row is computed by the same kernels whatever stands
    beside it: equal bit for bit on one device.
    """
    for first in range(0, len(rows), chunk):
        part = rows[first:first + chunk]
        filled = np.concatenate([part, np.repeat(part[-1:], chunk - len(part), 0)])
        yield compute(np.ascontiguousarray(filled))[:len(part)]


def styles_of(generator, latents, size, truncation_psi, truncation_layers=8):
    """NumPy latents [N, latent] → truncated styles [N, layers, dlatent]."""
    import model
    from backend import jt

    def compute(latents):
        styles = model.broadcast_style(generator.mapping(jt.array(latents)), num_layers(size))
        return model.truncate(styles, generator.w_avg, truncation_psi, truncation_layers).numpy()

    with jt.no_grad():
        return np.concatenate(list(in_chunks(compute, latents, 16)))


def paint(generator, styles, size, alpha=1.0, chunk=16, noise=None, done=None):
    """NumPy styles [N, layers, dlatent] → pictures [N, C, size, size].

    noise: one map per layer for all pictures, by default model.fixed_noise(size). `chunk` pictures
    at a time (fewer above 128), so that a large grid needs no more memory than a small one; after
    each chunk, done(number of pictures) is called.
    """
    import model
    from backend import jt
    noise, images = noise or model.fixed_noise(size), []
    with jt.no_grad():
        for part in in_chunks(lambda styles: generator.synthesis(
                jt.array(styles), noise, size, model.fade(alpha)).numpy(),
                styles, max(1, min(chunk, 2048 // size))):
            images.append(part)
            if done:
                done(len(part))
    return np.concatenate(images)


class Painter:
    """The averaged generator of a file, at its size and alpha; pictures by seed.

    header, arrays: what snapshot.load_any gives for `path`. noise: False for none, else the
    file's own maps, as official files have them, or fixed ones.
    """

    def __init__(self, header, arrays, path, truncation_psi, truncation_layers=8, noise=True):
        from backend import jt
        self.generator = snapshot.make_generator(header, arrays, path)
        self.psi, self.truncation_layers = truncation_psi, truncation_layers
        self.size, self.alpha = header["size"], header["alpha"]
        self.noise = self.done = None
        if not noise:
            self.noise = [None] * num_layers(self.size)
        elif "noise/0" in arrays:
            self.noise = [jt.array(arrays[f"noise/{i}"]) for i in range(num_layers(self.size))]

    def latents(self, seeds):
        """One latent per seed: the same picture for a seed, whatever is beside it."""
        return np.stack([np.random.RandomState(seed).randn(self.generator.config.latent)
                         for seed in seeds]).astype("float32")

    def styles(self, seeds):
        return self.styles_of(self.latents(seeds))

    def styles_of(self, latents):
        return styles_of(self.generator, latents, self.size, self.psi, self.truncation_layers)

    def paint(self, styles):
        return paint(self.generator, styles, self.size, self.alpha, noise=self.noise,
                     done=self.done)

    def levels(self):
        """{"coarse": layer indices, "middle": …, "fine": …}; a small model is split into three."""
        sizes = sizes_to(self.size)
        if self.size < 64:
            thirds = np.array_split(np.arange(2 * len(sizes)), 3)
            return {name: list(layers) for name, layers in zip(LEVELS, thirds)}
        return {name: [2 * i + j for i, s in enumerate(sizes) if low <= s <= high for j in (0, 1)]
                for name, (low, high) in LEVELS.items()}


def mixing_grid(painter, sources, targets, layers):
    """Sources along the top, targets down the side; each picture inside is the target of its row
    with the styles `layers` of the source of its column (Karras et al. 2018, figure 3)."""
    top, side = painter.styles(sources), painter.styles(targets)
    top_images, side_images = painter.paint(top), painter.paint(side)
    blank = np.ones_like(top_images[:1])
    grid = [blank, top_images]
    for row in range(len(side)):
        mixed = np.repeat(side[row:row + 1], len(top), 0)
        mixed[:, layers] = top[:, layers]
        grid += [side_images[row:row + 1], painter.paint(mixed)]
    return np.concatenate(grid)


def interpolation(painter, rows, columns, seed):
    """Each row walks from the latent of one seed to that of the next, along the sphere."""
    ends = painter.latents(range(seed, seed + rows + 1))
    latents = [slerp(ends[r], ends[r + 1], t)
               for r in range(rows) for t in np.linspace(0, 1, columns)]
    return painter.paint(painter.styles_of(np.stack(latents).astype("float32")))


def slerp(a, b, t):
    """From a (t = 0) to b (t = 1) on a great circle, the lengths in proportion."""
    cosine = np.clip(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)), -1, 1)
    angle = np.arccos(cosine)
    if angle < 1e-6:
        return (1 - t) * a + t * b
    return (np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / np.sin(angle)


if __name__ == "__main__":
    run(main)
