"""The style and noise with which a generator paints a picture most nearly.

With the schedule of Karras et al. 2019 ("Analyzing and Improving the Image Quality of StyleGAN",
appendix D).
"""
import contextlib
import sys

import numpy as np
from PIL import Image

from backend import streams
from backend.errors import UserError
from backend.pixels import flat, of_picture, upright
from dataset import to_float
from networks.config import num_layers, sizes_to
from pictures.grid import to_pixels
from pictures.painter import latents_of, paint, random_noise, styles_of
from pictures.reading import make_square, open_picture

STEPS, LEARNING_RATE = 1000, 0.1
RAMP_UP, RAMP_DOWN, NOISE_UNTIL = 0.05, 0.25, 0.75      # of the steps
STYLE_NOISE, REGULARIZE_NOISE = 0.05, 1e5
SAMPLES = 1000                  # of w, for its mean and deviation; the paper has 10,000


class Projection:
    """Style and noise of `target` [C, size, size], from the mean style on, as in the paper.

    space: "w", one style for all layers, or "w+", one for each. label: the class whose mean style
    it is, by default that of all.
    """

    def __init__(self, generator, size, alpha, target, space, steps, network, seed, label=None):
        from backend import jt
        self.generator, self.size, self.alpha, self.network = generator, size, alpha, network
        self.steps, self.rng = steps, streams.rng("projection", seed)
        latents = latents_of(range(2 ** 31 + seed, 2 ** 31 + seed + SAMPLES), generator.config,
                             label)
        w = styles_of(generator, latents, size, 1)[:, 0]
        self.deviation = float(np.sqrt(((w - w.mean(0)) ** 2).sum() / len(w)))
        self.target = jt.array(target[None]).stop_grad()
        self.pyramid = pyramid(self.target)
        self.features = network and network.features(self.target)
        layers = num_layers(size) if space == "w+" else 1
        self.w = jt.array(w.mean(0)[None, None].repeat(layers, 1))
        self.noise = [jt.array(n) for n in random_noise([seed], size, generator.config.arch)]
        self.parameters = [self.w, *self.noise]
        self.moments = [[jt.zeros(p.shape).stop_grad() for p in self.parameters] for _ in range(2)]

    def styles(self, w):
        return w.expand(w.shape[0], num_layers(self.size), w.shape[2])

    def error(self, image):
        """How far an image [1, C, size, size] is from the target, Var [1]."""
        error = ((image - self.target) ** 2).mean((1, 2, 3))
        for level, wanted in zip(pyramid(image), self.pyramid):
            error = error + (level - wanted).abs().mean((1, 2, 3))
        if self.network:
            error = error + self.network.distance(self.network.features(image), self.features)
        return error

    def step(self, step):
        """One step of Adam; the loss before it, without the noise's."""
        from backend import jt
        from networks.inputs import fade
        t = step / self.steps
        ramp = min(1.0, (1 - t) / RAMP_DOWN)
        ramp = (0.5 - 0.5 * np.cos(ramp * np.pi)) * min(1.0, t / RAMP_UP)
        strength = self.deviation * STYLE_NOISE * max(0.0, 1 - t / NOISE_UNTIL) ** 2
        moved = self.w + jt.array(self.rng.standard_normal(self.w.shape, "float32")) * strength
        images = self.generator.synthesis(self.styles(moved), self.noise, self.size,
                                          fade(self.alpha))
        error = self.error(images)
        loss = error + REGULARIZE_NOISE * sum(map(correlation, self.noise))
        gradients = jt.grad(loss, self.parameters)
        self.adam(gradients, LEARNING_RATE * ramp, step + 1)
        jt.sync_all()
        return error.item()

    def adam(self, gradients, lr, count):
        """Adam with β 0.9 and 0.999; then noise has mean 0 and deviation 1 again."""
        from backend import jt
        for i, (p, g, m, v) in enumerate(zip(self.parameters, gradients, *self.moments)):
            m.update(m * 0.9 + g * 0.1)
            v.update(v * 0.999 + g * g * 0.001)
            size = lr * np.sqrt(1 - 0.999 ** count) / (1 - 0.9 ** count)
            new = p.detach() - m * float(size) / (jt.sqrt(v) + 1e-8)
            if i:
                new = new - new.mean((2, 3), keepdims=True)
                new = new * jt.rsqrt((new * new).mean((2, 3), keepdims=True))
            p.update(new)
            p.start_grad()

    def result(self, chunk=None):
        """(NumPy picture, NumPy styles [1, layers, dlatent], noise maps [1, 1, h, h]). chunk: as of
        painter.paint."""
        styles, noise = self.styles(self.w).numpy(), [n.detach() for n in self.noise]
        return paint(self.generator, styles, self.size, self.alpha, chunk, noise)[0], styles, noise


def pyramid(images):
    """Laplacian pyramid of Vars with 2×2 means: what each halving loses, and the rest at 4."""
    from networks.layers import downsample, upsample
    levels = []
    for _ in sizes_to(images.shape[-1])[1:]:
        smaller = downsample(images)
        levels.append(images - upsample(smaller))
        images = smaller
    return [*levels, images]


def correlation(noise):
    """How much neighbours in maps [N, 1, h, h] are alike, at every size from 8 on (appendix D)."""
    from networks.layers import downsample
    total = 0
    while True:
        for axis in (2, 3):
            total = total + (noise * rolled(noise, axis)).mean((1, 2, 3)) ** 2
        if noise.shape[-1] <= 8:
            return total.sum()
        noise = downsample(noise) * 2


def rolled(x, axis):
    """By one along an axis, the last becoming the first."""
    from backend import jt
    if axis == 2:
        return jt.concat([x[:, :, -1:], x[:, :, :-1]], 2)
    return jt.concat([x[:, :, :, -1:], x[:, :, :, :-1]], 3)


def psnr(image, target):
    """Of two float pictures [C, H, W], in dB, as 8 bits."""
    one, other = (to_pixels(x[None]).astype("float64") for x in (image, target))
    return 10 * np.log10(255 ** 2 / max(((one - other) ** 2).mean(), 1e-10))


def read_picture(path, size, channels):
    """float32 [C, size, size] in [-1, 1]: the middle square of any picture, of a path or of Pillow.
    """
    try:
        with contextlib.nullcontext(path) if isinstance(path, Image.Image) else \
                open_picture(path) as opened:
            picture = upright(opened)
            picture = picture.convert("RGBA") if channels == 4 else flat(picture)
            picture = make_square(picture, "crop", None)
    except Exception as error:          # Pillow raises many kinds for broken files
        raise UserError(f"{path}: not a picture that can be read "
                        f"({getattr(error, 'strerror', None) or error})") from None
    if picture.size != (size, size) and not isinstance(path, Image.Image):
        print(f"note: {path} is made {size}×{size}, from {picture.size[0]}×{picture.size[1]} in "
              "its middle", file=sys.stderr)
    picture = picture.resize((size, size), Image.LANCZOS)
    return np.ascontiguousarray(to_float(of_picture(picture, channels)))
