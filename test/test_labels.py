"""Labels on their way: sub-folders, tables and dataset.json → resize.py → what a loader gives."""
import itertools
import json
import os
import shutil
import zipfile

import numpy as np
import pytest
from conftest import command
from PIL import Image

from backend import labels
from backend.errors import UserError
from dataset import Loader, PictureFolder, read_labels
from pictures import labelling

COLOURS = {"blue": (0, 0, 255), "green": (0, 255, 0), "red": (255, 0, 0)}


def paint(folder, colour, count, size=32, shade=0):
    """Pictures of one colour, each of another shade."""
    os.makedirs(folder, exist_ok=True)
    for i in range(count):
        tone = [max(0, c - 9 * i - shade) for c in COLOURS[colour]]
        Image.new("RGB", (size, size), tuple(tone)).save(os.path.join(folder, f"{i}.png"))


@pytest.fixture
def photos(tmp_path):
    """Seven pictures of three classes in sub-folders, two of them further down."""
    paint(tmp_path / "photos/red", "red", 2)
    paint(tmp_path / "photos/red/more", "red", 2, shade=60)
    paint(tmp_path / "photos/green", "green", 2)
    paint(tmp_path / "photos/blue", "blue", 1)
    return tmp_path


def colours(images):
    """Which of COLOURS each picture is, as its number among them."""
    return images.mean((2, 3)).argmax(1).tolist()


def of_rgb(classes, names):
    """Channels of the classes that have these names."""
    return [{"red": 0, "green": 1, "blue": 2}[names[i]] for i in classes]


def labelled(root, size=8):
    return PictureFolder(str(root), size, known=read_labels(str(root)))


def assert_right(root, count=3, batch=8):
    names = read_labels(root).classes or ["red", "green", "blue"]
    for workers in 0, 1:
        with Loader(root, workers=workers, known=read_labels(root)) as loader:
            for _, images, classes in itertools.islice(loader.batches(8, batch, 0), count):
                assert classes.dtype == np.int32 and colours(images) == of_rgb(classes, names)


def test_sub_folders_become_labels_of_folder_and_archive(photos):
    _, said, _ = command("resize.py", "photos", cwd=photos)
    assert "3 classes from sub-folders (red 4, green 2, blue 1) in photos/dataset.json" in said
    assert "python train.py photos --labels" in said
    command("resize.py", "photos", "--zip", "data.zip", cwd=photos)
    for root in str(photos / "photos"), str(photos / "data.zip"):
        assert read_labels(root).classes == ["blue", "green", "red"]
        assert labelled(root).labels.tolist() == [0, 1, 1, 2, 2, 2, 2]
        assert_right(root)
    assert labelled(photos / "photos").fingerprint() == labelled(photos / "data.zip").fingerprint()
    paint(photos / "photos/aqua", "blue", 2, shade=99)          # seen when it is run again
    command("resize.py", "photos", cwd=photos)
    assert read_labels(str(photos / "photos")).classes == ["aqua", "blue", "green", "red"]


def test_of_many_classes_the_largest_and_the_smallest_are_told():
    names = {f"{kind}/{i}.png": kind for kind in "abcdefgh" for i in range(ord("z") - ord(kind))}
    said = labelling.says(labels.of_names(names, None), [*names], "data", "data/dataset.json")
    assert "8 classes (a 25, b 24, c 23, d 22, e 21, …, h 18) in data/dataset.json" in said
    names = {name: kind for name, kind in names.items() if kind < "g"}
    said = labelling.says(labels.of_names(names, None), [*names], "data", "data/dataset.json")
    assert "6 classes (a 25, b 24, c 23, d 22, e 21, f 20) in" in said


def test_pictures_outside_of_sub_folders_and_numbered_folders_are_no_classes(photos):
    paint(photos / "photos", "red", 1)
    _, said, _ = command("resize.py", "photos", cwd=photos)
    assert "labels" not in said and not os.path.exists(photos / "photos/dataset.json")
    with pytest.raises(UserError, match="no .*photos/dataset.json.*type python resize.py FOLDER"):
        labelled(photos / "photos")
    files = {f"0000{i}/img{i}.png": (photos / f"photos/red/{i % 2}.png").read_bytes()
             for i in range(4)}
    with zipfile.ZipFile(photos / "ada.zip", "w") as archive:
        for name, data in (files | {"dataset.json": b'{"labels": null}'}).items():
            archive.writestr(name, data)
    assert "labels" not in command("resize.py", "ada.zip", cwd=photos)[1]


@pytest.mark.parametrize("place", ["", "set/"])
@pytest.mark.parametrize("form", [int, "one of three", dict])
def test_labels_of_other_projects_archives_are_kept(photos, place, form):
    kinds = {f"0000{i % 2}/img{i:08}.png": i for i in range(3)}
    written = [[name, [int(j == i) for j in range(3)] if form == "one of three" else i]
               for name, i in kinds.items()]
    with zipfile.ZipFile(photos / "ada.zip", "w") as archive:
        for (name, _), colour in zip(written, ("red", "green", "blue")):
            archive.write(photos / f"photos/{colour}/0.png", place + name)
        found = {"labels": dict(written) if form is dict else written}
        archive.writestr(place + "dataset.json", json.dumps(found))
    _, said, _ = command("resize.py", "ada.zip", cwd=photos)
    assert "3 classes from ada.zip (0 1, 1 1, 2 1) in ada/dataset.json" in said
    assert_right(str(photos / "ada"))
    command("resize.py", "ada/32", "--zip", "again.zip", cwd=photos)        # its labels come along
    assert_right(str(photos / "again.zip"))


def test_a_column_of_a_table_names_the_classes(photos):
    command("resize.py", "photos", cwd=photos)
    folder = PictureFolder(str(photos / "photos"), 32)
    kinds = {name: name.partition("_")[0] for name in folder.names}
    with open(photos / "t.csv", "w") as file:
        file.write("id,other,kind\n" + "".join(f"{name.removesuffix('.png')},x,{kind}\n"
                                                for name, kind in kinds.items()))
    _, said, _ = command("resize.py", "photos/32", "--labels", "t.csv:kind", "--force", cwd=photos)
    assert "3 classes from t.csv:kind (red 4" in said
    assert_right(str(photos / "photos"))
    for typed, wanted in (("t.csv:kin", "wanted one of other, kind"), ("u.csv:kind", "No such"),
                          ("kind", "wanted FILE.csv:COLUMN"), ("", "wanted FILE.csv:COLUMN"),
                          ("t.csv:other", "1 value, wanted classes")):
        code, _, error = command("resize.py", "photos/32", "--labels", typed, cwd=photos,
                                 check=False)
        assert code == 2 and wanted in error and error.count("\n") == 1
    with open(photos / "t.csv", "a") as file:
        file.write("x,1,2\n")
    paint(photos / "photos/32", "red", 1)
    code, _, error = command("resize.py", "photos/32", "--labels", "t.csv:kind", cwd=photos,
                             check=False)
    assert code == 2 and "no value there for 1 of 8 pictures (such as 0.png)" in error


def test_numbers_are_sorted_as_numbers():
    found = labels.of_names({"a": "10", "b": "9", "c": "x", "d": "1"}, "t.csv:n")
    assert found.classes == ["1", "9", "10", "x"] and found.numbers == {"a": 2, "b": 1, "c": 3,
                                                                        "d": 0}


def test_a_dataset_json_of_the_users_own_is_read_and_never_written(photos):
    own = json.dumps({"labels": [[f"{colour}/{name}", number] for colour, name, number in (
        ("red", "0.png", 0), ("red", "1.png", 0), ("red", "more/0.png", 0),
        ("red", "more/1.png", 0), ("green", "0.png", 1), ("green", "1.png", 1),
        ("blue", "0.png", 2))]})
    (photos / "photos/dataset.json").write_text(own)
    command("resize.py", "photos", cwd=photos)
    assert (photos / "photos/dataset.json").read_text() == own
    assert_right(str(photos / "photos"))
    (photos / "t.csv").write_text("file,kind\n0.png,a\n1.png,b\n")
    code, _, error = command("resize.py", "photos", "--labels", "t.csv:kind", cwd=photos,
                             check=False)
    assert code == 2 and "no value there for 7" in error
    (photos / "t.csv").write_text("file;kind\n" + "".join(
        f"{colour}/{name}; {kind}\n" for colour, name, kind in (
            ("red", "0.png", "a"), ("red", "1.png", "b"), ("red", "more/0.png", "a"),
            ("red", "more/1.png", "b"), ("green", "0.png", "a"), ("green", "1.png", "b"),
            ("blue", "0.png", "a"))))
    code, _, error = command("resize.py", "photos", "--labels", "t.csv:kind", cwd=photos,
                             check=False)
    assert code == 2 and "photos/dataset.json exists" in error and error.count("\n") == 1
    assert (photos / "photos/dataset.json").read_text() == own


def test_a_picture_that_stands_in_for_another_brings_its_label(photos):
    command("resize.py", "photos", cwd=photos)
    root = str(photos / "photos")
    names = PictureFolder(root, 8).names
    for name in names[:2]:
        (photos / "photos/8" / name).write_bytes(b"")
    with Loader(root, workers=0, warn=lambda line: None,
                known=read_labels(root)) as loader:
        for _, images, classes in itertools.islice(loader.batches(8, 7, 0), 3):
            assert colours(images) == of_rgb(classes, ["blue", "green", "red"])


def test_pictures_without_a_label_are_refused(photos):
    command("resize.py", "photos", cwd=photos)
    paint(photos / "photos/8", "red", 1, 8)
    with pytest.raises(UserError, match=r"1 of the 8 pictures in .* no label .*such as 0.png"):
        labelled(photos / "photos")


@pytest.mark.parametrize("text, said", [
    ("", "no labels that can be read"), ("[1]", "no object"), ('{"labels": []}', "no list"),
    ('{"labels": [["a.png", [1, 0]], ["b.png", [0, 1, 0]]]}', "lists of 2 and of 3 numbers"),
    ('{"labels": [["a.png"]]}', "no list of pairs"), ('{"labels": [["a.png", 0.5]]}', "label 0.5"),
    ('{"labels": [["a.png", -1]]}', "label -1"), ('{"labels": [["a.png", 10000]]}', "label 10000"),
    ('{"labels": [["a.png", [0, 1, 1]]]}', r"label \[0, 1, 1\]"),
    ('{"labels": [["a.png", true]]}', "label True"),
    ('{"labels": [["a.png", 2]], "classes": ["a", "b"]}', "a label 2, but names for 2"),
    ('{"labels": [["a.png", 0]], "classes": ["a", "a"]}', "no list of names"),
    ('{"labels": [["a.png", 0], ["\\ud800.png", 1]]}', "no labels that can"),
    ("[" * 100_000, "no labels"), ('{"labels": [["a.png", 0]]}', "one class"),
    ('{"labels": null}', "found no labels")])
def test_a_wrong_dataset_json_is_one_line(tmp_path, text, said):
    paint(tmp_path / "8", "red", 1, 8)
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(UserError, match=said) as error:
        labelled(tmp_path)
    assert "dataset.json" in str(error.value) and "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def test_a_dataset_json_of_something_else_is_left_alone_and_stops_nothing(photos):
    for text in '{"my": "data"}', '{"labels": [["red/0.png", [0.2, 0.7]]]}', "not JSON":
        (photos / "photos/dataset.json").write_text(text)
        _, said, noted = command("resize.py", "photos", cwd=photos)
        assert "labels:" not in said and "7 pictures" in said
        assert (photos / "photos/dataset.json").read_text() == text
    shutil.make_archive(str(photos / "set"), "zip", photos / "photos", "red")
    with zipfile.ZipFile(photos / "set.zip", "a") as archive:
        archive.write(photos / "photos/green/0.png", "green/0.png")
    os.makedirs(photos / "set")
    (photos / "set/dataset.json").write_text('{"my": "data"}')
    _, said, noted = command("resize.py", "set.zip", cwd=photos)
    assert "note: set/dataset.json exists" in noted and "labels" not in said
    assert (photos / "set/dataset.json").read_text() == '{"my": "data"}'


def test_labels_that_changed_in_an_archive_are_those_that_are_written(photos):
    for labels_there in [0, 1], [1, 2]:
        with zipfile.ZipFile(photos / "z.zip", "w") as archive:
            for i in range(2):
                archive.write(photos / f"photos/red/{i}.png", f"{i}.png")
            archive.writestr("dataset.json", json.dumps({"labels": [
                [f"{i}.png", label] for i, label in enumerate(labels_there)]}))
        _, said, _ = command("resize.py", "z.zip", cwd=photos)
        assert labelled(photos / "z").labels.tolist() == labels_there


def test_a_class_that_is_called_as_a_size_is_never_written_into(photos):
    shutil.move(photos / "photos/blue", photos / "photos/8")
    code, _, error = command("resize.py", "photos", cwd=photos, check=False)
    assert code == 2 and "photos/8: a folder of yours, with pictures of other sizes" in error
    assert os.listdir(photos / "photos/8") == ["0.png"] and error.count("\n") == 1
    command("resize.py", "photos", "--zip", "data.zip", cwd=photos)
    assert read_labels(str(photos / "data.zip")).classes == ["8", "green", "red"]


def test_sizes_that_come_later_bring_their_labels(photos):
    command("resize.py", "photos", "--max_size", 16, cwd=photos)
    for source, more in ("photos/16", ["--min_size", 4]), ("photos/16", ["--zip", "o.zip"]):
        _, said, _ = command("resize.py", source, *more, cwd=photos)
        assert "(red 4, green 2, blue 1)" in said and "without" not in said
    assert labelled(photos / "photos", 4).labels.tolist() == [0, 1, 1, 2, 2, 2, 2]
    assert_right(str(photos / "o.zip"))
    command("resize.py", "photos", "--zip", "one.zip", "--min_size", 16, "--max_size", 16,
            cwd=photos)
    _, said, _ = command("resize.py", "one.zip", cwd=photos)
    assert "(red 4, green 2, blue 1)" in said
    assert_right(str(photos / "one"))


def test_a_table_that_could_mean_two_pictures_or_says_two_things_is_not_believed(photos):
    (photos / "t.csv").write_text("file,kind\n0.png,a\n1.png,b\n")
    with pytest.raises(UserError, match="no value there for 2 of 3 pictures"):
        labelling.of_column(f"{photos}/t.csv:kind", ["p/0.png", "q/0.png", "q/1.png"])
    (photos / "t.csv").write_text("file,kind\n0.png,a\n0.png,b\n")
    with pytest.raises(UserError, match="says a and b of 0.png"):
        labelling.of_column(f"{photos}/t.csv:kind", ["0.png"])


def test_pictures_that_cannot_be_read_have_no_labels(photos):
    os.makedirs(photos / "bad/x")
    (photos / "bad/x/1.png").write_text("x")
    code, _, error = command("resize.py", "bad", cwd=photos, check=False)
    assert code == 2 and "not one of the pictures can be read" in error
    (photos / "t.csv").write_text("file,kind\n0.png,a\n")
    code, _, error = command("resize.py", "bad", "--labels", "t.csv:kind", cwd=photos, check=False)
    assert code == 2 and "0 values" in error and error.count("\n") == 1


@pytest.mark.parametrize("slash", [False, True])
def test_an_archive_with_the_separators_of_windows_has_folders(photos, slash):
    """And where there is a slash in it, a backslash is part of a name."""
    with zipfile.ZipFile(photos / "win.zip", "w") as file:
        for name in ("cats\\0.png", "cats\\1.png", "dogs\\0.png", "dogs\\1.png",
                     "..\\outside.png"):
            file.writestr("all/" * slash + name, (photos / "photos/red/0.png").read_bytes())
        file.writestr("empty/", b"")
    _, said, _ = command("resize.py", "win.zip", "--zip", "data.zip", cwd=photos)
    assert "4 pictures: 4 written" in said and "left out 1 picture whose name leads out" in said
    assert ("2 classes from sub-folders" in said) == (not slash)
    assert len(PictureFolder(str(photos / "data.zip"), 8)) == 4
    if slash:
        return
    assert read_labels(str(photos / "data.zip")).classes == ["cats", "dogs"]
    # What else names the pictures of Windows may have its separators, too.
    lines = ["file,kind", *(f"{kind}s\\{i}.png,{kind}" for kind in ("dog", "cat") for i in (0, 1))]
    (photos / "t.csv").write_text("\n".join(lines))
    command("resize.py", "win.zip", "--zip", "t.zip", "--labels", "t.csv:kind", cwd=photos)
    assert read_labels(str(photos / "t.zip")).classes == ["cat", "dog"]
    with zipfile.ZipFile(photos / "win.zip", "a") as file:
        file.writestr("dataset.json", json.dumps({"labels": [
            [line.split(",")[0], i // 2] for i, line in enumerate(lines[1:])]}))
    _, said, _ = command("resize.py", "win.zip", "--zip", "j.zip", cwd=photos)
    assert "2 classes from win.zip (0 2, 1 2)" in said


def test_a_backslash_that_is_half_of_a_character_parts_no_name(photos):
    """As in Shift JIS, whose names are read as code page 437."""
    kinds = {"K0_": "\u30bd", "K1_": "\u8868"}
    with zipfile.ZipFile(photos / "jis.zip", "w") as file:
        for kind, colour in zip(kinds, ("red", "green")):
            for i in 0, 1:
                member = zipfile.ZipInfo(f"{kind}{i}.png")
                member.create_system = 0
                file.writestr(member, (photos / f"photos/{colour}/{i}.png").read_bytes())
    written = (photos / "jis.zip").read_bytes()
    for kind, name in kinds.items():
        written = written.replace(kind.encode(), f"{name}_".encode("cp932"))
    assert written.count(b"\\_") == 8
    (photos / "jis.zip").write_bytes(written)
    _, said, _ = command("resize.py", "jis.zip", "--zip", "data.zip", cwd=photos)
    assert "4 pictures: 4 written" in said and "classes" not in said


def test_a_table_in_another_encoding_and_classes_of_one_picture_are_told(photos):
    names = [f"{kind}/{i}.png" for kind in ("red", "green", "red/more") for i in (0, 1)]
    lines = ["file,Größe", *(f"{name},{i}" for i, name in enumerate([*names, "blue/0.png"]))]
    for encoding in "latin-1", "utf-16":
        (photos / "t.csv").write_bytes("\n".join(lines).encode(encoding))
        code, _, error = command("resize.py", "photos", "--labels", "t.csv:Größe", cwd=photos,
                                 check=False)
        assert code == 2 and "not in UTF-8" in error and "codec" not in error
    (photos / "t.csv").write_text("\n".join(lines), "utf-8")
    _, said, _ = command("resize.py", "photos", "--labels", "t.csv:Größe", cwd=photos)
    assert "7 of the classes are of a single picture" in said


def test_what_is_left_out_of_the_labels_is_said(photos):
    paint(photos / "photos", "red", 1)
    _, _, noted = command("resize.py", "photos", "--zip", "x.zip", cwd=photos)
    assert "note: no labels, for 1 picture is in no sub-folder (such as 0.png)" in noted
    os.remove(photos / "photos/0.png")
    paint(photos / "photos/16", "red", 2, size=16)
    _, said, noted = command("resize.py", "photos", "--zip", "y.zip", cwd=photos)
    assert "photos/16 is left out, for its pictures are of the size" in noted
    assert "3 classes from sub-folders" in said
