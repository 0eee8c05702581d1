"""official2.py and official2_tf.py: StyleGAN2's pickles in every shape, and what is refused."""
import dataclasses
import pickle

import numpy as np
import pytest
import stylegan2_files
from stylegan2_files import (
    Call,
    random_networks,
    tensor,
    tf_networks,
    torch_networks,
    torch_pickle,
    wanted,
)
from weight_files import assert_equal, official_pickle, read_bytes

from backend.errors import UserError
from networks.config import ModelConfig

SMALL = ModelConfig(arch="stylegan2", size=16, latent=8, mapping_layers=2, fmap_base=64, fmap_max=8,
                    clamp=256)
OTHERS = {
    "labels": dataclasses.replace(SMALL, labels=3, dlatent=6, mapping_fmaps=6, d_mapping_layers=3),
    "grey, no clamp": dataclasses.replace(SMALL, channels=1, clamp=0, mapping_fmaps=10),
    "orig": dataclasses.replace(SMALL, d_residual=False, d_fmap_base=32, d_fmap_max=6),
    "whole batch": dataclasses.replace(SMALL, stddev_group=0),
    "no stddev": dataclasses.replace(SMALL, stddev_group=1),
    "size 4": dataclasses.replace(SMALL, size=4)}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickles_of_pytorch_are_read_whatever_their_protocol(tmp_path, protocol):
    networks = random_networks(SMALL)
    header, arrays = read_bytes(tmp_path, torch_pickle(torch_networks(SMALL, networks), protocol))
    assert ModelConfig(**header["model"]) == SMALL and header["source"] == "official StyleGAN2"
    assert_equal(arrays, wanted(networks))


@pytest.mark.parametrize("config", OTHERS.values(), ids=OTHERS)
def test_the_network_is_that_of_the_file(tmp_path, config):
    networks = random_networks(config)
    header, arrays = read_bytes(tmp_path, torch_pickle(torch_networks(config, networks)))
    assert ModelConfig(**header["model"]) == config
    assert_equal(arrays, wanted(networks))


def test_a_generator_alone_is_enough(tmp_path):
    networks = random_networks(SMALL)
    content = torch_networks(SMALL, {"G_ema": networks["G_ema"]})
    header, arrays = read_bytes(tmp_path, torch_pickle(content))
    assert {name.split("/")[0] for name in arrays} == {"ema", "noise"}


def test_half_precision_is_said(tmp_path):
    content = torch_networks(SMALL, random_networks(SMALL), {"G_ema": {
        r"synthesis\.b16": {"architecture": "skip", "use_fp16": True}}})
    header, _ = read_bytes(tmp_path, torch_pickle(content))
    assert header["source"] == "official StyleGAN2, half-precision layers in float32"


REFUSED = {
    "architecture is 'resnet', only 'skip'": ("G_ema", {r"synthesis\.b8": {
        "architecture": "resnet"}, r"synthesis\.b(4|16)": {"architecture": "resnet"}}),
    "architecture differs among layers": ("G_ema", {r"synthesis\.b8": {"architecture": "orig"}}),
    "use_noise is False, only True": ("G_ema", {r"synthesis\.b\d+\.conv\d": {
        "activation": "lrelu", "use_noise": False, "conv_clamp": 256}}),
    "activation is 'relu', only 'lrelu'": ("G_ema", {r"mapping\.fc\d+": {
        "activation": "relu", "bias_gain": 0.01}}),
    "architecture of the discriminator is 'skip'": ("D", {r"b\d+": {"architecture": "skip"}}),
    "conv_clamp is .* in the discriminator": ("D", {r".*(fromrgb|conv\d?)": {
        "conv_clamp": 99, "activation": "lrelu"}}),
    "num_channels is .*, only": ("D", {r"b4\.mbstd": {"group_size": 4, "num_channels": 2}}),
    "mbstd_group_size is 1": ("D", {r"b4\.mbstd": {"group_size": 1, "num_channels": 1}}),
    "wanted a number of kind": ("G_ema", {"": {"z_dim": "eight", "w_dim": 8}}),
    "has shape": ("G_ema", {"": {"z_dim": 9, "w_dim": 9}})}


@pytest.mark.parametrize("message", REFUSED)
def test_what_is_not_computed_here_is_refused_by_name(tmp_path, message):
    kind, changes = REFUSED[message]
    content = torch_networks(SMALL, random_networks(SMALL), {kind: changes})
    with pytest.raises(UserError, match=message):
        read_bytes(tmp_path, torch_pickle(content))


def test_another_filter_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(stylegan2_files, "FILTER", np.full((4, 4), 1 / 16, "float32"))
    with pytest.raises(UserError, match=r"resample_filter is not \[1, 3, 3, 1\]"):
        read_bytes(tmp_path, torch_pickle(torch_networks(SMALL, random_networks(SMALL))))


def test_stylegan3_is_named(tmp_path):
    arrays = {"synthesis.L0_36_32.weight": np.zeros((2, 2), "float32")}
    with pytest.raises(UserError, match="StyleGAN3 comes later"):
        read_bytes(tmp_path, torch_pickle({"G_ema": stylegan2_files.module(arrays, {})}))


def nested_in_itself(depth):
    """A storage in whose bytes is a storage, in whose bytes …"""
    raw = stylegan2_files.storage_bytes(np.zeros(1, "float32"))
    for _ in range(depth):
        with stylegan2_files.torch_modules():
            raw = pickle.dumps(stylegan2_files.TORCH_MAGIC, 2) + pickle.dumps(
                Call(stylegan2_files._load_from_bytes, raw), 2)
    return raw


HOSTILE = {
    "the file asks for __builtin__.eval": lambda marker: {
        "G_ema": Call(stylegan2_files._load_from_bytes,
                      pickle.dumps(Call(eval, f"open({str(marker)!r}, 'w')"), 2))},
    "a storage where none belongs": lambda _: {
        "G_ema": Call(stylegan2_files._load_from_bytes, nested_in_itself(2))},
    "a storage that PyTorch did not write": lambda _: {
        "G_ema": Call(stylegan2_files._load_from_bytes, pickle.dumps(7, 2))},
    "damaged": lambda _: {"G_ema": Call(stylegan2_files._load_from_bytes, 5)},
    "without a state": lambda _: {"G_ema": Call(stylegan2_files._reconstruct_persistent_obj, {})},
    "whose parts are no dict": lambda _: {
        "G_ema": stylegan2_files.persistent("Generator", {"_modules": 3})},
    "no synthesis.b4": lambda _: {"G_ema": stylegan2_files.persistent("Generator", {})},
    "claims, repeats or unpacks": lambda _: {
        "G_ema": [tensor(np.zeros(100_000, "float32"))] * 1000},
    "G is": lambda _: {"G": 3} | torch_networks(
        SMALL, {"G_ema": random_networks(SMALL)["G_ema"]})}


@pytest.mark.parametrize("message", HOSTILE)
def test_hostile_persistent_objects_are_refused_and_run_nothing(tmp_path, message):
    marker = tmp_path / "ran"
    with pytest.raises(UserError, match=message):
        read_bytes(tmp_path, torch_pickle(HOSTILE[message](marker)))
    assert not marker.exists()


@pytest.mark.parametrize("config", [SMALL, *(OTHERS[name] for name in (
    "labels", "grey, no clamp", "orig", "no stddev", "size 4"))], ids=str)
def test_tensorflows_pickles_are_read(tmp_path, config):
    config = dataclasses.replace(config, clamp=0, d_mapping_lrmul=0.1,
                                 d_mapping_layers=config.d_mapping_layers if config.labels else 0)
    networks = random_networks(config)
    header, arrays = read_bytes(tmp_path, official_pickle(tf_networks(config, networks)))
    assert ModelConfig(**header["model"]) == config and header["source"] == "official StyleGAN2"
    for name, a in wanted(networks).items():
        assert np.allclose(arrays.pop(name), a, atol=1e-6), name
    assert not arrays


@pytest.mark.parametrize("options, d_options, message", [
    (dict(architecture="orig"), {}, "architecture of the generator is 'orig'"),
    ({}, dict(architecture="skip"), "architecture of the discriminator is 'skip'"),
    (dict(resample_kernel=[1, 2, 1]), {}, "resample_kernel is"),
    (dict(nonlinearity="relu"), {}, "nonlinearity is 'relu', only lrelu"),
    (dict(conv_clamp=256), {}, "conv_clamp differs"),
    ({}, dict(mbstd_num_features=2), "mbstd_num_features is 2")])
def test_options_of_tensorflow_that_are_not_computed_are_refused(tmp_path, options, d_options,
                                                                 message):
    config = dataclasses.replace(SMALL, clamp=0)
    networks = tf_networks(config, random_networks(config), options, d_options)
    with pytest.raises(UserError, match=message):
        read_bytes(tmp_path, official_pickle(networks))


def test_labels_of_the_first_stylegan2_are_refused(tmp_path):
    config = dataclasses.replace(SMALL, clamp=0)
    networks = tf_networks(config, random_networks(config))
    networks[0].state["components"]["mapping"].state["variables"].append(
        ("LabelConcat/weight", np.zeros((3, 8), "float32")))
    with pytest.raises(UserError, match="LabelConcat"):
        read_bytes(tmp_path, official_pickle(networks))


@pytest.mark.parametrize("function, group", [("D_stylegan2", 4), ("D_main", 0)])
def test_groups_that_tensorflows_file_does_not_name_are_those_of_its_code(tmp_path, function,
                                                                           group):
    config = dataclasses.replace(SMALL, clamp=0)
    networks = tf_networks(config, random_networks(config))
    options = networks[1].state["static_kwargs"]
    del options["mbstd_group_size"]
    networks[1].state["build_func_name"] = function
    header, _ = read_bytes(tmp_path, official_pickle(networks))
    assert header["model"]["stddev_group"] == group


def test_labels_may_have_no_layers_in_the_discriminator(tmp_path):
    """As the official converter makes them of every TensorFlow file with labels."""
    config = dataclasses.replace(OTHERS["labels"], d_mapping_layers=0)
    networks = random_networks(config)
    header, arrays = read_bytes(tmp_path, torch_pickle(torch_networks(config, networks)))
    assert ModelConfig(**header["model"]) == config
    assert_equal(arrays, wanted(networks))


def test_the_rate_of_the_discriminators_labels_is_that_of_the_file(tmp_path):
    config = dataclasses.replace(OTHERS["labels"], d_mapping_lrmul=0.1)
    networks = random_networks(config)
    content = torch_networks(config, networks, {"D": {r"mapping\.fc\d+": {
        "activation": "lrelu", "bias_gain": 0.1}}})
    header, _ = read_bytes(tmp_path, torch_pickle(content))
    assert ModelConfig(**header["model"]) == config


@pytest.mark.parametrize("name", ["line one\nline two \x1b[2J" + "A" * 5000, "m" * 40_000])
def test_long_and_hostile_names_are_refused_in_one_short_line(tmp_path, name):
    """A name is part of those of all arrays below it: one of 40 kB costs as much each time."""
    arrays = {f"{name}.{i}": np.zeros(1, "float32") for i in range(50)}
    with pytest.raises(UserError, match="a module called") as found:
        read_bytes(tmp_path, torch_pickle({"G_ema": stylegan2_files.module(arrays, {})}))
    assert "\n" not in str(found.value) and len(str(found.value)) < 300
