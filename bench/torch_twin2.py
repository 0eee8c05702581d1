"""StyleGAN2's networks and training iteration in PyTorch, to be measured against.

The ordinary way, as the ports write it: a set of weights for each picture, in grouped convolutions.
Or, `scaled`, the better way: the activations are scaled before the convolution and after it, with
one set of weights. Filters are depthwise convolutions, penalties automatic differentiation. Not
tuned, and not slowed down either. Parameters have the names and shapes that ours have.
"""
import math

import torch
import torch.nn.functional as F
from torch import nn

from bench.torch_twin import Equal, with_stddev

SQRT2, HALF = math.sqrt(2), math.sqrt(0.5)


class Filter(torch.autograd.Function):
    """outer([1, 3, 3, 1]) / 64 on each channel. Its gradient is itself, with zeros in between where
    it took every second pixel; as to Blur of torch_twin, this is said to PyTorch."""

    @staticmethod
    def forward(ctx, x, before, after, gain, every):
        ctx.size, ctx.options = x.shape[2:], (before, gain, every)
        taps = torch.tensor([1.0, 3, 3, 1], device=x.device)
        kernel = (taps[:, None] * taps * (gain / 64)).repeat(x.shape[1], 1, 1, 1)
        x = F.pad(x, (before, after, before, after))
        return F.conv2d(x, kernel, stride=every, groups=x.shape[1])

    @staticmethod
    def backward(ctx, gradient):
        before, gain, every = ctx.options
        spread = apart(gradient) if every == 2 else gradient
        after = ctx.size[0] + before - spread.shape[2]
        return Filter.apply(spread, 3 - before, after, gain, 1), None, None, None, None


def filtered(x, before, after, gain=1.0, every=1):
    return Filter.apply(x, before, after, gain, every)


def apart(x):
    """Zeros between the pixels and after the last."""
    n, c, h, w = x.shape
    return F.pad(x.view(n, c, h, 1, w, 1), (0, 1, 0, 0, 0, 1)).view(n, c, 2 * h, 2 * w)


def enlarged(x):
    return filtered(apart(x), 2, 1, 4)


def lrelu(x, gain=SQRT2):
    return F.leaky_relu(x, 0.2) * gain


class Modulated(nn.Module):
    def __init__(self, fan_in, fan_out, kernel, latent, scaled, up=False):
        super().__init__()
        self.style = Equal((fan_in, latent), gain=1.0)
        nn.init.ones_(self.style.bias)
        self.weight = nn.Parameter(torch.randn(fan_out, fan_in, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(fan_out))
        self.scaled, self.up = scaled, up

    def convolve(self, x, w, demodulate):
        style = self.style(w)
        if not demodulate:
            style = style / math.sqrt(style.shape[1])
        if self.scaled:
            x = self.plain(x * style[:, :, None, None], self.weight, 1)
            if demodulate:
                squares = self.weight.square().sum([2, 3])
                x = x * torch.rsqrt(style.square() @ squares.T + 1e-8)[:, :, None, None]
            return x
        weight = self.weight[None] * style[:, None, :, None, None]
        if demodulate:
            weight = weight * torch.rsqrt(weight.square().sum([2, 3, 4], keepdim=True) + 1e-8)
        n, c, h, width = x.shape
        x = self.plain(x.reshape(1, n * c, h, width), weight.flatten(0, 1), n)
        return x.view(n, -1, *x.shape[2:])

    def plain(self, x, weight, groups):
        """weight: [groups · out, in, K, K]."""
        if not self.up:
            return F.conv2d(x, weight, padding=weight.shape[-1] // 2, groups=groups)
        fan_out, fan_in = self.weight.shape[:2]
        weight = weight.view(groups, fan_out, fan_in, 3, 3).transpose(1, 2)
        x = F.conv_transpose2d(x, weight.reshape(-1, fan_out, 3, 3), stride=2, groups=groups)
        return filtered(x, 1, 1, 4)


class SynthesisLayer(Modulated):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.noise_strength = nn.Parameter(torch.zeros(1))

    def forward(self, x, w, noise=None):
        x = self.convolve(x, w, True)
        if noise is None:
            noise = torch.randn(x.shape[0], 1, *x.shape[2:], device=x.device)
        return lrelu(x + noise * self.noise_strength + self.bias[:, None, None])


class ToRGB(Modulated):
    def forward(self, x, w):
        return self.convolve(x, w, False) + self.bias[:, None, None]


class Generator(nn.Module):
    def __init__(self, config, scaled=False):
        super().__init__()
        self.config, latent = config, config.dlatent
        widths = config.mapping_widths
        self.mapping, self.synthesis = nn.Module(), nn.Module()
        self.mapping.layers = nn.ModuleList(
            [Equal((fan_out, fan_in), gain=1.0, lrmul=config.mapping_lrmul)
             for fan_in, fan_out in zip(widths, widths[1:])])
        self.register_buffer("w_avg", torch.zeros(latent))
        for size in config.sizes:
            width, block = config.width(size), nn.Module()
            if size == 4:
                block.const = nn.Parameter(torch.randn(1, width, 4, 4))
            else:
                block.conv0 = SynthesisLayer(config.width(size // 2), width, 3, latent, scaled,
                                             up=True)
            block.conv1 = SynthesisLayer(width, width, 3, latent, scaled)
            setattr(self.synthesis, f"block{size}", block)
            setattr(self.synthesis, f"to_rgb{size}",
                    ToRGB(width, config.channels, 1, latent, scaled))

    def style(self, z):
        x = z * torch.rsqrt((z ** 2).mean(1, keepdim=True) + 1e-8)
        for layer in self.mapping.layers:
            x = lrelu(layer(x))
        return x

    def forward(self, styles, noise=None):
        """styles [N, layers, dlatent]; noise: maps by convolution, None: random."""
        noise = iter(noise or [None] * 99)
        x, image = None, None
        for i, size in enumerate(self.config.sizes):
            block = getattr(self.synthesis, f"block{size}")
            if size == 4:
                x = block.const.expand(len(styles), -1, -1, -1)
            else:
                x = block.conv0(x, styles[:, 2 * i - 1], next(noise))
            x = block.conv1(x, styles[:, 2 * i], next(noise))
            here = getattr(self.synthesis, f"to_rgb{size}")(x, styles[:, 2 * i + 1])
            image = here if image is None else enlarged(image) + here
        return image


class Block(nn.Module):
    def __init__(self, size, config):
        super().__init__()
        width, below = config.d_width(size), config.d_width(size // 2)
        self.conv0 = Equal((width, width, 3, 3), gain=1.0)
        self.conv1 = Equal((below, width, 3, 3), gain=1.0, bias=True)
        self.skip = Equal((below, width, 1, 1), gain=1.0, bias=False)

    def forward(self, x):
        y = filtered(lrelu(self.conv0(x)), 2, 2)
        weight = self.conv1.weight * self.conv1.scale
        y = lrelu(F.conv2d(y, weight, self.conv1.bias, stride=2), 1.0)
        return y + self.skip(filtered(x, 1, 1, every=2)) * HALF


class Discriminator(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        setattr(self, f"from_rgb{config.size}",
                Equal((config.d_width(config.size), config.channels, 1, 1), gain=1.0))
        for size in config.sizes[1:]:
            setattr(self, f"block{size}", Block(size, config))
        width = config.d_width(4)
        self.head = nn.Module()
        self.head.conv = Equal((width, width + 1, 3, 3), gain=1.0)
        self.head.dense0 = Equal((width, 16 * width), gain=1.0)
        self.head.dense1 = Equal((1, width), gain=1.0)

    def forward(self, images):
        x = lrelu(getattr(self, f"from_rgb{self.config.size}")(images))
        for size in reversed(self.config.sizes[1:]):
            x = getattr(self, f"block{size}")(x)
        x = lrelu(self.head.dense0(lrelu(self.head.conv(with_stddev(x))).flatten(1)))
        return self.head.dense1(x)


class Twin:
    """Both networks and full training iterations, with both lazy penalties."""

    def __init__(self, config, scaled=False):
        self.config = config
        self.G, self.G_ema = (Generator(config, scaled) for _ in range(2))
        self.D = Discriminator(config)
        self.G_ema.load_state_dict(self.G.state_dict())
        self.iteration, self.pl_mean = 0, torch.zeros(())

    def begin(self, _size, _fading, lr, pl_interval=4, r1_interval=16):
        self.pl_interval, self.r1_interval = pl_interval, r1_interval
        self.adams = {}
        for network, interval in (self.G, pl_interval), (self.D, r1_interval):
            c = interval / (interval + 1)
            self.adams[network] = torch.optim.Adam(network.parameters(), lr * c, (0.0, 0.99 ** c),
                                                   1e-8)

    def fake(self, batch, mixing):
        """(pictures of new latents, their styles)."""
        layers, latent = self.config.layers, self.config.latent
        w = self.G.style(torch.randn(batch, latent))
        with torch.no_grad():
            self.G.w_avg.lerp_(w.mean(0), 0.005)
        styles = w[:, None].repeat(1, layers, 1)
        if torch.rand(()) < mixing:
            crossover = int(torch.randint(1, layers, ()))
            styles[:, crossover:] = self.G.style(torch.randn(batch, latent))[:, None]
        return self.G(styles), styles

    @torch.no_grad()
    def generate(self, batch, _size, psi=0.7, chunk=16):
        pictures = []
        for z in torch.randn(batch, self.config.latent).split(chunk):
            w = self.G_ema.w_avg + psi * (self.G_ema.style(z) - self.G_ema.w_avg)
            pictures.append(self.G_ema(w[:, None].expand(-1, self.config.layers, -1)))
        return torch.cat(pictures)

    def descend(self, network, loss):
        self.adams[network].zero_grad()
        loss.backward()
        self.adams[network].step()

    def step(self, real, gamma=10.0, pl_weight=2.0, mixing=0.9, ema_beta=0.999):
        """One iteration on real pictures [N, C, size, size]; the loss of G."""
        batch, side = len(real), real.shape[-1]
        self.D.requires_grad_(False)
        loss = F.softplus(-self.D(self.fake(batch, mixing)[0])).mean()
        self.descend(self.G, loss)
        if self.iteration % self.pl_interval == 0:
            fake, styles = self.fake(batch // 2, mixing)
            directions = torch.randn_like(fake) / side
            gradient, = torch.autograd.grad((fake * directions).sum(), styles, create_graph=True)
            lengths = gradient.square().sum(2).mean(1).sqrt()
            pl_mean = self.pl_mean.lerp(lengths.mean(), 0.01)
            self.pl_mean = pl_mean.detach()
            self.descend(self.G, (lengths - pl_mean).square().mean() * pl_weight * self.pl_interval)
        self.D.requires_grad_(True)
        with torch.no_grad():
            fake, _ = self.fake(batch, mixing)
        self.descend(self.D, F.softplus(self.D(fake)).mean() + F.softplus(-self.D(real)).mean())
        if self.iteration % self.r1_interval == 0:
            given = real.detach().requires_grad_()
            gradient, = torch.autograd.grad(self.D(given).sum(), given, create_graph=True)
            penalty = gradient.square().sum([1, 2, 3]).mean()
            self.descend(self.D, penalty * gamma / 2 * self.r1_interval)
        with torch.no_grad():
            for average, p in zip(self.G_ema.parameters(), self.G.parameters()):
                average.lerp_(p, 1 - ema_beta)
            self.G_ema.w_avg.copy_(self.G.w_avg)
        self.iteration += 1
        return loss.item()
