"""port2.py: StyleGAN2's PyTorch port, in and out."""
import dataclasses

import numpy as np
import pytest
from conftest import command
from stylegan2_files import random_networks, wanted
from weight_files import assert_equal, read_bytes

from backend.errors import UserError
from networks.config import ModelConfig
from weights import foreign, npz, port2, snapshot

SMALL = ModelConfig(arch="stylegan2", size=16, latent=8, mapping_layers=2, fmap_base=64, fmap_max=8)
# What the port's own classes call their parameters and buffers, at size 8 and with one layer of the
# mapping network (Generator(8, 512, 1), Discriminator(8)).
GENERATOR = """style.1.weight style.1.bias input.input conv1.conv.weight
conv1.conv.modulation.weight conv1.conv.modulation.bias conv1.noise.weight conv1.activate.bias
to_rgb1.bias to_rgb1.conv.weight to_rgb1.conv.modulation.weight to_rgb1.conv.modulation.bias
convs.0.conv.weight convs.0.conv.blur.kernel convs.0.conv.modulation.weight
convs.0.conv.modulation.bias convs.0.noise.weight convs.0.activate.bias convs.1.conv.weight
convs.1.conv.modulation.weight convs.1.conv.modulation.bias convs.1.noise.weight
convs.1.activate.bias to_rgbs.0.bias to_rgbs.0.upsample.kernel to_rgbs.0.conv.weight
to_rgbs.0.conv.modulation.weight to_rgbs.0.conv.modulation.bias noises.noise_0 noises.noise_1
noises.noise_2"""
DISCRIMINATOR = """convs.0.0.weight convs.0.1.bias convs.1.conv1.0.weight convs.1.conv1.1.bias
convs.1.conv2.0.kernel convs.1.conv2.1.weight convs.1.conv2.2.bias convs.1.skip.0.kernel
convs.1.skip.1.weight final_conv.0.weight final_conv.1.bias final_linear.0.weight
final_linear.0.bias final_linear.1.weight final_linear.1.bias"""


def written(tmp_path, config, networks=None):
    """The bytes of an .npz in the port's names, and the arrays in it."""
    arrays = wanted(networks or random_networks(config))
    content = port2.to_port(config, arrays)
    flat = {}
    for network, state in content.items():
        flat |= {f"{network}/{n}": a for n, a in state.items()} if isinstance(state, dict) else \
            {network: state}
    with open(tmp_path / "x.npz", "wb") as file:
        npz.write(file, flat)
    return (tmp_path / "x.npz").read_bytes(), arrays


def test_names_and_shapes_are_those_of_the_ports_classes():
    config = dataclasses.replace(SMALL, size=8, mapping_layers=1)
    content = port2.to_port(config, wanted(random_networks(config)))
    assert content.keys() == {"g_ema", "g", "d", "latent_avg"}
    assert content["g_ema"].keys() == content["g"].keys() == set(GENERATOR.split())
    assert content["d"].keys() == set(DISCRIMINATOR.split())
    shapes = {name: a.shape for name, a in content["g_ema"].items()}
    assert shapes["convs.0.conv.weight"] == (1, 8, 8, 3, 3)
    assert shapes["to_rgbs.0.conv.weight"] == (1, 3, 8, 1, 1)
    assert shapes["to_rgb1.bias"] == (1, 3, 1, 1) and shapes["conv1.noise.weight"] == (1,)


@pytest.mark.parametrize("config", [
    SMALL, dataclasses.replace(SMALL, size=64, fmap_base=128),
    dataclasses.replace(SMALL, d_fmap_base=32, d_fmap_max=6)], ids=["16", "64", "D's own widths"])
def test_what_is_written_is_read_again(tmp_path, config):
    data, arrays = written(tmp_path, config)
    header, found = read_bytes(tmp_path, data)
    read = ModelConfig(**header["model"])
    for s in config.sizes:
        assert (read.width(s), read.d_width(s)) == (config.width(s), config.d_width(s))
    same = {n: getattr(config, n) for n in ("fmap_base", "fmap_max", "d_fmap_base", "d_fmap_max")}
    assert dataclasses.replace(read, **same) == config
    assert header["source"] == "the PyTorch port of StyleGAN2" and not header["size_guessed"]
    # It has one mean style, that of the average.
    arrays["generator/w_avg"] = arrays["ema/w_avg"]
    assert_equal(found, arrays)


def test_without_a_mean_style_it_is_computed(tmp_path):
    networks = random_networks(SMALL)
    for name in [n for n in networks["G_ema"] if "mapping" in n and n.endswith("weight")]:
        networks["G_ema"][name] *= 100
    content = port2.to_port(SMALL, wanted(networks))
    with open(tmp_path / "x.npz", "wb") as file:
        npz.write(file, {f"g_ema/{n}": a for n, a in content["g_ema"].items()})
    _, arrays = foreign.read(str(tmp_path / "x.npz"))
    z = np.random.RandomState(1).randn(20_000, 8)
    z /= np.sqrt((z ** 2).mean(1, keepdims=True) + 1e-8)
    for i in range(2):
        weight, bias = (networks["G_ema"][f"mapping.layers.{i}.{n}"] for n in ("weight", "bias"))
        z = z @ weight.T * (0.01 / np.sqrt(8)) + bias * 0.01
        z = np.where(z > 0, z, 0.2 * z) * np.sqrt(2)
    assert np.abs(arrays["ema/w_avg"] - z.mean(0)).max() < 0.05 * z.std()


def test_other_filters_and_layouts_are_refused(tmp_path):
    data, arrays = written(tmp_path, SMALL)
    content = port2.to_port(SMALL, arrays)["g_ema"]
    content["to_rgbs.1.upsample.kernel"] = np.ones((4, 4), "float32")
    for name, message in (("to_rgbs.1.upsample.kernel", "is not \\[1, 3, 3, 1\\]"),
                          ("conv1.activate.bias", "no StyleGAN2 of the PyTorch port's layout")):
        if name != "to_rgbs.1.upsample.kernel":
            del content[name]
        with open(tmp_path / "y.npz", "wb") as file:
            npz.write(file, {f"g_ema/{n}": a for n, a in content.items()})
        with pytest.raises(UserError, match=message):
            foreign.read(str(tmp_path / "y.npz"))
        content["to_rgbs.1.upsample.kernel"] = content["to_rgbs.0.upsample.kernel"]


def own_file(tmp_path, config):
    path = str(tmp_path / "own.model")
    snapshot.save(path, {"images_seen": 5, "size": config.size, "alpha": 1.0,
                         "model": vars(config)}, wanted(random_networks(config)))
    return path


def test_convert_writes_it_and_says_what_does_not_go_along(tmp_path):
    path = own_file(tmp_path, dataclasses.replace(SMALL, stddev_group=0))
    _, output, _ = command("convert.py", path, "out.npz", cwd=tmp_path)
    assert "Generator(16, 8, 2).load_state_dict" in output and "literal widths" in output
    assert "the discriminator is left out, for its stddev_group" in output
    _, arrays = foreign.read(str(tmp_path / "out.npz"))
    assert not any(name.startswith("discriminator") for name in arrays)


@pytest.mark.parametrize("changes, message", [
    (dict(labels=3, dlatent=8), "no place for its labels"),
    (dict(dlatent=6), "no place for its latent, dlatent and mapping_fmaps"),
    (dict(clamp=256), "type --approximate")])
def test_convert_refuses_what_the_port_cannot_hold(tmp_path, changes, message):
    path = own_file(tmp_path, dataclasses.replace(SMALL, **changes))
    code, _, error = command("convert.py", path, "out.npz", cwd=tmp_path, check=False)
    assert code == 2 and message in error and error.count("\n") == 1


def test_convert_leaves_the_limit_out_and_measures(tmp_path):
    path = own_file(tmp_path, dataclasses.replace(SMALL, clamp=256))
    _, output, _ = command("convert.py", path, "out.npz", "--approximate", "--device", "cpu",
                           cwd=tmp_path)
    assert "approximate: over 16 pictures" in output
    header, _ = foreign.read(str(tmp_path / "out.npz"))
    assert header["model"]["clamp"] == 0
