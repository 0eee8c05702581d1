"""Small files that are built to waste time and memory, see torture/bombs.py."""
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT

from backend.errors import UserError
from networks.config import ModelConfig
from networks.shapes import discriminator_shapes, generator_shapes
from pictures import styles_file
from weights import snapshot
from weights.bounds import Budget, Refused

BOMBS = os.path.join(ROOT, "test/torture/bombs.py")


@pytest.mark.parametrize("reader", ["pickle jittor", "torch_zip torch_stream weights",
                                    "tar npz safetensors", "model", "styles attributes"])
def test_a_small_file_costs_no_time_and_no_memory(reader):
    result = subprocess.run([sys.executable, BOMBS, *reader.split()], capture_output=True,
                            text=True, timeout=600)
    assert result.returncode == 0, result.stderr
    tried, lost = json.loads(result.stdout.splitlines()[-1])
    assert tried > 10 and lost == 0, result.stdout


def test_every_reader_is_tried_with_bombs():
    with open(BOMBS) as file:
        readers = re.findall(r'^    "(\w+)": \(', file.read(), re.M)
    marks = test_a_small_file_costs_no_time_and_no_memory.pytestmark
    assert sorted(" ".join(marks[0].args[1]).split()) == sorted(readers)


def compressed(path, config, **more):
    """A resume file at its first image, as np.savez_compressed writes it again."""
    shapes = {"ema": generator_shapes(config), "generator": generator_shapes(config),
              "discriminator": discriminator_shapes(config)}
    rng = np.random.RandomState(0)
    arrays = {f"{network}/{name}": rng.standard_normal(shape).astype("float32")
              for network in shapes for name, shape in shapes[network].items()}
    arrays |= {f"adam_{network}/v/{name}": np.zeros(shape, "float32")
               for network in ("generator", "discriminator")
               for name, shape in shapes[network].items()}
    arrays |= {"skipped": np.zeros(1, "float32"), "of_a_later_version": np.arange(4)} | more
    header = {"images_seen": 0, "size": config.size, "alpha": 1.0, "model": vars(config)}
    snapshot.save(path, header, arrays)
    with np.load(path) as file:
        everything = dict(file)
    with open(path, "wb") as file:
        np.savez_compressed(file, **everything)
    return arrays


def test_an_honest_file_may_be_compressed_and_hold_what_a_later_version_adds(tmp_path):
    path = str(tmp_path / "x.model")
    arrays = compressed(path, ModelConfig(size=64, latent=64, fmap_max=64))
    _, found = snapshot.load_any(path)
    assert found.keys() == arrays.keys() and all((found[n] == arrays[n]).all() for n in arrays)


def test_moments_that_belong_to_no_array_are_refused(tmp_path):
    path, config = str(tmp_path / "x.model"), ModelConfig(size=8, latent=8, fmap_max=4)
    for name in "w_avg", "nothing":
        compressed(path, config, **{f"adam_generator/v/{name}": np.zeros(9)})
        with pytest.raises(snapshot.UserError, match=f"adam_generator: '{name}'"):
            snapshot.load(path)


def test_what_is_shared_is_paid_for_wherever_it_is_referred_to():
    from weights.unpickle import weigh
    array = np.zeros(100_000, "float32")
    weigh({str(i): array for i in range(30)}, Budget(0))
    with pytest.raises(Refused, match="far more than"):
        weigh({str(i): array for i in range(120)}, Budget(0))
    weigh({str(i): array for i in range(120)}, Budget(array.nbytes * 8))     # of a longer file


def test_one_style_for_all_layers_is_not_copied(tmp_path):
    path, w = str(tmp_path / "w.npz"), np.random.RandomState(0).randn(5, 8).astype("float32")
    styles_file.write(path, {}, w=w)
    found = styles_file.load(path, {"size": 16, "model": {"dlatent": 8, "arch": "stylegan1"}})["w"]
    assert found.shape == (5, 6, 8) and (found == w[:, None]).all() and found.strides[1] == 0


@pytest.mark.parametrize("key, value", [
    ("size", 16.0), ("size", True), ("images_seen", 1.5), ("settings", []), ("pictures", "x"),
    ("source", 3), ("model", [])])
def test_a_header_of_other_kinds_is_one_line(tmp_path, key, value):
    path = str(tmp_path / "x.model")
    config = ModelConfig(size=16, latent=8, fmap_max=8)
    arrays = {f"ema/{name}": np.zeros(shape, "float32")
              for name, shape in generator_shapes(config).items()}
    header = {"images_seen": 0, "size": 16, "alpha": 1.0, "model": vars(config)}
    snapshot.save(path, dict(header), arrays)
    snapshot.load_any(path)
    snapshot.save(path, header | {key: value}, arrays)
    with pytest.raises(UserError, match="x.model: .*(in its header|not a field|wanted)"):
        snapshot.load_any(path)


def test_what_a_file_says_that_it_is_cannot_steer_the_terminal():
    assert snapshot.source({"source": "a\x1b[2Jb\x07"}) == "weights of a?[2Jb?"
