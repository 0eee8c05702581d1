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
    painter = Painter(header, arrays, args.checkpoint, args.truncation_psi)
    written = []
    total = args.n_row * args.n_col * 5 + 3 * (args.n_row + args.n_col)
    with tqdm(total=total, unit="picture", delay=5) as bar:
        for name, picture in grids(painter, args.n_row, args.n_col, args.seed, bar):
            path = os.path.join(out, name)
            save_png(picture, path)
            written.append(path)
    last = args.seed + args.n_row * args.n_col - 1
    print(f"{args.checkpoint}: size {painter.size}, {snapshot.source(header)}; "
          f"seeds {args.seed} to {last}, truncation_psi {args.truncation_psi:g}")
    for path in written:
        print(f"  {path}")
    return 0


def grids(painter, rows, columns, seed, bar):
    """Yields (file name, PIL picture) of each grid."""
    painter.done = bar.update
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
    parser.add_argument("--truncation_psi", type=float, default=0.7,
                        help="0: the mean picture, 1: no truncation; applies to the first 8 "
                        "layers (default 0.7)")
    parser.add_argument("--size", type=size_argument, help="of other projects' weights: size in "
                        "pixels to which they were trained (default: the largest they have layers "
                        "for)")
    parser.add_argument("--out", help="folder for the PNGs (default sample/<checkpoint's name>)")
    add_device_argument(parser)
    args = parser.parse_args(argv)
    for flag in ("n_row", "n_col"):
        if getattr(args, flag) < 1:
            parser.error(f"--{flag}: found {getattr(args, flag)}, wanted 1 or more")
    if args.seed < 0:
        parser.error(f"--seed: found {args.seed}, wanted 0 or more")
    return args


def styles_of(generator, latents, size, truncation_psi):
    """NumPy latents [N, latent] → truncated styles [N, layers, dlatent]."""
    import model
    from backend import jt
    with jt.no_grad():
        w = generator.mapping(jt.array(np.ascontiguousarray(latents)))
        styles = model.broadcast_style(w, num_layers(size))
        return model.truncate(styles, generator.w_avg, truncation_psi).numpy()


def paint(generator, styles, size, alpha=1.0, chunk=16, noise=None, done=None):
    """NumPy styles [N, layers, dlatent] → pictures [N, C, size, size].

    noise: one map per layer for all pictures, by default model.fixed_noise(size). At most `chunk`
    pictures at a time (fewer above 128), so that a large grid needs no more memory than a small
    one; after each chunk, done(number of pictures) is called.
    """
    import model
    from backend import jt
    noise, images = noise or model.fixed_noise(size), []
    chunk = max(1, min(chunk, 2048 // size))
    with jt.no_grad():
        for start in range(0, len(styles), chunk):
            part = jt.array(np.ascontiguousarray(styles[start:start + chunk]))
            images.append(generator.synthesis(part, noise, size, model.fade(alpha)).numpy())
            if done:
                done(len(images[-1]))
    return np.concatenate(images)


class Painter:
    """The averaged generator of a file, at its size and alpha; pictures by seed.

    header, arrays: what snapshot.load_any gives for `path`. noise: False for none, else the
    file's own maps, as official files have them, or fixed ones.
    """

    def __init__(self, header, arrays, path, truncation_psi, noise=True):
        from backend import jt
        self.generator, self.psi = snapshot.make_generator(header, arrays, path), truncation_psi
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
        return styles_of(self.generator, latents, self.size, self.psi)

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
