"""The TensorFlow-era StyleGAN2 pickle: that of stylegan2 and of stylegan2-ada.

Karras et al. 2019, "Analyzing and Improving the Image Quality of StyleGAN". The container is
StyleGAN1's (official.py): a tuple (G, D, Gs), each with the arguments it was built with.
"""
import re

import numpy as np

from networks.config import ModelConfig
from weights.bounds import Refused
from weights.official import options_of, variables
from weights.unpickle import Weights, renamed

# What the official build functions can do besides, with the only values that are done here.
FIXED = dict(
    normalize_latents=(True,), mapping_nonlinearity=("lrelu",), nonlinearity=("lrelu",),
    act=("lrelu",), mbstd_num_features=(1,), fmap_decay=(1.0,), fmap_min=(1,),
    normalize_labels=(True,), label_fmaps=(None,))


def weights_of(networks):
    """Weights of the tuple (G, D, Gs)."""
    G, D, Gs = (variables(network) for network in networks)
    G_options, D_options = (options_of(network) for network in networks[:2])
    # Groups of the first StyleGAN2 are of 4, those of stylegan2-ada are the whole batch.
    ada = networks[1].state["build_func_name"] == "D_main"
    D_options = {"mbstd_group_size": None if ada else 4} | D_options
    config = config_of(G_options, D_options, G, D)
    noise = {}
    for found in (G, Gs):
        found.pop("lod", None)
        noise = {name: found.pop(name) for name in list(found)
                 if re.fullmatch(r"synthesis/noise\d+", name)}
    return Weights(
        config, {"generator": G, "discriminator": D, "ema": Gs},
        forms, "official StyleGAN2", size=config.size, has_w_avg=True,
        more={f"noise/{name[len('synthesis/noise'):]}": a for name, a in noise.items()})


def config_of(G_options, D_options, G, D):
    for options in G_options, D_options:
        for name, values in FIXED.items():
            if name in options and options[name] not in values:
                raise Refused(f"{name} is {ascii(options[name])[:40]}, only {values[0]} is "
                              "supported")
        kernel = options.get("resample_kernel", [1, 3, 3, 1])
        if kernel is None or [float(tap) for tap in kernel] != [1, 3, 3, 1]:
            raise Refused(f"resample_kernel is {ascii(kernel)[:40]}, only [1, 3, 3, 1] is "
                          "supported")
    for name, options, kinds in (("generator", G_options, ("skip",)),
                                 ("discriminator", D_options, ("resnet", "orig"))):
        kind = options.get("architecture", kinds[0])
        if kind not in kinds:
            raise Refused(f"architecture of the {name} is {ascii(kind)[:40]}, wanted "
                          f"{' or '.join(kinds)}")
    names = " ".join([*G, *D])
    if "LabelConcat" in names:
        raise Refused("labels of the first StyleGAN2 (LabelConcat) are not supported, those of "
                      "stylegan2-ada are")
    if "_lod" in names:
        raise Refused("a network that grows (ToRGB_lod, FromRGB_lod): not supported")
    if G_options.get("conv_clamp") != D_options.get("conv_clamp"):
        raise Refused("conv_clamp differs between the generator and the discriminator")
    sizes = [int(n) for n in re.findall(r"synthesis/(\d+)x\d+/", names)]
    mapping = [G[f"mapping/Dense{i}/weight"].shape for i in range(len(G))
               if f"mapping/Dense{i}/weight" in G]
    rgb = G.get("synthesis/4x4/ToRGB/weight")
    if not mapping or not sizes or rgb is None:
        raise Refused("generator: mapping/Dense0/weight or synthesis/4x4/ToRGB/weight is missing")
    labels = G["mapping/LabelEmbed/weight"].shape[0] if "mapping/LabelEmbed/weight" in G else 0
    fields = dict(
        arch="stylegan2", size=max(sizes), channels=rgb.shape[-1], labels=labels,
        latent=mapping[0][0] - (mapping[-1][-1] if labels else 0),
        mapping_fmaps=mapping[0][-1], dlatent=mapping[-1][-1], mapping_layers=len(mapping),
        mapping_lrmul=G_options.get("mapping_lrmul", 0.01),
        clamp=G_options.get("conv_clamp") or 0.0,
        stddev_group=D_options["mbstd_group_size"] or 0,
        d_residual=D_options.get("architecture", "resnet") == "resnet",
        d_mapping_layers=sum(f"Mapping{i}/weight" in D for i in range(len(D))),
        d_mapping_lrmul=D_options.get("mapping_lrmul", 0.1))
    for name, default in ("fmap_base", 16384), ("fmap_max", 512):
        fields[name], other = (o.get(name, default) for o in (G_options, D_options))
        if other != fields[name]:
            fields["d_" + name] = other
    return ModelConfig(**fields)


# Ours → official, one after the other.
NAMES = (
    (r"^mapping\.layers\.(\d+)", r"mapping/Dense\1"),
    (r"^mapping\.embed", "mapping/LabelEmbed"),
    (r"^w_avg", "dlatent_avg"),
    (r"^synthesis\.block4\.const", "synthesis/4x4/Const/const"),
    (r"^synthesis\.block4\.conv1", "synthesis/4x4/Conv"),
    (r"^synthesis\.block(\d+)\.conv0", r"synthesis/\1x\1/Conv0_up"),
    (r"^synthesis\.block(\d+)\.conv1", r"synthesis/\1x\1/Conv1"),
    (r"^synthesis\.to_rgb(\d+)", r"synthesis/\1x\1/ToRGB"),
    (r"^from_rgb(\d+)", r"\1x\1/FromRGB"),
    (r"^block(\d+)\.conv0", r"\1x\1/Conv0"),
    (r"^block(\d+)\.conv1", r"\1x\1/Conv1_down"),
    (r"^block(\d+)\.skip", r"\1x\1/Skip"),
    (r"^head\.conv", "4x4/Conv"),
    (r"^head\.dense0", "4x4/Dense0"),
    (r"^head\.dense1", "Output"),
    (r"\.style\.", "/mod_"),
    (r"\.", "/"))


def forms(name, shape):
    """The discriminator's mapping network has other names than the generator's."""
    theirs, their_shape, change = official_form(name, shape)
    other = theirs.replace("mapping/Dense", "Mapping").replace("mapping/LabelEmbed", "LabelEmbed")
    return [(theirs, their_shape, change), (other, their_shape, change)]


def official_form(name, shape):
    """(their name, their shape, function from their array to ours) of our parameter.

    Kernels are HWIO there, matrices [in, out]; what is scaled by the style is scaled by 1 + it.
    """
    theirs = renamed(name, NAMES)
    if len(shape) == 2:
        return theirs, shape[::-1], np.transpose
    if len(shape) == 4 and name.endswith("weight"):
        turn = -1 if re.match(r"synthesis.*conv0", name) else 1     # a transposed convolution
        return theirs, (*shape[2:], shape[1], shape[0]), \
            lambda a: a.transpose(3, 2, 0, 1)[:, :, ::turn, ::turn]
    if name.endswith("style.bias"):
        return theirs, shape, lambda a: a + np.float32(1)
    return theirs, () if name.endswith("noise_strength") else shape, lambda a: a.reshape(shape)
