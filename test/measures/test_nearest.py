"""metrics.py --nearest: the real pictures that are nearest to generated ones, found and shown."""
import os
import shutil

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
                numbers = np.arange(first, min(first + step, 50))
                found.add(others[numbers], numbers)
            assert (found.index == wanted.argmin(1)).all()
            assert np.allclose(found.distance(), np.median(np.sqrt(wanted.min(1) / 12)))


def test_copies_are_found_mirrored_ones_too(symbols, monkeypatch):
    folder = PictureFolder(symbols, 16)
    real = evaluate.Real(folder, 3, True, 0)
    copies, _ = nearest.load(real, range(8, 40))
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
    for flags, wanted in ((["--seed", 1], "--seed 0"), (["--mirror"], "--mirror False")):
        code, _, said = command(*run, *flags, cwd=tmp_path, check=False)
        assert code == 2 and f"near.png exists, made with {wanted}: type --nearest OTHER" in said
    code, _, said = command(*run[:-1], "near.jpg", cwd=tmp_path, check=False)
    assert code == 2 and "--nearest: found near.jpg" in said


def test_what_cannot_be_read_is_left_out_and_never_taken_for_another(symbols, tmp_path):
    shutil.copytree(os.path.join(symbols, "16"), tmp_path / "16")
    folder = PictureFolder(str(tmp_path), 16)
    real = evaluate.Real(folder, 3, False, 0)
    whole, _ = nearest.load(real, range(40))
    for number in 5, 38, 39:
        with open(folder.file(number), "r+b") as file:
            file.truncate(60)
    pixels, numbers = nearest.load(real, range(40))
    assert numbers.tolist() == [i for i in range(40) if i not in (5, 38, 39)]
    assert (pixels == whole[numbers]).all() and len(nearest.load(real, [38, 39])[1]) == 0


def test_large_pictures_are_compared_averaged_down():
    pixels = np.random.RandomState(0).randint(0, 256, (2, 3, 256, 256)).astype("uint8")
    wanted = pixels.reshape(2, 3, 128, 2, 128, 2).astype(float).mean((3, 5)).reshape(2, -1)
    assert np.allclose(nearest.flattened(pixels), wanted)
