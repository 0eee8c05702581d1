"""Multi-scale structural similarity, as a measure of how much generated pictures differ.

Wang, Simoncelli, Bovik, "Multi-scale structural similarity for image quality assessment" (2003);
as a measure of diversity: Odena, Olah, Shlens 2017 and Karras et al. 2017, section 5. The mean over
pairs of pictures: 1 where all are one picture, and to be compared with that of the real ones.
"""
import numpy as np

WINDOW, SIGMA, C1, C2 = 11, 1.5, (0.01 * 255) ** 2, (0.03 * 255) ** 2
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
SMALLEST = 4


def scales(size):
    """How many of the five scales pictures of `size` have; all from 64 on."""
    return sum(size >> scale >= SMALLEST for scale in range(len(WEIGHTS)))


def window(size):
    """The Gaussian window, [w]: 11 wide with σ 1.5, narrower in proportion for small pictures."""
    width = min(WINDOW, size)
    x = np.arange(width) - (width - 1) / 2
    weights = np.exp(-x ** 2 / (2 * (SIGMA * width / WINDOW) ** 2))
    return (weights / weights.sum()).astype("float32")


def filtered(images, weights):
    """[N, C, H, W] with the window in both directions, where it lies inside."""
    for axis in (2, 3):
        length = images.shape[axis] - len(weights) + 1
        images = sum(weight * np.take(images, range(k, k + length), axis)
                     for k, weight in enumerate(weights))
    return images


def similarity(a, b):
    """(SSIM, its contrast and structure alone) of pairs [N, C, H, W] of 0 to 255, each [N]."""
    weights = window(a.shape[-1])
    mean_a, mean_b = filtered(a, weights), filtered(b, weights)
    variances = filtered(a * a, weights) - mean_a ** 2 + filtered(b * b, weights) - mean_b ** 2
    covariance = filtered(a * b, weights) - mean_a * mean_b
    structure = (2 * covariance + C2) / (variances + C2)
    whole = structure * (2 * mean_a * mean_b + C1) / (mean_a ** 2 + mean_b ** 2 + C1)
    return whole.mean((1, 2, 3)), structure.mean((1, 2, 3))


def ms_ssim(a, b):
    """Of pairs of pictures [N, C, size, size] with values of 0 to 255: [N], 1 for equal ones."""
    a, b = (np.asarray(x, "float32") for x in (a, b))
    count, result = scales(a.shape[-1]), 1.0
    weights = np.array(WEIGHTS[:count]) / sum(WEIGHTS[:count])
    for scale in range(count):
        whole, structure = similarity(a, b)
        result = result * np.maximum(whole if scale == count - 1 else structure, 0) ** \
            weights[scale]
        a, b = (x.reshape(*x.shape[:2], x.shape[2] // 2, 2, x.shape[3] // 2, 2).mean((3, 5))
                for x in (a, b))
    return result


class Diversity:
    """The mean over pairs of neighbours of pictures that come some at a time."""

    def __init__(self):
        self.waiting, self.sum, self.pairs = None, 0.0, 0

    def add(self, images):
        """[N, C, size, size] with values of 0 to 255."""
        if self.waiting is not None:
            images = np.concatenate([self.waiting, images])
        even = len(images) // 2 * 2
        self.waiting = images[even:]
        if even:
            self.sum += ms_ssim(images[0:even:2], images[1:even:2]).sum()
            self.pairs += even // 2

    def mean(self):
        return float(self.sum / self.pairs)
