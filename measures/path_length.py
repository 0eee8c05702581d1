"""Perceptual path length: how much pictures change along the way between two latents.

Karras et al. 2018, section 4.1, over whole paths ("full"): LPIPS distances of pictures ε apart,
divided by ε²; the mean without the largest and the smallest hundredth. As in the official code,
noise maps are drawn anew for every 16 paths, and pictures above 256 are averaged down to 256; of
aligned faces it takes the part around the face (`crop`).
"""
import math

import numpy as np

from backend import streams
from pictures.painter import latents_of, paint, random_noise, slerp, styles_of

EPSILON = 1e-4
AT_ONCE = 16


def path_length(network, generator, size, alpha, space, count, seed=0, crop=False, done=None):
    """network: an LPIPS; space: "z" or "w"; crop: the part that faces are in. A float; no
    truncation."""
    distances = []
    for first in range(0, count, AT_ONCE):
        seeds = range(seed + first, seed + min(first + AT_ONCE, count))
        distances.extend(segments(network, generator, size, alpha, space, seeds, crop))
        if done:
            done(len(seeds))
    distances.sort()
    last = len(distances) - 1
    return float(np.mean(distances[math.floor(0.01 * last):math.ceil(0.99 * last) + 1]))


def segments(network, generator, size, alpha, space, seeds, crop):
    """One LPIPS distance ÷ ε² for each seed."""
    from backend import jt
    config = generator.config
    t = np.array([streams.rng("path", seed).random() for seed in seeds])[:, None]
    a, b = latents_of(seeds, config), latents_of([2 ** 31 + seed for seed in seeds], config)
    b[:, config.latent:] = a[:, config.latent:]                 # a way within one class
    if space == "z":
        ends = [np.concatenate([slerp(a[:, :config.latent], b[:, :config.latent], x),
                                a[:, config.latent:]], 1) for x in (t, t + EPSILON)]
        styles = [styles_of(generator, z.astype("float32"), size, 1) for z in ends]
    else:
        first, last = (styles_of(generator, z, size, 1).astype("float64") for z in (a, b))
        styles = [(first + (last - first) * x[..., None]).astype("float32")
                  for x in (t, t + EPSILON)]
    noise = random_noise([2 ** 32 + seeds[0]], size, generator.config.arch)
    noise = [jt.array(m) for m in noise]
    images = paint(generator, np.concatenate(styles), size, alpha, noise=noise)
    if crop:
        images = face(images)
    while images.shape[-1] > 256:
        n, c, h, w = images.shape
        images = images.reshape(n, c, h // 2, 2, w // 2, 2).mean((3, 5))
    with jt.no_grad():
        one, other = (network.features(jt.array(x)) for x in np.split(images, 2))
        return network.distance(one, other).numpy() / EPSILON ** 2


def face(images):
    """[N, C, H, W] → [N, C, H/2, W/2], where the faces of aligned pictures are."""
    eighth = images.shape[-1] // 8
    return images[:, :, 3 * eighth:7 * eighth, 2 * eighth:6 * eighth]
