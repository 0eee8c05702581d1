"""Pictures from a trained generator: a sample grid, style-mixing grids and an interpolation grid.

    python generate.py checkpoint/FFHQ_80000.model

Writes PNGs into sample/<name of the checkpoint>/. Everything about the network is in the file.
"""
import os

import numpy as np

import snapshot
from cli import Parser, UserError, add_device_argument, bring_up, run
from config import num_layers, sizes_to
from grid import make_grid, save_png

# Layers as in figure 3 of the paper, by the sizes that they paint.
LEVELS = {"coarse": (4, 8), "middle": (16, 32), "fine": (64, 1024)}


def main(argv=None):
    args = parse_arguments(argv)
    loaded = snapshot.load(args.checkpoint)     # a wrong file is named before Jittor starts
    out = args.out or os.path.join("sample", os.path.splitext(os.path.basename(args.checkpoint))[0])
    try:
        os.makedirs(out, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {out}: {error.strerror}") from None

    bring_up(args.device)
    painter = Painter(snapshot.make_generator(*loaded, args.checkpoint), loaded[0],
                      args.truncation_psi)
    rows, columns, seed = args.n_row, args.n_col, args.seed
    cell = max(painter.size, 64)
    written = []

    def write(name, picture):
        path = os.path.join(out, name)
        save_png(picture, path)
        written.append(path)

    images = painter.paint(painter.styles(range(seed, seed + rows * columns)))
    write("samples.png", make_grid(images, columns, cell))
    for level, layers in painter.levels().items():
        grid = mixing_grid(painter, range(seed, seed + columns),
                           range(seed + columns, seed + columns + rows), layers)
        write(f"mixing_{level}.png", make_grid(grid, columns + 1, cell))
    walk = interpolation(painter, rows, columns, seed)
    write("interpolation.png", make_grid(walk, columns, cell))

    last = seed + rows * columns - 1
    print(f"{args.checkpoint}: size {painter.size}, {painter.header['images_seen']:,} images seen; "
          f"seeds {seed} to {last}, truncation_psi {args.truncation_psi:g}")
    for path in written:
        print(f"  {path}")
    return 0


def parse_arguments(argv):
    parser = Parser(description=__doc__)
    parser.add_argument("checkpoint", help="a .model file that train.py wrote")
    parser.add_argument("--n_row", type=int, default=4, help="rows of each grid (default 4)")
    parser.add_argument("--n_col", type=int, default=8, help="columns of each grid (default 8)")
    parser.add_argument("--seed", type=int, default=0,
                        help="seed of the first picture; the next have seed + 1, … (default 0)")
    parser.add_argument("--truncation_psi", type=float, default=0.7,
                        help="0: the mean picture, 1: no truncation; applies to the first 8 "
                        "layers (default 0.7)")
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
    """NumPy latents [N, latent] → truncated styles [N, layers, latent]."""
    import model
    from backend import jt
    with jt.no_grad():
        w = generator.mapping(jt.array(np.ascontiguousarray(latents)))
        styles = model.broadcast_style(w, num_layers(size))
        return model.truncate(styles, generator.w_avg, truncation_psi).numpy()


def paint(generator, styles, size, alpha=1.0, chunk=16):
    """NumPy styles [N, layers, latent] → pictures [N, C, size, size], with one fixed noise.

    At most `chunk` at a time, so that a large grid needs no more memory than a small one.
    """
    import model
    from backend import jt
    noise, images = model.fixed_noise(size), []
    with jt.no_grad():
        for start in range(0, len(styles), chunk):
            part = jt.array(np.ascontiguousarray(styles[start:start + chunk]))
            images.append(generator.synthesis(part, noise, size, model.fade(alpha)).numpy())
    return np.concatenate(images)


class Painter:
    """A generator with the size, alpha and truncation that it paints at; pictures by seed."""

    def __init__(self, generator, header, truncation_psi):
        self.generator, self.header, self.psi = generator, header, truncation_psi
        self.size, self.alpha = header["size"], header["alpha"]

    def latents(self, seeds):
        """One latent per seed: the same picture for a seed, whatever is beside it."""
        return np.stack([np.random.RandomState(seed).randn(self.generator.config.latent)
                         for seed in seeds]).astype("float32")

    def styles(self, seeds):
        return self.styles_of(self.latents(seeds))

    def styles_of(self, latents):
        return styles_of(self.generator, latents, self.size, self.psi)

    def paint(self, styles):
        return paint(self.generator, styles, self.size, self.alpha)

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
