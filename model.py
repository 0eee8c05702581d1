"""The StyleGAN1 network: StyledGenerator, Discriminator and the layers that they are made of.

Karras, Laine, Aila, "A Style-Based Generator Architecture for Generative Adversarial Networks"
(2018); progressive growing and the discriminator from Karras et al., "Progressive Growing of GANs"
(2017). Images are float32 NCHW in [-1, 1]. A `size` is a resolution in pixels (4, 8, 16 …); `alpha`
in [0, 1] is how far the layers of the newest size have faded in.
"""
import functools
import math

import numpy as np

from backend import has_winograd, jt
from backend.kernels import add_bias, bias_leaky_relu, blur, conv2d, conv_transpose2d, matmul
from config import num_layers, sizes_to

nn = jt.nn
SQRT2 = math.sqrt(2)


# Equalised learning rate -----------------------------------------------------------------------


class EqualLR:
    """Pre-forward hook: the layer computes with weight · gain · lrmul / √fan_in, bias · lrmul.

    The stored weight starts at N(0, 1 / lrmul²) and is what the optimizer sees, so that all
    layers learn at one speed (Karras et al. 2017, section 4.1). The scaled weight is handed to
    `execute` and stored nowhere.
    """

    def __init__(self, gain=SQRT2, lrmul=1.0):
        self.gain, self.lrmul = gain, lrmul

    def __call__(self, module, inputs, _keywords=None):
        fan_in = math.prod(module.weight.shape[1:])
        scaled = {"weight": module.weight * (self.gain * self.lrmul / math.sqrt(fan_in))}
        if module.bias is not None:
            scaled["bias"] = module.bias * self.lrmul if self.lrmul != 1 else module.bias
        return inputs, scaled


class EqualLayer(nn.Module):
    """A weight [out, in, …] and a bias [out] under an EqualLR hook."""

    def __init__(self, shape, gain=SQRT2, lrmul=1.0, bias=True):
        self.weight = jt.randn(*shape) / lrmul
        self.bias = jt.zeros(shape[0]) if bias else None
        self.register_pre_forward_hook(EqualLR(gain, lrmul))


class EqualLinear(EqualLayer):
    """[N, in] → [N, out], with a leaky ReLU after it where `activate`."""

    def __init__(self, fan_in, fan_out, activate=False, **options):
        super().__init__((fan_out, fan_in), **options)
        self.end = bias_leaky_relu if activate else add_bias

    def execute(self, x, weight, bias):
        return self.end(matmul(x, weight, transpose_b=True), bias)


class EqualConv2d(EqualLayer):
    """[N, in, H, W] → [N, out, H, W], kernel 1×1 or 3×3, zero padding, leaky ReLU if `activate`."""

    def __init__(self, fan_in, fan_out, kernel, activate=False, **options):
        super().__init__((fan_out, fan_in, kernel, kernel), **options)
        self.end = bias_leaky_relu if activate else add_bias

    def execute(self, x, weight, bias=None):
        x = self.convolve(x, weight)
        return x if bias is None else self.end(x, bias)

    @staticmethod
    def convolve(x, weight):
        return conv2d(x, weight, padding=weight.shape[-1] // 2)


# Up- and downsampling: each has two exact forms of one mathematics -------------------------------


@functools.lru_cache
def four_shifts(flip, scale):
    """The NumPy matrix [9, 16] that sums a 3×3 kernel, zero padded to 4×4, over its four shifts."""
    spread = np.zeros((3, 3, 4, 4), "float32")
    for y, x, dy, dx in np.ndindex(3, 3, 2, 2):
        spread[y, x, y + dy, x + dx] = scale
    if flip:
        spread = spread[::-1, ::-1]
    return np.ascontiguousarray(spread).reshape(9, 16)


def spread_kernel(weight, flip, scale):
    """[out, in, 3, 3] → [out, in, 4, 4]."""
    spread = matmul(weight.reshape(-1, 9), jt.array(four_shifts(flip, scale)))
    return spread.reshape(*weight.shape[:2], 4, 4)


def use_fused(weight):
    """Whether an up- or downsampling layer runs as one strided 4×4 convolution.

    A fixed table by width and device, never a timing. With direct kernels the fused form costs
    2.25 times less. On a CPU with AVX-512, wide plain layers run faster all the same, because
    their 3×3 kernels can be Winograd's; narrow ones are bound by memory, of which fused moves less.
    """
    wide = min(weight.shape[:2]) >= 256
    return not (wide and has_winograd)


class UpConv2d(EqualConv2d):
    """Nearest ×2 and a 3×3 convolution: [N, in, H, W] → [N, out, 2H, 2W]."""

    def convolve(self, x, weight):
        return (self.fused if use_fused(weight) else self.plain)(x, weight)

    @staticmethod
    def plain(x, weight):
        return conv2d(upsample(x), weight, padding=1)

    @staticmethod
    def fused(x, weight):
        kernel = spread_kernel(weight, flip=True, scale=1.0)
        return conv_transpose2d(x, kernel, stride=2, padding=1)


class DownConv2d(EqualConv2d):
    """A 3×3 convolution and a 2×2 mean: [N, in, 2H, 2W] → [N, out, H, W]."""

    def convolve(self, x, weight):
        return (self.fused if use_fused(weight) else self.plain)(x, weight)

    @staticmethod
    def plain(x, weight):
        return downsample(conv2d(x, weight, padding=1))

    @staticmethod
    def fused(x, weight):
        return conv2d(x, spread_kernel(weight, flip=False, scale=0.25), stride=2, padding=1)


def upsample(x):
    """Nearest neighbour ×2: [N, C, H, W] → [N, C, 2H, 2W]."""
    n, c, h, w = x.shape
    return x.reindex([n, c, 2 * h, 2 * w], ["i0", "i1", "i2/2", "i3/2"])


def downsample(x):
    """2×2 mean: [N, C, 2H, 2W] → [N, C, H, W]."""
    n, c, h, w = x.shape
    return x.reindex_reduce("add", [n, c, h // 2, w // 2], ["i0", "i1", "i2/2", "i3/2"]) * 0.25


# Generator -------------------------------------------------------------------------------------


class MappingNetwork(nn.Module):
    """latent z [N, latent] → style w [N, latent]."""

    def __init__(self, config):
        self.layers = nn.ModuleList([
            EqualLinear(config.latent, config.latent, lrmul=config.mapping_lrmul, activate=True)
            for _ in range(config.mapping_layers)])

    def execute(self, latent):
        x = latent * jt.rsqrt((latent ** 2).mean(1, keepdims=True) + 1e-8)
        for layer in self.layers:
            x = layer(x)
        return x


class Epilogue(nn.Module):
    """What follows every convolution: noise, bias, leaky ReLU, instance norm, style (AdaIN)."""

    def __init__(self, channels, latent):
        self.noise_weight = jt.zeros(channels)
        self.bias = jt.zeros(channels)
        self.style = EqualLinear(latent, 2 * channels, gain=1.0)

    def execute(self, x, w, noise):
        """x [N, C, H, W], style w [N, latent], noise [N or 1, 1, H, W] or None."""
        n, c = x.shape[:2]
        if noise is not None:
            x = x + noise * self.noise_weight.reshape(1, c, 1, 1)
        x = bias_leaky_relu(x, self.bias)
        x = x - x.mean([2, 3], keepdims=True)
        x = x * jt.rsqrt((x * x).mean([2, 3], keepdims=True) + 1e-8)
        scale_and_shift = self.style(w).reshape(n, 2, c, 1, 1)
        return x * (scale_and_shift[:, 0] + 1) + scale_and_shift[:, 1]


class SynthesisBlock(nn.Module):
    """The two layers of one size: from [N, C', size/2, size/2] to [N, C, size, size]."""

    def __init__(self, size, config):
        channels = config.width(size)
        if size == 4:
            self.const = jt.ones(1, channels, 4, 4)
        else:
            self.conv0 = UpConv2d(config.width(size // 2), channels, 3, bias=False)
        self.epilogue0 = Epilogue(channels, config.latent)
        self.conv1 = EqualConv2d(channels, channels, 3, bias=False)
        self.epilogue1 = Epilogue(channels, config.latent)

    def execute(self, x, styles, noise):
        if x is None:
            x = self.const.expand(styles[0].shape[0], *self.const.shape[1:])
        else:
            x = blur(self.conv0(x))
        x = self.epilogue0(x, styles[0], noise[0])
        return self.epilogue1(self.conv1(x), styles[1], noise[1])


class SynthesisNetwork(nn.Module):
    """One style per layer → an image."""

    def __init__(self, config):
        for size in config.sizes:
            setattr(self, f"block{size}", SynthesisBlock(size, config))
            setattr(self, f"to_rgb{size}",
                    EqualConv2d(config.width(size), config.channels, 1, gain=1.0))

    def execute(self, styles, noise, size, alpha=1.0):
        """Paint one picture per row.

        styles: [N, layers, latent], at least num_layers(size) layers.
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
    """Mapping and synthesis, with the mean style w_avg [latent] that truncation needs."""

    def __init__(self, config):
        self.config = config
        self.mapping = MappingNetwork(config)
        self.synthesis = SynthesisNetwork(config)
        self.w_avg = jt.zeros(config.latent).stop_grad()

    def execute(self, latent, size=None, alpha=1.0, noise=None, truncation_psi=1.0,
                truncation_cutoff=8):
        """Latents [N, latent] → images [N, channels, size, size] of the full size by default."""
        size = size or self.config.size
        styles = broadcast_style(self.mapping(latent), num_layers(size))
        styles = truncate(styles, self.w_avg, truncation_psi, truncation_cutoff)
        return self.synthesis(styles, noise, size, alpha)


def broadcast_style(w, layers):
    """w [N, latent] → the same style for every layer, [N, layers, latent]."""
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
    return [jt.randn(batch, 1, s, s) for s in sizes_to(size) for _ in range(2)]


def fixed_noise(size, seed=0):
    """The same, one map for all pictures, from NumPy: equal on every device."""
    rng = np.random.RandomState(seed)
    return [jt.array(rng.randn(1, 1, s, s).astype("float32"))
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
    """[N, width(size), size, size] → [N, width(size/2), size/2, size/2]."""

    def __init__(self, size, config):
        self.conv0 = EqualConv2d(config.width(size), config.width(size), 3, activate=True)
        self.conv1 = DownConv2d(config.width(size), config.width(size // 2), 3, activate=True)

    def execute(self, x):
        return self.conv1(blur(self.conv0(x)))


class DiscriminatorHead(nn.Module):
    """[N, width(4), 4, 4] → scores [N, 1]."""

    def __init__(self, config):
        channels = config.width(4)
        self.conv = EqualConv2d(channels + 1, channels, 3, activate=True)
        self.dense0 = EqualLinear(channels * 16, config.width(2), activate=True)
        self.dense1 = EqualLinear(config.width(2), 1, gain=1.0)

    def execute(self, x):
        x = self.conv(append_stddev(x))
        return self.dense1(self.dense0(x.reshape(x.shape[0], -1)))


class Discriminator(nn.Module):
    """Images [N, channels, size, size] of any size up to the full one → scores [N, 1]."""

    def __init__(self, config):
        self.config = config
        for size in config.sizes:
            setattr(self, f"from_rgb{size}",
                    EqualConv2d(config.channels, config.width(size), 1, activate=True))
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


def append_stddev(x):
    """[N, C, H, W] → [N, C+1, H, W]: how much the pictures of a group differ, as a last channel.

    Picture n belongs to group n mod (N / G). Standard deviation over the group per position,
    mean over all positions and channels (Karras et al. 2017, section 3). Real and generated
    pictures are scored in calls of their own, so they never share a group.
    """
    n, c, h, w = x.shape
    group = stddev_group(n)
    y = x.reshape(group, n // group, c, h, w)
    y = y - y.mean(0, keepdims=True)
    deviation = jt.sqrt((y * y).mean(0) + 1e-8).mean([1, 2, 3])
    deviation = deviation.reshape(1, n // group, 1, 1).expand(group, n // group, h, w)
    return jt.concat([x, deviation.reshape(n, 1, h, w)], 1)


# Which parameters are in use -------------------------------------------------------------------


def in_use(name, size, fading):
    """Whether the parameter `name` takes part when training at `size`."""
    for part in name.split("."):
        for prefix in ("block", "to_rgb", "from_rgb"):
            if part.startswith(prefix):
                own = int(part[len(prefix):])
                if prefix == "block":
                    return own <= size
                return own == size or (fading and own == size // 2)
    return True


def parameters_in_use(network, size, fading):
    """{name: Var} of what the optimizer updates at `size`, in the order of the network."""
    return {name: p for name, p in network.named_parameters()
            if name != "w_avg" and in_use(name, size, fading)}
