"""model.load, and the notebook that shows it."""
import ast
import base64
import io
import json
import os
import pathlib

import numpy as np
import pytest
from conftest import ROOT, command
from PIL import Image

from backend.errors import UserError
from model import load

DEMO = os.path.join(ROOT, "test/golden/demo.model")
NOTEBOOK = os.path.join(ROOT, "docs/notebook.ipynb")


@pytest.fixture(scope="module")
def G():
    return load(DEMO)


def test_pictures_are_those_of_generate(G, tmp_path):
    command("generate.py", DEMO, "--seeds", "3-5", "--w", "w.npz", "--out", ".", cwd=tmp_path)
    there = [np.asarray(Image.open(tmp_path / f"seed00000{seed}.png")) for seed in (3, 4, 5)]
    assert G.size == 32 and G.layers == 8
    for found in G.pictures(range(3, 6)), G.pictures(w=G.styles([3, 4, 5])):
        assert all(np.abs(np.asarray(a).astype(int) - b).max() <= 1 for a, b in zip(found, there))
    with np.load(tmp_path / "w.npz") as file:
        assert np.allclose(file["w"], G.styles([3, 4, 5]), atol=1e-5)
    assert G.arrays_of([3]).shape == (1, 3, 32, 32) and G.grid(range(4), columns=2).width == 130


def test_styles_are_mixed_and_moved_layer_by_layer(G):
    a, b = G.styles(range(2)), G.styles(range(5, 7))
    mixed = G.mix(a, b, "middle")
    assert (mixed[:, 3:6] == b[:, 3:6]).all() and (mixed[:, :3] == a[:, :3]).all()
    assert (G.mix(a, b, [7])[:, 7] == b[:, 7]).all()
    assert (G.mix(a[0], b[0], "middle") == mixed[0]).all()
    assert (G.mix(a, b[:1], "fine")[:, 6:] == b[:1, 6:]).all()
    found = G.directions(count=1)
    assert list(found) == ["pca1", "sefa_all1", "sefa_coarse1", "sefa_middle1", "sefa_fine1"]
    one = found["sefa_fine1"]
    moved = G.move(a, one, 2) - a
    assert (moved[:, :6] == 0).all() and np.allclose(moved[:, 6:], 2 * one.sigma * one.vector,
                                                     atol=1e-5)


def test_a_picture_of_its_own_is_found_again(G, tmp_path):
    G.pictures(9)[0].save(tmp_path / "nine.png")
    G.project(G.pictures([9])[0], steps=1)
    steps = []
    w, noise = G.project(str(tmp_path / "nine.png"), steps=60, done=steps.append)
    assert steps == list(range(60)) and w.shape == (1, 8, 64) and len(noise) == 8
    wanted, mean = G.arrays_of([9])[0], G.arrays_of([9], truncation_psi=0)[0]
    found = G.arrays_of(w=w, noise=noise)[0]
    assert np.square(found - wanted).mean() < np.square(mean - wanted).mean() / 3


@pytest.mark.parametrize("call, said", [
    (lambda G: G.pictures(), "type seeds, such as range"),
    (lambda G: G.pictures([1], w=G.styles([1])), "type seeds, such as range"),
    (lambda G: G.pictures(w=np.zeros((1, 3, 64))), "w: found shape"),
    (lambda G: G.pictures([1], noise="loud"), "noise: found loud, wanted one of const"),
    (lambda G: G.mix(G.styles([1]), G.styles([2]), "rough"), "layers: found rough"),
    (lambda G: G.mix(G.styles([1]), G.styles([2]), 8), "layers: found .8., wanted numbers from 0"),
    (lambda G: G.pictures([]), "found no numbers"),
    (lambda G: G.pictures("0-3"), "found '0-3', wanted whole numbers from 0"),
    (lambda G: G.pictures([-1]), "found -1, wanted whole numbers from 0"),
    (lambda G: G.grid([1], columns=0), "columns: found 0"),
    (lambda G: G.move(G.styles([1]), "pca1", 2), "direction: found 'pca1', wanted one of"),
    (lambda G: G.pictures(w=G.styles([1]), truncation_psi=1), "are of seeds, w has its styles"),
    (lambda G: G.pictures(w=G.styles([1]) * np.nan), "w: has numbers that are not finite"),
    (lambda G: G.pictures([1], noise=[np.zeros((1, 1, 4, 4))]), "noise: wanted 8 maps, from"),
    (lambda G: G.project(Image.new("RGB", (9, 9)), space="z"), "space: found z"),
    (lambda G: G.styles([1], label="cat"), "network without labels"),
    (lambda G: load("nowhere.model"), "nowhere.model"),
    (lambda G: load(DEMO, size=12), "size: found 12, wanted a power of two from 4 to 1024"),
    (lambda G: G.project(Image.new("RGB", (9, 9)), seed=-1), "seed: found -1, wanted"),
    (lambda G: G.directions(seed=2 ** 32 - 5), "seed: found 4294967291, wanted"),
    (lambda G: G.direction(pathlib.Path("no.npz:pca1")), "no.npz: No such file"),
    (lambda G: load(pathlib.Path(NOTEBOOK)), "ipynb: a text file, wanted a .model file"),
])
def test_what_is_wrong_is_one_line(G, call, said):
    with pytest.raises(UserError, match=said) as error:
        call(G)
    assert "\n" not in str(error.value)


def test_the_notebook_runs_and_shows_what_it_says(monkeypatch):
    monkeypatch.chdir(os.path.dirname(NOTEBOOK))
    with open(NOTEBOOK, encoding="utf-8") as file:
        cells = [cell for cell in json.load(file)["cells"] if cell["cell_type"] == "code"]
    space, shown = {}, 0
    for cell in cells:
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, NOTEBOOK, "exec"), space)
        if last is None:
            continue
        found = eval(compile(ast.Expression(last.value), NOTEBOOK, "eval"), space)
        there = cell["outputs"][0]["data"]
        if isinstance(found, Image.Image):
            with Image.open(io.BytesIO(base64.b64decode(there["image/png"]))) as picture:
                assert picture.size == found.size
                off = np.asarray(picture.convert("RGB")).astype(int) - np.asarray(found)
                assert np.abs(off).mean() < 6                   # of 256 colours there
            shown += 1
        else:
            assert repr(found) == "".join(there["text/plain"])
    assert len(cells) == 8 and shown == 5
