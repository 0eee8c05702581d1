"""The PyTorch port's checkpoints (rosinality's StyleGAN) and those of the Jittor port made from it.

Both use the same names and arithmetic. What they compute differently from the official network is
config.PORT; the names here are those of their state dicts, in both directions.
"""
import re

import numpy as np

from networks.config import LARGEST_SIZE, PORT, ModelConfig, size_of, sizes_to
from weights.bounds import Refused, short
from weights.unpickle import Weights, renamed, values

BLUR = (np.outer([1, 2, 1], [1, 2, 1]) / 16).astype("float32")
NETWORKS = {"g_running": "ema", "generator": "generator", "discriminator": "discriminator"}
# Beside them: the port's optimizers, and the mean styles that `to_port` adds.
NO_NETWORKS = ("g_optimizer", "d_optimizer", "w_avg")


def weights_of(container, content):
    """Weights of a bare state of the averaged generator, or of all networks by name."""
    if not NETWORKS.keys() & content.keys():
        content = {"g_running": content}
    unknown = [name for name, value in content.items() if name not in (*NETWORKS, *NO_NETWORKS)
               and not isinstance(value, (int, float))]
    if unknown:
        raise Refused(f"unknown beside the networks: {short(unknown[0], 60)}")
    found = {ours: port_arrays(content[theirs]) for theirs, ours in NETWORKS.items()
             if theirs in content}
    if not {"ema", "generator"} & found.keys():
        raise Refused("a discriminator alone, wanted a generator")
    found.setdefault("ema", found.get("generator"))
    config = port_config(found["ema"], found.get("discriminator"))
    last = last_level(found.get("discriminator", {}))
    source = "the Jittor port" if container in ("Jittor", "pickle") else \
        f"the PyTorch port ({container})"

    def forms(name, shape):
        return [port_form(name, shape, last, config.from_rgb_activate, fused)
                for fused in (False, True)]

    means = port_arrays(content["w_avg"]) if "w_avg" in content else {}
    return Weights(config, found, forms, source, size=config.size, size_guessed=True,
                   more={f"{NETWORKS[name]}/w_avg": a for name, a in means.items()
                         if name in NETWORKS and a.shape == (config.dlatent,)})


def port_arrays(state):
    """{name: array} without what is derived: `weight` beside `weight_orig`, and the blur."""
    if not isinstance(state, dict):
        raise Refused(f"a network is a {type(state).__name__}, wanted a dict of arrays")
    found = values(state)
    if not found:
        raise Refused("no arrays in it")
    return {name: a for name, a in found.items() if not is_derived(name, a, found)}


def is_derived(name, array, found):
    if name.endswith(".weight") and name + "_orig" in found:
        return True
    return re.search(r"conv[12]\.\d\.weight(_flip)?$", name) and array.shape[1:] == (1, 3, 3) \
        and np.allclose(array, BLUR, atol=1e-6)


def port_config(generator, discriminator):
    """The ModelConfig whose layers have the shapes of these arrays."""
    try:
        mapping = [generator[f"style.{2 * i + 1}.linear.weight_orig"].shape
                   for i in range(count(generator, r"style\.\d+\.linear\.weight_orig"))]
        blocks = count(generator, r"generator\.progression\.\d+\.conv2\.conv\.bias")
        if not blocks:
            raise KeyError("generator.progression.0.conv2.conv.bias")
        if blocks > len(sizes_to(LARGEST_SIZE)):
            raise Refused(f"{blocks} blocks, which is a size beyond {LARGEST_SIZE}")
        widths = {4 * 2 ** i: generator[f"generator.progression.{i}.conv2.conv.bias"].size
                  for i in range(blocks)}
        base, largest = fmaps(widths)
        fields = PORT | dict(
            size=max(widths), channels=generator["generator.to_rgb.0.conv.bias"].size,
            latent=mapping[0][1], mapping_fmaps=mapping[0][0], dlatent=mapping[-1][0],
            mapping_layers=len(mapping), fmap_base=base, fmap_max=largest)
        if discriminator is not None:
            last = last_level(discriminator)
            widths = {s: discriminator[f"progression.{last + 3 - s.bit_length()}.conv1.0.conv."
                                       "weight_orig"].shape[1] for s in widths if s > 4}
            widths[4] = discriminator[f"progression.{last}.conv1.0.conv.bias"].size
            if any(width != ModelConfig(**fields).width(s) for s, width in widths.items()):
                fields["d_fmap_base"], fields["d_fmap_max"] = fmaps(widths)
            fields["from_rgb_activate"] = f"from_rgb.{last}.0.conv.bias" in discriminator
    except (KeyError, IndexError, ValueError) as error:
        raise Refused("no StyleGAN of the PyTorch port's or the Jittor port's layout "
                      f"({short(error, 80)} is missing)") from None
    return ModelConfig(**fields)


def last_level(discriminator):
    """The number of the block of size 4: 8 in the port, whose class always goes up to 1024."""
    return max((int(name.split(".")[1]) for name in discriminator
                if re.match(r"progression\.\d+\.", name)), default=8)


def count(arrays, pattern):
    return sum(re.fullmatch(pattern, name) is not None for name in arrays)


def fmaps(widths):
    """(fmap_base, fmap_max) that give {size: width}; the paper's 8192 where it does."""
    largest = max(widths.values())
    narrower = [s for s, width in widths.items() if width < largest]
    guess = widths[narrower[0]] * narrower[0] // 2 if narrower else largest * max(widths) // 2
    for base in (8192, guess):
        if all(ModelConfig(fmap_base=base, fmap_max=largest).width(s) == width
               for s, width in widths.items()):
            return base, largest
    raise Refused(f"the widths {widths} by size are not min(fmap_base / (size / 2), fmap_max)")


# Ours → the port's. {block} counts the sizes from 4 up, {level} from 1024 down; {up} and {down} are
# another module where the layer is fused, {inner} where fromRGB has an activation.
NAMES = (
    (r"^mapping\.layers\.(\d+)", lambda found: f"style.{2 * int(found[1]) + 1}.linear"),
    (r"^synthesis\.block\d+\.const", "generator.progression.{block}.conv1.input"),
    (r"^synthesis\.block\d+\.conv0", "generator.progression.{block}.conv1.{up}"),
    (r"^synthesis\.block\d+\.conv1", "generator.progression.{block}.conv2.conv"),
    (r"^synthesis\.block\d+\.epilogue1\.bias", "generator.progression.{block}.conv2.conv.bias"),
    (r"^synthesis\.block\d+\.epilogue0\.noise_", "generator.progression.{block}.noise1."),
    (r"^synthesis\.block\d+\.epilogue1\.noise_", "generator.progression.{block}.noise2."),
    (r"^synthesis\.block\d+\.epilogue0", "generator.progression.{block}.adain1"),
    (r"^synthesis\.block\d+\.epilogue1", "generator.progression.{block}.adain2"),
    (r"\.style\.", ".style.linear."),
    (r"^synthesis\.to_rgb\d+", "generator.to_rgb.{block}.conv"),
    (r"^from_rgb\d+", "from_rgb.{level}{inner}.conv"),
    (r"^block\d+\.conv0", "progression.{level}.conv1.0.conv"),
    (r"^block\d+\.conv1", "progression.{level}.conv2.{down}"),
    (r"^head\.conv", "progression.{level}.conv1.0.conv"),
    (r"^head\.dense0", "progression.{level}.conv2.0.conv"),
    (r"^head\.dense1", "linear.linear"),
    (r"(?<!up}\.)(?<!down}\.)weight$", "weight_orig"),
    (r"(up|down)}\.weight$", r"\1}.{weight}"))


def port_form(name, shape, last, activate, fused):
    """(their name, their shape, function from their array to ours) of our parameter."""
    theirs = renamed(name, NAMES)
    block = (size_of(name) or 4).bit_length() - 3
    theirs = theirs.format(
        block=block, level=last - block, inner=".0" if activate else "",
        up="0" if fused else "1.conv", down="1" if fused else "1.conv",
        weight="weight" if fused else "weight_orig")
    if fused and re.match(r"synthesis.*conv0\.weight", name):
        return theirs, (shape[1], shape[0], *shape[2:]), from_fused
    if name.endswith("noise_weight"):
        return theirs, (1, *shape, 1, 1), lambda a: a.reshape(shape)
    if name == "head.dense0.weight":                    # a 4×4 convolution there
        return theirs, (shape[0], shape[1] // 16, 4, 4), lambda a: a.reshape(shape)
    return theirs, shape, np.asarray


def from_fused(a):
    """[in, out, 3, 3] of a transposed convolution that is divided by four → our [out, in, 3, 3]."""
    return a.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1] * np.float32(0.25)


def to_fused(a):
    return a.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1] * np.float32(4)


def to_port(config, arrays):
    """{"g_running": {name: array}, …}: all networks in `arrays` as the PyTorch port names them.

    config: of the port's kind (the fields of PORT). Sizes from 128 on are fused, as there. The
    mean styles have no place in that port's networks, so they are beside them, as "w_avg".
    """
    content = {}
    for theirs, prefix in NETWORKS.items():
        for name, array in arrays.items():
            network, _, name = name.partition("/")
            if network != prefix:
                continue
            if name == "w_avg":
                content.setdefault("w_avg", {})[theirs] = array
                continue
            fused = (size_of(name) or 4) >= 128
            their_name, shape, change = port_form(name, array.shape, 8, config.from_rgb_activate,
                                                  fused)
            array = to_fused(array) if change is from_fused else array.reshape(shape)
            state = content.setdefault(theirs, {})
            state[their_name] = np.ascontiguousarray(array)
            state |= blur_beside(name, their_name, array)
    return content


def blur_beside(name, their_name, bias):
    """{name: kernel}: the blur that the port's class keeps after an up-, before a downsampling."""
    if re.match(r"synthesis.*conv0\.bias", name):
        module = re.sub(r"\d(\.conv)?\.bias$", "", their_name) + ("2" if ".conv." in their_name
                                                                  else "1")
    elif re.match(r"block\d+\.conv1\.bias", name):
        module = re.sub(r"\d(\.conv)?\.bias$", "0", their_name)
    else:
        return {}
    return {f"{module}.{end}": np.tile(BLUR, (bias.size, 1, 1, 1))
            for end in ("weight", "weight_flip")}
