"""backend/archive.py, and data.zip wherever a folder of sizes can be: the same pictures, the same
order; what is damaged or claims too much is one line, and no name in an archive is a path."""
import io
import itertools
import os
import struct
import zipfile

import numpy as np
import pytest
from conftest import command
from PIL import Image
from small_runs import GROWING

from backend import archive
from backend.errors import UserError
from dataset import Loader, PictureFolder, available_sizes
from weights import snapshot


def png(seed=0, size=8):
    data = io.BytesIO()
    Image.fromarray(np.random.RandomState(seed).randint(0, 256, (size, size, 3), np.uint8)
                    ).save(data, "PNG")
    return data.getvalue()


def zipped(path, files, packing=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", packing) as file:
        for name, data in files.items():
            file.writestr(name, data)
    return str(path)


def read_all(path):
    return {member.name: member.read() for there in archive.contents(path).values()
            for member in there.members()}


@pytest.fixture(scope="module")
def both(symbols, tmp_path_factory):
    """(a folder of sizes, the same as an archive)."""
    path = str(tmp_path_factory.mktemp("archive") / "symbols.zip")
    largest = max(available_sizes(symbols))
    command("resize.py", os.path.join(symbols, str(largest)), "--zip", path, cwd=".")
    return symbols, path


@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_what_the_standard_library_writes_is_read(tmp_path, packing):
    files = {"8/a.png": png(1), "8/ü ñ.png": png(2), "dataset.json": b"{}" * 1000, "empty": b"",
             "deep/er/x.png": png(3)}
    path = zipped(tmp_path / "x.zip", files, packing)
    assert read_all(path) == files
    with open(path, "rb") as file:                      # a program that unpacks itself
        whole = b"#!/bin/sh" + file.read()
    (tmp_path / "y.zip").write_bytes(whole)
    assert read_all(str(tmp_path / "y.zip")) == files


@pytest.mark.parametrize("name, encoding, host", [
    ("猫/一.png", "gbk", 0), ("猫/一.png", "utf-8", 3), ("Kätzchen/ñandú.png", "cp437", 0),
    ("señor/é.png", "utf-8", 3), ("ü.png", "cp437", 3), ("8/a.png", "ascii", 0)])
def test_names_are_read_that_do_not_say_how_they_are_written(tmp_path, name, encoding, host):
    class Silent(zipfile.ZipInfo):
        def _encodeFilenameFlags(self):                 # as Windows and macOS do
            return name.encode(encoding), 0

    silent = Silent(name)
    silent.create_system = host
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        file.writestr(silent, b"of a picture")
    assert read_all(str(tmp_path / "x.zip")) == {name: b"of a picture"}


@pytest.mark.parametrize("count", [0, 3, 70000])        # beyond 65,535 a zip has other records
def test_what_is_written_the_standard_library_reads(tmp_path, count):
    path, names = str(tmp_path / "x.zip"), [f"8/ü{i}.png" for i in range(count)]
    with archive.writing(path) as made:
        for name in names:
            made.add(name, name.encode())
    with zipfile.ZipFile(path) as file:
        assert file.testzip() is None and file.namelist() == names
    assert all(data == name.encode() for name, data in read_all(path).items())


@pytest.mark.parametrize("start", [5 << 29, (1 << 32) - 150])
def test_archives_of_some_gibibytes(tmp_path, start):
    """Python writes the records of large archives beyond 2 GiB, whose numbers fit all the same."""
    path = str(tmp_path / "x.zip")
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("8/a.png", png(1))
        file.fp.seek(start)
        file.start_dir = start
        file.writestr("8/b.png", png(2))
    assert read_all(path) == {"8/a.png": png(1), "8/b.png": png(2)}
    with archive.writing(path) as made:
        made.add("8/a.png", png(1))
        made.file.seek(start)
        made.add("8/b.png", png(2))
    assert read_all(path) == {"8/a.png": png(1), "8/b.png": png(2)}


def test_archives_beyond_four_gibibytes(tmp_path):
    """Where a file is, and where the list of files is, need more than 32 bits."""
    path = str(tmp_path / "x.zip")
    with archive.writing(path) as made:
        made.add("8/a.png", png(1))
        made.file.seek(5 << 30)                         # a hole, which takes no space
        made.add("8/b.png", png(2))
    assert read_all(path) == {"8/a.png": png(1), "8/b.png": png(2)}
    with zipfile.ZipFile(path) as file:
        assert file.read("8/b.png") == png(2)


def test_an_archive_that_is_not_finished_is_not_there(tmp_path):
    with pytest.raises(ZeroDivisionError), archive.writing(str(tmp_path / "x.zip")) as made:
        made.add("8/a.png", b"")
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == []


def test_every_truncation_and_damage_of_the_list_is_one_line(tmp_path):
    whole = open(zipped(tmp_path / "x.zip", {f"8/{i}.png": png(i) for i in range(3)}), "rb").read()
    path = str(tmp_path / "y.zip")
    for length in range(0, len(whole), 7):
        with open(path, "wb") as file:
            file.write(whole[:length])
        with pytest.raises(UserError, match="y.zip: (not a whole|a damaged)"):
            archive.contents(path)
        os.remove(path)
    start = whole.index(b"PK\1\2")
    (tmp_path / "z.zip").write_bytes(whole[:start] + b"xx" + whole[start + 2:])
    with pytest.raises(UserError, match="z.zip: a damaged archive"):
        available_sizes(str(tmp_path / "z.zip"))


def changed(path, field, value):
    """The archive with another number in the entry of its first file, at `field` of 46 bytes."""
    data = bytearray(open(path, "rb").read())
    struct.pack_into("<L", data, data.index(b"PK\1\2") + field, value)
    with open(path, "wb") as file:
        file.write(data)
    return path


@pytest.mark.parametrize("field, value, said", [
    (20, 0xfffffff0, "claims to be"), (24, 0xfffffff0, "claims to be"), (16, 1, "damaged"),
    (42, 77, "is not where"), (42, 0xfffffff0, "is not where"), (24, 10, "damaged")])
@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_member_that_lies_costs_itself_only(tmp_path, field, value, said, packing):
    path = changed(zipped(tmp_path / "x.zip", {f"8/{i}.png": png(i) for i in range(40)}, packing),
                   field, value)
    warnings = []
    with Loader(path, workers=0, warn=warnings.append) as loader:
        for _, images, _ in itertools.islice(loader.batches(8, 20, 0), 4):
            assert np.isfinite(images).all() and len(images) == 20
    assert len(warnings) == 1 and "x.zip/8/0.png: cannot be read" in warnings[0]
    assert said in warnings[0]


@pytest.mark.parametrize("said", [0, 1000])
def test_a_member_of_a_thousand_times_its_bytes_is_not_unpacked_further_than_it_says(tmp_path,
                                                                                     said):
    import tracemalloc
    path = zipped(tmp_path / "x.zip", {"8/a.png": bytes(1 << 26)}, zipfile.ZIP_DEFLATED)
    member = archive.contents(changed(path, 24, said))["8"].member(0)
    tracemalloc.start()
    with pytest.raises(OSError, match="damaged"):
        member.read()
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_an_archive_that_was_replaced_since_it_was_opened_is_opened_again(tmp_path):
    """A loader's processes are only told where a picture is."""
    path = zipped(tmp_path / "x.zip", {"8/a.png": png(1)})
    assert archive.contents(path)["8"].member(0).read() == png(1)
    other = zipped(tmp_path / "y.zip", {"8/0.png": png(2), "8/a.png": png(3)})
    member = archive.contents(other)["8"].member(1)
    assert archive.opened(path)
    os.replace(other, path)
    assert member._replace(archive=path).read() == png(3)


def test_sizes_are_those_of_one_folder(tmp_path):
    path = zipped(tmp_path / "x.zip", {f"{name}/{s}/a.png": png(0, s) for name, s in (
        ("train", 8), ("test", 16), ("test", 8), ("train", 32), ("deep/er", 64))} |
        {"²/a.png": b"", f"{'8' * 5000}/a.png": b""})
    assert available_sizes(path) == [8, 16] and PictureFolder(path, 16).file(0).name == \
        "test/16/a.png"


def test_an_archive_gives_the_pictures_of_the_folder_in_its_order(both):
    folder, path = both
    assert available_sizes(path) == available_sizes(folder)
    batches = []
    for root, workers in ((folder, 0), (path, 0), (path, 2)):
        with Loader(root, seed=3, mirror=True, workers=workers, holdout=0.1) as loader:
            batches.append([images for _, images, _ in
                            itertools.islice(loader.batches(16, 8, 24), 5)])
    assert (np.array(batches[0]) == batches[1]).all() and (np.array(batches[1]) == batches[2]).all()
    for size in available_sizes(folder):
        one, other = (PictureFolder(root, size, 0.2, held=True) for root in both)
        other.check()
        assert one.fingerprint() == other.fingerprint()


def test_a_run_goes_on_from_folder_to_archive_bit_for_bit(both, tmp_path):
    folder, path = both
    for name, first, second in ("a", folder, folder), ("b", folder, path), ("c", path, folder):
        for data, *more in (first, *GROWING, "--kimg", 0.08), (second, "--resume", "--kimg", 0.16):
            command("train.py", data, "--name", name, *more, cwd=tmp_path)
    one, *others = (snapshot.load_any(str(tmp_path / f"checkpoint/{name}_000000160.model"))[1]
                    for name in "abc")
    assert all((other[name] == one[name]).all() for other in others for name in one)


def test_sizes_may_lie_in_a_folder_of_the_archive(tmp_path):
    path = zipped(tmp_path / "x.zip", {f"data/{s}/a.png": png(0, s) for s in (8, 16)} |
                  {"00008/b.png": png(), "__MACOSX/8/._a.png": b"", "data/8/._a.png": b""})
    assert available_sizes(path) == [8, 16]
    assert PictureFolder(path, 8).names == ["a.png"]


def test_what_is_missing_in_an_archive_is_told(both, tmp_path):
    with pytest.raises(UserError, match=r"128: no such folder.*--zip .*symbols.zip --force"):
        PictureFolder(both[1], 128)
    path = zipped(tmp_path / "x.zip", {"a/b.png": png()})
    code, _, error = command("train.py", path, cwd=tmp_path, check=False)
    assert code == 2 and "found no folders 8/, 16/" in error and error.count("\n") == 1


def test_a_million_names_take_some_hundred_bytes_each(tmp_path):
    import tracemalloc
    path = str(tmp_path / "x.zip")
    with archive.writing(path) as made:
        for size in 8, 16:
            for i in range(20000):
                made.add(f"{size}/{i:08}.png", b"")
    tracemalloc.start()
    archive.contents(path)
    PictureFolder(path, 8)
    grown = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert grown < 20000 * 250


def test_data_sets_of_other_projects_are_resized(tmp_path):
    """stylegan2-ada's tool: one size, numbered folders, dataset.json."""
    files = {f"0000{i // 4}/img0000000{i}.png": png(i, 32) for i in range(8)}
    files |= {"dataset.json": b'{"labels": null}', "../out.png": png(9, 32), "/out/x.png": png(8),
              "a/../../../b.png": png(7, 32)}
    path = zipped(tmp_path / "ada.zip", files)
    _, said, _ = command("resize.py", path, cwd=tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["ada", "ada.zip"]
    assert sorted(os.listdir(tmp_path / "ada")) == ["16", "32", "8"]
    assert len(os.listdir(tmp_path / "ada/32")) == 8 and ".json" not in said
    assert "left out 3 pictures whose name leads out of it" in said
    command("resize.py", path, "--zip", "data.zip", cwd=tmp_path)
    assert PictureFolder(str(tmp_path / "data.zip"), 32).names == sorted(
        os.listdir(tmp_path / "ada/32"))
