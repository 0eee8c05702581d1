"""Weights of our own, and of other projects as their libraries write them."""
import contextlib
import io
import json
import pickle
import struct
import sys
import tarfile
import types

import numpy as np

from networks.config import PORT, ModelConfig
from networks.shapes import discriminator_shapes, generator_shapes
from weights import foreign, official, port

CONFIG = ModelConfig(size=8, latent=8, fmap_max=4, mapping_layers=2)
# What test/golden/port16* hold: this port's network, with the arrays of port_state().
PORT16 = ModelConfig(size=16, latent=8, mapping_layers=2, fmap_base=32, fmap_max=8, **PORT)


def header(**more):
    """Of a .model file of CONFIG."""
    return {"images_seen": 1000, "size": 8, "alpha": 1.0, "model": vars(CONFIG)} | more


def random_arrays(config, networks=("ema", "generator", "discriminator"), seed=0):
    """{network/name: array} in our names."""
    rng, arrays = np.random.RandomState(seed), {}
    for network in networks:
        shapes = discriminator_shapes(config) if network == "discriminator" else \
            generator_shapes(config)
        arrays |= {f"{network}/{name}": rng.standard_normal(shape).astype("float32")
                   for name, shape in shapes.items()}
    return arrays


def port_state(config=PORT16, seed=0):
    """{"g_running": {name: array}, …} as PyTorch saves it; the numbers depend on the seed only."""
    content = port.to_port(config, random_arrays(config, seed=seed))
    del content["w_avg"]
    return content


def read_bytes(tmp_path, data, name="file"):
    path = tmp_path / name
    path.write_bytes(data)
    return foreign.read(str(path))


def assert_equal(found, wanted):
    assert found.keys() == wanted.keys()
    for name in wanted:
        assert found[name].dtype == np.float32 and (found[name] == wanted[name]).all(), name


def safetensors(state, kind="F32"):
    """kind: or BF16, of which only the upper halves are written."""
    header, data = {}, b""
    for name, array in state.items():
        if kind == "BF16":
            array = (array.view("u4") >> 16).astype("u2")
        header[f"g_running/{name}"] = {"dtype": kind, "shape": list(array.shape),
                                       "data_offsets": [len(data), len(data) + array.nbytes]}
        data += array.tobytes()
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


# The official pickle ------------------------------------------------------------------------------


@contextlib.contextmanager
def modules(**classes):
    """Importable modules while pickles are written: modules(a__b=[X]) is the module a.b with X."""
    names = {name.replace("__", "."): found for name, found in classes.items()}
    before = {name: sys.modules.get(name) for name in names}
    for name, found in names.items():
        sys.modules[name] = types.ModuleType(name)
        for item in found:
            item.__module__, item.__qualname__ = name, item.__name__
            setattr(sys.modules[name], item.__name__, item)
    try:
        yield
    finally:
        for name, module in before.items():
            del sys.modules[name]
            if module:
                sys.modules[name] = module


class Network:
    """As dnnlib.tflib.network.Network pickles itself."""

    def __init__(self, function, variables, options, components=None):
        self.state = {
            "version": 3, "name": function, "static_kwargs": options,
            "components": components or {}, "build_module_src": "# source",
            "build_func_name": function, "variables": list(variables.items())}

    def __getstate__(self):
        return self.state


def official_networks(config, options=None, d_options=None, lod=0.0, fused="auto", seed=0):
    """(G, D, Gs) with random values. options: static_kwargs, by default what differs from the
    official defaults."""
    options = minimal_options(config) if options is None else options
    rng = np.random.RandomState(seed)

    def is_fused(size):
        return size >= 128 if fused == "auto" else fused

    def variables(shapes):
        forms = [official.official_form(name, shape, config.size, is_fused)
                 for name, shape in shapes.items()]
        return {name: rng.standard_normal(shape).astype("float32") for name, shape, _ in forms}

    def part(found, prefix):
        return {name[len(prefix):]: a for name, a in found.items() if name.startswith(prefix)}

    def generator():
        found = variables(generator_shapes(config))
        noise = {f"noise{i}": rng.standard_normal((1, 1, 4 << i // 2, 4 << i // 2)).astype("f4")
                 for i in range(config.layers)}
        synthesis = {"lod": np.float32(0.25)} | noise | part(found, "synthesis/")
        return Network("G_style", {"lod": np.float32(lod), "dlatent_avg": found["dlatent_avg"]},
                       options, {
            "synthesis": Network("G_synthesis", synthesis, options),
            "mapping": Network("G_mapping", part(found, "mapping/"),
                               options | {"dlatent_broadcast": config.layers})})

    D = Network("D_basic", {"lod": np.float32(lod)} | variables(discriminator_shapes(config)),
                options if d_options is None else d_options)
    return generator(), D, generator()


def minimal_options(config):
    """What a trainer passes: what the data decide, and what differs from the defaults."""
    options = {"num_channels": config.channels, "resolution": config.size,
               "label_size": config.labels}
    for name, field, default in (
            ("latent_size", "latent", 512), ("dlatent_size", "dlatent", 512),
            ("mapping_fmaps", "mapping_fmaps", 512), ("mapping_layers", "mapping_layers", 8),
            ("fmap_base", "fmap_base", 8192), ("fmap_max", "fmap_max", 512),
            ("fmap_decay", "fmap_decay", 1.0), ("mbstd_group_size", "stddev_group", 4)):
        if getattr(config, field) != default:
            options[name] = getattr(config, field)
    return options


def official_pickle(networks, protocol=4, framed=True):
    """The bytes; without frames, which carry lengths, names in them can be changed."""
    file = io.BytesIO()
    with modules(dnnlib=[], dnnlib__tflib=[], dnnlib__tflib__network=[Network]):
        pickler = pickle._Pickler(file, protocol)
        if not framed:
            pickler.framer.start_framing = lambda: None
        pickler.dump(networks)
    return file.getvalue()


class Python2Pickler(pickle._Pickler):
    """Writes every string and every piece of memory as the `str` of Python 2."""

    dispatch = dict(pickle._Pickler.dispatch)

    def save_python2_str(self, text):
        data = text if isinstance(text, bytes) else text.encode("latin1")
        if self.proto == 0:
            self.write(b"S" + repr(data)[1:].encode() + b"\n")
        else:
            self.write(b"T" + struct.pack("<i", len(data)) + data)
        self.memoize(text)

    dispatch[str] = dispatch[bytes] = save_python2_str


def python2_pickle(networks, protocol):
    file = io.BytesIO()
    with modules(dnnlib=[], dnnlib__tflib=[], dnnlib__tflib__network=[Network]):
        Python2Pickler(file, protocol).dump(networks)
    return file.getvalue()


# PyTorch's oldest container -----------------------------------------------------------------------


class FloatStorage:
    pass


class FloatTensor:
    pass


def torch_tar(state):
    """{name: array} in the tar archive of PyTorch before 0.1.10: storages, tensors, names."""
    storages, tensors = io.BytesIO(), io.BytesIO()

    class Pickler(pickle.Pickler):
        def persistent_id(self, item):
            return str(1000 + item) if isinstance(item, Key) else None

    with modules(torch=[FloatStorage, FloatTensor]):
        for file in storages, tensors:
            pickle.dump(len(state), file, 2)
        for i, array in enumerate(state.values()):
            pickle.dump((i, "cpu", FloatStorage), storages, 2)
            storages.write(struct.pack("<q", array.size) + array.tobytes())
            pickle.dump((1000 + i, i, FloatTensor), tensors, 2)
            stride = [s // 4 for s in np.ascontiguousarray(array).strides]
            tensors.write(struct.pack(f"<ii{2 * array.ndim + 1}q", array.ndim, 0, *array.shape,
                                      *stride, 0))
        pickle.dump([], storages, 2)
    names = io.BytesIO()
    Pickler(names, 2).dump({name: Key(i) for i, name in enumerate(state)})
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:", format=tarfile.PAX_FORMAT) as tar:
        for name, part in (("sys_info", io.BytesIO(pickle.dumps({}, 2))), ("pickle", names),
                           ("tensors", tensors), ("storages", storages)):
            entry = tarfile.TarInfo(name)
            entry.size = len(part.getvalue())
            tar.addfile(entry, io.BytesIO(part.getvalue()))
    return archive.getvalue()


class Key(int):
    """Stands for a tensor in the `names` of the tar archive."""
