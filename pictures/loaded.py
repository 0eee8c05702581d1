"""A trained generator in a few words: what model.load gives."""
import os

import numpy as np

from backend.errors import UserError
from cli import MOST_SEED
from networks.config import noise_sides, num_layers, sizes_to
from pictures.directions import Direction, load
from pictures.grid import make_grid, single
from pictures.painter import NOISES, Painter, levels
from pictures.projection import STEPS, Projection, read_picture
from pictures.search import Search
from weights import snapshot


class Generator:
    """The averaged generator of a file, at the size that it was trained to.

    size: of its pictures, in pixels; layers: how many styles a picture has, two for each size from
    4 on; classes: their names where it has labels. `painter` is the pictures.painter.Painter that
    does the work, `painter.generator` the network.
    """

    def __init__(self, path, size=None):
        self.path = path = os.fspath(path)
        if size not in (None, *sizes_to(1024)):
            raise UserError(f"size: found {size}, wanted a power of two from 4 to 1024")
        self.header, arrays = snapshot.load_any(path, size)
        snapshot.say_guess(self.header, path)
        snapshot.check_channels(self.header, path)
        self.painter = Painter(self.header, arrays, path, truncation_psi=0.7)
        self.size, self.layers = self.painter.size, num_layers(self.painter.size)
        self.classes = self.header.get("classes", [])

    def styles(self, seeds, truncation_psi=0.7, label=None):
        """float32 [N, layers, dlatent]: a style for each seed and layer. label: the name or number
        of a class, of a network that has some; by default each seed draws one."""
        return self.painter.styles_of(self.painter.latents(listed(seeds), self.number_of(label)),
                                      truncation_psi)

    def number_of(self, label):
        return label if label is None else snapshot.label_of(str(label), self.header, self.path)

    def arrays_of(self, seeds=None, *, w=None, truncation_psi=None, label=None, noise="const"):
        """float32 [N, C, size, size] in about [-1, 1]: pictures of seeds, or of styles `w`.

        truncation_psi (default 0.7) and label are of seeds. noise: "const", one set of maps for
        all, "random", maps of each picture's own, "none", or a list of maps [1, 1, h, h].
        """
        if (seeds is None) == (w is None):
            raise UserError("type seeds, such as range(8), or w=styles")
        if w is not None and not (truncation_psi is None and label is None):
            raise UserError("truncation_psi and label are of seeds, w has its styles already: "
                            "leave them out")
        if w is None:
            seeds = listed(seeds)
            w = self.styles(seeds, 0.7 if truncation_psi is None else truncation_psi, label)
        w = self.checked(w)
        if len(w.shape) != 3 or not len(w):
            raise UserError(f"w: found shape {w.shape}, wanted one picture or more")
        if isinstance(noise, str):
            if noise not in NOISES:
                raise UserError(f"noise: found {noise}, wanted one of {', '.join(NOISES)}")
            return self.painter.paint(w, seeds, noise)
        noise = [np.asarray(one, "float32") for one in noise]
        shapes = [(1, s, s) for s in noise_sides(self.size, self.painter.arch)]
        if [one.shape[1:] for one in noise] != shapes or {len(one) for one in noise} != {1}:
            raise UserError(f"noise: wanted {len(shapes)} maps, from (1, 1, {shapes[0][1]}, "
                            f"{shapes[0][1]}) to (1, 1, {self.size}, {self.size})")
        return self.painter.paint(w, seeds, noise)

    def checked(self, w):
        """Styles as float32 [… layers, dlatent]."""
        w = np.asarray(w, "float32")
        wanted = self.layers, self.painter.generator.config.dlatent
        if w.shape[-2:] != wanted:
            raise UserError(f"w: found shape {w.shape}, wanted (pictures, {wanted[0]}, "
                            f"{wanted[1]})")
        if not np.isfinite(w).all():
            raise UserError("w: has numbers that are not finite")
        return w

    def pictures(self, seeds=None, **how):
        """A list of PIL pictures; the arguments are those of arrays_of."""
        return [single(image) for image in self.arrays_of(seeds, **how)]

    def grid(self, seeds=None, columns=8, scale=None, **how):
        """One PIL picture of all, row by row, each `scale` times as large (by default 64 pixels or
        more)."""
        if columns < 1:
            raise UserError(f"columns: found {columns}, wanted 1 or more")
        images = self.arrays_of(seeds, **how)
        return make_grid(images, min(columns, len(images)),
                         self.size * scale if scale else max(64, self.size))

    def mix(self, w, other, layers="coarse"):
        """The styles `w` with those layers of `other`: "coarse", "middle", "fine", or numbers."""
        if isinstance(layers, str):
            if layers not in levels(self.size):
                raise UserError(f"layers: found {layers}, wanted one of "
                                f"{', '.join(levels(self.size))}, or numbers")
            layers = levels(self.size)[layers]
        layers = listed(layers)
        if not {*layers} <= {*range(self.layers)}:
            raise UserError(f"layers: found {layers}, wanted numbers from 0 to {self.layers - 1}")
        w, other = np.broadcast_arrays(self.checked(w), self.checked(other))
        mixed = w.copy()
        mixed[..., layers, :] = other[..., layers, :]
        return mixed

    def directions(self, count=8, seed=0):
        """{name: Direction}: the principal components of w and the factorised style layers, as
        directions.py finds them."""
        check_seed(seed)
        search = Search(self.painter, count, seed)
        return {one.name: one for one, _ in search.pca() + search.sefa()}

    def direction(self, text):
        """The Direction that FILE.npz:NAME says, of a file that directions.py wrote."""
        return load(os.fspath(text), self.header)

    @staticmethod
    def move(w, direction: Direction, amount):
        """The styles `w`, so many standard deviations further along a direction."""
        if not isinstance(direction, Direction):
            raise UserError(f"direction: found {direction!r}, wanted one of G.directions(), such "
                            "as G.directions()['pca1']")
        if direction.layers.shape + direction.vector.shape != w.shape[-2:]:
            raise UserError("direction: found one of another network")
        return w + direction.shift(amount)

    def project(self, picture, steps=STEPS, space="w", seed=0, label=None,
                done=lambda step: None):
        """(styles [1, layers, dlatent], list of noise maps) with which `picture`, a path or a PIL
        picture, is painted most nearly: self.pictures(w=styles, noise=maps). space: "w" or "w+",
        one style for all layers or one for each; done: called after each step."""
        if space not in ("w", "w+"):
            raise UserError(f"space: found {space}, wanted w or w+")
        check_seed(seed)
        target = read_picture(picture, self.size, self.painter.generator.config.channels)
        projection = Projection(self.painter.generator, self.size, self.painter.alpha, target,
                                space, steps, None, seed, self.number_of(label))
        for step in range(steps):
            projection.step(step)
            done(step)
        _, styles, noise = projection.result()
        return styles, [n.numpy() for n in noise]


def check_seed(seed):
    if not isinstance(seed, (int, np.integer)) or not 0 <= seed <= MOST_SEED:
        raise UserError(f"seed: found {seed!r}, wanted a whole number from 0 to {MOST_SEED:,}")


def listed(numbers):
    """Seeds or layers as a list, of one number too. Raises UserError where there are none."""
    found = [numbers] if np.isscalar(numbers) else list(numbers)
    if not found:
        raise UserError("found no numbers, wanted some, such as range(8)")
    for one in found:
        if not isinstance(one, (int, np.integer)) or not 0 <= one < 2 ** 32:
            raise UserError(f"found {one!r}, wanted whole numbers from 0, such as range(8)")
    return found
