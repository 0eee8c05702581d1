"""What check_golden.py --ada compares: the augmentation pipe of stylegan2-ada-pytorch.

Inputs images and dy [N, C, S, S], percentiles and Hz_…, and of each random_ p and its draws in the
order of the pipe, value, then gate. Outputs, of <transform>_<q>, bgc_<q> (all of them) and
random<i>: _out, and _grad = d sum(out · dy) / d images, of the first pictures. With <q>, what is
uniform is q, what is normal the inverse error function of 2 q − 1, every transform takes place, and
of the two rotations only the first.
"""
import re
from statistics import NormalDist

import numpy as np

OUTPUTS, GRADIENTS = 1e-5, 5e-5


class Percentile:
    """As training.augment.Draws, with nothing left to chance."""

    def __init__(self, q, count):
        self.q, self.count = q, count

    def uniform(self, width=1):
        return np.full((self.count, width)[:1 if width == 1 else 2], self.q)

    def normal(self, width=1):
        return self.uniform(width) * 0 + NormalDist().inv_cdf(self.q) / 2 ** 0.5

    def chosen(self, p):
        return np.ones(self.count, bool)


class Recorded:
    """As training.augment.Draws, with what was drawn before."""

    def __init__(self, draws):
        self.count, self.draws = len(draws[0]), iter(draws)

    def uniform(self, width=1):
        return next(self.draws).astype("float64").reshape((self.count, width)[:1 if width == 1
                                                                             else 2])

    normal = uniform

    def chosen(self, p):
        return next(self.draws).reshape(-1) < p


class Augmented:
    def __init__(self, golden):
        self.golden = golden

    def make_networks(self):
        from backend import jt
        self.images, self.dy = (jt.array(self.golden[name]) for name in ("images", "dy"))

    def compute(self, name):
        """(array, bound); ("input", 0) for what is no output, (None, 0) for what is not known."""
        if re.fullmatch(r"images|dy|percentiles|Hz_\w+|random\d+_(p|draw.*)", name):
            return "input", 0
        found = re.fullmatch(r"(\w+?)(?:_([\d.]+))?_(out|grad)", name)
        placing = found and self.placing(*found.groups()[:2])
        if placing is None:
            return None, 0
        from backend import jt
        from backend.warp import warp
        y = warp(self.images, placing)
        if found[3] == "out":
            return y.numpy(), OUTPUTS
        dx = jt.grad((y * self.dy).sum(), self.images)
        return dx.numpy()[:len(self.golden[name])], GRADIENTS

    def placing(self, kind, q):
        from training.augment import COLOUR, GEOMETRY, draw_placing
        count, channels, size, _ = self.images.shape
        names = tuple(name for name in GEOMETRY + COLOUR if name != "rotate_again")
        if q and kind != "bgc" and kind not in names or not q and f"{kind}_p" not in self.golden:
            return None
        if q:
            names = names if kind == "bgc" else (kind,)
            return draw_placing(Percentile(float(q), count), 1.0, size, channels, names)
        draws = [self.golden[name] for name in sorted(self.golden)
                 if re.fullmatch(kind + r"_draw\d+", name)]
        return draw_placing(Recorded(draws), float(self.golden[f"{kind}_p"]), size, channels)
