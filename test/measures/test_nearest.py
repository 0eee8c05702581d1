"""metrics.py --nearest: the real pictures that are nearest to generated ones, found and shown."""
import os

import numpy as np
from conftest import ROOT, command
from PIL import Image

from dataset import PictureFolder, load_batch
from measures import evaluate, nearest

DEMO = os.path.join(ROOT, "test/golden/demo.model")


def test_the_nearest_is_that_of_all_whatever_comes_first_and_never_the_picture_itself():
    rng = np.random.RandomState(0)
    others = rng.randint(0, 256, (50, 12)).astype("uint8")
    points = np.concatenate([others[[3, 40]], rng.randint(0, 256, (5, 12)).astype("uint8")])
    all_of_them = ((points[:, None].astype(float) - others) ** 2).sum(2)
    for own in None, np.array([3, 40, 0, 0, 0, 0, 0]):
        wanted = all_of_them.copy()
        if own is not None:
            wanted[np.arange(7), own] = np.inf
        for step in 1, 7, 50:
            found = nearest.Nearest(points, own)
            for first in range(0, 50, step):
                found.add(others[first:first + step], first)
            assert (found.index == wanted.argmin(1)).all()
            assert np.allclose(found.distance(), np.median(np.sqrt(wanted.min(1) / 12)))


def test_copies_are_found_mirrored_ones_too(symbols, monkeypatch):
    folder = PictureFolder(symbols, 16)
    real = evaluate.Real(folder, 3, True, 0)
    copies = nearest.load(real, range(8, 40))
    copies[::2] = copies[::2][..., ::-1]
    monkeypatch.setattr(nearest, "generated", lambda *_: copies)
    seen = []
    fakes, [(pixels, distance, floor)] = nearest.find(None, 16, 1, real, 0, [nearest.flattened],
                                                      seen.append)
    assert (fakes == copies).all() and (pixels == copies).all() and distance == 0 < floor
    assert sum(seen) == len(folder) == 40


def test_the_figure_has_real_pictures_beside_generated_ones(symbols, tmp_path):
    run = ["metrics.py", DEMO, symbols, "--metrics", "swd", "--images", 20, "--nearest", "near.png"]
    _, said, _ = command(*run, cwd=tmp_path)
    assert "nearest in pixels" in said and "of 40 in pixels" in said
    with Image.open(tmp_path / "near.png") as picture:
        figure = np.asarray(picture)
    assert figure.shape == (8 * 66 - 2, 11 * 66 - 2, 3)         # 4 × 2 pictures, 3 empty columns
    folder = PictureFolder(symbols, 32)
    real, _ = load_batch([folder.file(i) for i in range(40)], [False] * 40, 32, 3)
    cells = [figure[top:top + 64:2, left:left + 64:2] for top in range(0, 8 * 66, 66)
             for left in range(0, 11 * 66, 66)]
    for i, cell in enumerate(cells):
        is_real = (cell.transpose(2, 0, 1) == real).all((1, 2, 3)).any()
        assert is_real == (i % 11 % 3 == 1) and ((cell == 255).all() == (i % 11 % 3 == 2))
    command(*run, cwd=tmp_path)                                 # the same again
    code, _, said = command(*run, "--seed", 1, cwd=tmp_path, check=False)
    assert code == 2 and "near.png exists, made with --seed 0: type --nearest OTHER.png" in said
    code, _, said = command(*run[:-1], "near.jpg", cwd=tmp_path, check=False)
    assert code == 2 and "--nearest: found near.jpg" in said
