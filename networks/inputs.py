"""What networks are given beside latents and pictures: noise maps, how far a size has faded in."""
import numpy as np

from backend import jt, noise
from networks import config
from networks.config import noise_sides


def make_noise(batch, size, arch="stylegan1"):
    """One N(0, 1) map [batch, 1, h, h] per convolution up to `size`: see noise.seed."""
    return [noise.normal(batch, 1, s, s) for s in noise_sides(size, arch)]


def fixed_noise(size, seed=0, arch="stylegan1"):
    """The same, one map for all pictures, from NumPy: equal on every device."""
    return [jt.array(one).stop_grad() for one in config.fixed_noise(size, arch, seed)]


def fade(alpha):
    """A number in [0, 1] → what the networks take: 1.0, or a Var [1, 1, 1, 1].

    A Var of that shape, because Jittor compiles the single numbers 0, 1 and 2 into its kernels.
    """
    return 1.0 if alpha >= 1 else jt.array(np.full((1, 1, 1, 1), alpha, "float32"))


def is_fading(alpha):
    return isinstance(alpha, jt.Var)
