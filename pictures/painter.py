"""Pictures from a generator, by seed, latent or style: what every command that paints shares."""
import numpy as np

from backend import streams
from networks.config import fixed_noise, noise_sides, num_layers, sizes_to, truncated_layers
from weights import snapshot

# Layers as in figure 3 of Karras et al. 2018, by the sizes that they paint.
LEVELS = {"coarse": (4, 8), "middle": (16, 32), "fine": (64, 1024)}
NOISES = ("const", "random", "none")


def latents_of(seeds, config, label=None):
    """One latent per seed, NumPy [N, latent + labels]: the same for a seed, whatever is beside it.

    Behind each stands its label, where the network has some: `label`, a number from 0 or one for
    each seed, or by default one of all that the seed draws.
    """
    latents = np.stack([np.random.RandomState(seed).randn(config.latent) for seed in seeds])
    if config.labels:
        chosen = [streams.rng("label", seed).integers(config.labels) for seed in seeds] \
            if label is None else label
        chosen = np.broadcast_to(chosen, len(seeds))
        latents = np.concatenate([latents, one_hot(chosen, config.labels)], 1)
    return latents.astype("float32")


def one_hot(classes, labels):
    """Classes, int [N] → what networks with so many labels take, float32 [N, labels]."""
    found = np.zeros((len(classes), labels), "float32")
    found[np.arange(len(classes)), classes] = 1
    return found


def random_noise(seeds, size, arch):
    """Noise maps of a picture's own: one NumPy array [N, 1, h, h] per convolution."""
    generators = [streams.rng("noise", seed) for seed in seeds]
    return [np.stack([rng.standard_normal((1, s, s), "float32") for rng in generators])
            for s in noise_sides(size, arch)]


def in_chunks(compute, rows, chunk):
    """compute(some rows) for all of `rows`, `chunk` at a time; yields arrays of the same rows.

    The last chunk is filled up, so that every row is computed by the same kernels whatever stands
    beside it: equal bit for bit on one device.
    """
    for first in range(0, len(rows), chunk):
        part = rows[first:first + chunk]
        filled = np.concatenate([part, np.repeat(part[-1:], chunk - len(part), 0)])
        yield compute(np.ascontiguousarray(filled))[:len(part)]


def at_once(size):
    """How many pictures of `size` are painted at a time: what keeps the device busy, and fits."""
    from backend.kernels import on_gpu
    most, pixels = (64, 64 * 128) if on_gpu() else (16, 16 * 128)
    return max(1, min(most, pixels // size))


def styles_of(generator, latents, size, truncation_psi, truncation_layers=None):
    """NumPy latents [N, latent + labels] → truncated styles [N, layers, dlatent].

    truncation_layers: how many, coarse ones first; by default truncated_layers.
    """
    from backend import jt
    from networks.generator import broadcast_style, truncate
    if truncation_layers is None:
        truncation_layers = truncated_layers(generator.config.arch, size)

    def compute(latents):
        z, labels = np.split(latents, [generator.config.latent], 1)
        w = generator.mapping(jt.array(z), jt.array(labels) if labels.size else None)
        styles = broadcast_style(w, num_layers(size))
        return truncate(styles, generator.w_avg, truncation_psi, truncation_layers).numpy()

    with jt.no_grad():
        return np.concatenate(list(in_chunks(compute, latents, at_once(4))))


def paint(generator, styles, size, alpha=1.0, chunk=None, noise=None, done=None):
    """NumPy styles [N, layers, dlatent] → pictures [N, C, size, size].

    noise: one map per layer for all pictures, by default inputs.fixed_noise; or a function
    that gives one array [n, 1, h, h] per layer for the indices of n pictures. At most `chunk`
    pictures at a time, by default at_once, so that a large grid needs no more memory than a small
    one; after each chunk, done(number of pictures) is called.
    """
    from backend import jt
    from networks.inputs import fade, fixed_noise
    noise, images = noise or fixed_noise(size, arch=generator.config.arch), []
    chunk = min(chunk or at_once(size), at_once(size))

    def compute(indices):
        maps = [jt.array(m) for m in noise(indices)] if callable(noise) else noise
        return generator.synthesis(jt.array(styles[indices]), maps, size, fade(alpha)).numpy()

    with jt.no_grad():
        for part in in_chunks(compute, np.arange(len(styles)), chunk):
            images.append(part)
            if done:
                done(len(part))
    return np.concatenate(images)


class Painter:
    """The averaged generator of a file, at its size and alpha.

    header, arrays: what snapshot.load_any gives for `path`. noise: "const" for the file's own maps,
    as official files have them, or fixed ones; "random" for maps of each picture's own; "none".
    label: of all pictures, or a function that gives that of a seed; by default each seed draws one.
    shift: [layers, dlatent], added to all styles, as a
    Direction gives it. done: called with a number of pictures whenever so many are painted.
    """

    def __init__(self, header, arrays, path, truncation_psi, truncation_layers=None,
                 noise="const", label=None, shift=None):
        from backend import jt
        self.generator = snapshot.make_generator(header, arrays, path)
        self.psi, self.truncation_layers = truncation_psi, truncation_layers
        self.size, self.alpha, self.noise = header["size"], header["alpha"], noise
        self.arch, self.label = self.generator.config.arch, label
        self.maps = len(noise_sides(self.size, self.arch))
        self.shift = np.float32(0) if shift is None else shift
        self.done = self.own_noise = None
        if "noise/0" in arrays:
            self.own_noise = [jt.array(arrays[f"noise/{i}"]) for i in range(self.maps)]

    def latents(self, seeds, label=None):
        label = self.label if label is None else label
        if callable(label):
            label = [label(seed) for seed in seeds]
        return latents_of(seeds, self.generator.config, label)

    def styles(self, seeds):
        """One style per seed and layer, truncated: NumPy [N, layers, dlatent]."""
        return self.styles_of(self.latents(seeds))

    def styles_of(self, latents, psi=None):
        return self.shift + styles_of(self.generator, latents, self.size,
                                      self.psi if psi is None else psi, self.truncation_layers)

    def noise_of(self, seed, noise=None):
        """The maps [1, 1, h, h] with which paint() paints the picture of a seed."""
        noise, sides = noise or self.noise, noise_sides(self.size, self.arch)
        if noise == "none":
            return [np.zeros((1, 1, side, side), "float32") for side in sides]
        if noise == "random":
            return random_noise([seed], self.size, self.arch)
        if noise != "const":
            return noise
        if self.own_noise:
            return [one.numpy() for one in self.own_noise]
        return fixed_noise(self.size, self.arch)

    def paint(self, styles, seeds=None, noise=None, chunk=None):
        """NumPy styles → pictures [N, C, size, size] in about [-1, 1].

        seeds: of their noise where it is random (default 0, 1, …). noise: as self.noise, instead
        of it, or a list of maps. chunk: how many at a time; 1 for one picture that is wanted soon.
        """
        from backend import jt
        noise = noise or self.noise
        if noise == "none":
            noise = [None] * self.maps
        elif noise == "random":
            seeds = range(len(styles)) if seeds is None else seeds

            def noise(indices):
                return random_noise([seeds[i] for i in indices], self.size, self.arch)
        elif noise == "const":
            noise = self.own_noise
        else:
            noise = [jt.array(m) for m in noise]
        return paint(self.generator, styles, self.size, self.alpha, chunk, noise, self.done)


def levels(size):
    """{"coarse": layer indices, "middle": …, "fine": …}; a small model is split into three."""
    sizes = sizes_to(size)
    if size < 64:
        thirds = np.array_split(np.arange(num_layers(size)), 3)
        return {name: list(layers) for name, layers in zip(LEVELS, thirds)}
    return {name: [2 * i + j for i, s in enumerate(sizes) if low <= s <= high for j in (0, 1)]
            for name, (low, high) in LEVELS.items()}


def slerp(a, b, t):
    """Points on the great circles from a (t = 0) to b (t = 1), at even speed, of length √D.

    a, b [N or 1, D], t [N, 1].
    """
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a.astype("float64"), b))
    cosine = np.clip((a * b).sum(1, keepdims=True), -1, 1)
    across = b - cosine * a
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-12)      # a = b
    angle = t * np.arccos(cosine)
    return (np.cos(angle) * a + np.sin(angle) * across) * np.sqrt(a.shape[1])


def between(painter, a, b, t, space):
    """The styles [N, layers, dlatent] on the ways from latents a to latents b, each [N or 1,
    latent + labels], at the places t [N].

    space: "z" along the sphere of latents, "w" straight from one style to the other.
    """
    t = np.asarray(t, "float32")[:, None]
    if space == "w":
        first, last = painter.styles_of(a), painter.styles_of(b)
        return first + t[:, :, None] * (last - first)
    D = painter.generator.config.latent
    # From the length of one to that of the other: with labels beside it, that means something.
    lengths = [np.linalg.norm(x[:, :D], axis=1, keepdims=True) / D ** 0.5 for x in (a, b)]
    z = slerp(a[:, :D], b[:, :D], t) * (lengths[0] + t * (lengths[1] - lengths[0]))
    labels = a[:, D:] + t * (b - a)[:, D:]
    return painter.styles_of(np.concatenate([z, np.broadcast_to(labels, (len(z), labels.shape[1]))],
                                            1).astype("float32"))
