"""Perceptual path length: how much pictures change along the way between two latents.

Karras et al. 2018, section 4.1, over whole paths ("full"): LPIPS distances of pictures ε apart,
divided by ε²; the mean without the largest and the smallest hundredth. Pictures above 256 are
halved until they are 256.
"""
import numpy as np

from painter import latents_of, paint, slerp, styles_of

EPSILON = 1e-4
AT_ONCE = 16


def path_length(network, generator, size, alpha, space, count, seed=0, done=None):
    """network: an LPIPS; space: "z" or "w". A float; no truncation, one set of noise maps."""
    distances = []
    for first in range(0, count, AT_ONCE):
        seeds = range(seed + first, seed + min(first + AT_ONCE, count))
        distances.extend(segments(network, generator, size, alpha, space, seeds))
        if done:
            done(len(seeds))
    low, high = np.quantile(distances, [0.01, 0.99])
    kept = [d for d in distances if low <= d <= high]
    return float(np.mean(kept))


def segments(network, generator, size, alpha, space, seeds):
    """One LPIPS distance ÷ ε² for each seed."""
    from backend import jt
    length = generator.config.latent
    t = np.array([np.random.default_rng([5, seed]).random() for seed in seeds])[:, None]
    a, b = latents_of(seeds, length), latents_of([2 ** 31 + seed for seed in seeds], length)
    if space == "z":
        ends = [slerp(a, b, t), slerp(a, b, t + EPSILON)]
        styles = [styles_of(generator, z.astype("float32"), size, 1) for z in ends]
    else:
        first, last = (styles_of(generator, z, size, 1).astype("float64") for z in (a, b))
        styles = [(first + (last - first) * x[..., None]).astype("float32")
                  for x in (t, t + EPSILON)]
    images = paint(generator, np.concatenate(styles), size, alpha)
    while images.shape[-1] > 256:
        n, c, h, w = images.shape
        images = images.reshape(n, c, h // 2, 2, w // 2, 2).mean((3, 5))
    with jt.no_grad():
        one, other = (network.features(jt.array(x)) for x in np.split(images, 2))
        return network.distance(one, other).numpy() / EPSILON ** 2
