"""convert.py and the readers behind it: every format, every refusal, there and back."""
import hashlib
import importlib.util
import io
import itertools
import json
import os
import pickle
import re
import struct
import subprocess

import numpy as np
import pytest
import reference
import weights
from conftest import ROOT, command
from weights import PORT16, Network, official_networks, official_pickle, port_state, random_arrays

import containers
import convert
import foreign
import official
import port
import snapshot
import unpickle
from cli import UserError
from config import PORT, ModelConfig, discriminator_shapes, generator_shapes

GOLDEN = os.path.join(ROOT, "test", "golden")
SMALL = ModelConfig(size=16, latent=8, mapping_layers=2, fmap_base=64, fmap_max=8)


def read_bytes(tmp_path, data, name="file"):
    path = tmp_path / name
    path.write_bytes(data)
    return foreign.read(str(path))


def assert_equal(found, wanted):
    assert found.keys() == wanted.keys()
    for name in wanted:
        assert found[name].dtype == np.float32 and (found[name] == wanted[name]).all(), name


def official_arrays(config, networks, fused="auto"):
    """What has to be read from networks that weights.official_networks made."""
    arrays = {}
    for prefix, network in zip(("generator", "discriminator", "ema"), networks):
        values = dict(network.state["variables"])
        for part, inner in network.state["components"].items():
            values |= {f"{part}/{n}": a for n, a in inner.state["variables"]}
        shapes = discriminator_shapes(config) if prefix == "discriminator" else \
            generator_shapes(config)
        for name, shape in shapes.items():
            theirs, _, change = official.official_form(
                name, shape, config.size, lambda size: size >= 128 if fused == "auto" else fused)
            arrays[f"{prefix}/{name}"] = change(values[theirs])
    return arrays | {f"noise/{i}": values[f"synthesis/noise{i}"] for i in range(config.layers)}


# The official pickle ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small_networks():
    return official_networks(SMALL)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_official_pickles_of_every_protocol_are_read(tmp_path, small_networks, protocol):
    header, arrays = read_bytes(tmp_path, official_pickle(small_networks, protocol))
    assert ModelConfig(**header["model"]) == SMALL
    assert_equal(arrays, official_arrays(SMALL, small_networks))


@pytest.mark.parametrize("protocol", [0, 2])
def test_official_pickles_of_python_2_are_read(tmp_path, small_networks, protocol):
    data = weights.python2_pickle(small_networks, protocol)
    assert b"dnnlib.tflib.network" in data and b"X" not in data[:30]
    assert_equal(read_bytes(tmp_path, data)[1], official_arrays(SMALL, small_networks))


@pytest.mark.parametrize("module", [b"numpy._core.multiarray", b"numpy._core.numeric"])
def test_pickles_of_numpy_2_are_read(tmp_path, small_networks, module):
    data = weights.python2_pickle(small_networks, 2).replace(b"numpy.core.multiarray",
                                                             b"numpy._core.multiarray")
    assert b"numpy._core" in data
    assert_equal(read_bytes(tmp_path, data)[1], official_arrays(SMALL, small_networks))
    assert f"{module.decode()}._frombuffer".replace("multiarray", "numeric") in unpickle.GLOBALS


@pytest.mark.parametrize("config", [
    ModelConfig(size=8),                                                # all defaults left out
    ModelConfig(size=4, latent=8, fmap_max=4),
    ModelConfig(size=32, channels=1, latent=8, mapping_layers=1, fmap_base=100, fmap_max=24),
    ModelConfig(size=16, latent=8, dlatent=6, mapping_fmaps=10, mapping_layers=3, fmap_decay=0.7,
                fmap_max=12, stddev_group=8),
    ModelConfig(size=16, channels=4, latent=8, fmap_max=8, stddev_group=1),
], ids=lambda c: f"{c.size}-{c.channels}-{c.stddev_group}")
def test_official_networks_of_any_shape_are_read(tmp_path, config):
    networks = official_networks(config)
    header, arrays = read_bytes(tmp_path, official_pickle(networks))
    assert ModelConfig(**header["model"]) == config
    assert_equal(arrays, official_arrays(config, networks))


def test_a_discriminator_of_another_width_is_read(tmp_path):
    config = ModelConfig(size=16, latent=8, fmap_base=64, fmap_max=8, d_fmap_base=32, d_fmap_max=4)
    options = weights.minimal_options(config)
    networks = official_networks(config, options, options | {"fmap_base": 32, "fmap_max": 4})
    header, arrays = read_bytes(tmp_path, official_pickle(networks))
    assert ModelConfig(**header["model"]) == config
    assert_equal(arrays, official_arrays(config, networks))


@pytest.mark.parametrize("fused_scale", ["auto", True, False])
def test_fused_kernels_are_turned_into_the_plain_orientation(tmp_path, fused_scale):
    config = ModelConfig(size=128, latent=4, mapping_layers=1, fmap_base=128, fmap_max=4)
    options = weights.minimal_options(config)
    if fused_scale != "auto":
        options["fused_scale"] = fused_scale
    networks = official_networks(config, options, fused=fused_scale)
    _, arrays = read_bytes(tmp_path, official_pickle(networks))
    stored = dict(networks[2].state["components"]["synthesis"].state["variables"])
    for size in (64, 128):
        kernel = stored[f"{size}x{size}/Conv0_up/weight"]
        ours = arrays[f"ema/synthesis.block{size}.conv0.weight"]
        fused = fused_scale is True or (fused_scale == "auto" and size == 128)
        x = np.random.RandomState(size).randn(1, ours.shape[1], 5, 5)
        wanted = transposed_convolution(x, kernel) if fused else \
            reference.conv2d(reference.upsample(x), kernel.transpose(3, 2, 0, 1), padding=1)
        found = reference.conv2d(reference.upsample(x), ours, padding=1)
        assert np.allclose(found, wanted, atol=1e-5)


def transposed_convolution(x, kernel):
    """The official fused layer: HWIO kernel, its four shifts summed, stride 2; float64, by hand."""
    padded = np.pad(kernel.astype("f8"), ((1, 1), (1, 1), (0, 0), (0, 0)))
    kernel = padded[1:, 1:] + padded[:-1, 1:] + padded[1:, :-1] + padded[:-1, :-1]
    n, _, height, width = x.shape
    y = np.zeros((n, kernel.shape[3], 2 * height + 2, 2 * width + 2))
    for i, j in np.ndindex(height, width):
        y[:, :, 2 * i:2 * i + 4, 2 * j:2 * j + 4] += np.einsum(
            "nc,hwco->nohw", x[:, :, i, j], kernel)
    return y[:, :, 1:-1, 1:-1]


@pytest.mark.parametrize("lod, size, alpha", [(0, 16, 1), (1, 8, 1), (0.25, 16, 0.75),
                                              (1.75, 8, 0.25), (9, 4, 1)])
def test_a_network_that_still_grows_says_its_size_and_alpha(tmp_path, lod, size, alpha):
    header, _ = read_bytes(tmp_path, official_pickle(official_networks(SMALL, lod=lod)))
    assert (header["size"], header["alpha"]) == (size, alpha)


@pytest.mark.parametrize("options, message", [
    ({"label_size": 10}, "label_size is 10, only 0 is supported .labels"),
    ({"use_noise": False}, "use_noise is False"),
    ({"blur_filter": None}, "blur_filter is None"),
    ({"blur_filter": [1, 3, 3, 1]}, "blur_filter"),
    ({"nonlinearity": "relu"}, "nonlinearity is 'relu'"),
    ({"structure": "fixed"}, "structure"),
    ({"fused_scale": "maybe"}, "fused_scale"),
    ({"fmap_max": 4}, "has shape"),
])
def test_options_that_are_not_supported_are_named(tmp_path, options, message):
    networks = official_networks(SMALL, weights.minimal_options(SMALL) | options)
    with pytest.raises(UserError, match=message):
        read_bytes(tmp_path, official_pickle(networks))


def change_variables(network, change):
    """The same network with its list of variables changed."""
    state = network.state | {"variables": change(dict(network.state["variables"]))}
    copy = Network("", {}, {})
    copy.state = state | {"variables": list(state["variables"].items())}
    return copy


@pytest.mark.parametrize("change, message", [
    (lambda v: {n: a for n, a in v.items() if n != "4x4/Conv/bias"}, "4x4/Conv/bias is missing"),
    (lambda v: v | {"extra": np.ones(2, "f4")}, "extra is unknown"),
    (lambda v: v | {"4x4/Conv/bias": np.ones(5, "f4")}, r"4x4/Conv/bias has shape \(5,\)"),
])
def test_official_arrays_that_do_not_fit_are_named(tmp_path, small_networks, change, message):
    G, D, Gs = small_networks
    with pytest.raises(UserError, match="discriminator: .*" + message):
        read_bytes(tmp_path, official_pickle((G, change_variables(D, change), Gs)))


@pytest.mark.parametrize("place", ["state", "options"])
def test_official_files_of_odd_layout_end_in_one_line(tmp_path, small_networks, place):
    """Every entry of a network replaced by what does not belong there."""
    odd = [None, 3, "x", [], {}, [1], [("a", 1)], [("lod", np.ones(3))], float("nan"), 1e400, -1]
    names = small_networks[0].state if place == "state" else (
        "fmap_base", "fmap_max", "fmap_decay", "mbstd_group_size", "mapping_lrmul", "fused_scale",
        "blur_filter", "structure", "label_size", "dtype")
    refused = 0
    for name, value, i in itertools.product(names, odd, range(3)):
        network = Network("", {}, {})
        state = small_networks[i].state
        network.state = state | ({name: value} if place == "state" else
                                 {"static_kwargs": state["static_kwargs"] | {name: value}})
        changed = [*small_networks[:i], network, *small_networks[i + 1:]]
        try:
            read_bytes(tmp_path, official_pickle(changed))
        except UserError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > 100


def test_other_networks_than_stylegan1s_are_named(tmp_path, small_networks):
    G, D, _ = small_networks
    stylegan2 = Network("G_main", {}, {}), Network("D_stylegan2", {}, {}), Network("G_main", {}, {})
    for networks, message in ((stylegan2, "G_main, D_stylegan2"), ((G, D), "G_style, D_basic"),
                              (G, "G_style"), ((1, 2, 3), "int, int, int")):
        with pytest.raises(UserError, match=message + ".*wanted the three"):
            read_bytes(tmp_path, official_pickle(networks))


# The PyTorch port and the Jittor port -------------------------------------------------------------


@pytest.mark.parametrize("name", ["port16_zip.pt", "port16_stream.pt", "port16_jittor.model"])
def test_files_that_pytorch_and_jittor_wrote_are_read(name):
    header, arrays = foreign.read(os.path.join(GOLDEN, name))
    config = ModelConfig(**header["model"])
    assert header["size_guessed"] and header["size"] == 16
    assert [config.width(s) for s in (4, 8, 16)] == [PORT16.width(s) for s in (4, 8, 16)]
    wanted = {n: a for n, a in random_arrays(PORT16).items() if n.split("/")[0] in
              {found.split("/")[0] for found in arrays}}
    assert_equal({n: a for n, a in arrays.items() if not n.endswith("w_avg")},
                 {n: a for n, a in wanted.items() if not n.endswith("w_avg")})
    assert ("discriminator/head.conv.weight" in arrays) == ("stream" not in name)


def test_the_tar_that_pytorch_wrote_first_is_read(tmp_path):
    state = port_state()["g_running"]
    header, arrays = read_bytes(tmp_path, weights.torch_tar(state))
    wanted = {n: a for n, a in random_arrays(PORT16).items() if n.startswith("ema/")}
    wanted["ema/w_avg"] = arrays["ema/w_avg"]
    assert "PyTorch tar" in header["source"]
    assert_equal(arrays, wanted)


def test_old_jittor_files_are_plain_dicts_without_a_checksum(tmp_path):
    state = port_state()
    assert "Jittor" in read_bytes(tmp_path, pickle.dumps(state))[0]["source"]
    _, bare = read_bytes(tmp_path, pickle.dumps(state["g_running"]))
    assert {name.split("/")[0] for name in bare} == {"ema"}


def test_derived_weights_beside_the_stored_ones_are_ignored(tmp_path):
    state = port_state()["g_running"]
    stale = {n[:-len("_orig")]: a * 9 for n, a in state.items() if n.endswith("weight_orig")}
    _, wanted = read_bytes(tmp_path, pickle.dumps(state))
    _, found = read_bytes(tmp_path, pickle.dumps(stale | state))
    assert len(stale) > 10
    assert_equal(found, wanted)


def test_a_jittor_file_with_a_flipped_byte_is_damaged(tmp_path):
    with open(os.path.join(GOLDEN, "port16_jittor.model"), "rb") as file:
        data = bytearray(file.read())
    data[5000] ^= 1
    with pytest.raises(UserError, match="checksum"):
        read_bytes(tmp_path, bytes(data))


def test_mean_style_is_that_of_ten_thousand_latents():
    _, arrays = foreign.read(os.path.join(GOLDEN, "port16_zip.pt"))
    x = np.random.RandomState(0).randn(10_000, 8)
    x = x / np.sqrt((x ** 2).mean(1, keepdims=True) + 1e-8)
    for i in range(2):
        weight = arrays[f"ema/mapping.layers.{i}.weight"].astype("f8")
        x = reference.lrelu(x @ weight.T * np.sqrt(2 / 8) + arrays[f"ema/mapping.layers.{i}.bias"])
    assert np.abs(arrays["ema/w_avg"] - x.mean(0)).max() < 1e-5 * np.abs(x.mean(0)).max()


def test_ports_whose_discriminator_counts_from_their_own_size_are_read(tmp_path):
    state = port_state()

    def renumber(name):
        return re.sub(r"^(progression|from_rgb)\.(\d)", lambda m: f"{m[1]}.{int(m[2]) - 6}", name)

    renamed = state | {"discriminator": {renumber(n): a for n, a in
                                         state["discriminator"].items()}}
    assert "linear.linear.bias" in renamed["discriminator"]
    assert_equal(read_bytes(tmp_path, pickle.dumps(renamed))[1],
                 read_bytes(tmp_path, pickle.dumps(state))[1])


@pytest.mark.parametrize("change, message", [
    (lambda s: s.pop("generator.to_rgb.1.conv.bias"), "to_rgb.1.conv.bias is missing"),
    (lambda s: s.update(extra=np.ones(1)), "extra is unknown"),
    (lambda s: s.update({"generator.to_rgb.1.conv.bias": np.ones(9)}), "has shape .9,."),
    (lambda s: s.pop("style.1.linear.weight_orig"), "layout"),
    (lambda s: s.update({"generator.progression.1.conv1.2.weight": np.ones((8, 1, 3, 3))}),
     "conv1.2.weight is unknown"),
])
def test_port_arrays_that_do_not_fit_are_named(tmp_path, change, message):
    state = port_state()["g_running"]
    change(state)
    with pytest.raises(UserError, match=message):
        read_bytes(tmp_path, pickle.dumps(state))


@pytest.mark.parametrize("content, message", [
    ({"discriminator": {"a": np.ones(1)}}, "wanted a generator"),
    ({"g_running": [1]}, "a network is a list, wanted a dict of arrays"),
    ({"g_running": {"a": np.ones(1)}, "args": [1]}, "unknown beside the networks: 'args'"),
    ({}, "no arrays"), ([], "wanted the three networks"), (7, "found a int"), ("text", "a str"),
])
def test_pickles_that_are_no_weights_say_so(tmp_path, content, message):
    with pytest.raises(UserError, match=message):
        read_bytes(tmp_path, pickle.dumps(content))


# Files from strangers -----------------------------------------------------------------------------


class Calls:
    """Pickles as a call of `function` with `arguments`."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def nested_tuples(depth):
    """Built from the inside out, so that it needs no stack: ((((…),),),)."""
    return b"\x80\x04)" + b"\x85" * depth


ATTACKS = {
    "posix.system": lambda marker: pickle.dumps(Calls(os.system, f"touch {marker}"), 2),
    "builtins.eval": lambda marker: pickle.dumps(Calls(eval, f"open({str(marker)!r}, 'w')"), 4),
    "__builtin__.exec": lambda marker: pickle.dumps(Calls(exec, f"open({str(marker)!r}, 'w')"), 0),
    "subprocess.Popen": lambda marker: pickle.dumps(Calls(subprocess.Popen, "true")),
    "builtins.getattr": lambda marker: pickle.dumps(Calls(getattr, "os", "system")),
    "unpickle.load": lambda marker: pickle.dumps(unpickle.load),
    "numpy.load": lambda marker: b"\x80\x04\x8c\x05numpy\x8c\x04load\x93.",
    "nested more than 50 deep": lambda marker: nested_tuples(1_000_000) + b".",
    "key that is neither": lambda marker: b"\x80\x04}" + nested_tuples(1_000_000)[2:] + b"Ns.",
    "nested more": lambda marker: b"\x80\x04" + b"]" * 100_000 + b"a" * 99_999 + b".",
    "impossible shape|shape": lambda marker: pickle.dumps(Calls(
        np.core.multiarray._reconstruct, np.ndarray, (0,), b"b"), 2)[:-1] +
        b"(K\x01J\xff\xff\xff\xff\x85c" + b"numpy\ndtype\nX\x02\x00\x00\x00f4\x85R\x89C\x00tb.",
    "type 'O8'": lambda marker: pickle.dumps(np.array([Calls(os.system, "true")], dtype=object)),
    "MemoryError|damaged": lambda marker: b"\x80\x04\x8e" + struct.pack("<Q", 1 << 62) + b"x.",
    "damaged.*frame|damaged": lambda marker: b"\x80\x04\x95" + struct.pack("<Q", 1 << 60) + b"N.",
    "no weights|damaged": lambda marker: b"\x80\x04r\xff\xff\xff\xff.",
    "a state for something": lambda marker: b"\x80\x04]}b.",
    "no function": lambda marker: b"\x80\x04\x8c\x01a)R.",
    "object of an unknown kind": lambda marker: b"\x80\x04cnumpy\nndarray\n)\x81.",
    "outside of itself": lambda marker: b"\x80\x04\x8c\x01aQ.",
    "known, or damaged": lambda marker: b"\x80\x04\x8f.",               # a set
}


@pytest.mark.parametrize("name", ATTACKS)
def test_hostile_pickles_are_refused_by_name_and_run_nothing(tmp_path, name):
    marker = tmp_path / "ran"
    with pytest.raises(UserError, match=name):
        read_bytes(tmp_path, ATTACKS[name](marker))
    attack = ATTACKS[name](marker)
    with pytest.raises(UserError, match=name):
        read_bytes(tmp_path, attack + hashlib.sha1(attack).digest() + b"HCAJSLHD")
    assert not marker.exists()


def test_hostile_tensors_are_refused(tmp_path):
    storage = unpickle.Storage(unpickle.StorageType("f4"), 4, b"\0" * 16)
    for shape, stride, offset in (((2, 3), (3, 1), 0), ((4,), (1,), 1), ((4,), (1,), -1),
                                  ((10 ** 9, 10 ** 9), (0, 0), 0), ((2,), (1, 1), 0),
                                  ((2,), (-1,), 1)):
        with pytest.raises(unpickle.Refused):
            unpickle.Tensor(storage, offset, shape, stride).value    # noqa: B018
    assert unpickle.Tensor(storage, 1, (3,), (1,)).value.tolist() == [0, 0, 0]


@pytest.mark.parametrize("script", ["generate.py", "convert.py", "train.py"])
def test_commands_refuse_a_hostile_file_in_one_line(tmp_path, script):
    path, marker = tmp_path / "x.model", tmp_path / "ran"
    path.write_bytes(ATTACKS["posix.system"](marker))
    arguments = {"train.py": [".", "--init", path], "convert.py": [path, "y.model"]}
    arguments = arguments.get(script, [path])
    code, output, error = command(script, *arguments, cwd=tmp_path, check=False)
    assert code == 2 and not output and not marker.exists()
    assert error.startswith(f"error: {path}: refused: the file asks for posix.system")
    assert error.count("\n") == 1


@pytest.mark.parametrize("name", ["sg1_r32.pkl", "port16_zip.pt", "port16_stream.pt",
                                  "port16_jittor.model", "tar", "safetensors", "npz"])
def test_damaged_files_end_in_one_line(tmp_path, name):
    if name == "tar":
        whole = weights.torch_tar(port_state()["g_running"])
    elif name == "safetensors":
        whole = safetensors(port_state()["g_running"])
    elif name == "npz":
        file = io.BytesIO()
        np.savez(file, **{f"g_running/{n}": a for n, a in port_state()["g_running"].items()})
        whole = file.getvalue()
    else:
        with open(os.path.join(GOLDEN, name), "rb") as file:
            whole = file.read()
    path, rng, refused = str(tmp_path / "x"), np.random.RandomState(0), 0
    for _ in range(20):
        damaged = bytearray(whole)
        for position in rng.randint(0, min(len(whole), 20_000), 3):
            damaged[position] = rng.randint(256)
        for data in bytes(damaged), whole[:rng.randint(len(whole))]:
            with open(path, "wb") as file:
                file.write(data)
            try:
                foreign.read(path)          # a changed number inside an array cannot be seen
            except UserError as error:
                assert str(error).startswith(path) and "\n" not in str(error)
                refused += 1
    assert refused >= 20                    # every truncation, at the least


# Ours → the PyTorch port's names → ours -----------------------------------------------------------


def safetensors(state):
    header, data = {}, b""
    for name, array in state.items():
        header[f"g_running/{name}"] = {"dtype": "F32", "shape": list(array.shape),
                                       "data_offsets": [len(data), len(data) + array.nbytes]}
        data += array.tobytes()
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def own_file(tmp_path, config, name="x.model", **more):
    path = tmp_path / name
    snapshot.save(str(path), {"images_seen": 5, "size": config.size, "alpha": 1.0,
                              "model": vars(config)}, random_arrays(config) | more)
    return path


@pytest.mark.parametrize("ending", ["npz", "pt", "safetensors"])
@pytest.mark.parametrize("config", [
    PORT16, ModelConfig(size=256, latent=8, mapping_layers=3, fmap_base=512, fmap_max=8,
                        from_rgb_activate=False, **PORT)], ids=["16", "256"])
def test_ours_to_the_ports_and_back_is_bit_equal(tmp_path, config, ending):
    library = {"pt": "torch", "safetensors": "safetensors"}.get(ending)
    if library and not importlib.util.find_spec(library):
        pytest.skip(f"{library} is not installed")
    path, there = own_file(tmp_path, config), tmp_path / f"x.{ending}"
    command("convert.py", path, there, cwd=tmp_path)
    command("convert.py", there, "back.model", cwd=tmp_path)
    header, arrays = snapshot.load(str(tmp_path / "back.model"))
    assert ModelConfig(**header["model"]) == config
    assert_equal(arrays, random_arrays(config))


def test_the_ports_names_and_shapes_are_those_of_its_own_class():
    """Against the names that the port's outputs were made with: the blur aside, which has none."""
    config = ModelConfig(**PORT)
    content = port.to_port(config, {f"{network}/{name}": np.zeros(shape, "float32") for
                                    network, shapes in (("ema", generator_shapes(config)),
                                                        ("discriminator",
                                                         discriminator_shapes(config)))
                                    for name, shape in shapes.items()})
    with np.load(os.path.join(GOLDEN, "port_goldens.npz")) as golden:
        for network, theirs in ("G", "g_running"), ("D", "discriminator"):
            names = golden[f"{network}_param_names"].tolist()
            assert sorted(n for n, a in content[theirs].items()
                          if not port.is_derived(n, a, content[theirs])) == names


def test_a_model_that_the_port_cannot_express_is_refused_with_the_fields(tmp_path):
    path = own_file(tmp_path, SMALL)
    code, _, error = command("convert.py", path, "x.npz", cwd=tmp_path, check=False)
    assert code == 2 and error.count("\n") == 1 and "--approximate" in error
    assert all(field in error for field in PORT) and not (tmp_path / "x.npz").exists()


def test_approximate_prints_the_error_that_it_measured(tmp_path):
    path = own_file(tmp_path, SMALL)
    _, output, _ = command("convert.py", path, "x.npz", "--approximate", cwd=tmp_path)
    assert re.search(r"largest difference is \d+\.\d% of the largest value", output)
    networks = containers.read(str(tmp_path / "x.npz"))[1]
    assert "g_running" in networks and "discriminator" not in networks


def test_what_can_be_folded_into_the_weights_is_exact(tmp_path):
    """Without biases before the blur, an approximated model differs by the norm's epsilon only."""
    arrays = {n: a * 0 if "epilogue0.bias" in n and "block4" not in n else a
              for n, a in random_arrays(SMALL, ["ema"]).items()}
    from generate import Painter
    pictures = []
    config, folded = convert.approximate(SMALL, arrays)
    for c, values in (SMALL, arrays), (config, folded):
        header = {"model": vars(c), "size": 16, "alpha": 1.0}
        painter = Painter(header, values, "x", truncation_psi=0.7, noise=False)
        pictures.append(painter.paint(painter.styles(range(4))))
    assert np.abs(pictures[1] - pictures[0]).max() < 1e-3 * np.abs(pictures[0]).max()


# The command --------------------------------------------------------------------------------------


def test_convert_writes_a_model_that_generate_reads_and_overwrites_nothing(tmp_path):
    pickle_path = os.path.join(GOLDEN, "sg1_r32.pkl")
    _, output, _ = command("convert.py", pickle_path, "a.model", cwd=tmp_path)
    assert "weights of official StyleGAN1; ema, generator, discriminator; size 32" in output
    before = (tmp_path / "a.model").read_bytes()
    code, _, error = command("convert.py", pickle_path, "a.model", cwd=tmp_path, check=False)
    assert code == 2 and "a.model exists" in error
    assert (tmp_path / "a.model").read_bytes() == before
    for source, out in ((pickle_path, "direct"), ("a.model", "converted")):
        _, output, _ = command("generate.py", source, "--n_row", 1, "--n_col", 2, "--out", out,
                               cwd=tmp_path)
        assert "weights of official StyleGAN1" in output
    assert (tmp_path / "direct/samples.png").read_bytes() == \
        (tmp_path / "converted/samples.png").read_bytes()


def test_sizes_that_a_file_does_not_say_are_asked_for(tmp_path):
    path = os.path.join(GOLDEN, "port16_jittor.model")
    _, _, error = command("generate.py", path, "--n_row", 1, "--n_col", 1, cwd=tmp_path)
    assert "painting 16, the largest" in error
    _, output, error = command("generate.py", path, "--n_row", 1, "--n_col", 1, "--size", 8,
                               cwd=tmp_path)
    assert "size 8" in output and "painting" not in error
    command("convert.py", path, "a.model", "--size", 8, cwd=tmp_path)
    assert snapshot.load_any(str(tmp_path / "a.model"))[0]["size"] == 8
    for arguments, message in (((path, "--size", 64), "layers up to 16"),
                               ((own_file(tmp_path, SMALL), "--size", 8), "leave --size out")):
        code, _, error = command("generate.py", *arguments, cwd=tmp_path, check=False)
        assert code == 2 and message in error


def test_check_prints_the_table_of_layers(tmp_path):
    path = own_file(tmp_path, ModelConfig(size=8, latent=8, mapping_layers=2, fmap_max=4))
    _, output, _ = command("convert.py", "--check", path, cwd=tmp_path)
    rows = {line.split()[0]: line for line in output.splitlines() if line.strip()}
    assert rows["synthesis.block8.conv0"].split()[-1] == str(4 * 4 * 9 + 4 + 4 + 8 * 8 + 8)
    assert "(N, 4, 8, 8)" in rows["synthesis.block8.conv0"]
    assert "(N, 4, 4, 4)" in rows["block8.conv1"] and "(N, 1)" in rows["head.dense1"]
    totals = [int(line.split()[-1].replace(",", "")) for line in output.splitlines()
              if line.startswith("total")]
    config = ModelConfig(size=8, latent=8, mapping_layers=2, fmap_max=4)
    assert totals == [sum(np.prod(s) for n, s in shapes.items() if n != "w_avg") for shapes in
                      (generator_shapes(config), discriminator_shapes(config))]
    assert "found their place" in output and not (tmp_path / "x.npz").exists()


def test_own_files_whose_arrays_do_not_fit_are_named(tmp_path):
    path = own_file(tmp_path, SMALL, **{"ema/extra": np.ones(1)})
    code, _, error = command("convert.py", "--check", path, cwd=tmp_path, check=False)
    assert code == 2 and "extra is unknown" in error


@pytest.mark.parametrize("arguments, message", [
    (("nowhere.pkl",), "No such file"), (("x.model", "y.png"), "wanted an ending"),
    (("x.model", "y.npz", "--check"), "writes nothing"), (("x.model",), "x.model exists"),
])
def test_wrong_arguments_end_in_one_line(tmp_path, arguments, message):
    own_file(tmp_path, SMALL)
    code, _, error = command("convert.py", *arguments, cwd=tmp_path, check=False)
    assert code == 2 and message in error and error.count("\n") == 1


def test_missing_libraries_are_named(tmp_path):
    """In a Python that has neither PyTorch nor safetensors."""
    path = own_file(tmp_path, PORT16)
    for name in "torch", "safetensors":
        (tmp_path / f"{name}.py").write_text(f"raise ImportError(name={name!r})")
    for ending, name in (("pt", "torch"), ("safetensors", "safetensors")):
        code = "import sys; sys.path.insert(0, '.'); sys.path.insert(0, sys.argv.pop(1)); " \
               "sys.path.insert(0, '.'); import cli, convert; cli.run(convert.main)"
        result, _, error = command("-c", code, ROOT, path, f"y.{ending}", cwd=tmp_path,
                                   check=False)
        assert result == 2 and f"pip install {name}" in error, error


def test_readers_need_neither_jittor_nor_the_libraries_that_wrote_the_files():
    code = "import sys, foreign; [foreign.read(p) for p in sys.argv[1:]]; " \
           "print([m for m in ('jittor', 'torch', 'tensorflow') if m in sys.modules])"
    files = [os.path.join(GOLDEN, n) for n in ("sg1_r32.pkl", "port16_zip.pt",
                                               "port16_stream.pt", "port16_jittor.model")]
    _, output, _ = command("-c", code, *files, cwd=ROOT)
    assert output.strip() == "[]"
