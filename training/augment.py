"""Augmentation of all that the discriminator sees, so that few pictures are enough to train on.

ada: Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data", the
transforms "bgc" of its appendix B (pixel blitting, geometry, colour), in the order and with the
constants of its code. Each picture is subject to each of them with probability p, and gradients go
through them. As long as p is not too large, up to 0.7, what they do does not show in generated
pictures (docs/training.md).

diff: Zhao et al. 2020, "Differentiable Augmentation for Data-Efficient GAN Training": colour,
translation and cutout (its appendix), of every picture.
"""
import itertools

import numpy as np

from backend import jt, streams
from backend.warp import Placing, warp

GEOMETRY = ("xflip", "rotate90", "xint", "scale", "rotate", "aniso", "rotate_again", "xfrac")
COLOUR = ("brightness", "contrast", "lumaflip", "hue", "saturation")
# How far they go: shares of the size, and standard deviations.
SHIFT, SHIFT_DEVIATION, SCALE_DEVIATION = 0.125, 0.125, 0.2
BRIGHTNESS_DEVIATION, CONTRAST_DEVIATION, SATURATION_DEVIATION = 0.2, 0.5, 1.0
GREY = np.full((3, 1), 3 ** -0.5)       # the direction of grey, a unit vector


class Draws:
    """The random numbers of a batch, in the order of the transforms: for each its values, then who
    is subject to it."""

    def __init__(self, rng, count):
        self.rng, self.count = rng, count

    def uniform(self, width=1):
        """From 0 to 1, [N, width], or [N] for one."""
        return self.rng.random((self.count, width)[:1 if width == 1 else 2])

    def normal(self, width=1):
        return self.rng.standard_normal((self.count, width)[:1 if width == 1 else 2])

    def chosen(self, p):
        """bool [N]."""
        return self.rng.random(self.count) < p


def matrix(rows):
    """[[number or array [N], …], …] → float64 [N or 1, rows, columns]."""
    flat = np.broadcast_arrays(*(np.atleast_1d(np.asarray(v, "float64")) for row in rows
                                 for v in row))
    return np.stack(flat, -1).reshape(len(flat[0]), len(rows), len(rows[0]))


def scaling(x, y):
    return matrix([[x, 0, 0], [0, y, 0], [0, 0, 1]])


def translation(x, y):
    return matrix([[1, 0, x], [0, 1, y], [0, 0, 1]])


def rotation(angle):
    c, s = np.cos(angle), np.sin(angle)
    return matrix([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def one_geometric(name, draws, p, size):
    """(matrices [N, 3, 3], chosen [N]) of one transform: from a place in what is made to where it
    comes from, in pixels from the centre, y down."""
    if name == "xflip":
        return scaling(1 - 2 * np.floor(draws.uniform() * 2), 1), draws.chosen(p)
    if name == "rotate90":
        return rotation(np.floor(draws.uniform() * 4) * (np.pi / 2)), draws.chosen(p)
    if name == "xint":
        shift = np.round((draws.uniform(2) * 2 - 1) * SHIFT * size)
        return translation(*-shift.T), draws.chosen(p)
    if name == "scale":
        scale = 2 ** (draws.normal() * SCALE_DEVIATION)
        return scaling(1 / scale, 1 / scale), draws.chosen(p)
    if name in ("rotate", "rotate_again"):      # one of the two with p
        angle = (draws.uniform() * 2 - 1) * np.pi
        return rotation(angle), draws.chosen(1 - np.sqrt(1 - min(p, 1)))
    if name == "aniso":
        scale = 2 ** (draws.normal() * SCALE_DEVIATION)
        return scaling(1 / scale, scale), draws.chosen(p)
    shift = draws.normal(2) * SHIFT_DEVIATION * size
    return translation(*-shift.T), draws.chosen(p)


def one_of_colour(name, draws, p):
    """(matrices [N, 4, 4], chosen [N]) of one transform of red, green, blue, 1."""
    found = np.tile(np.eye(4), (draws.count, 1, 1))
    if name == "brightness":
        found[:, :3, 3] = draws.normal()[:, None] * BRIGHTNESS_DEVIATION
    elif name == "contrast":
        found[:, :3, :3] *= 2 ** (draws.normal()[:, None, None] * CONTRAST_DEVIATION)
    elif name == "lumaflip":
        found[:, :3, :3] -= 2 * np.floor(draws.uniform()[:, None, None] * 2) * (GREY @ GREY.T)
    elif name == "hue":                         # Rodrigues' formula about grey
        angle = (draws.uniform()[:, None, None] * 2 - 1) * np.pi
        x, y, z = GREY[:, 0]
        cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        along = GREY @ GREY.T
        found[:, :3, :3] = along + np.cos(angle) * (np.eye(3) - along) + np.sin(angle) * cross
    else:
        along = GREY @ GREY.T
        found[:, :3, :3] = along + (np.eye(3) - along) * 2 ** (
            draws.normal()[:, None, None] * SATURATION_DEVIATION)
    return found, draws.chosen(p)


def premultiplied(colour):
    """What colours become [N, 3, 4] → the same of premultiplied ones and alpha, which stays:
    [N, 4, 5]. All are from -1 to 1; where alpha is -1, nothing changes.
    """
    matrix, added = colour[:, :, :3], colour[:, :, 3]
    sums = matrix.sum(2)
    found = np.zeros((len(colour), 4, 5))
    found[:, :3, :3], found[:, 3, 3] = matrix, 1
    found[:, :3, 3] = (added + 1 - sums) / 2
    found[:, :3, 4] = sums + found[:, :3, 3] - 1
    return found


def draw_placing(draws, p, size, channels, names=GEOMETRY + COLOUR):
    """What is done to each picture of a batch: a Placing."""
    geometry = np.tile(np.eye(3), (draws.count, 1, 1))
    colour = np.tile(np.eye(4), (draws.count, 1, 1))
    for name in GEOMETRY:
        if name in names:
            found, chosen = one_geometric(name, draws, p, size)
            geometry = np.where(chosen[:, None, None], geometry @ found, geometry)
    for name in COLOUR if channels > 1 else COLOUR[:3]:
        if name in names:
            found, chosen = one_of_colour(name, draws, p)
            colour = np.where(chosen[:, None, None], found @ colour, colour)
    colour = colour[:, :3]
    if channels == 1:
        grey = colour.mean(1, keepdims=True)
        colour = np.concatenate([grey[:, :, :3].sum(2, keepdims=True), grey[:, :, 3:]], 2)
    if channels == 4:
        colour = premultiplied(colour)
    return Placing(geometry, colour, size)


def by_diff(rng, batch, images, pictures):
    """DiffAugment of the pictures `images` of a batch: [N, C, S, S] → the same shape."""
    shape = pictures.shape
    size = shape[-1]
    brightness, saturation, contrast = rng.random((3, batch))[:, images].astype("float32")
    reach = size // 8
    shift = rng.integers(-reach, reach + 1, (2, batch))[:, images].astype("int32")
    hole = rng.integers(0, size + 1, (2, batch))[:, images]            # its middle

    def of_each(values):
        return jt.array(values).reshape(-1, 1, 1, 1)

    def away_from(mean, factor):
        return (x - mean) * of_each(factor) + mean

    x, opaque = pictures, jt.ones(1)
    if shape[1] == 4:               # colours times alpha from here on, both from 0 to 1
        opaque = (pictures[:, 3:] + 1) / 2
        x = pictures[:, :3] + (1 - opaque)
    x = x + of_each(brightness - 0.5) * opaque
    x = away_from(x.mean(1, keepdims=True), 2 * saturation) if shape[1] > 1 else x
    mean = x.mean([1, 2, 3], keepdims=True)
    if shape[1] == 4:
        mean = mean / (opaque.mean([1, 2, 3], keepdims=True) + 1e-8) * opaque
    x = away_from(mean, contrast + 0.5)
    if shape[1] == 4:
        x = jt.concat([x - (1 - opaque), pictures[:, 3:]], 1)
    x = x.reindex(shape, ["i0", "i1", "i2+@e0(i0)", "i3+@e1(i0)"],              # zeros outside
                  extras=[jt.array(one) for one in shift])
    far = [np.abs(np.arange(size) + 0.5 - middle[:, None]) > size / 4 for middle in hole]
    return x * jt.array((far[0][:, None, :, None] | far[1][:, None, None, :]).astype("float32"))


class Augmentation:
    """How often pictures are transformed, and the steering of that by D's scores.

    p rises while more of the real pictures have a positive score than the target says, as they do
    when D knows them by heart, and falls while there are fewer (section 3). With the relativistic
    loss those count that are scored above the generated one beside them.
    """

    STEPS = 4                   # between two changes of p

    def __init__(self, s):
        self.kind, self.seed = s["augment"], s["seed"]
        self.target, self.kimg = s["augment_target"], s["augment_kimg"]
        self.steered = self.kind == "ada" and s["augment_p"] is None
        self.p = 0.0 if self.steered else 1.0 if self.kind == "diff" else s["augment_p"]
        # Summed up since p was changed: over steps whose numbers were finite, how many these were,
        # and over so many steps and images in all.
        self.signs, self.sound = jt.zeros(1).stop_grad(), jt.zeros(1).stop_grad()
        self.steps = self.images = 0

    def transforming(self, place, batch, images):
        """A function that transforms the pictures `images` (indices) of a batch, anew each time.

        place: numbers that say for what, in a run. A picture's transform is the same however the
        batch is divided.
        """
        calls = itertools.count()

        def transform(pictures):
            call = next(calls)
            if not self.p:
                return pictures
            rng = streams.rng("augment", self.seed, *place, call)
            if self.kind == "diff":
                return by_diff(rng, batch, images, pictures)
            _, channels, size, _ = pictures.shape
            placing = draw_placing(Draws(rng, batch), self.p, size, channels)
            return warp(pictures, placing.part(images))

        return transform

    def steer(self, sign, sound, batch):
        """Count a step: sign is its score_sign (see Training.step), sound 0 where its numbers were
        not finite; both Vars."""
        if not self.steered:
            return
        self.signs.update(self.signs + jt.ternary(sound > 0, sign, jt.zeros(1)))
        self.sound.update(self.sound + sound)
        self.steps, self.images = self.steps + 1, self.images + batch
        if self.steps == self.STEPS:
            if sound := self.sound.item():
                above = self.signs.item() / sound - self.target
                self.p = max(0.0, self.p + np.sign(above) * self.images / (1000 * self.kimg))
            self.signs.update(jt.zeros(1))
            self.sound.update(jt.zeros(1))
            self.steps = self.images = 0

    def state(self):
        return {"augmentation": np.array([self.p, self.signs.item(), self.sound.item(), self.steps,
                                          self.images])}

    def restore(self, arrays, before):
        """Go on with p where it was steered; before: the settings that `arrays` were saved with."""
        if not self.steered or before.get("augment") != "ada" or before["augment_p"] is not None:
            return
        self.p, signs, sound, steps, images = arrays["augmentation"]
        self.signs.assign(np.array([signs], "float32"))
        self.sound.assign(np.array([sound], "float32"))
        self.steps, self.images = int(steps), int(images)
