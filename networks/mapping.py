"""The mapping network, which all of the StyleGANs share (Karras et al. 2018, section 2)."""
from backend import jt
from networks.layers import EqualLinear

nn = jt.nn


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
