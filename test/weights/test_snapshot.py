"""snapshot.py and grid.py: files that are whole, safe and checked."""
import os
import pickle
import zipfile

import numpy as np
import pytest
from PIL import Image
from weight_files import CONFIG, header, random_arrays

from backend.errors import UserError
from backend.files import replacing
from pictures import grid
from weights import snapshot


def test_what_is_written_is_read(tmp_path):
    path, arrays = str(tmp_path / "a.model"), random_arrays(CONFIG, ["ema"])
    snapshot.save(path, header(note="ü"), arrays)
    read_header, read = snapshot.load(path)
    assert read_header["note"] == "ü" and read.keys() == arrays.keys()
    assert all((read[k] == arrays[k]).all() for k in arrays)
    generator = snapshot.make_generator(read_header, read, path)
    assert generator.config == CONFIG
    assert (generator.w_avg.numpy() == arrays["ema/w_avg"]).all()


def test_a_failed_write_leaves_the_file_before_it(tmp_path):
    path = tmp_path / "a.model"
    snapshot.save(str(path), header(), random_arrays(CONFIG, ["ema"]))
    before = path.read_bytes()
    with pytest.raises(RuntimeError):
        with replacing(str(path)) as file:
            file.write(b"half")
            raise RuntimeError
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["a.model"]


def test_every_flipped_byte_is_found_or_harmless(tmp_path):
    path, arrays = tmp_path / "a.model", random_arrays(CONFIG, ["ema"])
    snapshot.save(str(path), header(), arrays)
    whole = path.read_bytes()
    for position in range(0, len(whole), len(whole) // 60):
        damaged = bytearray(whole)
        damaged[position] ^= 0x40
        path.write_bytes(damaged)
        try:
            _, read = snapshot.load(str(path))
        except UserError as error:
            assert str(path) in str(error)
        else:
            assert all((read[k] == arrays[k]).all() for k in arrays)


def test_files_of_others_are_named_and_never_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/ran",)

    objects = tmp_path / "objects.npz"
    np.savez(open(objects, "wb"), header=np.array([Bomb()], dtype=object))
    for name, content in (("pickle", pickle.dumps(Bomb())), ("text", b"hello"), ("empty", b""),
                          ("truncated", objects.read_bytes()[:50]),
                          ("objects", objects.read_bytes())):
        path = tmp_path / f"{name}.model"
        path.write_bytes(content)
        with pytest.raises(UserError, match=name):
            snapshot.load(str(path))
    with pytest.raises(UserError, match="nowhere"):
        snapshot.load(str(tmp_path / "nowhere.model"))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("change, message", [
    (lambda a: a.pop("ema/w_avg"), "w_avg is missing"),
    (lambda a: a.update({"ema/extra": np.ones(1)}), "extra is unknown"),
    (lambda a: a.update({"ema/w_avg": np.ones(9)}), "w_avg has shape"),
])
def test_arrays_that_do_not_fit_are_named(tmp_path, change, message):
    arrays = random_arrays(CONFIG, ["ema"])
    change(arrays)
    with pytest.raises(UserError, match=message):
        snapshot.make_generator(header(), arrays, "x.model")


@pytest.mark.parametrize("odd", [{"alpha": "1"}, {"images_seen": None}, {"size": [8]}])
def test_headers_of_strangers_are_refused(tmp_path, odd):
    path = str(tmp_path / "a.model")
    snapshot.save(path, header(**odd), random_arrays(CONFIG, ["ema"]))
    with pytest.raises(UserError, match="is not a number"):
        snapshot.load_any(path)


def test_entries_that_are_no_arrays_are_refused(tmp_path):
    path = str(tmp_path / "a.model")
    for name, content in (("ema/extra", b"x"), ("header.npy", None)):
        snapshot.save(path, header(), random_arrays(CONFIG, ["ema"]))
        if content is None:
            with open(path, "wb") as file:
                np.savez(file, header=np.frombuffer(b"[1]", np.uint8))
        else:
            with zipfile.ZipFile(path, "a") as archive:
                archive.writestr(name, content)
        with pytest.raises(UserError, match="not a file of this project"):
            snapshot.load_any(path)


def test_headers_that_lack_something_are_named(tmp_path):
    path = str(tmp_path / "a.model")
    snapshot.save(path, {"images_seen": 1}, {})
    with pytest.raises(UserError, match="alpha, model, size"):
        snapshot.load(path)
    with pytest.raises(UserError, match="description of the network"):
        snapshot.model_config(header(model={"size": 7}), path)


# Grids -------------------------------------------------------------------------------------------


def test_pixels_of_the_whole_range():
    images = np.array([-2, -1, 0, 1, 2], "float32").reshape(1, 1, 1, 5)
    assert grid.to_pixels(images)[0, 0, :, 0].tolist() == [0, 0, 128, 255, 255]


@pytest.mark.parametrize("count, channels, columns", [(1, 3, 1), (1, 1, 4), (5, 3, 2), (4, 1, 4)])
def test_grids_of_any_count_and_channels(tmp_path, count, channels, columns):
    images = np.linspace(-1, 0.5, count).reshape(count, 1, 1, 1) * np.ones((1, channels, 4, 4))
    path = tmp_path / "grid.png"
    grid.save_grid(images, columns, str(path), cell=8)
    picture = np.asarray(Image.open(path))
    rows = -(-count // columns)
    assert picture.shape == (rows * 10 - 2, columns * 10 - 2, 3)
    for i in range(count):
        cell = picture[i // columns * 10:, i % columns * 10:][:8, :8]
        assert (cell == grid.to_pixels(images[i:i + 1])[0, 0, 0]).all()
    assert os.listdir(tmp_path) == ["grid.png"]
