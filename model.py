"""The networks, and a trained generator in a few words, for notebooks and programs of your own.

    from model import load
    G = load("docs/models/cats64.model")
    G.pictures(range(8))

Images are float32 NCHW in [-1, 1]. A `size` is a resolution in pixels (4, 8, 16 …); `alpha` in
[0, 1] is how far the layers of the newest size have faded in.
"""
from networks.config import ModelConfig
from networks.generator import (
    Discriminator,
    StyledGenerator,
    broadcast_style,
    mix_styles,
    parameters_in_use,
    truncate,
)

__all__ = ["Discriminator", "ModelConfig", "StyledGenerator", "broadcast_style", "load",
           "mix_styles", "parameters_in_use", "truncate"]


def load(path, size=None):
    """The averaged generator of a file, ours or another project's: a pictures.loaded.Generator.

    size: of other projects' weights, the size in pixels to which they were trained. It computes on
    a GPU where there is one; for a CPU, call backend.use_device("cpu") before `model` is imported.
    Raises UserError, one line, for what is no such file.
    """
    from pictures.loaded import Generator
    return Generator(path, size)
