"""The layers that both networks are made of: equalised, fused, blurred.

Karras et al., "Progressive Growing of GANs" (2017), section 4.1; Karras et al., "A Style-Based
Generator Architecture for Generative Adversarial Networks" (2018), section 2.
"""
import functools
import math

import numpy as np

from backend import jt
from backend.fused import add_bias, bias_leaky_relu, blurred_leaky_relu
from backend.kernels import best_form, conv2d, conv_transpose2d, matmul, on_gpu, winograd
from backend.layouts import Spread

nn = jt.nn
SQRT2 = math.sqrt(2)


# Equalised learning rate -----------------------------------------------------------------------


class EqualLR:
    """Pre-forward hook: the layer computes with weight · gain · lrmul / √fan_in, and with
    bias · bias_gain · lrmul.

    The stored weight starts at N(0, 1 / lrmul²) and is what the optimizer sees, so that all
    layers learn at one speed (Karras et al. 2017, section 4.1). `execute` is handed the weight and
    the number that scales it, because most kernels can scale at no cost; nothing is stored.
    The gain √2 is that of a leaky ReLU: StyleGAN1 has it before, StyleGAN2 after the activation,
    where the bias gets it too, which comes to √2 as `bias_gain`.
    """

    def __init__(self, gain=SQRT2, lrmul=1.0, bias_gain=1.0):
        self.gain, self.lrmul, self.bias_scale = gain, lrmul, bias_gain * lrmul

    def __call__(self, module, inputs, _keywords=None):
        fan_in = math.prod(module.weight.shape[1:])
        scaled = {"weight": module.weight, "scale": self.gain * self.lrmul / math.sqrt(fan_in)}
        if module.bias is not None:
            scaled["bias"] = module.bias * self.bias_scale if self.bias_scale != 1 else module.bias
        return inputs, scaled


class EqualLayer(nn.Module):
    """A weight [out, in, …] and a bias [out] under an EqualLR hook."""

    drawn = "weight"            # see draw_weights

    def __init__(self, shape, gain=SQRT2, lrmul=1.0, bias_gain=1.0, bias=True):
        self.lrmul = lrmul
        self.weight = jt.randn(*shape) / lrmul
        self.bias = jt.zeros(shape[0]) if bias else None
        self.register_pre_forward_hook(EqualLR(gain, lrmul, bias_gain))


def draw_weights(network, rng):
    """Fresh weights, N(0, 1 / lrmul²), the same on every device: the arrays that modules name as
    `drawn`."""
    for module in network.modules():
        if (v := getattr(module, getattr(module, "drawn", ""), None)) is not None:
            values = rng.standard_normal(v.shape, "float32")
            v.assign(values / np.float32(getattr(module, "lrmul", 1)))


class EqualLinear(EqualLayer):
    """[N, in] → [N, out], with a leaky ReLU after it where `activate`."""

    def __init__(self, fan_in, fan_out, activate=False, **options):
        super().__init__((fan_out, fan_in), **options)
        self.end = bias_leaky_relu if activate else add_bias

    def execute(self, x, weight, scale, bias=None):
        x = matmul(x, weight, transpose_b=True, scale=scale)
        return x if bias is None else self.end(x, bias)


class EqualConv2d(EqualLayer):
    """[N, in, H, W] → [N, out, H, W], kernel 1×1 or 3×3, zero padding; with a leaky ReLU after it
    where `activate`, or, where `blur`, a leaky ReLU and a blur (both need a bias)."""

    def __init__(self, fan_in, fan_out, kernel, activate=False, blur=False, **options):
        super().__init__((fan_out, fan_in, kernel, kernel), **options)
        self.end = blurred_leaky_relu if blur else bias_leaky_relu if activate else add_bias

    def execute(self, x, weight, scale, bias=None):
        x = self.convolve(x, weight, scale)
        return x if bias is None else self.end(x, bias)

    def convolve(self, x, weight, scale):
        form = best_form("same", weight)
        return getattr(self, form)(x, weight, scale)

    @staticmethod
    def plain(x, weight, scale):
        return conv2d(x, weight, padding=weight.shape[-1] // 2, scale=scale)

    @staticmethod
    def winograd(x, weight, scale):
        return winograd(x, weight, "same", scale)


# Up- and downsampling: each has three exact forms of one mathematics -----------------------------


@functools.lru_cache
def four_shifts(flip):
    """The NumPy matrix [9, 16] that sums a 3×3 kernel, zero padded to 4×4, over its four shifts."""
    spread = np.zeros((3, 3, 4, 4), "float32")
    for y, x, dy, dx in np.ndindex(3, 3, 2, 2):
        spread[y, x, y + dy, x + dx] = 1
    if flip:
        spread = spread[::-1, ::-1]
    return np.ascontiguousarray(spread).reshape(9, 16)


def spread_kernel(weight, flip, scale, transposed=False):
    """[out, in, 3, 3] → [out, in, 4, 4], or, on a GPU where `transposed`, [in, out, 4, 4]."""
    if on_gpu():
        return Spread(flip, transposed, scale)(weight)
    spread = matmul(weight.reshape(-1, 9), jt.array(four_shifts(flip)), scale=scale)
    return spread.reshape(*weight.shape[:2], 4, 4)


class UpConv2d(EqualConv2d):
    """Nearest ×2 and a 3×3 convolution: [N, in, H, W] → [N, out, 2H, 2W]."""

    def convolve(self, x, weight, scale):
        form = best_form("up", weight)
        return getattr(self, form)(x, weight, scale)

    @staticmethod
    def plain(x, weight, scale):
        return conv2d(upsample(x), weight, padding=1, scale=scale)

    @staticmethod
    def fused(x, weight, scale):
        transposed = on_gpu()
        kernel = spread_kernel(weight, True, scale, transposed)
        return conv_transpose2d(x, kernel, stride=2, padding=1, transposed=transposed)

    @staticmethod
    def winograd(x, weight, scale):
        return winograd(x, weight, "up", scale)


class DownConv2d(EqualConv2d):
    """A 3×3 convolution and a 2×2 mean: [N, in, 2H, 2W] → [N, out, H, W]."""

    def convolve(self, x, weight, scale):
        form = best_form("down", weight)
        return getattr(self, form)(x, weight, scale)

    @staticmethod
    def plain(x, weight, scale):
        return downsample(conv2d(x, weight, padding=1, scale=scale))

    @staticmethod
    def fused(x, weight, scale):
        return conv2d(x, spread_kernel(weight, False, scale / 4), stride=2, padding=1)

    @staticmethod
    def winograd(x, weight, scale):
        return winograd(x, weight, "down", scale / 4)


def upsample(x):
    """Nearest neighbour ×2: [N, C, H, W] → [N, C, 2H, 2W]."""
    n, c, h, w = x.shape
    return x.reindex([n, c, 2 * h, 2 * w], ["i0", "i1", "i2/2", "i3/2"])


def downsample(x):
    """2×2 mean: [N, C, 2H, 2W] → [N, C, H, W]."""
    n, c, h, w = x.shape
    return x.reindex_reduce("add", [n, c, h // 2, w // 2], ["i0", "i1", "i2/2", "i3/2"]) * 0.25


# Minibatch standard deviation ---------------------------------------------------------------------


def stddev_group(batch, largest=4):
    """The largest divisor of `batch` that is not above `largest`."""
    return next(g for g in range(min(batch, largest), 0, -1) if batch % g == 0)


def append_stddev(x, largest_group=4):
    """[N, C, H, W] → [N, C+1, H, W]: how much the pictures of a group differ, as a last channel.

    Groups have at most `largest_group` pictures; picture n belongs to group n mod (N / G).
    Standard deviation over the group per position, mean over all positions and channels (Karras et
    al. 2017, section 3). Real and generated pictures are scored in calls of their own, so they
    never share a group.
    """
    n, c, h, w = x.shape
    group = stddev_group(n, largest_group)
    y = x.reshape(group, n // group, c, h, w)
    y = y - y.mean(0, keepdims=True)
    deviation = jt.sqrt((y * y).mean(0) + 1e-8).mean([1, 2, 3])
    deviation = deviation.reshape(1, n // group, 1, 1).expand(group, n // group, h, w)
    return jt.concat([x, deviation.reshape(n, 1, h, w)], 1)
