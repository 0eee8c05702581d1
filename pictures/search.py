"""Finds the directions along which the pictures of a generator can be steered."""
import re

import numpy as np

from networks.config import num_layers
from pictures import directions, figures
from pictures.grid import to_pixels
from pictures.painter import at_once, levels

CANDIDATES, COMPARED = 2, 16    # looked at for each that is kept; pictures that decide which
FEWEST = 20                     # pictures that have an attribute, and that have not
FEATURE_PICTURES, MOVED = 4000, 64


class Search:
    """Finds Directions in w of a Painter's generator: [(Direction, what to say of it)].

    count: how many of a kind are kept.
    """

    def __init__(self, painter, count, seed, samples=10_000):
        self.painter, self.count, self.seed = painter, count, seed
        self.seeds = range(seed, seed + samples)
        self.w = np.concatenate([self.of_seeds(self.seeds[first:first + 1000])
                                 for first in range(0, samples, 1000)])
        self.covariance = np.cov(self.w.T.astype("float64")).reshape(2 * (self.w.shape[1],))
        self.layers = num_layers(painter.size)
        self.example = painter.styles([seed])

    def of_seeds(self, seeds):
        """w [N, dlatent], without truncation."""
        return self.painter.styles_of(self.painter.latents(seeds), psi=1)[:, 0].copy()

    def direction(self, name, vector, layers=None):
        moved = np.isin(np.arange(self.layers), range(self.layers) if layers is None else layers)
        return directions.Direction(name, vector.astype("float32"),
                                    directions.deviation(self.w, vector), moved)

    def changes(self, direction):
        """How much pictures change from -2 to 2 sigma: the mean over pixels, of 255."""
        seeds = self.seeds[:COMPARED]
        styles = self.painter.styles(seeds)
        two = figures.along(self.painter, styles, seeds, direction, (-2, 2))
        return float(np.abs(two[::2].clip(-1, 1) - two[1::2].clip(-1, 1)).mean() * 127.5)

    def strongest(self, kind, vectors, layers=None):
        """The `count` that change pictures most, of the first few vectors."""
        some = [self.direction("", vector, layers) for vector in vectors[:CANDIDATES * self.count]]
        changes = [self.changes(one) for one in some]
        order = np.argsort(changes)[::-1][:self.count]
        return [(some[i]._replace(name=f"{kind}{place}"),
                 f"changes pictures by {changes[i]:.1f} of 255 from -2 to 2 sigma")
                for place, i in enumerate(order, 1)]

    def pca(self):
        return self.strongest("pca", directions.principal_components(self.w))

    def sefa(self):
        weights, found = directions.style_weights(self.painter.generator), []
        for name, layers in {"all": range(self.layers), **levels(self.painter.size)}.items():
            some = [weights[layer] for layer in layers if layer in weights]
            if some:
                found += self.strongest(f"sefa_{name}", directions.factorised(some), layers)
        return found

    def marked(self, name, those_with, those_without):
        w = self.of_seeds([*those_with, *those_without])
        has = np.arange(len(w)) < len(those_with)
        vector = directions.between_groups(w, has, self.covariance)
        # Each left out once, and told by the others.
        right = [directions.between_groups(np.delete(w, i, 0), np.delete(has, i), self.covariance)
                 for i in range(len(w))]
        told = []
        for i, other in enumerate(right):
            rest, known = np.delete(w, i, 0) @ other, np.delete(has, i)
            told.append((w[i] @ other > (rest[known].mean() + rest[~known].mean()) / 2) == has[i])
        share = (np.mean(np.array(told)[has]) + np.mean(np.array(told)[~has])) / 2
        return (self.direction(name, vector),
                f"tells {share:.0%} of {len(w)} marked seeds right, each by the others (chance: "
                "50%)")

    def seen(self, parts, styles):
        """What an Attributes sees in the pictures of styles: values, int [N, attributes]."""
        found, chunk = [], at_once(self.painter.size)
        for first in range(0, len(styles), chunk):
            images = self.painter.paint(styles[first:first + chunk])
            pixels = to_pixels(images).transpose(0, 3, 1, 2)[:, :images.shape[1]]
            found.append(parts.look(pixels)[1])
        return np.concatenate(found)

    def attributes(self, parts):
        """One for each value of an attribute that enough generated pictures have and have not.

        Half of them decide the direction, the other half how well it tells.
        """
        count = min(FEATURE_PICTURES, len(self.seeds))
        styles = np.broadcast_to(self.w[:count, None], (count, self.layers, self.w.shape[1]))
        seen, half, found = self.seen(parts, styles), count // 2, []
        for place, (attribute, values) in enumerate(parts.attributes.items()):
            for number, value in enumerate(values):
                has = seen[:, place] == number
                if min(has[:half].sum(), (~has[:half]).sum(), has[half:].sum(),
                       (~has[half:]).sum()) < FEWEST:
                    continue
                vector = directions.between_groups(self.w[:half], has[:half], self.covariance)
                share = directions.accuracy(self.w[half:count], has[half:], vector)
                name = re.sub(r"[^\w=.+-]", "_", f"{attribute}={value}")
                one = self.direction(name, vector)
                moved = styles[half:][~has[half:]][:MOVED] + one.shift(3)
                after = (self.seen(parts, moved)[:, place] == number).mean()
                found.append((share, one, f"tells {share:.0%} of pictures right (chance: 50%); "
                              f"{has.mean():.0%} have it, and {after:.0%} of the others when moved "
                              "by 3 sigma"))
        return [(one, what) for _, one, what in sorted(found, key=lambda each: -each[0])]
