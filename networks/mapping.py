"""The mapping network, which all of the StyleGANs share (Karras et al. 2018, section 2)."""
from backend import jt
from networks.layers import SQRT2, EqualLinear

nn = jt.nn


class MappingNetwork(nn.Module):
    """latent z [N, widths[0]] → style w [N, widths[-1]].

    labels: length of the labels [N, labels] that come with the latents, or alone; they become
    `embedded` numbers, which follow the latent's. bias_gain: see EqualLR.
    """

    def __init__(self, widths, lrmul, bias_gain=1.0, labels=0, embedded=0):
        if labels:
            self.embed = EqualLinear(labels, embedded, gain=1)
        self.layers = nn.ModuleList([
            EqualLinear(fan_in, fan_out, lrmul=lrmul, bias_gain=bias_gain, activate=True)
            for fan_in, fan_out in zip(widths, widths[1:])])

    def execute(self, latent=None, labels=None):
        x = [] if latent is None else [normalized(latent)]
        x += [] if labels is None else [normalized(self.embed(labels))]
        x = x[0] if len(x) == 1 else jt.concat(x, 1)
        for layer in self.layers:
            x = layer(x)
        return x


def normalized(x):
    """[N, C], each row divided by its root mean square."""
    return x * jt.rsqrt((x ** 2).mean(1, keepdims=True) + 1e-8)


def generator_mapping(config):
    return MappingNetwork(config.mapping_widths, config.mapping_lrmul,
                          SQRT2 if config.arch == "stylegan2" else 1.0, config.labels,
                          config.dlatent)
