"""generate.py --features: what the layers hold, kept small, and read pixel by pixel."""
import json
import os
import shutil

import numpy as np
import pytest
import reference
from conftest import ROOT, command
from PIL import Image

from backend import jt
from backend.errors import UserError
from pictures.features import Features, gather
from weights import snapshot

GOLDEN = os.path.join(ROOT, "test/golden")
DEMO = os.path.join(GOLDEN, "demo.model")


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Folder with features/ of three seeds, of the demo's generator."""
    folder = tmp_path_factory.mktemp("features")
    command("generate.py", DEMO, "--seeds", "3,4,7", "--noise", "random", "--features", "features",
            cwd=folder)
    return folder


def load(folder, name):
    with np.load(folder / f"features/{name}.npz") as arrays:
        return {key: arrays[key] for key in arrays.files}


def test_picture_style_noise_and_features_are_of_one_pass(kept):
    """In float64, from the style and the noise that are kept, come the picture and the layers."""
    header, arrays = snapshot.load_any(DEMO)
    network = snapshot.make_generator(header, arrays, DEMO)
    p = reference.Weights(network)
    there = load(kept, "seed000004")
    x = p["synthesis.block4.const"]

    def epilogue(x, name, layer):
        x = x + there[f"noise{layer}"] * p[name + ".noise_weight"].reshape(1, -1, 1, 1)
        x = reference.lrelu(x + p.bias(name))
        x = x - x.mean((2, 3), keepdims=True)
        x = x / np.sqrt((x ** 2).mean((2, 3), keepdims=True) + 1e-8)
        style = there["w"][layer] @ p.scaled(name + ".style", gain=1).T + p[name + ".style.bias"]
        scale, shift = np.split(style[None, :, None, None], 2, 1)
        return x * (scale + 1) + shift

    for i, size in enumerate((4, 8, 16, 32)):
        name = f"synthesis.block{size}"
        if size > 4:
            x = reference.blur(reference.conv2d(reference.upsample(x), p.scaled(name + ".conv0"),
                                                padding=1))
        x = epilogue(x, name + ".epilogue0", 2 * i)
        x = reference.conv2d(x, p.scaled(name + ".conv1"), padding=1)
        wanted = {"conv1": x, "epilogue1": epilogue(x, name + ".epilogue1", 2 * i + 1)}
        x = wanted["epilogue1"]
        for kind, values in wanted.items():
            found = there[f"block{size}.{kind}"]
            assert found.dtype == np.float16 and found.shape == values.shape[1:]
            assert np.abs(found - values[0]).max() < 2e-3 * np.abs(values).max()
    image = reference.conv2d(x, p.scaled("synthesis.to_rgb32", gain=1)) + p.bias(
        "synthesis.to_rgb32")
    picture = np.asarray(Image.open(kept / "features/seed000004.png")).transpose(2, 0, 1)
    assert np.abs(np.clip((image[0] + 1) * 127.5, 0, 255) - picture).max() < 1


def test_pixels_are_those_of_the_enlarged_layers(kept):
    features = Features(str(kept / "features"))
    assert features.names == ["seed000003", "seed000004", "seed000007"] and features.size == 32
    rows, columns = (grid.ravel() for grid in np.mgrid[:32, :32])
    found = features.at("seed000007", rows, columns).reshape(32, 32, -1)
    assert found.shape[2] == features.channels == sum(s[0] for s in features.layers.values())
    there, first = load(kept, "seed000007"), 0
    for name, (channels, side, _) in features.layers.items():
        values = jt.array(there[name].astype("float32")[None])
        wanted = values.numpy() if side == 32 else jt.nn.interpolate(
            values, (32, 32), mode="bilinear", align_corners=False).numpy()
        ours = found[..., first:first + channels].transpose(2, 0, 1)
        assert np.abs(ours - wanted[0]).max() < 1e-4 * np.abs(wanted).max()
        first += channels
    some = features.at("seed000007", [0, 31, 5], [31, 0, 9])
    assert (some == found[[0, 31, 5], [31, 0, 9]]).all()
    flat = gather(np.ones((2, 4, 4), "float32"), np.array([0.0, 3.5]), np.array([9.0, 31.0]), 32)
    assert np.allclose(flat, 1)


def test_a_wrong_pixel_or_name_is_said_and_one_pixel_is_one(kept):
    features = Features(str(kept / "features"))
    assert features.at("seed000003", 5, 9).shape == (1, features.channels)
    for rows, columns in (([32], [0]), ([-1], [0]), ([float("nan")], [0]), ([1, 2], [3])):
        with pytest.raises(UserError, match="wanted as many of both, from 0 to 31"):
            features.at("seed000003", rows, columns)
    with pytest.raises(UserError, match="has no picture seed3, wanted one of seed000003"):
        features.at("seed3", [0], [0])


def test_an_interrupted_start_goes_on(kept, tmp_path):
    shutil.copytree(kept / "features", tmp_path / "features")
    os.remove(tmp_path / "features/seed000007.npz")
    command("generate.py", DEMO, "--noise", "random", "--features", "features", "--seeds", "3,4",
            cwd=tmp_path)
    assert Features(str(tmp_path / "features")).names == ["seed000003", "seed000004"]


def test_more_are_added_and_others_never_mixed_in(kept, tmp_path):
    before = {p.name: p.stat().st_mtime_ns for p in (kept / "features").glob("seed*")}
    more = ["generate.py", DEMO, "--noise", "random", "--features", "features", "--seeds", "3-8"]
    command(*more, cwd=kept)
    after = {p.name: p.stat().st_mtime_ns for p in (kept / "features").glob("seed*")}
    assert len(after) == 12 and before.items() <= after.items()
    for flags, said in ((["--truncation_psi", 1], "holds features of other weights or settings"),
                        (["--feature_layers", "conv1"], "holds features of other weights")):
        code, _, error = command(*more, *flags, cwd=kept, check=False)
        assert code == 2 and said in error and error.count("\n") == 1
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/a.txt").write_text("x")
    for flags, said in ((["--seeds", "1", "--features", "mine"], "mine: holds other files"),
                        (["--features", "x"], "--features is of single pictures"),
                        (["--seeds", "1", "--feature_layers", "conv1"], "type both"),
                        (["--seeds", "1", "--features", "x", "--feature_layers", "conv9"],
                         "found conv9, wanted some of conv1, epilogue1, epilogue0, or of one")):
        code, _, error = command("generate.py", DEMO, *flags, cwd=tmp_path, check=False)
        assert code == 2 and said in error and error.count("\n") == 1
    (kept / "features/manifest.json").write_text("[")
    with pytest.raises(UserError, match="manifest.json: cannot be read"):
        Features(str(kept / "features"))


def test_layers_are_chosen_of_either_architecture(tmp_path):
    command("generate.py", os.path.join(GOLDEN, "sg2_r16c.pkl"), "--seeds", 0, "--label", 0,
            "--features", "two", "--feature_layers", "conv0,block16.conv1", cwd=tmp_path)
    with open(tmp_path / "two/manifest.json") as file:
        layers = json.load(file)["layers"]
    assert list(layers) == ["block8.conv0", "block16.conv0", "block16.conv1"]
    assert layers["block8.conv0"][1:] == [8, 8]
    command("generate.py", DEMO, "--seeds", 0, "--w", "w.npz", "--out", ".", cwd=tmp_path)
    command("generate.py", DEMO, "--w", "w.npz", "--features", "w", "--feature_layers",
            "block32.epilogue0", cwd=tmp_path)
    assert Features(str(tmp_path / "w")).names == ["w000000"]
    (tmp_path / "w/w000000.npz").write_bytes(b"PK")
    with pytest.raises(UserError, match="w000000.npz: damaged, or no file of features"):
        Features(str(tmp_path / "w")).at("w000000", [0], [0])
