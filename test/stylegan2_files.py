"""StyleGAN2's weights as the official code writes them: PyTorch's persistent objects, and
TensorFlow's networks."""
import collections
import io
import pickle
import re
import struct

import numpy as np
from weight_files import Network, modules

from networks.shapes import discriminator_shapes, generator_shapes
from weights import official2, official2_tf
from weights.containers import TORCH_MAGIC

FILTER = np.array(official2.FILTER, "float32")
SOURCE = "raise SystemExit('this source was run')"


def random_networks(config, seed=0):
    """{"G": {our name: array}, "D": …, "G_ema": …} with noise maps in G and G_ema."""
    rng = np.random.RandomState(seed)
    found = {}
    for name, shapes in (("G", generator_shapes), ("D", discriminator_shapes),
                         ("G_ema", generator_shapes)):
        found[name] = {n: rng.standard_normal(s).astype("float32")
                       for n, s in shapes(config).items()}
        if name != "D":
            found[name] |= {f"noise/{i}": rng.standard_normal((1, 1, s, s)).astype("float32")
                            for i, s in enumerate(config.noise_sides)}
    return found


def wanted(networks):
    """What has to be read from them."""
    prefixes = {"G": "generator", "D": "discriminator", "G_ema": "ema"}
    arrays = {f"{prefixes[kind]}/{name}": a for kind, found in networks.items()
              for name, a in found.items() if not name.startswith("noise/")}
    return arrays | {n: a for n, a in networks["G_ema"].items() if n.startswith("noise/")}


# PyTorch ------------------------------------------------------------------------------------------


class FloatStorage:
    pass


class EasyDict(dict):
    pass


class Call:
    """Pickles as a call of `function`."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def _reconstruct_persistent_obj(meta):
    raise AssertionError


def _load_from_bytes(raw):
    raise AssertionError


def _rebuild_tensor_v2(*arguments):
    raise AssertionError


def _rebuild_parameter(*arguments):
    raise AssertionError


def torch_modules():
    return modules(
        torch=[FloatStorage], torch__storage=[_load_from_bytes],
        torch___utils=[_rebuild_tensor_v2, _rebuild_parameter], torch_utils=[],
        torch_utils__persistence=[_reconstruct_persistent_obj], dnnlib=[],
        dnnlib__util=[EasyDict])


def storage_bytes(array):
    """As torch.save writes a storage by itself."""
    file = io.BytesIO()

    class Pickler(pickle.Pickler):
        def persistent_id(self, item):
            return ("storage", FloatStorage, "7", "cpu", array.size, None) \
                if item is array else None

    for part in TORCH_MAGIC, 1001, {"little_endian": True}:
        pickle.dump(part, file, 2)
    with torch_modules():
        Pickler(file, 2).dump(array)
    pickle.dump(["7"], file, 2)
    file.write(struct.pack("<q", array.size) + array.tobytes())
    return file.getvalue()


def tensor(array, parameter=False):
    array = np.array(array, order="C")                  # of no dimensions, too
    call = Call(_rebuild_tensor_v2, Call(_load_from_bytes, storage_bytes(array)), 0, array.shape,
                tuple(s // 4 for s in array.strides), False, collections.OrderedDict())
    return Call(_rebuild_parameter, call, True, collections.OrderedDict()) if parameter else call


def persistent(class_name, state):
    return Call(_reconstruct_persistent_obj, EasyDict(
        type="class", version=6, module_src=SOURCE, class_name=class_name, state=state))


def module(arrays, options, path=""):
    """The persistent object of all arrays below `path`, with its options {path: {…}}."""
    own, below = {}, collections.OrderedDict()
    for name, a in arrays.items():
        head, _, rest = name.partition(".")
        if rest:
            below.setdefault(head, {})[rest] = a
        else:
            own[head] = a
    buffers = {n for n in own if n in ("w_avg", "noise_const", "resample_filter")}
    state = {"training": False, "_non_persistent_buffers_set": set(),
             "_init_args": (), "_init_kwargs": EasyDict(),
             "_parameters": collections.OrderedDict(
                 (n, tensor(a, True)) for n, a in own.items() if n not in buffers),
             "_buffers": collections.OrderedDict(
                 [(n, tensor(own[n])) for n in buffers] + [("gone", None)]),
             "_modules": collections.OrderedDict(
                 (n, module(found, options, f"{path}{n}.")) for n, found in below.items())}
    for pattern, more in options.items():
        if re.fullmatch(pattern, path.rstrip(".")):
            state |= more
    return persistent("Module", state)


def torch_networks(config, networks, changes=None):
    """{"G", "D", "G_ema"}; changes: {pattern of module paths: {attribute: value}}."""
    clamp = config.clamp or None
    generator = {
        "": {"z_dim": config.latent, "w_dim": config.dlatent},
        "mapping": {"c_dim": config.labels},
        r"mapping\.fc\d+": {"activation": "lrelu", "bias_gain": config.mapping_lrmul},
        "synthesis": {"img_resolution": config.size, "img_channels": config.channels,
                      "_init_kwargs": {"channel_base": 2 * config.fmap_base,
                                       "channel_max": config.fmap_max}},
        r"synthesis\.b\d+": {"architecture": "skip"},
        r"synthesis\.b\d+\.conv\d": {"activation": "lrelu", "use_noise": True,
                                     "conv_clamp": clamp},
        r"synthesis\.b\d+\.torgb": {"conv_clamp": clamp}}
    discriminator = {
        "": {"_init_kwargs": {"channel_base": 2 * (config.d_fmap_base or config.fmap_base),
                              "channel_max": config.d_fmap_max or config.fmap_max}},
        r"b\d+": {"architecture": "resnet" if config.d_residual else "orig"},
        r"(.*\.)?(fromrgb|conv\d?|fc\d*)": {"activation": "lrelu"},
        r".*(fromrgb|conv\d?)": {"conv_clamp": clamp, "activation": "lrelu"},
        r".*skip": {"conv_clamp": None, "activation": "linear"},
        r"b4\.mbstd": {"group_size": config.stddev_group or None, "num_channels": 1}}
    found = {}
    for kind, arrays in networks.items():
        theirs = {}
        for name, a in arrays.items():
            if name.startswith("noise/"):
                theirs[official2.noise_names(config)[int(name[6:])]] = a[0, 0]
            else:
                other, shape, _ = official2.official_form(name, a.shape)
                theirs[other] = a.reshape(shape)
        theirs |= {f"{name.rpartition('.')[0]}.resample_filter": FILTER
                   for name in list(theirs) if re.search(r"(conv\d?|skip)\.weight$", name)}
        if kind == "D" and config.stddev_group != 1:
            theirs["b4.mbstd.resample_filter"] = FILTER
        options = {**(discriminator if kind == "D" else generator), **(changes or {}).get(kind, {})}
        found[kind] = module(theirs, options)
    return found


def torch_pickle(content, protocol=3):
    with torch_modules():
        return pickle.dumps(EasyDict(content, augment_pipe=None, training_set_kwargs=EasyDict(
            class_name="training.dataset.ImageFolderDataset", path="x.zip")), protocol)


# TensorFlow ---------------------------------------------------------------------------------------


def tf_networks(config, networks, options=None, d_options=None):
    """(G, D, Gs) as weight_files.official_pickle takes them."""
    defaults = {"fmap_base": config.fmap_base, "fmap_max": config.fmap_max,
                "mapping_lrmul": config.mapping_lrmul}
    d_defaults = {"fmap_base": config.d_fmap_base or config.fmap_base,
                  "fmap_max": config.d_fmap_max or config.fmap_max,
                  "mapping_lrmul": config.d_mapping_lrmul,
                  "mbstd_group_size": config.stddev_group,
                  "architecture": "resnet" if config.d_residual else "orig"}

    def variables(arrays, discriminator=False):
        found = {}
        for name, a in arrays.items():
            if name.startswith("noise/"):
                found[f"synthesis/noise{name[6:]}"] = a
                continue
            theirs, shape, _ = official2_tf.forms(name, a.shape)[
                discriminator and name.startswith("mapping")]
            if name.endswith("style.bias"):
                a = a - np.float32(1)
            elif a.ndim == 2:
                a = a.T
            elif a.ndim == 4 and name.endswith("weight"):
                turn = -1 if re.match(r"synthesis.*conv0", name) else 1
                a = a[:, :, ::turn, ::turn].transpose(2, 3, 1, 0)
            found[theirs] = np.ascontiguousarray(a).reshape(shape)
        return found

    def generator(arrays):
        found = variables(arrays)
        parts = {part: Network(f"G_{part}", {n.partition("/")[2]: a for n, a in found.items()
                                             if n.startswith(part + "/")}, {})
                 for part in ("synthesis", "mapping")}
        own = {n: a for n, a in found.items() if "/" not in n} | {"lod": np.float32(0)}
        return Network("G_main", own, defaults | (options or {}), parts)

    D = Network("D_stylegan2", variables(networks["D"], True), d_defaults | (d_options or {}))
    return generator(networks["G"]), D, generator(networks["G_ema"])
