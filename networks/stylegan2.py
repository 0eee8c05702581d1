"""StyleGAN2's synthesis network and discriminator.

Karras et al. 2019, "Analyzing and Improving the Image Quality of StyleGAN"; details as in the code
of Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data". No growing: all
sizes are in use from the beginning, and the pictures of all of them are summed up.
"""
import math

from backend import jt
from backend.kernels import best_form, conv2d, conv_transpose2d, matmul, winograd
from backend.layouts import split
from backend.modulation import epilogue, limited, scale_planes
from backend.resample import enlarge, halve, smooth
from networks.layers import SQRT2, EqualConv2d, EqualLinear, append_stddev
from networks.mapping import MappingNetwork

nn = jt.nn
HALF = math.sqrt(0.5)


class Modulated(nn.Module):
    """A convolution whose input channels are scaled by the style: [N, in, H, W] → [N, out, …].

    The paper scales the weights, a set for each picture; scaling what goes in and, to demodulate,
    what comes out is the same (section 2.2), and leaves one set of weights for the batch.
    """

    drawn = "weight"

    def __init__(self, fan_in, fan_out, kernel, config):
        self.style = EqualLinear(config.dlatent, fan_in, gain=1)
        self.style.bias = jt.ones(fan_in)
        self.weight = jt.randn(fan_out, fan_in, kernel, kernel)
        self.bias = jt.zeros(fan_out)
        self.clamp = config.clamp


class UpConv2d:
    """A transposed 3×3 convolution in steps of 2, then the filter: [N, in, H, W] →
    [N, out, 2H, 2W]."""

    @staticmethod
    def plain(x, weight, scale):
        return smooth(conv_transpose2d(x, weight, stride=2, padding=0), 1, gain=4 * scale)

    @staticmethod
    def winograd(x, weight, scale):
        return winograd(x, weight, "smooth_up", scale)


class SynthesisLayer(Modulated):
    """A modulated 3×3 convolution, noise, bias and leaky ReLU; where `up`, ×2 before it."""

    def __init__(self, fan_in, fan_out, config, up=False):
        super().__init__(fan_in, fan_out, 3, config)
        self.noise_strength = jt.zeros(1)
        self.up = up

    def execute(self, x, w, noise):
        """x [N, in, H, W], w [N, dlatent], noise [N or 1, 1, H', W'] or None."""
        style = self.style(w)
        x = scale_planes(x, style)
        layer, form = (UpConv2d, "smooth_up") if self.up else (EqualConv2d, "same")
        x = getattr(layer, best_form(form, self.weight))(x, self.weight, 1.0)
        if noise is None:
            noise = jt.zeros(1, 1, *x.shape[2:]).stop_grad()
        return epilogue(x, self.demodulation(style), noise, self.noise_strength, self.bias,
                        clamp=self.clamp)

    def demodulation(self, style):
        """[N, in] → [N, out]: 1 / the norm of each picture's scaled weights (equation 3)."""
        squares = (self.weight * self.weight).sum([2, 3])
        return jt.rsqrt(matmul(style * style, squares, transpose_b=True) + 1e-8)


class ToRGB(Modulated):
    """[N, in, H, W] → [N, channels, H, W]: modulated, not demodulated."""

    def __init__(self, fan_in, config):
        super().__init__(fan_in, config.channels, 1, config)

    def execute(self, x, w):
        style = self.style(w) * (1 / math.sqrt(x.shape[1]))
        x = conv2d(scale_planes(x, style), self.weight)
        return limited(x + self.bias.broadcast(x.shape, [0, 2, 3]), self.clamp)


class SynthesisBlock(nn.Module):
    """The layers of one size: from [N, C', size/2, size/2] to [N, C, size, size]."""

    drawn = "const"

    def __init__(self, size, config):
        channels = config.width(size)
        if size == 4:
            self.const = jt.randn(1, channels, 4, 4)
        else:
            self.conv0 = SynthesisLayer(config.width(size // 2), channels, config, up=True)
        self.conv1 = SynthesisLayer(channels, channels, config)

    def execute(self, x, styles, noise):
        """styles and noise: one for each layer, one at size 4, two above."""
        if x is None:
            x = self.const.expand(styles[0].shape[0], *self.const.shape[1:])
        else:
            x = self.conv0(x, styles[0], noise[0])
        return self.conv1(x, styles[-1], noise[-1])


class SynthesisNetwork(nn.Module):
    """One style per layer → an image."""

    def __init__(self, config):
        self.sizes = config.sizes
        for size in config.sizes:
            setattr(self, f"block{size}", SynthesisBlock(size, config))
            setattr(self, f"to_rgb{size}", ToRGB(config.width(size), config))

    def execute(self, styles, noise=None, size=None, alpha=1.0):
        """Paint one picture per row.

        styles: [N, layers, dlatent], at least num_layers(size) layers. Each toRGB has the style of
        the next size's first convolution.
        noise: a list of maps as make_noise gives, or None for no noise.
        size: up to it are pictures summed; only the full size is trained. alpha is StyleGAN1's,
        and is 1 here. Returns [N, channels, size, size].
        """
        sizes = [s for s in self.sizes if s <= (size or self.sizes[-1])]
        noise = [None] * (2 * len(sizes) - 1) if noise is None else noise
        x, image, styles = None, None, split(styles)
        for i, s in enumerate(sizes):
            layers = slice(max(0, 2 * i - 1), 2 * i + 1)
            x = getattr(self, f"block{s}")(x, styles[layers], noise[layers])
            here = getattr(self, f"to_rgb{s}")(x, styles[2 * i + 1])
            image = here if image is None else enlarge(image) + here
        return image


class DownConv2d(EqualConv2d):
    """The filter, then a 3×3 convolution in steps of 2: [N, in, 2H, 2W] → [N, out, H, W]."""

    def convolve(self, x, weight, scale):
        return getattr(self, best_form("smooth_down", weight))(x, weight, scale)

    @staticmethod
    def plain(x, weight, scale):
        return conv2d(smooth(x, 2), weight, stride=2, scale=scale)

    @staticmethod
    def winograd(x, weight, scale):
        return winograd(x, weight, "smooth_down", scale / 4)


class DiscriminatorBlock(nn.Module):
    """[N, d_width(size), size, size] → [N, d_width(size/2), size/2, size/2]."""

    def __init__(self, size, config):
        width, below = config.d_width(size), config.d_width(size // 2)
        # Each path times √½ keeps the variance of the sum (section 4.1); the activation's √2 is in
        # the gains of its layer.
        self.both = HALF if config.d_residual else 1.0
        self.conv0 = EqualConv2d(width, width, 3, activate=True, bias_gain=SQRT2)
        self.conv1 = DownConv2d(width, below, 3, activate=True, gain=SQRT2 * self.both,
                                bias_gain=SQRT2 * self.both)
        self.skip = EqualConv2d(width, below, 1, bias=False, gain=HALF) if config.d_residual \
            else None
        self.clamp = config.clamp

    def execute(self, x):
        y = limited(self.conv0(x), self.clamp)
        y = limited(self.conv1(y), self.clamp * self.both)
        return y if self.skip is None else y + self.skip(halve(x))


class DiscriminatorHead(nn.Module):
    """[N, d_width(4), 4, 4] → scores [N, 1], or, with labels, what is compared with them."""

    def __init__(self, config):
        channels = config.d_width(4)
        self.group, self.clamp = config.stddev_group, config.clamp
        self.conv = EqualConv2d(channels + (self.group != 1), channels, 3, activate=True,
                                bias_gain=SQRT2)
        self.dense0 = EqualLinear(channels * 16, channels, activate=True, bias_gain=SQRT2)
        self.dense1 = EqualLinear(channels, channels if config.labels else 1, gain=1)

    def execute(self, x):
        if self.group != 1:
            x = append_stddev(x, self.group or x.shape[0])
        x = limited(self.conv(x), self.clamp)
        return self.dense1(self.dense0(x.reshape(x.shape[0], -1)))


class Discriminator(nn.Module):
    """Images [N, channels, size, size] of the full size, and labels [N, labels] where the network
    has them → scores [N, 1]."""

    def __init__(self, config):
        self.config = config
        self.from_rgb = f"from_rgb{config.size}"
        setattr(self, self.from_rgb, EqualConv2d(config.channels, config.d_width(config.size), 1,
                                                 activate=True, bias_gain=SQRT2))
        for size in reversed(config.sizes[1:]):
            setattr(self, f"block{size}", DiscriminatorBlock(size, config))
        if config.labels:
            width = config.d_width(4)
            self.mapping = MappingNetwork([width] * (config.d_mapping_layers + 1),
                                          config.d_mapping_lrmul, SQRT2, config.labels, width)
        self.head = DiscriminatorHead(config)

    def execute(self, images, alpha=1.0, labels=None):
        x = limited(getattr(self, self.from_rgb)(images), self.config.clamp)
        for size in reversed(self.config.sizes[1:]):
            x = getattr(self, f"block{size}")(x)
        x = self.head(x)
        if labels is None:
            return x
        wanted = self.mapping(labels=labels)            # scores by likeness: a projection
        return (x * wanted).sum(1, keepdims=True) * (1 / math.sqrt(wanted.shape[1]))
