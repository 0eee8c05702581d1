"""StyleGAN2's PyTorch port (rosinality's stylegan2-pytorch): its checkpoints, in and out.

It computes what the official code computes, but that a modulated weight is scaled by 1 / √fan_in
before ε joins it, which is below float32 unless weights are tiny. Activations have no limit there.
"""
import re

import numpy as np

from networks.config import LARGEST_SIZE, ModelConfig, size_of, sizes_to
from weights.bounds import Refused, short
from weights.official2 import FILTER
from weights.port import count, fmaps, port_arrays
from weights.unpickle import Weights, renamed, values

NETWORKS = {"g_ema": "ema", "g": "generator", "d": "discriminator"}
# What the port's class has and ours may have otherwise.
FIXED = dict(arch="stylegan2", channels=3, labels=0, clamp=0.0, d_residual=True, stddev_group=4,
             mapping_lrmul=0.01)


def is_one(content):
    """Whether the content of a file is of this kind: all networks by name, or a bare generator."""
    return isinstance(content, dict) and ("g_ema" in content or "input.input" in content)


def weights_of(content):
    if "g_ema" not in content:
        content = {"g_ema": content}
    found = {ours: port_arrays(content[theirs]) for theirs, ours in NETWORKS.items()
             if theirs in content}
    config = config_of(found["ema"], found.get("discriminator"))
    noise = {}
    for prefix, arrays in found.items():
        for name in [n for n in arrays if n.endswith(".kernel")]:
            kernel = arrays.pop(name)
            if kernel.shape != FILTER.shape or \
                    not np.allclose(kernel / kernel.sum(), FILTER, atol=1e-6):
                raise Refused(f"{short(name, 80)[1:-1]} is not [1, 3, 3, 1], which alone is "
                              "supported")
        maps = [arrays.pop(f"noises.noise_{i}", None) for i in range(len(config.noise_sides))]
        if prefix == "ema" and all(a is not None for a in maps):
            noise = {f"noise/{i}": a.reshape(1, 1, s, s)
                     for i, (a, s) in enumerate(zip(maps, config.noise_sides))}
    mean = values({"w_avg": content.get("latent_avg")}).get("w_avg")
    if mean is not None and mean.size == config.dlatent:
        noise |= {f"{prefix}/w_avg": mean.reshape(-1) for prefix in found
                  if prefix != "discriminator"}
    return Weights(config, found, lambda name, shape: [port_form(name, shape, config.size)],
                   "the PyTorch port of StyleGAN2", size=config.size, more=noise)


def config_of(generator, discriminator):
    """The ModelConfig whose layers have the shapes of these arrays."""
    try:
        mapping = [generator[f"style.{i + 1}.weight"].shape
                   for i in range(count(generator, r"style\.\d+\.weight"))]
        convolutions = count(generator, r"convs\.\d+\.activate\.bias")
        if convolutions // 2 + 1 > len(sizes_to(LARGEST_SIZE)):
            raise Refused(f"{convolutions} convolutions, which is a size beyond {LARGEST_SIZE}")
        size = 4 << convolutions // 2
        widths = {s: generator[form_of(f"synthesis.block{s}.conv1.bias", size)].size
                  for s in sizes_to(size)}
        base, largest = fmaps(widths)
        fields = FIXED | dict(
            size=size, latent=mapping[0][1], mapping_fmaps=mapping[0][0], dlatent=mapping[-1][0],
            mapping_layers=len(mapping), fmap_base=base, fmap_max=largest)
        if discriminator is not None:
            widths = {s: discriminator[form_of(f"block{s}.conv0.bias" if s > 4 else
                                               "head.conv.bias", size)].size for s in widths}
            if any(width != ModelConfig(**fields).width(s) for s, width in widths.items()):
                fields["d_fmap_base"], fields["d_fmap_max"] = fmaps(widths)
    except (KeyError, IndexError, ValueError) as error:
        raise Refused("no StyleGAN2 of the PyTorch port's layout "
                      f"({short(error, 80)} is missing)") from None
    return ModelConfig(**fields)


# Ours → the port's. {conv} counts the generator's convolutions after the first, {rgb} its toRGBs,
# {down} the discriminator's blocks.
NAMES = (
    (r"^mapping\.layers\.(\d+)", lambda found: f"style.{int(found[1]) + 1}"),
    (r"^synthesis\.block4\.const", "input.input"),
    (r"^synthesis\.block4\.conv1", "conv1"),
    (r"^synthesis\.block\d+\.conv\d", "convs.{conv}"),
    (r"^synthesis\.to_rgb4", "to_rgb1"),
    (r"^synthesis\.to_rgb\d+", "to_rgbs.{rgb}"),
    (r"\.style\.", ".conv.modulation."),
    (r"^((?:convs\.{conv}|conv1|to_rgb1|to_rgbs\.{rgb}))\.weight", r"\1.conv.weight"),
    (r"^(convs\.{conv}|conv1)\.bias", r"\1.activate.bias"),
    (r"noise_strength$", "noise.weight"),
    (r"^from_rgb\d+\.weight", "convs.0.0.weight"),
    (r"^from_rgb\d+\.bias", "convs.0.1.bias"),
    (r"^block\d+\.conv0\.weight", "convs.{down}.conv1.0.weight"),
    (r"^block\d+\.conv0\.bias", "convs.{down}.conv1.1.bias"),
    (r"^block\d+\.conv1\.weight", "convs.{down}.conv2.1.weight"),
    (r"^block\d+\.conv1\.bias", "convs.{down}.conv2.2.bias"),
    (r"^block\d+\.skip", "convs.{down}.skip.1"),
    (r"^head\.conv\.weight", "final_conv.0.weight"),
    (r"^head\.conv\.bias", "final_conv.1.bias"),
    (r"^head\.dense", "final_linear."))


def form_of(name, full_size):
    """The port's name of our parameter, in a network of this size."""
    theirs = renamed(name, NAMES)
    level = (size_of(name) or 4).bit_length() - 4           # of size 8: 0
    second = int(".conv1" in name)
    return theirs.format(conv=2 * level + second, rgb=level,
                         down=full_size.bit_length() - 4 - level + 1)


def port_form(name, shape, full_size):
    """(their name, their shape, function from their array to ours) of our parameter."""
    their_shape = shape
    if name.startswith("synthesis") and len(shape) == 4 and name.endswith("weight"):
        their_shape = (1, *shape)
    elif re.match(r"synthesis\.to_rgb\d+\.bias", name):
        their_shape = (1, *shape, 1, 1)
    return form_of(name, full_size), their_shape, lambda a: a.reshape(shape)


def to_port(config, arrays):
    """{"g_ema": {name: array}, …, "latent_avg": array}: all networks in `arrays` as the port names
    them, with the kernels and noise maps that its classes keep."""
    content = {}
    for theirs, prefix in NETWORKS.items():
        found = {name.partition("/")[2]: a for name, a in arrays.items()
                 if name.startswith(prefix + "/")}
        if not found:
            continue
        state = content[theirs] = {}
        for name, a in found.items():
            if name == "w_avg":
                if theirs == "g_ema":
                    content["latent_avg"] = a
                continue
            their_name, shape, _ = port_form(name, a.shape, config.size)
            state[their_name] = np.ascontiguousarray(a.reshape(shape))
        state |= discriminator_kernels(config) if theirs == "d" else generator_buffers(config,
                                                                                        arrays)
    return content


def generator_buffers(config, arrays):
    kernel, rng = (FILTER * 4).astype("float32"), np.random.RandomState(0)
    found = {}
    for i in range(len(config.sizes) - 1):
        found |= {f"convs.{2 * i}.conv.blur.kernel": kernel, f"to_rgbs.{i}.upsample.kernel": kernel}
    for i, side in enumerate(config.noise_sides):
        drawn = rng.randn(1, 1, side, side).astype("float32")       # as inputs.fixed_noise
        found[f"noises.noise_{i}"] = arrays.get(f"noise/{i}", drawn)
    return found


def discriminator_kernels(config):
    kernel = FILTER.astype("float32")
    return {f"convs.{i}.{path}.0.kernel": kernel for i in range(1, len(config.sizes))
            for path in ("conv2", "skip")}
