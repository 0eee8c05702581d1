"""What is half-written never stays: neither after a polite kill, nor after a rude one for good."""
import errno
import os
import time

import pytest
from conftest import command
from PIL import Image

from backend import files
from backend.errors import UserError
from pictures.film import mp4


def test_a_process_that_ends_at_once_leaves_nothing_half_written(tmp_path):
    folder = str(tmp_path / "scratch")
    with pytest.raises(FileNotFoundError), files.replacing(str(tmp_path / "a.png")) as file, \
            files.scratch_folder(folder):
        file.write(b"half")
        open(os.path.join(folder, "b"), "wb").close()
        assert len(os.listdir(tmp_path)) == 2
        files.remove_unfinished()
        assert not os.listdir(tmp_path)
    assert not os.listdir(tmp_path)


def test_nor_does_half_a_film(tmp_path):
    pytest.importorskip("imageio_ffmpeg")
    with pytest.raises(UserError), mp4(str(tmp_path / "a.mp4"), 25) as write:
        write(Image.new("RGB", (16, 16)))
        assert [name.startswith(".") for name in os.listdir(tmp_path)] == [True]
        files.remove_unfinished()
        assert not os.listdir(tmp_path)
        raise UserError
    assert not os.listdir(tmp_path)


FILM_ON_A_FULL_DISK = """
import resource, sys
import numpy as np
from PIL import Image
from pictures.film import mp4
rng = np.random.RandomState(0)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
with mp4(sys.argv[1], 25) as write:
    for _ in range(3):                                  # it holds so few back until the end
        write(Image.fromarray(rng.randint(0, 256, (64, 64, 3), "uint8")))
"""


def test_a_film_that_the_disk_cuts_short_does_not_take_the_place_of_a_whole_one(tmp_path):
    pytest.importorskip("imageio_ffmpeg")
    path = tmp_path / "a.mp4"
    path.write_bytes(b"a whole film")
    code, _, error = command("-c", FILM_ON_A_FULL_DISK, path, cwd=tmp_path, check=False)
    assert code and "UserError" in error and f"{path}: " in error
    assert path.read_bytes() == b"a whole film" and os.listdir(tmp_path) == ["a.mp4"]


def test_a_scratch_folder_may_be_on_another_file_system(tmp_path, monkeypatch):
    through, target, replace = tmp_path / "through", tmp_path / "there", os.replace
    for folder in through, target:
        folder.mkdir()

    def of_one_disk(source, path):
        if os.path.dirname(source) != os.path.dirname(path):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        replace(source, path)

    monkeypatch.setattr(files.os, "replace", of_one_disk)
    with files.replacing(str(target / "a.png"), str(through)) as file:
        file.write(b"whole")
    assert (target / "a.png").read_bytes() == b"whole"
    assert os.listdir(target) == ["a.png"] and not os.listdir(through)


def test_what_dead_processes_left_goes_when_it_is_old_and_nothing_else(tmp_path):
    path, of_another = str(tmp_path / "a.zip"), tmp_path / ".b.zip.1.tmp"
    dead = str(tmp_path / f".a.zip.{2 ** 30}.tmp")     # no system gives such a number
    os.makedirs(os.path.join(dead, "inside"))
    own = files.temporary_name(path)
    for file in own, of_another:
        open(file, "wb").close()
    files.remove_leftovers(path)
    assert os.path.isdir(dead)                          # it may be another machine's
    then = time.time() - 2 * files.STALE
    for file in dead, own, of_another:
        os.utime(file, (then, then))
    files.remove_leftovers(path)
    assert sorted(os.listdir(tmp_path)) == sorted([of_another.name, os.path.basename(own)])
