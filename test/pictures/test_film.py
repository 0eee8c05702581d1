"""generate.py's films: their frames, as GIF and MP4, whole or not at all."""
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from random_model import generating, save_random, singles

from backend.errors import UserError
from networks.config import ModelConfig
from pictures import figures
from pictures.painter import Painter, between
from weights import snapshot


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("film")
    save_random(folder / "x.model", ModelConfig(size=16, latent=16, fmap_max=16))
    return folder


@pytest.fixture
def make(folder, tmp_path, capsys):
    return generating(folder / "x.model", tmp_path, capsys)


def frames_of(path):
    with Image.open(path) as film:
        frames = []
        for i in range(film.n_frames):
            film.seek(i)
            frames.append(np.asarray(film.convert("RGB"), int))
        return np.stack(frames), film.info


def test_a_gif_walks_through_its_seeds_and_ends_where_it_begins(make):
    frames, info = frames_of(make("--film", "gif", "--seeds", "3,8,5", "--frames", 6)[
        "interpolation.gif"])
    assert frames.shape == (18, 128, 128, 3) and info["loop"] == 0
    small = frames[:, ::8, ::8]
    for i, picture in enumerate(singles(make("--seeds", "3,8,5"))):
        assert np.abs(small[6 * i] - picture).mean() < 6        # 256 colours
    steps = np.abs(small - np.roll(small, -1, 0)).mean((1, 2, 3))
    assert steps.min() > 0 and steps[-1] < 2 * steps[:-1].max()


def test_a_film_of_a_grid_has_a_way_for_every_cell(make):
    frames, _ = frames_of(make("--film", "gif", "--n_row", 1, "--n_col", 3, "--frames", 2,
                               "--space", "w")["interpolation.gif"])
    assert frames.shape == (6, 128, 3 * 130 - 2, 3)
    wanted = singles(make("--seeds", "0-2"))
    for i in range(3):
        assert np.abs(frames[0, ::8, 130 * i:][:, :128:8] - wanted[i]).mean() < 6


def test_an_mp4_has_all_frames(make):
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    path = make("--film", "mp4", "--seeds", "1,2", "--frames", 5)["interpolation.mp4"]
    reader = ffmpeg.read_frames(str(path))
    assert next(reader)["size"] == (128, 128)
    frames = [np.frombuffer(frame, np.uint8).reshape(128, 128, 3) for frame in reader]
    assert len(frames) == 10
    first = singles(make("--seeds", "1"))[0].repeat(8, 0).repeat(8, 1)
    assert np.abs(frames[0].astype(int) - first).mean() < 20


def test_without_ffmpeg_a_line_says_what_to_install(make, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(UserError, match="pip install imageio-ffmpeg"):
        make("--film", "mp4")


def test_a_film_paints_the_same_however_many_frames_are_painted_at_a_time(folder, monkeypatch):
    painter = Painter(*snapshot.load_any(str(folder / "x.model")), "x.model", 0.7)
    films, keys = [], [[1, 2], [3, 4]]
    for at_once in 2, 64:
        monkeypatch.setattr(figures, "at_once", lambda _, at_once=at_once: at_once)
        films.append(np.stack([*figures.walk(painter, keys, 5, "z")]))
    assert films[0].shape == (10, 2, 3, 16, 16) and np.abs(films[0] - films[1]).max() < 1e-4
    ends = painter.latents([3, 4])
    third = painter.paint(between(painter, ends[:1], ends[1:], [0.4], "z"))
    assert np.abs(films[0][2, 1] - third[0]).max() < 1e-4


def test_films_too_wide_for_their_kind_are_one_line(make):
    with pytest.raises(UserError, match="--film gif: found frames of .* wanted at most 65,535"):
        make("--film", "gif", "--n_row", 1, "--n_col", 340, "--scale", 12)
    (film,) = make("--film", "gif", "--n_row", 1, "--n_col", 300, "--scale", 1, "--frames",
                   1).values()
    assert Image.open(film).size == (300 * 18 - 2, 16)


def test_a_polite_kill_leaves_nothing_half_written(folder, tmp_path):
    process = subprocess.Popen(
        [sys.executable, os.path.join(ROOT, "generate.py"), str(folder / "x.model"), "--film",
         "gif", "--frames", "9000", "--out", str(tmp_path), "--device", "cpu"],
        stderr=subprocess.DEVNULL, env=os.environ | {"PYTHONPATH": ROOT})
    try:
        end = time.monotonic() + 300
        while not os.listdir(tmp_path) and process.poll() is None and time.monotonic() < end:
            time.sleep(0.1)
        assert process.poll() is None and os.listdir(tmp_path)
        process.terminate()
        assert process.wait(300) == 143 and os.listdir(tmp_path) == []
    finally:
        process.kill()
