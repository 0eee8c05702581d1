"""The same network and training step in PyTorch, written the ordinary way, to be measured against.

Nearest upsampling then convolution, convolution then average pool, a depthwise convolution for the
blur, softplus and R1 by automatic differentiation; or, `fused`, with one strided 4x4 convolution
instead of a convolution and its up- or downsampling. Only for measuring: it is not tuned, and not
slowed down either.
"""
import math

import torch
import torch.nn.functional as F
from torch import nn

SQRT2 = math.sqrt(2)


class Equal(nn.Module):
    """A convolution or dense layer with equalised learning rate; "up" or "down": fused sampling."""

    def __init__(self, shape, gain=SQRT2, lrmul=1.0, fused=None):
        super().__init__()
        self.fused = fused
        self.weight = nn.Parameter(torch.randn(shape) / lrmul)
        self.bias = nn.Parameter(torch.zeros(shape[0]))
        self.scale, self.lrmul = gain * lrmul / math.sqrt(math.prod(shape[1:])), lrmul

    def forward(self, x):
        weight, bias = self.weight * self.scale, self.bias * self.lrmul
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


def blur(x):
    kernel = torch.tensor([1.0, 2, 1])
    kernel = (kernel[:, None] * kernel / 16).repeat(x.shape[1], 1, 1, 1)
    return F.conv2d(x, kernel, padding=1, groups=x.shape[1])


def lrelu(x):
    return F.leaky_relu(x, 0.2)


class Layer(nn.Module):
    """Convolution, noise, leaky ReLU, instance norm, style."""

    def __init__(self, fan_in, fan_out, latent, up, fused=False):
        super().__init__()
        self.up = up
        self.conv = Equal((fan_out, fan_in, 3, 3), fused="up" if up and fused else None)
        self.noise = nn.Parameter(torch.zeros(1, fan_out, 1, 1))
        self.style = Equal((2 * fan_out, latent), gain=1.0)

    def forward(self, x, w):
        if self.up and not self.conv.fused:
            x = F.interpolate(x, scale_factor=2, mode="nearest")
        x = self.conv(x)
        if self.up:
            x = blur(x)
        x = lrelu(x + self.noise * torch.randn(x.shape[0], 1, *x.shape[2:]))
        x = F.instance_norm(x, eps=1e-8)
        scale, shift = self.style(w)[:, :, None, None].chunk(2, 1)
        return x * (scale + 1) + shift


class Generator(nn.Module):
    def __init__(self, width, size, latent, fused=False):
        super().__init__()
        self.mapping = nn.ModuleList([Equal((latent, latent), lrmul=0.01) for _ in range(8)])
        self.register_buffer("w_avg", torch.zeros(latent))
        self.const = nn.Parameter(torch.ones(1, width(4), 4, 4))
        self.layers = nn.ModuleList([Layer(width(4), width(4), latent, up=False)])
        s = 8
        while s <= size:
            self.layers.append(Layer(width(s // 2), width(s), latent, up=True,
                                     fused=fused))
            self.layers.append(Layer(width(s), width(s), latent, up=False))
            s *= 2
        self.to_rgb = Equal((3, width(size), 1, 1), gain=1.0)

    def forward(self, z, z_other, crossover, psi=None):
        styles = []
        for x in (z, z_other):
            x = x * torch.rsqrt((x ** 2).mean(1, keepdim=True) + 1e-8)
            for layer in self.mapping:
                x = lrelu(layer(x))
            styles.append(x if psi is None else x * psi + self.w_avg * (1 - psi))
        x = self.const.expand(len(z), -1, -1, -1)
        for i, layer in enumerate(self.layers):
            x = layer(x, styles[i >= crossover])
        return self.to_rgb(x)


class Discriminator(nn.Module):
    def __init__(self, width, size, fused=False):
        super().__init__()
        self.from_rgb = Equal((width(size), 3, 1, 1))
        self.blocks = nn.ModuleList()
        while size > 4:
            self.blocks.append(nn.ModuleList([Equal((width(size), width(size), 3, 3)),
                                              Equal((width(size // 2), width(size), 3, 3),
                                                    fused="down" if fused else None)]))
            size //= 2
        self.conv = Equal((width(4), width(4) + 1, 3, 3))
        self.dense0 = Equal((width(2), width(4) * 16))
        self.dense1 = Equal((1, width(2)), gain=1.0)

    def forward(self, x):
        x = lrelu(self.from_rgb(x))
        for conv0, conv1 in self.blocks:
            x = blur(lrelu(conv0(x)))
            x = conv1(x)
            x = lrelu(x if conv1.fused else F.avg_pool2d(x, 2))
        n, c, h, w = x.shape
        group = next(g for g in (4, 3, 2, 1) if n % g == 0)
        y = x.view(group, n // group, c, h, w)
        deviation = torch.sqrt(y.var(0, unbiased=False) + 1e-8).mean([1, 2, 3])
        deviation = deviation.view(1, -1, 1, 1).repeat(group, 1, 1, 1).view(n, 1, 1, 1)
        x = torch.cat([x, deviation.expand(-1, -1, h, w)], 1)
        x = lrelu(self.dense0(lrelu(self.conv(x)).flatten(1)))
        return self.dense1(x)


class Twin:
    """One full training iteration on random pictures: D with R1, G, EMA."""

    def __init__(self, config, size, batch, fused=False):
        self.G = Generator(config.width, size, config.latent, fused)
        self.D = Discriminator(config.width, size, fused)
        self.G_ema = Generator(config.width, size, config.latent, fused)
        self.adam_G, self.adam_D = (torch.optim.Adam(n.parameters(), 1e-3, (0.0, 0.99))
                                    for n in (self.G, self.D))
        self.real = torch.randn(batch, 3, size, size)
        self.batch, self.latent, self.layers = batch, config.latent, len(self.G.layers)

    def fake(self):
        crossover = int(torch.randint(1, self.layers, ()))
        return self.G(torch.randn(self.batch, self.latent), torch.randn(self.batch, self.latent),
                      crossover)

    @torch.no_grad()
    def generate(self, psi=0.7, chunk=16):
        """The batch's pictures, 16 at a time, styles drawn towards their mean."""
        z = torch.randn(self.batch, self.latent)
        return torch.cat([self.G_ema(part, part, self.layers, psi) for part in z.split(chunk)])

    def step(self):
        real = self.real.requires_grad_()
        scores = self.D(real)
        gradient, = torch.autograd.grad(scores.sum(), real, create_graph=True)
        penalty = gradient.square().sum([1, 2, 3]).mean()
        with torch.no_grad():
            fake = self.fake()
        loss = F.softplus(-scores).mean() + F.softplus(self.D(fake)).mean() + 5 * penalty
        self.adam_D.zero_grad()
        loss.backward()
        self.adam_D.step()

        self.D.requires_grad_(False)
        loss = F.softplus(-self.D(self.fake())).mean()
        self.adam_G.zero_grad()
        loss.backward()
        self.adam_G.step()
        self.D.requires_grad_(True)
        with torch.no_grad():
            for average, p in zip(self.G_ema.parameters(), self.G.parameters()):
                average.lerp_(p, 0.001)
        return loss.item()
