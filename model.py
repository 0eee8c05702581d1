"""The StyleGAN1 network: StyledGenerator and Discriminator.

Karras, Laine, Aila, "A Style-Based Generator Architecture for Generative Adversarial Networks"
(2018); progressive growing and the discriminator from Karras et al., "Progressive Growing of GANs"
(2017). Images are float32 NCHW in [-1, 1]. A `size` is a resolution in pixels (4, 8, 16 …); `alpha`
in [0, 1] is how far the layers of the newest size have faded in.
"""
import math

import numpy as np

from backend import jt
from backend.fused import blur, epilogue
from config import in_use, num_layers, sizes_to
from layers import (
    SQRT2,
    DownConv2d,
    EqualConv2d,
    EqualLinear,
    UpConv2d,
    downsample,
    upsample,
)

nn = jt.nn


# Generator -------------------------------------------------------------------------------------


class MappingNetwork(nn.Module):
    """latent z [N, latent] → style w [N, dlatent]."""

    def __init__(self, config):
        widths = config.mapping_widths
        self.layers = nn.ModuleList([
            EqualLinear(fan_in, fan_out, lrmul=config.mapping_lrmul, activate=True)
            for fan_in, fan_out in zip(widths, widths[1:])])

    def execute(self, latent):
        x = latent * jt.rsqrt((latent ** 2).mean(1, keepdims=True) + 1e-8)
        for layer in self.layers:
            x = layer(x)
        return x


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


def last_gain(config):
    """Of the layers that no activation follows: style, toRGB, the last dense one."""
    return SQRT2 if config.equalize_all else 1.0


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
        x = None
        for i, s in enumerate(sizes_to(size)):
            smaller = x
            w = [styles[:, 2 * i], styles[:, 2 * i + 1]]
            x = getattr(self, f"block{s}")(x, w, noise[2 * i:2 * i + 2])
        image = getattr(self, f"to_rgb{size}")(x)
        if is_fading(alpha) and size > 4:
            small_image = upsample(getattr(self, f"to_rgb{size // 2}")(smaller))
            image = image + (small_image - image) * (1 - alpha)
        return image


class StyledGenerator(nn.Module):
    """Mapping and synthesis, with the mean style w_avg [dlatent] that truncation needs."""

    def __init__(self, config):
        self.config = config
        self.mapping = MappingNetwork(config)
        self.synthesis = SynthesisNetwork(config)
        self.w_avg = jt.zeros(config.dlatent).stop_grad()

    def execute(self, latent, size=None, alpha=1.0, noise=None, truncation_psi=1.0,
                truncation_cutoff=8):
        """Latents [N, latent] → images [N, channels, size, size] of the full size by default."""
        size = size or self.config.size
        styles = broadcast_style(self.mapping(latent), num_layers(size))
        styles = truncate(styles, self.w_avg, truncation_psi, truncation_cutoff)
        return self.synthesis(styles, noise, size, alpha)


def broadcast_style(w, layers):
    """w [N, dlatent] → the same style for every layer, [N, layers, dlatent]."""
    return w.unsqueeze(1).expand(w.shape[0], layers, w.shape[1])


def mix_styles(w, w_other, crossover, layers):
    """w for the layers below `crossover`, w_other from it on (Karras et al. 2018, section 3.1).

    The choice is data, not graph: every crossover runs the same compiled kernels.
    """
    first = (np.arange(layers) < crossover).astype("float32").reshape(1, layers, 1)
    first = jt.array(first)
    return broadcast_style(w, layers) * first + broadcast_style(w_other, layers) * (1 - first)


def truncate(styles, w_avg, psi=0.7, cutoff=8):
    """w_avg + psi · (w − w_avg) in the first `cutoff` layers (section B of the paper)."""
    if psi == 1:
        return styles
    layers = styles.shape[1]
    factor = np.where(np.arange(layers) < cutoff, psi, 1.0).astype("float32")
    w_avg = w_avg.reshape(1, 1, -1)
    return w_avg + (styles - w_avg) * jt.array(factor.reshape(1, layers, 1))


def make_noise(batch, size):
    """One N(0, 1) map [batch, 1, h, h] per layer up to `size`, from the device's generator."""
    return [jt.randn(batch, 1, s, s).stop_grad() for s in sizes_to(size) for _ in range(2)]


def fixed_noise(size, seed=0):
    """The same, one map for all pictures, from NumPy: equal on every device."""
    rng = np.random.RandomState(seed)
    return [jt.array(rng.randn(1, 1, s, s).astype("float32")).stop_grad()
            for s in sizes_to(size) for _ in range(2)]


def fade(alpha):
    """A number in [0, 1] → what the networks take: 1.0, or a Var [1, 1, 1, 1].

    A Var of that shape, because Jittor compiles the single numbers 0, 1 and 2 into its kernels.
    """
    return 1.0 if alpha >= 1 else jt.array(np.full((1, 1, 1, 1), alpha, "float32"))


def is_fading(alpha):
    return isinstance(alpha, jt.Var)


# Discriminator ---------------------------------------------------------------------------------


class DiscriminatorBlock(nn.Module):
    """[N, d_width(size), size, size] → [N, d_width(size/2), size/2, size/2]."""

    def __init__(self, size, config):
        width, below = config.d_width(size), config.d_width(size // 2)
        between = below if config.widen_first else width
        self.conv0 = EqualConv2d(width, between, 3, activate=True)
        self.conv1 = DownConv2d(between, below, 3, activate=True)

    def execute(self, x):
        return self.conv1(blur(self.conv0(x)))


class DiscriminatorHead(nn.Module):
    """[N, d_width(4), 4, 4] → scores [N, 1]."""

    def __init__(self, config):
        channels, dense = config.d_width(4), config.d_width(2)
        self.group = config.stddev_group
        self.conv = EqualConv2d(channels + (self.group != 1), channels, 3, activate=True)
        self.dense0 = EqualLinear(channels * 16, dense, activate=True)
        self.dense1 = EqualLinear(dense, 1, gain=last_gain(config))

    def execute(self, x):
        if self.group != 1:
            x = append_stddev(x, self.group or x.shape[0])
        x = self.conv(x)
        return self.dense1(self.dense0(x.reshape(x.shape[0], -1)))


class Discriminator(nn.Module):
    """Images [N, channels, size, size] of any size up to the full one → scores [N, 1]."""

    def __init__(self, config):
        self.config = config
        for size in config.sizes:
            setattr(self, f"from_rgb{size}",
                    EqualConv2d(config.channels, config.d_width(size), 1,
                                activate=config.from_rgb_activate))
            if size > 4:
                setattr(self, f"block{size}", DiscriminatorBlock(size, config))
        self.head = DiscriminatorHead(config)

    def execute(self, images, alpha=1.0):
        size = images.shape[-1]
        x = getattr(self, f"from_rgb{size}")(images)
        for s in reversed(sizes_to(size)[1:]):
            x = getattr(self, f"block{s}")(x)
            if s == size and is_fading(alpha):
                small = getattr(self, f"from_rgb{s // 2}")(downsample(images))
                x = x + (small - x) * (1 - alpha)
        return self.head(x)


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


# Which parameters are in use -------------------------------------------------------------------


def parameters_in_use(network, size, fading):
    """{name: Var} of what the optimizer updates at `size`, in the order of the network."""
    return {name: p for name, p in network.named_parameters()
            if name != "w_avg" and in_use(name, size, fading)}
