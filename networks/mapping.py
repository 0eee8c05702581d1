"""The mapping network, which all of the StyleGANs share (Karras et al. 2018, section 2)."""
import math

from backend import jt
from networks.layers import SQRT2, EqualLinear

nn = jt.nn


class MappingNetwork(nn.Module):
    """latent z [N, widths[0]] → style w [N, widths[-1]].

    labels: length of the labels [N, labels] that come with the latents, or alone; they become
    `embedded` numbers, which follow the latent's: normalised by themselves or, `together`, with
    them, as StyleGAN1's, whose embedding is a plain matrix. bias_gain: see EqualLR.
    """

    def __init__(self, widths, lrmul, bias_gain=1.0, labels=0, embedded=0, together=False):
        self.together = together
        if labels:
            self.embed = EqualLinear(labels, embedded, gain=math.sqrt(labels) if together else 1,
                                     bias=not together)
        self.layers = nn.ModuleList([
            EqualLinear(fan_in, fan_out, lrmul=lrmul, bias_gain=bias_gain, activate=True)
            for fan_in, fan_out in zip(widths, widths[1:])])

    def execute(self, latent=None, labels=None):
        x = [] if latent is None else [latent]
        x += [] if labels is None else [self.embed(labels)]
        if not self.together:
            x = [*map(normalized, x)]
        x = x[0] if len(x) == 1 else jt.concat(x, 1)
        if self.together:
            x = normalized(x)
        for layer in self.layers:
            x = layer(x)
        return x


def normalized(x):
    """[N, C], each row divided by its root mean square."""
    return x * jt.rsqrt((x ** 2).mean(1, keepdims=True) + 1e-8)


def generator_mapping(config):
    first = config.arch == "stylegan1"
    return MappingNetwork(config.mapping_widths, config.mapping_lrmul, 1.0 if first else SQRT2,
                          config.labels, config.embedded, first)
