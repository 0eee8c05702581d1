"""The same networks and training step in PyTorch, written the ordinary way, to be measured against.

Nearest upsampling then convolution, convolution then average pool, a depthwise convolution for the
blur, softplus and R1 by automatic differentiation; or, `fused`, with one strided 4x4 convolution
instead of a convolution and its up- or downsampling. Not tuned, and not slowed down either.
Parameters have the names and shapes that ours have: weights can be carried over either way.
"""
import math

import torch
import torch.nn.functional as F
from torch import nn

from networks.config import in_use, num_layers, sizes_to

SQRT2 = math.sqrt(2)


class Equal(nn.Module):
    """A convolution or dense layer with equalised learning rate; "up" or "down": fused sampling."""

    def __init__(self, shape, gain=SQRT2, lrmul=1.0, fused=None, bias=True):
        super().__init__()
        self.fused = fused
        self.weight = nn.Parameter(torch.randn(shape) / lrmul)
        self.bias = nn.Parameter(torch.zeros(shape[0])) if bias else None
        self.scale, self.lrmul = gain * lrmul / math.sqrt(math.prod(shape[1:])), lrmul

    def forward(self, x):
        weight = self.weight * self.scale
        bias = None if self.bias is None else self.bias * self.lrmul
        if weight.dim() == 2:
            return F.linear(x, weight, bias)
        if self.fused:                                  # the kernel's four shifts, summed
            weight = F.pad(weight, (1, 1, 1, 1))
            weight = (weight[:, :, 1:, 1:] + weight[:, :, 1:, :-1]
                      + weight[:, :, :-1, 1:] + weight[:, :, :-1, :-1])
            if self.fused == "up":
                weight = weight.transpose(0, 1).flip(2, 3)
                return F.conv_transpose2d(x, weight, bias, stride=2, padding=1)
            return F.conv2d(x, weight / 4, bias, stride=2, padding=1)
        return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)


class Blur(torch.autograd.Function):
    """[1 2 1] in both directions. It is its own gradient, which ports of StyleGAN say to PyTorch,
    too, for it is slow at a depthwise convolution's second derivative, which R1 takes."""

    @staticmethod
    def forward(ctx, x):
        kernel = torch.tensor([1.0, 2, 1], device=x.device)
        kernel = (kernel[:, None] * kernel / 16).repeat(x.shape[1], 1, 1, 1)
        return F.conv2d(x, kernel, padding=1, groups=x.shape[1])

    @staticmethod
    def backward(ctx, gradient):
        return Blur.apply(gradient)


def lrelu(x):
    return F.leaky_relu(x, 0.2)


def upsample(x):
    return F.interpolate(x, scale_factor=2, mode="nearest")


def with_stddev(x):
    """The minibatch standard deviation of groups of up to 4, as a last channel."""
    n, c, h, w = x.shape
    group = next(g for g in (4, 3, 2, 1) if n % g == 0)
    y = x.view(group, n // group, c, h, w)
    deviation = torch.sqrt(y.var(0, unbiased=False) + 1e-8).mean([1, 2, 3])
    deviation = deviation.view(1, -1, 1, 1).repeat(group, 1, 1, 1).view(n, 1, 1, 1)
    return torch.cat([x, deviation.expand(-1, -1, h, w)], 1)


class Epilogue(nn.Module):
    """Noise, bias, leaky ReLU, instance norm, style."""

    def __init__(self, width, latent):
        super().__init__()
        self.noise_weight = nn.Parameter(torch.zeros(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.style = Equal((2 * width, latent), gain=1.0)

    def forward(self, x, w, noise=None):
        if noise is None:
            noise = torch.randn(x.shape[0], 1, *x.shape[2:], device=x.device)
        x = lrelu(x + self.noise_weight[:, None, None] * noise + self.bias[:, None, None])
        x = F.instance_norm(x, eps=1e-8)
        scale, shift = self.style(w)[:, :, None, None].chunk(2, 1)
        return x * (scale + 1) + shift


class SynthesisBlock(nn.Module):
    def __init__(self, size, config, fused):
        super().__init__()
        width = config.width(size)
        if size == 4:
            self.const = nn.Parameter(torch.ones(1, width, 4, 4))
        else:
            self.conv0 = Equal((width, config.width(size // 2), 3, 3), bias=False,
                               fused="up" if fused else None)
        self.epilogue0 = Epilogue(width, config.dlatent)
        self.conv1 = Equal((width, width, 3, 3), bias=False)
        self.epilogue1 = Epilogue(width, config.dlatent)

    def forward(self, x, w0, w1, noise):
        if x is None:
            x = self.const.expand(len(w0), -1, -1, -1)
        else:
            x = Blur.apply(self.conv0(x if self.conv0.fused else upsample(x)))
        x = self.epilogue0(x, w0, noise[0])
        return self.epilogue1(self.conv1(x), w1, noise[1])


class Generator(nn.Module):
    def __init__(self, config, fused=False):
        super().__init__()
        widths = config.mapping_widths
        self.mapping, self.synthesis = nn.Module(), nn.Module()
        self.mapping.layers = nn.ModuleList(
            [Equal((fan_out, fan_in), lrmul=config.mapping_lrmul)
             for fan_in, fan_out in zip(widths, widths[1:])])
        self.register_buffer("w_avg", torch.zeros(config.dlatent))
        for size in config.sizes:
            setattr(self.synthesis, f"block{size}", SynthesisBlock(size, config, fused))
            setattr(self.synthesis, f"to_rgb{size}",
                    Equal((config.channels, config.width(size), 1, 1), gain=1.0))

    def style(self, z):
        x = z * torch.rsqrt((z ** 2).mean(1, keepdim=True) + 1e-8)
        for layer in self.mapping.layers:
            x = lrelu(layer(x))
        return x

    def forward(self, w, w_other, crossover, size, alpha=1.0, noise=None):
        """w below layer `crossover`, w_other from it on; noise: maps by layer, None: random."""
        x = None
        for i, s in enumerate(sizes_to(size)):
            smaller = x
            w0, w1 = (w if layer < crossover else w_other for layer in (2 * i, 2 * i + 1))
            x = getattr(self.synthesis, f"block{s}")(
                x, w0, w1, noise[2 * i:2 * i + 2] if noise else (None, None))
        image = getattr(self.synthesis, f"to_rgb{size}")(x)
        if alpha < 1:
            small = upsample(getattr(self.synthesis, f"to_rgb{size // 2}")(smaller))
            image = small + (image - small) * alpha
        return image


class Block(nn.Module):
    def __init__(self, size, config, fused):
        super().__init__()
        width, below = config.d_width(size), config.d_width(size // 2)
        self.conv0 = Equal((width, width, 3, 3))
        self.conv1 = Equal((below, width, 3, 3), fused="down" if fused else None)

    def forward(self, x):
        x = self.conv1(Blur.apply(lrelu(self.conv0(x))))
        return lrelu(x if self.conv1.fused else F.avg_pool2d(x, 2))


class Discriminator(nn.Module):
    def __init__(self, config, fused=False):
        super().__init__()
        for size in config.sizes:
            setattr(self, f"from_rgb{size}", Equal((config.d_width(size), config.channels, 1, 1)))
            if size > 4:
                setattr(self, f"block{size}", Block(size, config, fused))
        width, dense = config.d_width(4), config.d_width(2)
        self.head = nn.Module()
        self.head.conv = Equal((width, width + 1, 3, 3))
        self.head.dense0 = Equal((dense, 16 * width))
        self.head.dense1 = Equal((1, dense), gain=1.0)

    def forward(self, images, alpha=1.0):
        size = images.shape[-1]
        x = lrelu(getattr(self, f"from_rgb{size}")(images))
        for s in reversed(sizes_to(size)[1:]):
            x = getattr(self, f"block{s}")(x)
            if s == size and alpha < 1:
                small = lrelu(getattr(self, f"from_rgb{s // 2}")(F.avg_pool2d(images, 2)))
                x = small + (x - small) * alpha
        x = lrelu(self.head.dense0(lrelu(self.head.conv(with_stddev(x))).flatten(1)))
        return self.head.dense1(x)


class Twin:
    """Both networks and full training iterations of them: D with R1, G, EMA."""

    def __init__(self, config, fused=False):
        self.config = config
        self.G, self.G_ema = (Generator(config, fused) for _ in range(2))
        self.D = Discriminator(config, fused)
        self.G_ema.load_state_dict(self.G.state_dict())
        self.paint, self.score = self.G, self.D         # or what torch.compile makes of them

    def begin(self, size, fading, lr):
        """Adam from zero, over what is in use at this size."""
        G, D = ({name: p for name, p in network.named_parameters() if in_use(name, size, fading)}
                for network in (self.G, self.D))
        self.adam_G, self.adam_D = (torch.optim.Adam(p.values(), lr, (0.0, 0.99), 1e-8)
                                    for p in (G, D))
        averages = dict(self.G_ema.named_parameters())
        self.averaged = [(averages[name], p) for name, p in G.items()]

    def fake(self, batch, size, alpha, mixing):
        """(pictures of new latents, their style w)."""
        layers = num_layers(size)
        crossover = layers
        if torch.rand(()) < mixing:
            crossover = int(torch.randint(1, layers, ()))
        w, w_other = self.G.style(torch.randn(2 * batch, self.config.latent)).chunk(2)
        return self.paint(w, w_other, crossover, size, alpha), w

    @torch.no_grad()
    def generate(self, batch, size, psi=0.7, chunk=16):
        """`batch` pictures, 16 at a time, styles drawn towards their mean."""
        pictures = []
        for z in torch.randn(batch, self.config.latent).split(chunk):
            w = self.G_ema.w_avg + psi * (self.G_ema.style(z) - self.G_ema.w_avg)
            pictures.append(self.G_ema(w, w, num_layers(size), size))
        return torch.cat(pictures)

    def step(self, real, alpha=1.0, gamma=10.0, mixing=0.9, ema_beta=0.999):
        """One iteration on real pictures [N, C, size, size]; the loss of G."""
        batch, size = len(real), real.shape[-1]
        if alpha < 1:
            blurred = upsample(F.avg_pool2d(real, 2))
            real = blurred + (real - blurred) * alpha
        real = real.requires_grad_()
        scores = self.D(real, alpha)
        gradient, = torch.autograd.grad(scores.sum(), real, create_graph=True)
        penalty = gradient.square().sum([1, 2, 3]).mean()
        with torch.no_grad():
            fake, w = self.fake(batch, size, alpha, mixing)
            self.G.w_avg.lerp_(w.float().mean(0), 0.005)        # as in the other pass of G
        loss = (F.softplus(-scores).mean() + F.softplus(self.score(fake, alpha)).mean()
                + gamma / 2 * penalty)
        self.adam_D.zero_grad()
        loss.backward()
        self.adam_D.step()

        self.D.requires_grad_(False)
        fake, w = self.fake(batch, size, alpha, mixing)
        loss = F.softplus(-self.score(fake, alpha)).mean()
        self.adam_G.zero_grad()
        loss.backward()
        self.adam_G.step()
        self.D.requires_grad_(True)
        with torch.no_grad():
            for average, p in self.averaged:
                average.lerp_(p, 1 - ema_beta)
            self.G.w_avg.lerp_(w.float().mean(0), 0.005)
            self.G_ema.w_avg.copy_(self.G.w_avg)
        return loss.item()
