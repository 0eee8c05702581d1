"""StyleGAN1's synthesis network and discriminator.

Karras, Laine, Aila, "A Style-Based Generator Architecture for Generative Adversarial Networks"
(2018); progressive growing and the discriminator from Karras et al., "Progressive Growing of GANs"
(2017).
"""
import math

from backend import jt
from backend.epilogue import epilogue
from backend.layouts import split
from networks.config import num_layers, sizes_to
from networks.inputs import is_fading
from networks.layers import (
    SQRT2,
    DownConv2d,
    EqualConv2d,
    EqualLinear,
    UpConv2d,
    append_stddev,
    downsample,
    upsample,
)

nn = jt.nn


def last_gain(config):
    """Of the layers that no activation follows: style, toRGB, the last dense one."""
    return SQRT2 if config.equalize_all else 1.0


class Epilogue(nn.Module):
    """What follows every convolution: noise, bias, leaky ReLU, instance norm, style (AdaIN)."""

    def __init__(self, channels, config, bias=True):
        self.noise_weight = jt.zeros(channels)
        self.noise_gain = math.sqrt(2 / channels) if config.equalize_all else 1.0
        self.bias = jt.zeros(channels) if bias else None
        self.norm_eps = config.norm_eps
        self.style = EqualLinear(config.dlatent, 2 * channels, gain=last_gain(config))
        self.one = 0 if config.scale_from_zero else 1
        if config.scale_from_zero:
            self.style.bias = jt.concat([jt.ones(channels), jt.zeros(channels)])

    def execute(self, x, w, noise, blurred=False):
        """x [N, C, H, W], style w [N, dlatent], noise [N or 1, 1, H, W] or None; blurs x first."""
        noise = jt.zeros(1, 1, *x.shape[2:]).stop_grad() if noise is None else noise
        strength = self.noise_weight
        if self.noise_gain != 1:
            strength = strength * self.noise_gain
        bias = jt.zeros(x.shape[1]) if self.bias is None else self.bias
        return epilogue(x, noise, strength, bias, self.style(w), self.one, self.norm_eps, blurred)


class SynthesisBlock(nn.Module):
    """The two layers of one size: from [N, C', size/2, size/2] to [N, C, size, size]."""

    def __init__(self, size, config):
        channels = config.width(size)
        if size == 4:
            self.const = jt.ones(1, channels, 4, 4)
        else:
            self.conv0 = UpConv2d(config.width(size // 2), channels, 3,
                                  bias=config.bias_before_blur)
        self.epilogue0 = Epilogue(channels, config, bias=not config.bias_before_blur)
        self.conv1 = EqualConv2d(channels, channels, 3, bias=False)
        self.epilogue1 = Epilogue(channels, config)
        self.noise_per_block = config.noise_per_block

    def execute(self, x, styles, noise):
        if x is None:
            x = self.const.expand(styles[0].shape[0], *self.const.shape[1:])
            x = self.epilogue0(x, styles[0], noise[0])
        else:
            x = self.epilogue0(self.conv0(x), styles[0], noise[0], blurred=True)
        return self.epilogue1(self.conv1(x), styles[1], noise[0 if self.noise_per_block else 1])


class SynthesisNetwork(nn.Module):
    """One style per layer → an image."""

    def __init__(self, config):
        for size in config.sizes:
            setattr(self, f"block{size}", SynthesisBlock(size, config))
            setattr(self, f"to_rgb{size}",
                    EqualConv2d(config.width(size), config.channels, 1, gain=last_gain(config)))

    def execute(self, styles, noise, size, alpha=1.0):
        """Paint one picture per row.

        styles: [N, layers, dlatent], at least num_layers(size) layers.
        noise: a list of maps as make_noise gives, or None for no noise.
        alpha: what fade() gives; below 1 the picture is blended with the one of size / 2,
        enlarged. Returns [N, channels, size, size].
        """
        noise = [None] * num_layers(size) if noise is None else noise
        x, styles = None, split(styles)
        for i, s in enumerate(sizes_to(size)):
            smaller, layers = x, slice(2 * i, 2 * i + 2)
            x = getattr(self, f"block{s}")(x, styles[layers], noise[layers])
        image = getattr(self, f"to_rgb{size}")(x)
        if is_fading(alpha) and size > 4:
            small_image = upsample(getattr(self, f"to_rgb{size // 2}")(smaller))
            image = image + (small_image - image) * (1 - alpha)
        return image


class DiscriminatorBlock(nn.Module):
    """[N, d_width(size), size, size] → [N, d_width(size/2), size/2, size/2]."""

    def __init__(self, size, config):
        width, below = config.d_width(size), config.d_width(size // 2)
        between = below if config.widen_first else width
        self.conv0 = EqualConv2d(width, between, 3, blur=True)
        self.conv1 = DownConv2d(between, below, 3, activate=True)

    def execute(self, x):
        return self.conv1(self.conv0(x))


class DiscriminatorHead(nn.Module):
    """[N, d_width(4), 4, 4] → scores [N, 1], or one for each label."""

    def __init__(self, config):
        channels, dense = config.d_width(4), config.d_width(2)
        self.group = config.stddev_group
        self.conv = EqualConv2d(channels + (self.group != 1), channels, 3, activate=True)
        self.dense0 = EqualLinear(channels * 16, dense, activate=True)
        self.dense1 = EqualLinear(dense, max(1, config.labels), gain=last_gain(config))

    def execute(self, x):
        if self.group != 1:
            x = append_stddev(x, self.group or x.shape[0])
        x = self.conv(x)
        return self.dense1(self.dense0(x.reshape(x.shape[0], -1)))


class Discriminator(nn.Module):
    """Images [N, channels, size, size] of any size up to the full one → scores [N, 1].

    labels: [N, labels], where the network has them: they choose the score.
    """

    def __init__(self, config):
        self.config = config
        for size in config.sizes:
            setattr(self, f"from_rgb{size}",
                    EqualConv2d(config.channels, config.d_width(size), 1,
                                activate=config.from_rgb_activate))
            if size > 4:
                setattr(self, f"block{size}", DiscriminatorBlock(size, config))
        self.head = DiscriminatorHead(config)

    def execute(self, images, alpha=1.0, labels=None):
        size = images.shape[-1]
        x = getattr(self, f"from_rgb{size}")(images)
        for s in reversed(sizes_to(size)[1:]):
            x = getattr(self, f"block{s}")(x)
            if s == size and is_fading(alpha):
                small = getattr(self, f"from_rgb{s // 2}")(downsample(images))
                x = x + (small - x) * (1 - alpha)
        scores = self.head(x)
        return scores if labels is None else (scores * labels).sum(1, keepdims=True)
