"""StyleGAN2 as NVIDIA's PyTorch code saves it: stylegan2-ada-pytorch, and stylegan3's repository.

A pickle of {"G", "D", "G_ema", …}, whose modules are persistent objects: each carries the source of
its class, which is never run, and its __dict__, where the options are found that it was built with.
Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data".
"""
import re

import numpy as np

from networks.config import ModelConfig
from weights.bounds import LONGEST_NAME, Refused, short
from weights.stand_ins import Array, Persistent
from weights.unpickle import Weights, renamed, values

FILTER = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64
NETWORKS = {"G_ema": "ema", "G": "generator", "D": "discriminator"}


class Module:
    """A network and all below it: arrays {"synthesis.b4.const": …} and options of each module
    {"synthesis.b4": {…}}, its __dict__ without what is named with an underscore."""

    def __init__(self, network):
        self.arrays, self.options, self.built_with = {}, {}, {}
        self.walk("", network)

    def walk(self, name, module):
        state = module.state
        below = state.get("_modules", {})
        if not all(isinstance(state.get(kind, {}), dict)
                   for kind in ("_parameters", "_buffers", "_modules", "_init_kwargs")):
            raise Refused("damaged: a module whose parts are no dict")
        prefix = f"{name}." if name else ""
        if len(name) > LONGEST_NAME:
            raise Refused(f"damaged: a module called {short(name, 60)}")
        for kind in "_parameters", "_buffers":
            self.arrays |= {f"{prefix}{key}": a for key, a in values(state.get(kind, {})).items()}
        self.options[name] = {key: plain(value) for key, value in state.items()
                              if not str(key).startswith("_")}
        self.built_with[name] = state.get("_init_kwargs", {})
        for key, part in below.items():
            if isinstance(part, Persistent):
                self.walk(f"{prefix}{key}", part)

    def of(self, pattern, option):
        """The one value that an option has in all modules whose whole name is like `pattern`."""
        found = {repr(o.get(option)): o.get(option) for name, o in self.options.items()
                 if re.fullmatch(pattern, name) and option in o}
        if len(found) > 1:
            raise Refused(f"{option} differs among layers: {short(', '.join(found))}, wanted one")
        return next(iter(found.values()), None)


def plain(value):
    """A number that NumPy wrapped, as Python's."""
    value = value.value if isinstance(value, Array) else value
    return value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value


def is_one(content):
    """Whether a pickle's content is of this kind."""
    return isinstance(content, dict) and isinstance(content.get("G_ema"), Persistent)


def weights_of(content):
    """Weights of {"G", "D", "G_ema"}."""
    for name in NETWORKS:
        if name in content and not isinstance(content[name], Persistent):
            raise Refused(f"{name} is {short(content[name])}, wanted a network")
    modules = {name: Module(content[name]) for name in NETWORKS if name in content}
    G, D = modules["G_ema"], modules.get("D")
    if not any(name.startswith("synthesis.b4") for name in G.options):
        layers = [name for name in G.options if name.startswith("synthesis.L")]
        raise Refused("StyleGAN3 comes later: found layers such as "
                      f"{short(layers[0], 60)}, wanted StyleGAN2's blocks" if layers else
                      "no synthesis.b4 in it: wanted StyleGAN2's generator")
    config = config_of(G, D)
    networks, noise = {}, {}
    for name, module in modules.items():
        found = module.arrays
        for key in [key for key in found if key.endswith("resample_filter")]:
            a = found.pop(key)
            if a.shape != FILTER.shape or not np.allclose(a, FILTER, atol=1e-6):
                raise Refused(f"{short(key, 80)[1:-1]} is not [1, 3, 3, 1], which alone is "
                              "supported")
        maps = {key: found.pop(key) for key in list(found) if key.endswith("noise_const")}
        if name == "G_ema":
            noise = {f"noise/{i}": maps[key].reshape(1, 1, side, side) for i, (key, side) in
                     enumerate(zip(noise_names(config), config.noise_sides))}
        networks[NETWORKS[name]] = found
    half = any(o.get("use_fp16") for o in G.options.values())
    return Weights(config, networks, lambda name, shape: [official_form(name, shape)],
                   "official StyleGAN2" + ", half-precision layers in float32" * half,
                   size=config.size, has_w_avg=True, more=noise)


def noise_names(config):
    return [f"synthesis.b{size}.conv{i}.noise_const" for size in config.sizes
            for i in ((1,) if size == 4 else (0, 1))]


def config_of(G, D):
    """The ModelConfig; what we compute otherwise than the file asks for is refused by name."""
    top, mapping, synthesis = (G.options[name] for name in ("", "mapping", "synthesis"))
    require(G, r"synthesis\.b\d+", "architecture", "skip")
    require(G, r"synthesis\.b\d+\.conv\d", "activation", "lrelu")
    require(G, r"synthesis\.b\d+\.conv\d", "use_noise", True)
    require(G, r"mapping\.fc\d+", "activation", "lrelu")
    layers = sum(bool(re.fullmatch(r"mapping\.fc\d+", name)) for name in G.options)
    if not layers:
        raise Refused("mapping.fc0 is missing")
    fields = dict(
        arch="stylegan2", size=synthesis["img_resolution"], channels=synthesis["img_channels"],
        labels=mapping["c_dim"], latent=top["z_dim"], dlatent=top["w_dim"], mapping_layers=layers,
        mapping_fmaps=G.arrays["mapping.fc0.weight"].shape[0],
        mapping_lrmul=G.of(r"mapping\.fc\d+", "bias_gain"),
        clamp=G.of(r"synthesis\.b\d+\.(conv\d|torgb)", "conv_clamp") or 0.0)
    fields["fmap_base"], fields["fmap_max"] = widths(G.built_with["synthesis"])
    return ModelConfig(**fields | (discriminator_fields(D, fields) if D else {}))


def widths(built_with):
    """(fmap_base, fmap_max): channel_base is for size 1, ours for size 2, and so half of it."""
    return built_with.get("channel_base", 32768) // 2, built_with.get("channel_max", 512)


def discriminator_fields(D, fields):
    kind = D.of(r"b\d+", "architecture")
    if kind not in ("resnet", "orig"):
        raise Refused(f"architecture of the discriminator is {short(kind, 40)}, wanted 'resnet' "
                      "or 'orig'")
    require(D, r"(.*\.)?(fromrgb|conv\d?|fc\d*)", "activation", "lrelu")
    require(D, r".*\.mbstd", "num_channels", 1)
    clamp = D.of(r".*(fromrgb|conv\d?)", "conv_clamp") or 0.0
    if clamp != fields["clamp"]:
        raise Refused(f"conv_clamp is {short(clamp)} in the discriminator and "
                      f"{short(fields['clamp'])} in the generator, wanted one")
    found = dict(d_residual=kind == "resnet", stddev_group=1)
    if "b4.mbstd" in D.options:
        group = D.options["b4.mbstd"].get("group_size")
        if group == 1:
            raise Refused("mbstd_group_size is 1, which compares nothing: not supported")
        found["stddev_group"] = group or 0
    base, largest = widths(D.built_with[""])
    if base != fields["fmap_base"]:
        found["d_fmap_base"] = base
    if largest != fields["fmap_max"]:
        found["d_fmap_max"] = largest
    if fields["labels"]:
        layers = r"mapping\.fc\d+"
        found["d_mapping_layers"] = sum(bool(re.fullmatch(layers, name)) for name in D.options)
        found["d_mapping_lrmul"] = D.of(layers, "bias_gain") or 0.01
    return found


def require(module, pattern, option, wanted):
    found = module.of(pattern, option)
    if found != wanted and found is not None:
        raise Refused(f"{option} is {short(found, 40)}, only {short(wanted, 40)} is supported")


# Ours → theirs, one after the other.
NAMES = (
    (r"^mapping\.layers\.(\d+)", r"mapping.fc\1"),
    (r"^w_avg", "mapping.w_avg"),
    (r"^synthesis\.to_rgb(\d+)", r"synthesis.b\1.torgb"),
    (r"^synthesis\.block", "synthesis.b"),
    (r"^from_rgb(\d+)", r"b\1.fromrgb"),
    (r"^block", "b"),
    (r"^head\.conv", "b4.conv"),
    (r"^head\.dense0", "b4.fc"),
    (r"^head\.dense1", "b4.out"),
    (r"\.style\.", ".affine."))


def official_form(name, shape):
    """(their name, their shape, function from their array to ours) of our parameter."""
    theirs = renamed(name, NAMES)
    their_shape = shape[1:] if name.endswith(("const", "noise_strength")) else shape
    return theirs, their_shape, lambda a: a.reshape(shape)
