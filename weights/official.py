"""The official StyleGAN1 pickle: its three networks, their options, its names and layouts.

Karras, Laine, Aila 2018, as the TensorFlow code saves it: a tuple (G, D, Gs) of networks, each with
the arguments it was built with and a list of variables; Gs is the moving average.
"""
import math
import re

import numpy as np

from networks.config import ModelConfig, size_of
from weights.bounds import LONGEST_NAME, Refused, short
from weights.stand_ins import Network
from weights.unpickle import Weights, renamed, values

# What the official build functions can do besides, with the only value that is done here.
FIXED = dict(
    use_wscale=True, normalize_latents=True, mapping_nonlinearity="lrelu",
    nonlinearity="lrelu", use_styles=True, const_input_layer=True, use_noise=True,
    use_pixel_norm=False, use_instance_norm=True, mbstd_num_features=1, dtype="float32")


def weights_of(networks):
    """Weights of the tuple (G, D, Gs)."""
    G, D, Gs = (variables(network) for network in networks)
    config, fused = official_config(networks, G)
    # Not weights: how far the network had grown, and the noise of pictures that are to be equal.
    lod = [found.pop(name) for found in (D, G, Gs) for name in ("synthesis/lod", "lod")
           if name in found][-1:]
    noise = {}
    for found in (G, Gs):
        noise = {name: found.pop(name) for name in list(found)
                 if re.fullmatch(r"synthesis/noise\d+", name)}
    # A picture of lod 1.25 has half the size, and is a quarter of the way to a quarter of it.
    lod = min(max(float(lod[0]) if lod else 0.0, 0.0), math.log2(config.size) - 2)
    return Weights(
        config, {"generator": G, "discriminator": D, "ema": Gs},
        lambda name, shape: [official_form(name, shape, config.size, fused)],
        "official StyleGAN1", size=config.size // 2 ** int(lod), alpha=1 - lod % 1, has_w_avg=True,
        more={f"noise/{name[len('synthesis/noise'):]}": a for name, a in noise.items()})


def variables(network):
    """{name: array} of a Network and its components: "lod", "synthesis/4x4/Const/const", …"""
    found = {}
    parts = network.state.get("components") or {}
    for prefix, part in [("", network)] + [(f"{name}/", p) for name, p in parts.items()]:
        pairs = part.state["variables"] if isinstance(part, Network) else None
        if not isinstance(pairs, (list, tuple)) or not all(len(p) == 2 for p in pairs):
            raise Refused("damaged: a network without its list of variables")
        if len(prefix) > LONGEST_NAME:
            raise Refused(f"damaged: a part called {short(prefix, 60)}")
        found |= values({prefix + str(name): value for name, value in pairs})
    # Where components are not saved by themselves, their scopes are called so.
    return {re.sub("^G_(mapping|synthesis)/", r"\1/", name): a for name, a in found.items()}


def official_config(networks, G):
    """(ModelConfig, function: does this size upsample fused?); sizes are those of the arrays."""
    G_options, D_options = (options_of(network) for network in networks[:2])
    for name, value in (G_options | D_options).items():
        if name in FIXED and value != FIXED[name]:
            raise Refused(f"{name} is {ascii(value)[:40]}, only {FIXED[name]} is supported")
    for options in G_options, D_options:
        blur = options.get("blur_filter", [1, 2, 1])
        if blur is None or [float(b) for b in blur] != [1, 2, 1]:
            raise Refused(f"blur_filter is {ascii(blur)[:40]}, only [1, 2, 1] is supported")
        if options.get("structure") == "fixed":
            raise Refused("structure is 'fixed', so it has no layers to grow with: not supported")
    fused_scale = G_options.get("fused_scale", "auto")
    if fused_scale not in (True, False, "auto"):
        raise Refused(f"fused_scale is {ascii(fused_scale)[:40]}, wanted True, False or 'auto'")
    decay = G_options.get("fmap_decay", 1.0)
    if D_options.get("fmap_decay", 1.0) != decay:
        raise Refused("fmap_decay differs between the generator and the discriminator")
    widths = {}
    for name, default in ("fmap_base", 8192), ("fmap_max", 512):
        widths[name], other = (o.get(name, default) for o in (G_options, D_options))
        if other != widths[name]:
            widths["d_" + name] = other
    sizes = [int(n) for n in re.findall(r"synthesis/(\d+)x\d+/", " ".join(G))]
    mapping = [G[f"mapping/Dense{i}/weight"].shape for i in range(len(G))
               if f"mapping/Dense{i}/weight" in G]
    rgb = G.get("synthesis/ToRGB_lod0/weight")
    if not mapping or not sizes or rgb is None:
        raise Refused("generator: mapping/Dense0/weight, synthesis/4x4/Const/const or "
                      "synthesis/ToRGB_lod0/weight is missing")
    labels = len(G.get("mapping/LabelConcat/weight", ()))
    for options in G_options, D_options:
        if options.get("label_size", 0) != labels:
            raise Refused(f"label_size is {ascii(options.get('label_size', 0))[:40]}, wanted "
                          f"{labels}, the length of the labels that the mapping network knows")
    config = ModelConfig(
        size=max(sizes), channels=rgb.shape[-1], labels=labels,
        latent=mapping[0][0] // 2 if labels else mapping[0][0],
        mapping_fmaps=mapping[0][-1], dlatent=mapping[-1][-1], mapping_layers=len(mapping),
        mapping_lrmul=G_options.get("mapping_lrmul", 0.01), fmap_decay=decay,
        stddev_group=max(1, D_options.get("mbstd_group_size", 4)), **widths)
    return config, lambda size: size >= 128 if fused_scale == "auto" else bool(fused_scale)


def options_of(network):
    """Keyword arguments that a network and its components were built with; the rest: defaults."""
    options = {}
    for part in [network, *(network.state.get("components") or {}).values()]:
        given = part.state.get("static_kwargs", {})
        if not isinstance(given, dict):
            raise Refused("damaged: static_kwargs is no dict")
        options |= given
    return options


# Ours → official, one after the other; {lod}: levels of detail below the full size.
NAMES = (
    (r"^mapping\.embed", "mapping/LabelConcat"),
    (r"^mapping\.layers\.(\d+)", r"mapping/Dense\1"),
    (r"^w_avg", "dlatent_avg"),
    (r"^synthesis\.block4\.(const)", r"synthesis/4x4/Const/\1"),
    (r"^synthesis\.block4\.epilogue0", "synthesis/4x4/Const"),
    (r"^synthesis\.block4\.(conv|epilogue)1", "synthesis/4x4/Conv"),
    (r"^synthesis\.block(\d+)\.(conv|epilogue)0", r"synthesis/\1x\1/Conv0_up"),
    (r"^synthesis\.block(\d+)\.(conv|epilogue)1", r"synthesis/\1x\1/Conv1"),
    (r"^synthesis\.to_rgb\d+", "synthesis/ToRGB_lod{lod}"),
    (r"^from_rgb\d+", "FromRGB_lod{lod}"),
    (r"^block(\d+)\.conv0", r"\1x\1/Conv0"),
    (r"^block(\d+)\.conv1", r"\1x\1/Conv1_down"),
    (r"^head\.conv", "4x4/Conv"),
    (r"^head\.dense", "4x4/Dense"),
    (r"\.noise_weight$", "/Noise/weight"),
    (r"\.style\.", "/StyleMod/"),
    (r"\.", "/"))


def official_form(name, shape, full_size, fused):
    """(their name, their shape, function from their array to ours) of our parameter.

    Kernels are HWIO there, matrices [in, out].
    """
    theirs = renamed(name, NAMES)
    size = size_of(name) or full_size
    theirs = theirs.format(lod=(full_size // size).bit_length() - 1)
    if len(shape) == 2:
        return theirs, shape[::-1], np.transpose
    if len(shape) == 4 and name.endswith("weight"):
        # A fused layer, a transposed convolution, equals the plain one with its kernel turned.
        turn = -1 if re.match(r"synthesis.*conv0", name) and fused(size) else 1
        return theirs, (*shape[2:], shape[1], shape[0]), \
            lambda a: a.transpose(3, 2, 0, 1)[:, :, ::turn, ::turn]
    return theirs, shape, np.asarray
