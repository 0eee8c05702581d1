"""Sliced Wasserstein distance over the Laplacian pyramid, which needs no pretrained network.

Karras, Aila, Laine, Lehtinen, "Progressive Growing of GANs" (2017), section 5: how alike two sets
of pictures are in the small patches of each level of detail. A small distance at the largest level
means alike edges and textures, at 16 alike large shapes.
"""
import concurrent.futures

import numpy as np

from backend import streams
from backend.threads import cores

PATCH, PATCHES_PER_IMAGE, PROJECTIONS, SMALLEST = 7, 128, 512, 16
KERNEL = np.array([1, 4, 6, 4, 1], "float32") / 16


def levels(size):
    """Sizes of the pyramid of pictures of `size`: size, size / 2, … 16 (8 alone for size 8)."""
    return [size >> i for i in range(size.bit_length()) if size >> i >= SMALLEST] or [size]


def smooth(images, step=1, gain=1.0):
    """[N, C, H, W] with [1, 4, 6, 4, 1] in both directions, mirrored at the border; every `step`th
    pixel of it."""
    for axis in (2, 3):
        pad = [(0, 0)] * 4
        pad[axis] = (2, 2)
        padded = np.pad(images, pad, "reflect")
        length = images.shape[axis]
        images = sum(weight * gain * np.take(padded, range(k, k + length, step), axis)
                     for k, weight in enumerate(KERNEL))
    return images


def shrink(images):
    """The next level of a Gaussian pyramid: [N, C, H, W] → [N, C, H/2, W/2]."""
    return smooth(images, step=2)


def enlarge(images):
    """Its counterpart (Burt and Adelson 1983): [N, C, H, W] → [N, C, 2H, 2W]."""
    n, c, h, w = images.shape
    sparse = np.zeros((n, c, 2 * h, 2 * w), images.dtype)
    sparse[:, :, ::2, ::2] = images
    return smooth(sparse, gain=2.0)


def laplacian_pyramid(images):
    """[N, C, size, size] → {size: what enlarging the next level misses, …, 16: that level}."""
    pyramid, images = {}, np.asarray(images, "float32")
    *larger, smallest = levels(images.shape[-1])
    for size in larger:
        smaller = shrink(images)
        pyramid[size] = images - enlarge(smaller)
        images = smaller
    pyramid[smallest] = images
    return pyramid


def patches(images, generators):
    """128 patches of 7×7 at random places of each picture: [N · 128, C, 7, 7].

    generators: one np.random.Generator per picture.
    """
    n, c, height, width = images.shape
    highest = np.array([[height], [width]]) - PATCH
    places = [rng.integers(0, highest, (2, PATCHES_PER_IMAGE), endpoint=True) for rng in generators]
    top, left = np.stack(places, 1).reshape(2, -1, 1, 1, 1)
    image = np.repeat(np.arange(n), PATCHES_PER_IMAGE)[:, None, None, None]
    channel, inside = np.arange(c)[None, :, None, None], np.arange(PATCH)
    return images[image, channel, top + inside[:, None], left + inside]


class Descriptors:
    """The patches of a set of pictures, gathered some pictures at a time, by level.

    Where they are cut out depends on `seed`, on the number `which` of the set (sets that are
    compared have different ones: patches at the same places would lie nearer), and on how many
    pictures came before, not on how they are divided into calls.
    """

    def __init__(self, seed=0, which=0):
        self.seed, self.which, self.count, self.parts = seed, which, 0, {}

    def add(self, images):
        """Float [N, C, size, size], all of one size; any range, the same for both sets."""
        for size, level in laplacian_pyramid(images).items():
            generators = [streams.rng("patches", self.seed, self.which, self.count + i, size)
                          for i in range(len(images))]
            self.parts.setdefault(size, []).append(patches(level, generators))
        self.count += len(images)

    def some(self, first, last):
        """Those of the pictures from `first` to before `last`."""
        part = Descriptors(self.seed, self.which)
        part.count = last - first
        for size, parts in self.parts.items():
            part.parts[size], end = [], 0
            for patches_there in parts:
                begin, end = end, end + len(patches_there)
                inside = slice(max(0, first * PATCHES_PER_IMAGE - begin),
                               max(0, last * PATCHES_PER_IMAGE - begin))
                part.parts[size].append(patches_there[inside])
        return part

    def level(self, size):
        """[count · 128, C · 49], each channel with mean 0 and standard deviation 1."""
        whole = np.concatenate(self.parts[size])
        mean = whole.mean((0, 2, 3), keepdims=True, dtype="float64").astype("float32")
        whole -= mean
        whole /= whole.std((0, 2, 3), keepdims=True, dtype="float64").astype("float32") + 1e-12
        return whole.reshape(len(whole), -1)


def sliced_wasserstein(a, b, rng, projections=PROJECTIONS, at_once=16):
    """Mean distance of the sorted projections of two sets of points on random directions.

    a, b: [N, D], equally many (Rabin et al. 2011).
    """
    directions = rng.standard_normal((a.shape[1], projections)).astype("float32")
    directions /= np.linalg.norm(directions, axis=0)

    def distances(first):
        some = directions[:, first:first + at_once]
        one, other = (np.sort((some.T @ points.T), axis=1) for points in (a, b))
        return np.abs(one - other).mean(1)

    with concurrent.futures.ThreadPoolExecutor(cores()) as pool:        # sorting takes the time
        return float(np.mean([*pool.map(distances, range(0, projections, at_once))]))


def distance(a, b, seed=0):
    """{size: SWD × 1000} of two Descriptors of equally many pictures, and their "mean"."""
    if a.count != b.count:
        raise ValueError(f"{a.count} pictures beside {b.count}: wanted as many")
    result = {size: 1000 * sliced_wasserstein(a.level(size), b.level(size),
                                              streams.rng("projections", seed, size))
              for size in a.parts}
    result["mean"] = float(np.mean(list(result.values())))
    return result
