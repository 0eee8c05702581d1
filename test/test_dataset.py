"""dataset.py: order by images seen, full batches from any number of pictures, clear errors."""
import contextlib
import itertools
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import ROOT, command
from PIL import Image

from backend.errors import UserError
from backend.labels import target_name
from dataset import Loader, PictureFolder, available_sizes


def make_pictures(folder, count, size, mode="RGB"):
    """`count` pictures, each of one grey level that says which it is."""
    os.makedirs(folder, exist_ok=True)
    for i in range(count):
        colour = (i * 10,) * 3 if mode == "RGB" else i * 10
        Image.new(mode, (size, size), colour).save(os.path.join(folder, f"{i:03}.png"))


def which(images):
    return [int(round((v + 1) * 127.5 / 10)) for v in images[:, 0, 0, 0]]


def first(loader, count, *where):
    return list(itertools.islice(loader.batches(*where), count))


def by_position(batches):
    return {position: images for position, images, _ in batches}


def test_batches_are_float32_nchw_in_minus_one_to_one(symbols):
    with Loader(symbols, seed=1, workers=0) as loader:
        position, images, _ = next(loader.batches(16, 12, 0))
    assert position == 0 and images.shape == (12, 3, 16, 16) and images.dtype == np.float32
    assert images.max() == 1 and -1 <= images.min() < -0.5


def test_order_depends_on_images_seen_and_on_nothing_else(symbols):
    streams = []
    for workers, start in ((0, 0), (2, 0), (1, 24)):
        with Loader(symbols, seed=3, mirror=True, workers=workers) as loader:
            streams.append(by_position(first(loader, 6 if start == 0 else 3, 8, 8, start)))
    for position in (24, 32, 40):
        assert (streams[0][position] == streams[1][position]).all()
        assert (streams[0][position] == streams[2][position]).all()


def test_every_picture_comes_once_per_pass_and_passes_differ(tmp_path):
    make_pictures(tmp_path / "8", 12, 8)
    with Loader(str(tmp_path), workers=0) as loader:
        passes = [which(images) for _, images, _ in first(loader, 3, 8, 12, 0)]
    assert all(sorted(p) == list(range(12)) for p in passes) and passes[0] != passes[1]
    with Loader(str(tmp_path), seed=1, workers=0) as loader:
        assert which(next(loader.batches(8, 12, 0))[1]) != passes[0]


def test_fewer_pictures_than_a_batch_give_full_batches(tmp_path):
    make_pictures(tmp_path / "8", 3, 8)
    with Loader(str(tmp_path), workers=0) as loader:
        for _, images, _ in first(loader, 4, 8, 16, 0):
            assert len(images) == 16 and np.isfinite(images).all()
            assert set(which(images)) == {0, 1, 2}


def test_mirroring_is_a_coin_per_image(tmp_path):
    os.makedirs(tmp_path / "8")
    picture = Image.new("RGB", (8, 8), (255, 255, 255))
    picture.putpixel((0, 0), (0, 0, 0))
    picture.save(tmp_path / "8" / "a.png")
    for mirror, low, high in ((True, 60, 140), (False, 0, 0)):
        with Loader(str(tmp_path), mirror=mirror, workers=0) as loader:
            _, images, _ = next(loader.batches(8, 200, 0))
        assert low <= (images[:, 0, 0, 7] < 0).sum() <= high


def test_one_channel(symbols):
    with Loader(symbols, channels=1, workers=0) as loader:
        assert next(loader.batches(8, 4, 0))[1].shape == (4, 1, 8, 8)


def test_missing_and_empty_sizes_name_the_folder_and_the_command(symbols, tmp_path):
    with pytest.raises(UserError, match=r"64: no such folder.*64×64.*resize.py"):
        PictureFolder(symbols, 64)
    os.makedirs(tmp_path / "8")
    with pytest.raises(UserError, match=r"8: no pictures in it"):
        PictureFolder(str(tmp_path), 8)
    with pytest.raises(UserError, match="no such|No such"):
        available_sizes(str(tmp_path / "nowhere"))


def test_a_picture_of_another_size_is_named_with_both_sizes(tmp_path):
    make_pictures(tmp_path / "8", 3, 8)
    Image.new("RGB", (9, 8)).save(tmp_path / "8" / "odd.png")
    with pytest.raises(UserError, match=r"odd.png: found 9×8 pixels, wanted 8×8"):
        PictureFolder(str(tmp_path), 8).check()


def test_a_picture_that_cannot_be_read_is_said_once_and_another_stands_in_its_place(tmp_path):
    make_pictures(tmp_path / "8", 12, 8)
    (tmp_path / "8" / "003.png").write_bytes(b"no picture")
    whole = (tmp_path / "8" / "004.png").read_bytes()
    (tmp_path / "8" / "004.png").write_bytes(whole[:len(whole) // 2])
    Image.new("RGB", (9, 8)).save(tmp_path / "8" / "005.png")
    results = []
    for workers in (0, 2):
        said = []
        with Loader(str(tmp_path), workers=workers, warn=said.append) as loader:
            results.append([images for _, images, _ in first(loader, 9, 8, 4, 0)])
        assert len(said) == 3 and all(sum(name in line for line in said) == 1
                                      for name in ("003.png", "004.png", "005.png"))
        assert any("9×8" in line for line in said)
    assert all((a == b).all() and a.shape == (4, 3, 8, 8) for a, b in zip(*results))


def test_more_than_one_in_a_hundred_and_more_than_ten_unreadable_stop_the_run(tmp_path):
    make_pictures(tmp_path / "8", 60, 8)
    for i in range(11):
        (tmp_path / "8" / f"{i:03}.png").write_bytes(b"")
    with Loader(str(tmp_path), workers=0, warn=lambda line: None) as loader:
        with pytest.raises(UserError, match="11 of its 60 pictures cannot be read, the last .*png"):
            first(loader, 15, 8, 4, 0)
    for i in range(60):
        (tmp_path / "8" / f"{i:03}.png").write_bytes(b"")
    with Loader(str(tmp_path), workers=0, warn=lambda line: None) as loader:
        with pytest.raises(UserError, match="none of the 4 pictures"):
            first(loader, 1, 8, 4, 0)


def test_unreadable_pictures_count_at_their_own_size_only(tmp_path):
    for size in 8, 16:
        make_pictures(tmp_path / str(size), 60, size)
        for i in range(6):
            (tmp_path / str(size) / f"{i:03}.png").write_bytes(b"")
    said = []
    with Loader(str(tmp_path), workers=0, warn=said.append) as loader:
        for size in 8, 16:
            first(loader, 30, size, 4, 0)
    assert len(said) == 12


def test_a_killed_worker_costs_nothing_but_a_warning(tmp_path):
    make_pictures(tmp_path / "8", 12, 8)
    with Loader(str(tmp_path), workers=0) as loader:
        wanted = first(loader, 12, 8, 4, 0)
    said = []
    with Loader(str(tmp_path), workers=1, warn=said.append) as loader:
        batches = loader.batches(8, 4, 0)
        found = [next(batches)]
        for process in loader.pool._processes.values():
            process.kill()
        found += itertools.islice(batches, 11)
    assert len(said) == 1 and "killed" in said[0]
    assert all(a == b and (x == y).all() for (a, x, _), (b, y, _) in zip(found, wanted))


@pytest.mark.parametrize("error", [None, UserError("full"), KeyboardInterrupt()])
def test_the_loading_processes_have_ended_when_the_loader_is_left(tmp_path, error):
    make_pictures(tmp_path / "8", 12, 8)
    with contextlib.suppress(UserError, KeyboardInterrupt):
        with Loader(str(tmp_path), workers=2) as loader:
            next(loader.batches(8, 4, 0))
            processes = [*loader.pool._processes.values()]
            if error:
                raise error
    assert len(processes) == 2 and not any(process.is_alive() for process in processes)


def test_fingerprints_tell_other_pictures(tmp_path):
    make_pictures(tmp_path / "8", 3, 8)
    before = PictureFolder(str(tmp_path), 8).fingerprint()
    assert PictureFolder(str(tmp_path), 8).fingerprint() == before
    os.rename(tmp_path / "8" / "001.png", tmp_path / "8" / "x.png")
    after = PictureFolder(str(tmp_path), 8).fingerprint()
    assert after["count"] == before["count"] and after["names"] != before["names"]


def test_hidden_files_and_others_are_no_pictures(tmp_path):
    make_pictures(tmp_path / "8", 2, 8)
    for name in (".hidden.png", "notes.txt"):
        (tmp_path / "8" / name).write_bytes(b"x")
    assert len(PictureFolder(str(tmp_path), 8)) == 2


def test_70000_files_open_without_being_read(tmp_path):
    os.makedirs(tmp_path / "8")
    for i in range(70_000):
        (tmp_path / "8" / f"{i}.png").touch()
    start = time.time()
    folder = PictureFolder(str(tmp_path), 8)
    files = folder.files(range(123_456, 123_520), seed=0)
    assert len(folder) == 70_000 and len(set(files)) == 64
    print(f"70,000 files opened in {time.time() - start:.2f} s")


def test_workers_never_import_jittor():
    script = "import sys, dataset; sys.exit('jittor' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT).returncode == 0


def test_the_same_pictures_are_kept_back_at_the_size_that_resize_py_reads(tmp_path):
    os.makedirs(tmp_path / "data/32")
    for i in range(40):
        Image.new("RGB", (32, 32), (i, 0, 0)).save(tmp_path / f"data/32/{i}.jpg", quality=95)
    command("resize.py", "data/32", cwd=tmp_path)
    large, small = (PictureFolder(str(tmp_path / "data"), size, 0.4, held=True).names
                    for size in (32, 16))
    assert 5 < len(large) < 35 and sorted(map(target_name, large)) == small
