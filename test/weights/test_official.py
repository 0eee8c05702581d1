"""official.py: pickles of the official network, in every protocol, shape and oddity."""
import itertools
import pickle

import numpy as np
import pytest
import reference
import weight_files
from weight_files import Network, assert_equal, official_networks, official_pickle, read_bytes

from backend.errors import UserError
from networks.config import ModelConfig
from networks.shapes import discriminator_shapes, generator_shapes
from weights import official

SMALL = ModelConfig(size=16, latent=8, mapping_layers=2, fmap_base=64, fmap_max=8)


def official_arrays(config, networks, fused="auto"):
    """What has to be read from networks that weight_files.official_networks made."""
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
    data = weight_files.python2_pickle(small_networks, protocol)
    assert b"dnnlib.tflib.network" in data and b"X" not in data[:30]
    assert_equal(read_bytes(tmp_path, data)[1], official_arrays(SMALL, small_networks))


@pytest.mark.parametrize("protocol, function", [(4, b"_reconstruct"), (5, b"_frombuffer")])
def test_pickles_of_numpy_2_are_read(tmp_path, small_networks, protocol, function):
    data = weight_files.official_pickle(small_networks, protocol, framed=False)
    for module in b"multiarray", b"numeric":            # a length byte, then the name
        old, new = b"numpy.core." + module, b"numpy._core." + module
        data = data.replace(bytes([len(old)]) + old, bytes([len(new)]) + new)
    assert function in data and b"numpy._core" in data and b"numpy.core" not in data
    assert_equal(read_bytes(tmp_path, data)[1], official_arrays(SMALL, small_networks))


@pytest.mark.parametrize("config", [
    ModelConfig(size=8),                                                # all defaults left out
    ModelConfig(size=4, latent=8, fmap_max=4),
    ModelConfig(size=32, channels=1, latent=8, mapping_layers=1, fmap_base=100, fmap_max=24),
    ModelConfig(size=16, latent=8, dlatent=6, mapping_fmaps=10, mapping_layers=3, fmap_decay=0.7,
                fmap_max=12, stddev_group=8),
    ModelConfig(size=16, channels=4, latent=8, fmap_max=8, stddev_group=1),
    ModelConfig(size=8, labels=5, latent=8, dlatent=6, mapping_fmaps=10, fmap_max=8),
], ids=lambda c: f"{c.size}-{c.channels}-{c.stddev_group}-{c.labels}")
def test_official_networks_of_any_shape_are_read(tmp_path, config):
    networks = official_networks(config)
    header, arrays = read_bytes(tmp_path, official_pickle(networks))
    assert ModelConfig(**header["model"]) == config
    assert_equal(arrays, official_arrays(config, networks))


def test_a_discriminator_of_another_width_is_read(tmp_path):
    config = ModelConfig(size=16, latent=8, fmap_base=64, fmap_max=8, d_fmap_base=32, d_fmap_max=4)
    options = weight_files.minimal_options(config)
    networks = official_networks(config, options, options | {"fmap_base": 32, "fmap_max": 4})
    header, arrays = read_bytes(tmp_path, official_pickle(networks))
    assert ModelConfig(**header["model"]) == config
    assert_equal(arrays, official_arrays(config, networks))


@pytest.mark.parametrize("fused_scale", ["auto", True, False])
def test_fused_kernels_are_turned_into_the_plain_orientation(tmp_path, fused_scale):
    config = ModelConfig(size=128, latent=4, mapping_layers=1, fmap_base=128, fmap_max=4)
    options = weight_files.minimal_options(config)
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
    ({"label_size": 10}, "label_size is 10, wanted 0"),
    ({"use_noise": False}, "use_noise is False"),
    ({"blur_filter": None}, "blur_filter is None"),
    ({"blur_filter": [1, 3, 3, 1]}, "blur_filter"),
    ({"nonlinearity": "relu"}, "nonlinearity is 'relu'"),
    ({"structure": "fixed"}, "structure"),
    ({"fused_scale": "maybe"}, "fused_scale"),
    ({"fmap_max": 4}, "has shape"),
])
def test_options_that_are_not_supported_are_named(tmp_path, options, message):
    networks = official_networks(SMALL, weight_files.minimal_options(SMALL) | options)
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


def test_other_networks_are_named(tmp_path, small_networks):
    G, D, _ = small_networks
    others = Network("G_paper", {}, {}), Network("D_paper", {}, {}), Network("G_paper", {}, {})
    for networks, message in ((others, "G_paper, D_paper"), ((G, D), "G_style, D_basic"),
                              (G, "G_style"), ((1, 2, 3), "int, int, int")):
        with pytest.raises(UserError, match=message + ".*wanted the three"):
            read_bytes(tmp_path, official_pickle(networks))
