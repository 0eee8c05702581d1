"""convert.py to ONNX: what another runtime computes is what we paint."""
import os
import shutil

import numpy as np
import pytest
from conftest import ROOT, command

from networks.config import noise_sides, num_layers
from pictures.painter import Painter, random_noise
from weights import snapshot

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

GOLDEN = os.path.join(ROOT, "test/golden")
FILES = ("demo.model", "sg1_r32.pkl", "port16_zip.pt", "sg2_r16c.pkl", "sg2_tf_r16.pkl",
         "fading.model")


def session(path):
    return runtime.InferenceSession(str(path))


def relative(found, wanted):
    return np.abs(found - wanted).max() / np.abs(wanted).max()


@pytest.fixture(scope="module", params=FILES)
def exported(request, tmp_path_factory):
    """(path of the weights, folder with x.onnx, x_mapping.onnx and those with noise as inputs)."""
    folder = tmp_path_factory.mktemp("onnx")
    path = os.path.join(GOLDEN, request.param)
    if request.param == "fading.model":
        header, arrays = snapshot.load(os.path.join(GOLDEN, "demo.model"))
        path = str(folder / request.param)
        snapshot.save(path, header | {"alpha": 0.3}, arrays)
    command("convert.py", path, "x.onnx", cwd=folder)
    command("convert.py", path, "y.onnx", "--noise_inputs", cwd=folder)
    return path, folder


def test_pictures_of_another_runtime_are_ours_for_any_batch(exported):
    path, folder = exported
    header, arrays = snapshot.load_any(path)
    painter = Painter(header, arrays, path, 1.0)
    config = painter.generator.config
    for count in 1, 5:
        latents = painter.latents(range(count))
        z, labels = np.split(latents, [config.latent], 1)
        given = {"z": z} | ({"labels": labels} if config.labels else {})
        w, w_avg = session(folder / "x_mapping.onnx").run(None, given)
        styles = painter.styles_of(latents)
        assert relative(w, styles[:, 0]) < 5e-6
        assert np.allclose(w_avg, painter.generator.w_avg.numpy(), atol=1e-6)
        images, = session(folder / "x.onnx").run(["images"], {"styles": styles})
        assert images.shape == (count, config.channels, painter.size, painter.size)
        assert relative(images, painter.paint(styles)) < 2e-5


def test_noise_may_be_a_picture_s_own(exported):
    path, folder = exported
    painter = Painter(*snapshot.load_any(path), path, 1.0)
    styles, maps = painter.styles(range(3)), random_noise(range(3), painter.size, painter.arch)
    there = session(folder / "y.onnx")
    given = {one.name for one in there.get_inputs()} - {"styles"}
    shared = painter.generator.config.noise_per_block
    assert given == {f"noise{i}" for i in range(len(maps)) if not (shared and i % 2)}
    images, = there.run(None, {"styles": styles} | {f"noise{i}": n for i, n in enumerate(maps)
                                                    if f"noise{i}" in given})
    wanted = painter.paint(styles, range(3), noise="random")
    assert relative(images, wanted) < 2e-5
    other, = there.run(None, {"styles": styles} | {name: 0 * maps[int(name[5:])]
                                                   for name in given})
    assert relative(other, wanted) > 1e-4


def test_the_graph_says_its_paddings_and_has_nothing_random(exported):
    path, folder = exported
    header = snapshot.load_any(path)[0]
    for name in "x", "x_mapping":
        model = onnx.load(folder / f"{name}.onnx")
        kinds = {node.op_type for node in model.graph.node}
        assert not any("Random" in kind for kind in kinds) and model.opset_import[0].version == 17
        for node in model.graph.node:
            has = {attribute.name for attribute in node.attribute}
            assert "auto_pad" not in has
            assert "pads" in has or node.op_type not in ("Conv", "ConvTranspose")
            assert "epsilon" in has or node.op_type != "InstanceNormalization"
        about = {one.key: one.value for one in model.metadata_props}
        assert about["size"] == str(header["size"])
        assert about["architecture"] == header["model"]["arch"]
    shapes = {one.name: [n.dim_param or n.dim_value for n in one.type.tensor_type.shape.dim]
              for one in onnx.load(folder / "y.onnx").graph.input}
    sides = noise_sides(header["size"], header["model"]["arch"])
    assert shapes["styles"] == ["batch", num_layers(header["size"]), header["model"]["dlatent"]]
    assert shapes["noise0"] == ["noise_batch", 1, sides[0], sides[0]]


def test_truncation_and_mixing_in_a_few_lines_as_docs_weights_has_them(tmp_path):
    demo = os.path.join(GOLDEN, "demo.model")
    with open(os.path.join(ROOT, "docs/weights.md"), encoding="utf-8") as file:
        code = file.read().split("```python\n")[1].split("```")[0]
    shutil.copy(demo, tmp_path / "cats.model")
    command("convert.py", "cats.model", "cats.onnx", cwd=tmp_path)
    command("-c", code.replace("(8, 64)", "(2, 64)") + "\nnp.save('found.npy', images)",
            cwd=tmp_path)
    painter = Painter(*snapshot.load_any(demo), demo, 0.7)
    latents = np.random.default_rng(0).standard_normal((2, 64)).astype("float32")
    wanted = painter.paint(painter.styles_of(latents))
    wanted = np.clip(np.rint((wanted + 1) * 127.5), 0, 255)
    found = np.load(tmp_path / "found.npy").transpose(0, 3, 1, 2)
    assert found.dtype == np.uint8 and np.abs(found - wanted).max() <= 1


def test_neither_of_two_files_is_written_over(tmp_path):
    demo = os.path.join(GOLDEN, "demo.model")
    (tmp_path / "a_mapping.onnx").write_text("mine")
    code, _, said = command("convert.py", demo, "a.onnx", cwd=tmp_path, check=False)
    assert code == 2 and "a_mapping.onnx exists" in said and not (tmp_path / "a.onnx").exists()
    code, _, said = command("convert.py", demo, ".onnx", cwd=tmp_path, check=False)
    assert code == 2 and ".onnx: wanted a name before its ending" in said
    code, _, said = command("convert.py", demo, "a.model", "--noise_inputs", cwd=tmp_path,
                            check=False)
    assert code == 2 and "--noise_inputs: found a.model, wanted a name that ends in .onnx" in said
