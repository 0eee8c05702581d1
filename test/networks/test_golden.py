"""The networks are StyleGAN1 and StyleGAN2: their numbers are those of the official ones, and of
StyleGAN1's port.

test/golden/ holds what neither this project nor its authors made: weights in the official formats
with the official networks' outputs, and the PyTorch port's outputs.
"""
import os
import re
import sys

import numpy as np
import pytest
from conftest import ROOT, command

from networks.config import ModelConfig
from networks.shapes import generator_shapes
from weights import snapshot

GOLDEN = os.path.join(ROOT, "test", "golden")
PICKLE, OFFICIAL = (os.path.join(GOLDEN, f"sg1_r32.{end}") for end in ("pkl", "npz"))
PORT = os.path.join(GOLDEN, "port_goldens.npz")


def check(*arguments, cwd, code=0):
    """{array: its line} of check_golden.py."""
    found, output, error = command("test/check_golden.py", *arguments, "--device", "cpu", cwd=cwd,
                                   check=False)
    assert found == code, output + error
    return {line.split()[0]: line for line in output.splitlines() if line.strip()}


def assert_all_are_compared(lines, path, count):
    with np.load(path) as golden:
        assert set(golden.files) <= lines.keys()
    assert lines[str(count)] == f"{count} arrays compared, 0 over their bound or not known"
    assert not any("OVER" in line or line.endswith("  not known") for line in lines.values())


@pytest.mark.parametrize("conv", ["direct", "winograd"])
def test_every_output_of_the_official_network_is_reproduced(tmp_path, conv):
    lines = check(PICKLE, OFFICIAL, "--conv", conv, cwd=tmp_path)
    assert_all_are_compared(lines, OFFICIAL, 35)
    if conv == "direct":
        bounds = {name: float(line.split()[-1]) for name, line in lines.items()
                  if "  bound" in line}
        assert bounds["w"] == 1e-5 and bounds["img_psi0.7"] == bounds["act_8x8_Conv1"] == 2e-5
        assert bounds["d_scores_lod0.5"] == 2e-5 and bounds["r1_lod0.5_imggrad"] == 1e-4
        assert bounds["r1_lod0.0_per_sample"] == 1e-4
        assert bounds["r1_lod0.0_param_gradnorm"] == 1e-3


@pytest.mark.parametrize("conv", ["direct", "winograd"])
@pytest.mark.parametrize("name, count", [("sg2_r16c", 21), ("sg2_tf_r16", 23)],
                         ids=["PyTorch's with labels", "TensorFlow's"])
def test_every_output_of_the_official_stylegan2_is_reproduced(tmp_path, name, count, conv):
    pickle, outputs = (os.path.join(GOLDEN, f"{name}.{end}") for end in ("pkl", "npz"))
    lines = check(pickle, outputs, "--conv", conv, cwd=tmp_path)
    assert_all_are_compared(lines, outputs, count)
    bounds = {name: float(line.split()[-1]) for name, line in lines.items() if "  bound" in line}
    assert bounds["ws"] == 1e-5 and bounds["d_logits"] == bounds["act_b8_conv0"] == 2e-5
    assert bounds["r1_imggrad"] == 1e-4


@pytest.mark.parametrize("conv", ["direct", "winograd"])
def test_every_phase_of_a_step_of_stylegan2_is_the_official_one(tmp_path, conv):
    pickle, outputs = (os.path.join(GOLDEN, f"sg2_train_r16.{end}") for end in ("pkl", "npz"))
    lines = check(pickle, outputs, "--conv", conv, cwd=tmp_path)
    assert_all_are_compared(lines, outputs, 30)
    bounds = {name: float(line.split()[-1]) for name, line in lines.items() if "  bound" in line}
    assert bounds["Greg_grad_norm"] == bounds["Dreg_grad_head"] == 1e-3
    assert bounds["Greg_pl_lengths"] == bounds["Dreg_imggrad"] == 1e-4


def test_every_output_of_the_port_is_reproduced(tmp_path):
    assert_all_are_compared(check("--port", PORT, cwd=tmp_path), PORT, 41)


def test_a_wrong_number_and_an_array_that_is_not_known_are_found(tmp_path):
    with np.load(OFFICIAL) as golden:
        arrays = {name: golden[name] for name in ("z", "w", "img_psi0.7", "ws_psi0.7")}
    arrays["img_psi0.7"][0, 0, 0, 0] += 1e-3 * np.abs(arrays["img_psi0.7"]).max()
    np.savez(tmp_path / "wrong.npz", **arrays, mystery=np.ones(3))
    lines = check(PICKLE, "wrong.npz", "--dump", "out.npz", cwd=tmp_path, code=1)
    assert lines["img_psi0.7"].split()[1] == "1.0e-03" and "OVER" in lines["img_psi0.7"]
    assert "not known" in lines["mystery"] and lines["z"].split()[1] == "input"
    assert "OVER" not in lines["w"]
    with np.load(tmp_path / "out.npz") as dump:
        assert sorted(dump.files) == ["img_psi0.7", "w", "ws_psi0.7"]
        assert dump["w"].shape == arrays["w"].shape


def test_a_picture_of_1024_needs_less_than_4_gib(tmp_path):
    config, rng = ModelConfig(), np.random.RandomState(0)
    arrays = {f"ema/{name}": rng.standard_normal(shape).astype("float32") *
              (100 if re.match("mapping.*weight", name) else 1)
              for name, shape in generator_shapes(config).items()}
    snapshot.save(str(tmp_path / "x.model"), {"images_seen": 0, "size": 1024, "alpha": 1.0,
                                              "model": vars(config)}, arrays)
    code = ("import resource, sys; sys.path.insert(0, sys.argv.pop(1)); import generate; "
            "generate.main(); print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)")
    _, output, _ = command("-c", code, ROOT, "x.model", "--n_row", 1, "--n_col", 1, "--device",
                           "cpu", cwd=tmp_path)
    gib = int(output.split()[-1]) / (2 ** 30 if sys.platform == "darwin" else 2 ** 20)
    assert gib < 4
    assert (tmp_path / "sample/x/samples.png").stat().st_size > 100_000
