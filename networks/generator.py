"""The two networks, StyledGenerator and Discriminator, as a ModelConfig says.

Images are float32 NCHW in [-1, 1]. A `size` is a resolution in pixels (4, 8, 16 …); `alpha` in
[0, 1] is how far the layers of the newest size have faded in.
"""
import numpy as np

from backend import jt
from networks import stylegan1, stylegan2
from networks.config import in_use, num_layers, truncated_layers
from networks.mapping import generator_mapping

nn = jt.nn
NETWORKS = {"stylegan1": stylegan1, "stylegan2": stylegan2}


def Discriminator(config):
    """That of the ModelConfig's architecture: images [N, channels, size, size] → scores [N, 1]."""
    return NETWORKS[config.arch].Discriminator(config)


class StyledGenerator(nn.Module):
    """Mapping and synthesis, with the mean style w_avg [dlatent] that truncation needs."""

    def __init__(self, config):
        self.config = config
        self.mapping = generator_mapping(config)
        self.synthesis = NETWORKS[config.arch].SynthesisNetwork(config)
        self.w_avg = jt.zeros(config.dlatent).stop_grad()

    def execute(self, latent, size=None, alpha=1.0, noise=None, truncation_psi=1.0,
                truncation_cutoff=None, labels=None):
        """Latents [N, latent] → images [N, channels, size, size] of the full size by default.

        truncation_cutoff: in how many layers, by default config.truncated_layers. labels:
        [N, labels], where the network has them.
        """
        size = size or self.config.size
        styles = broadcast_style(self.mapping(latent, labels), num_layers(size))
        if truncation_cutoff is None:
            truncation_cutoff = truncated_layers(self.config.arch, size)
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


def parameters_in_use(network, size, fading):
    """{name: Var} of what the optimizer updates at `size`, in the order of the network; of a
    StyleGAN2, which does not grow, everything."""
    grows = network.config.arch == "stylegan1"
    return {name: p for name, p in network.named_parameters()
            if name != "w_avg" and (not grows or in_use(name, size, fading))}
