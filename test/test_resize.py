"""resize.py on every kind of picture that a folder may hold."""
import csv
import os
import random
import shutil
import zipfile

import numpy as np
import pytest
from conftest import command
from PIL import Image
from resized import counts, made, picture

import resize
from backend.labels import target_name
from dataset import PictureFolder
from pictures.reading import make_square


def test_size_folder_gets_its_neighbours_and_is_never_written(tmp_path):
    os.makedirs(tmp_path / "data/64")
    for i in range(3):
        picture(64, 64, seed=i).save(tmp_path / f"data/64/{i}.png")
    before = {n: (tmp_path / "data/64" / n).read_bytes() for n in os.listdir(tmp_path / "data/64")}
    _, output, _ = command("resize.py", "data/64", "--min_size", 8, cwd=tmp_path)
    assert sorted(os.listdir(tmp_path / "data")) == ["16", "32", "64", "8"]
    for size in (8, 16, 32):
        pictures = made(tmp_path / "data" / str(size))
        assert sorted(pictures) == ["0.png", "1.png", "2.png"]
        assert all(p.shape == (size, size, 3) for p in pictures.values())
    assert {n: (tmp_path / "data/64" / n).read_bytes() for n in before} == before
    assert counts(output) == [3, 3, 0, 0]


def test_other_folders_get_sizes_inside_which_are_not_walked_again(tmp_path):
    os.makedirs(tmp_path / "photos/sub")
    for i, path in enumerate(("a.png", "b.JPG", "sub/a.png")):
        picture(70, 50, seed=i).save(tmp_path / "photos" / path)
    for expected in ([3, 3, 0, 0], [3, 0, 3, 0]):
        _, output, _ = command("resize.py", "photos", cwd=tmp_path)
        assert counts(output) == expected, output
    assert sorted(os.listdir(tmp_path / "photos")) == ["16", "32", "8", "a.png", "b.JPG", "sub"]
    assert len(made(tmp_path / "photos/32")) == 3


def test_names_never_collide(tmp_path):
    names = ["a.png", "a.jpg", "a.PNG", "x/a.png", "x_a.png", "a.webp", "a.bmp", "x/a.jpeg"]
    os.makedirs(tmp_path / "photos/x")
    for i, name in enumerate(names):
        picture(seed=i).save(tmp_path / "photos" / name)
    command("resize.py", "photos", cwd=tmp_path)
    assert len(made(tmp_path / "photos/8")) == len(names)
    assert all(n.endswith(".png") for n in os.listdir(tmp_path / "photos/8"))
    assert target_name("a.png") == "a.png"


def test_every_kind_of_picture_becomes_rgb(tmp_path):
    os.makedirs(tmp_path / "photos")
    red, white = (255, 0, 0), (255, 255, 255)
    grey16 = np.full((20, 20), 0x8000, np.uint16)
    rotated = Image.new("RGB", (20, 20), white)
    rotated.paste(red, (0, 0, 20, 10))              # red above; EXIF 6: shown red at the right
    exif = Image.Exif()
    exif[0x0112] = 6
    palette = Image.new("P", (20, 20), 1)
    palette.putpalette([0, 255, 0, 255, 0, 0] + [0] * 762)
    transparent_palette = palette.copy()
    files = {
        "grey.png": (Image.new("L", (20, 20), 100), {}, (100, 100, 100)),
        "grey16.png": (Image.fromarray(grey16), {}, (128, 128, 128)),
        "palette.png": (palette, {}, red),
        "palette_clear.png": (transparent_palette, {"transparency": 1}, white),
        "rgba.png": (Image.new("RGBA", (20, 20), (255, 0, 0, 0)), {}, white),
        "half.png": (Image.new("RGBA", (20, 20), (0, 0, 0, 128)), {}, (127, 127, 127)),
        "grey_alpha.png": (Image.new("LA", (20, 20), (0, 0)), {}, white),
        "cmyk.jpg": (Image.new("CMYK", (20, 20), (0, 255, 255, 0)), {}, red),
        "bits.bmp": (Image.new("1", (20, 20), 1), {}, white),
        "web.WEBP": (Image.new("RGB", (20, 20), red), {"lossless": True}, red),
        "turned.jpg": (rotated, {"exif": exif, "quality": 100, "subsampling": 0}, None),
    }
    for name, (image, options, _) in files.items():
        image.save(tmp_path / "photos" / name, **options)
    command("resize.py", "photos", "--max_size", 16, cwd=tmp_path)
    pictures = made(tmp_path / "photos/16")
    assert len(pictures) == len(files)
    for name, (_, _, colour) in files.items():
        found = pictures[target_name(name)]
        assert found.shape == (16, 16, 3), name
        if colour:
            assert abs(found.astype(int) - colour).max() <= 3, (name, found[8, 8])
        else:
            assert (found[8, 14] == red).all() or abs(found[8, 14].astype(int) - red).max() < 6
            assert found[8, 1].min() > 240


def test_other_kinds_of_files_are_read_and_of_a_film_the_first_picture(tmp_path):
    os.makedirs(tmp_path / "photos")
    red, blue = (255, 0, 0), (0, 0, 255)
    for name in ("a.tif", "b.TIFF", "c.gif", "d.tga", "e.ppm", "f.jp2", "g.ico", "h.jfif"):
        options = {"save_all": True, "append_images": [Image.new("RGB", (20, 20), blue)]} \
            if name == "c.gif" else {}
        Image.new("RGB", (20, 20), red).save(tmp_path / "photos" / name, **options)
    with Image.open(tmp_path / "photos/c.gif") as film:
        assert film.n_frames == 2
    _, output, _ = command("resize.py", "photos", "--max_size", 16, cwd=tmp_path)
    assert counts(output) == [8, 8, 0, 0], output
    assert all(abs(found.astype(int) - red).max() <= 3
               for found in made(tmp_path / "photos/16").values())


def test_files_that_are_no_pictures_are_listed_by_their_endings(tmp_path):
    os.makedirs(tmp_path / "photos/sub")
    picture().save(tmp_path / "photos/a.png")
    picture().save(tmp_path / "photos/drawing.eps")     # would start a program
    # attributes.py reads and writes the last two.
    for name in ("b.heic", "sub/c.HEIC", "notes.txt", "LICENSE", ".hidden", "sub/.b.heic",
                 "attributes.csv", "attributes64.npz"):
        (tmp_path / "photos" / name).write_text("x")
    for _ in range(2):                                  # its own pictures are not counted
        _, output, _ = command("resize.py", "photos", cwd=tmp_path)
        assert output.splitlines()[1].strip() == (
            "no pictures that can be read: 2 .heic (such as b.heic), 1 without an ending (such as "
            "LICENSE), 1 .eps (such as drawing.eps), 1 .txt (such as notes.txt); .heic is read "
            "after pip install pillow-heif")
    assert output.startswith("1 picture: 0 written, 1 already there, 0 skipped")
    os.remove(tmp_path / "photos/a.png")
    code, _, error = command("resize.py", "photos", cwd=tmp_path, check=False)
    assert code == 2 and "photos: no pictures in it that can be read; found 2 .heic" in error
    # A stand-in for the package, which takes a PNG for a HEIC.
    (tmp_path / "pillow_heif.py").write_text(
        "from PIL import Image\n"
        "def register_heif_opener(): Image.register_extension('PNG', '.heic')")
    for name in ("b.heic", "sub/c.HEIC"):
        picture().save(tmp_path / "photos" / name, "PNG")
    code = "import sys; sys.path[:0] = ['.', sys.argv.pop(1)]; import resize; resize.main()"
    _, output, _ = command("-c", code, os.path.dirname(resize.__file__), "photos", cwd=tmp_path)
    assert counts(output) == [2, 2, 0, 0] and "install" not in output


def test_what_training_cannot_read_in_a_size_folder_is_told(tmp_path):
    os.makedirs(tmp_path / "data/32")
    picture(32, 32).save(tmp_path / "data/32/a.png")
    picture(32, 32).save(tmp_path / "data/32/b.gif")
    _, output, _ = command("resize.py", "data/32", cwd=tmp_path)
    assert len(made(tmp_path / "data/16")) == 2
    assert "1 of its 2 pictures" in output and "b.gif" in output and "training at 32" in output


def test_background_and_fit(tmp_path):
    os.makedirs(tmp_path / "photos")
    wide = Image.new("RGB", (32, 16), (0, 0, 255))
    wide.paste((255, 0, 0), (0, 0, 4, 16))
    wide.save(tmp_path / "photos/wide.png")
    command("resize.py", "photos", "--max_size", 16, "--fit", "pad", "--background", "#00ff00",
            cwd=tmp_path)
    padded = made(tmp_path / "photos/16")["wide.png"]
    assert (padded[0] == (0, 255, 0)).all() and padded[8, 12, 2] == 255
    command("resize.py", "photos", "--max_size", 16, "--force", cwd=tmp_path)
    cropped = made(tmp_path / "photos/16")["wide.png"]
    assert (cropped == (0, 0, 255)).all()


def test_a_strip_is_padded_without_a_square_of_its_length():
    strip = Image.new("L", (40_000, 10), 0)
    square = make_square(strip, "pad", 255)
    assert square.size == (8192, 8192) and square.histogram()[0] == 2 * 8192
    assert make_square(Image.new("L", (300, 10)), "pad", 255).size == (300, 300)


def test_unreadable_files_are_skipped_and_listed(tmp_path):
    os.makedirs(tmp_path / "photos")
    picture().save(tmp_path / "photos/good.png")
    whole = (tmp_path / "photos/good.png").read_bytes()
    (tmp_path / "photos/truncated.png").write_bytes(whole[:len(whole) // 2])
    (tmp_path / "photos/empty.jpg").write_bytes(b"")
    (tmp_path / "photos/text.png").write_text("not a picture")
    (tmp_path / "photos/._good.png").write_text("hidden")
    code, output, _ = command("resize.py", "photos", cwd=tmp_path, check=False)
    assert code == 0 and counts(output) == [4, 1, 0, 3]
    for name in ("truncated.png", "empty.jpg", "text.png"):
        assert f"skipped {name}: " in output
    assert sorted(os.listdir(tmp_path / "photos/8")) == ["good.png"]


def test_only_what_is_missing_is_made_again_and_force_redoes_all(tmp_path):
    os.makedirs(tmp_path / "data/32")
    for i in range(4):
        picture(32, 32, seed=i).save(tmp_path / f"data/32/{i}.png")
    command("resize.py", "data/32", cwd=tmp_path)
    wanted = made(tmp_path / "data/8")
    os.remove(tmp_path / "data/8/2.png")
    untouched = os.stat(tmp_path / "data/8/1.png").st_mtime_ns
    _, output, _ = command("resize.py", "data/32", cwd=tmp_path)
    assert counts(output) == [4, 1, 3, 0]
    assert os.stat(tmp_path / "data/8/1.png").st_mtime_ns == untouched
    assert all((made(tmp_path / "data/8")[n] == wanted[n]).all() for n in wanted)
    _, output, _ = command("resize.py", "data/32", "--force", cwd=tmp_path)
    assert counts(output) == [4, 4, 0, 0]


def test_pictures_of_another_size_serve_and_are_told(tmp_path):
    os.makedirs(tmp_path / "data/32")
    picture(32, 32).save(tmp_path / "data/32/right.png")
    picture(50, 40).save(tmp_path / "data/32/odd.png")
    _, output, _ = command("resize.py", "data/32", cwd=tmp_path)
    assert "odd.png" in output and "training at 32" in output
    assert len(made(tmp_path / "data/16")) == 2


def test_default_largest_size_is_that_of_the_median_picture(tmp_path):
    os.makedirs(tmp_path / "photos")
    for i, width in enumerate((20, 70, 70, 300, 9)):
        picture(width, width + 5, seed=i).save(tmp_path / f"photos/{i}.png")
    command("resize.py", "photos", cwd=tmp_path)
    assert sorted(n for n in os.listdir(tmp_path / "photos") if n.isdigit()) == \
        ["16", "32", "64", "8"]


@pytest.mark.parametrize("arguments, message", [
    (["nowhere"], "nowhere: no such folder"),
    (["empty"], "empty: no pictures in it"),
    (["data/32", "--max_size", "32"], "--max_size 16"),
    (["data/32", "--min_size", "64"], "--min_size"),
    (["data/32", "--min_size", "12"], "--min_size"),
    (["data/32", "--background", "whitish"], "--background"),
    (["broken"], "not one of the pictures can be read"),
    (["data/4"], "data/4: the largest size is 2 (from the folder's name or the median"),
    (["tiny", "--min_size", "4"], "wanted 4 or more: these pictures are too small"),
])
def test_errors_are_one_line_and_exit_2(tmp_path, arguments, message):
    for folder in ("empty", "data/32", "broken", "data/4", "tiny"):
        os.makedirs(tmp_path / folder)
    picture(4, 4).save(tmp_path / "data/4/a.png")
    picture(1, 1).save(tmp_path / "tiny/a.png")
    picture(32, 32).save(tmp_path / "data/32/a.png")
    (tmp_path / "broken/a.png").write_text("x")
    code, output, stderr = command("resize.py", *arguments, cwd=tmp_path, check=False)
    assert code == 2 and message in stderr and stderr.count("\n") == 1, stderr


def test_random_names_stay_apart():
    random.seed(0)
    names = {"/".join("".join(random.choices("ab_-. %é", k=4)) for _ in range(2)) + end
             for _ in range(2000) for end in (".png", ".jpg")}
    assert len({target_name(n) for n in names}) == len(names)


def test_what_is_odd_about_pictures_is_counted_and_named(tmp_path):
    photos = tmp_path / "photos"
    os.makedirs(photos / "sub")
    picture(64, 48).save(photos / "a.png")
    (photos / "sub/copy.png").write_bytes((photos / "a.png").read_bytes())
    picture(64, 48).save(photos / "again.bmp")
    Image.new("RGB", (40, 40), "red").save(photos / "red.png")
    picture(seed=1).save(photos / "sound.png")
    (photos / "broken.png").write_bytes(b"no picture")
    odd = {("again.bmp", "not square", "64x48"), ("again.bmp", "same pixels", "a.png"),
           ("a.png", "not square", "64x48"), ("sub/copy.png", "not square", "64x48"),
           ("sub/copy.png", "same bytes", "a.png"),
           ("red.png", "nearly empty", "standard deviation 0.0 of 255")}
    for _ in range(2):                                  # the second time nothing is to be made
        _, said, _ = command("resize.py", "photos", "--report", "odd.csv", cwd=tmp_path)
        with open(tmp_path / "odd.csv", newline="") as file:
            header, *rows = map(tuple, csv.reader(file))
        assert header == ("file", "found", "detail") and len(rows) == 7
        assert set(rows) > odd and sum(row[:2] == ("broken.png", "unreadable") for row in rows) == 1
    for line in ("3 not square (the middle is cut out), such as a.png",
                 "1 same bytes (copies of others), such as sub/copy.png",
                 "1 same pixels (in other files, copies of others), such as again.bmp",
                 "1 nearly empty (of one colour, or almost), such as red.png", "odd.csv: 7 lines"):
        assert line in said, said


@pytest.mark.parametrize("fit, small", [("crop", 2), ("pad", 1)])
def test_pictures_that_had_to_be_enlarged_are_told(tmp_path, fit, small):
    os.makedirs(tmp_path / "photos")
    for i, (width, height) in enumerate([(70, 70), (70, 70), (80, 30), (12, 12)]):
        picture(width, height, seed=i).save(tmp_path / f"photos/{i}.png")
    _, said, _ = command("resize.py", "photos", "--fit", fit, "--max_size", 64, cwd=tmp_path)
    assert f"  {small} small (enlarged to 64), such as {4 - small}.png\n" in said
    # What is as large as its folder says is not, in none of the smaller sizes.
    os.rename(tmp_path / "photos/64", tmp_path / "64")
    _, said, _ = command("resize.py", "64", "--zip", "data.zip", cwd=tmp_path)
    assert "enlarged" not in said


@pytest.mark.parametrize("flag, path, said", [
    ("--zip", "data.tar", "wanted a name that ends in .zip"), ("--zip", "", "wanted a name that"),
    ("--zip", "no/data.zip", "in a folder that is there"), ("--zip", "there.zip", "or --force"),
    ("--report", "odd.txt", "wanted a name that ends in .csv"),
    ("--report", "mine.csv", "is no report of resize.py")])
def test_files_that_are_there_are_kept(tmp_path, flag, path, said):
    os.makedirs(tmp_path / "photos")
    picture().save(tmp_path / "photos/a.png")
    for name in "there.zip", "mine.csv":
        (tmp_path / name).write_text("mine")
    code, _, error = command("resize.py", "photos", flag, path, cwd=tmp_path, check=False)
    assert code == 2 and said in error and error.count("\n") == 1
    assert (tmp_path / "there.zip").read_text() == (tmp_path / "mine.csv").read_text() == "mine"


def test_an_archive_holds_the_size_that_it_was_made_from_as_it_was(tmp_path):
    os.makedirs(tmp_path / "data/32")
    for i in range(3):
        picture(32, 32, seed=i).save(tmp_path / f"data/32/{i}.png")
    picture(32, 32, seed=5).save(tmp_path / "data/32/x.jpg")
    command("resize.py", "data/32", cwd=tmp_path)
    for more in [], ["--force"]:
        _, said, _ = command("resize.py", "data/32", "--zip", "data.zip", *more, cwd=tmp_path)
        assert "sizes 8, 16, 32 in data.zip" in said
    with zipfile.ZipFile(tmp_path / "data.zip") as file:
        found = {name: file.read(name) for name in file.namelist()}
    wanted = {f"{size}/{name}": (tmp_path / f"data/{size}" / name).read_bytes()
              for size in (8, 16, 32) for name in os.listdir(tmp_path / f"data/{size}")}
    assert found == wanted


@pytest.mark.parametrize("packed", [False, True])
def test_a_folder_of_a_class_is_not_taken_for_a_size(tmp_path, packed):
    """As MNIST's and CIFAR's are called: 0 to 9."""
    for label in "0", "4", "8":
        os.makedirs(tmp_path / "photos" / label)
        picture(32, 32, seed=int(label)).save(tmp_path / "photos" / label / "a.png")
    source = "photos"
    if packed:
        source = "photos.zip"
        with zipfile.ZipFile(tmp_path / source, "w") as file:
            for label in "0", "4", "8":
                file.write(tmp_path / "photos" / label / "a.png", f"{label}/a.png")
        shutil.rmtree(tmp_path / "photos")
    _, said, _ = command("resize.py", source, "--zip", "data.zip", cwd=tmp_path)
    assert said.startswith("3 pictures: 3 written")
    with zipfile.ZipFile(tmp_path / "data.zip") as file:
        assert sum(name.startswith("16/") for name in file.namelist()) == 3


def test_what_killed_runs_have_left_is_cleared_away(tmp_path):
    os.makedirs(tmp_path / "photos")
    picture().save(tmp_path / "photos/a.png")
    (tmp_path / ".data.zip.4194999.tmp").write_bytes(b"half")       # beyond any process's number
    mine = tmp_path / f".data.zip.{os.getpid()}.tmp"
    mine.write_bytes(b"half")
    young = tmp_path / ".data.zip.4194998.tmp"
    young.write_bytes(b"half")
    for path in mine, tmp_path / ".data.zip.4194999.tmp":
        os.utime(path, (0, 0))
    command("resize.py", "photos", "--zip", "data.zip", cwd=tmp_path)
    assert {*os.listdir(tmp_path)} == {mine.name, young.name, "data.zip", "photos"}


@pytest.mark.parametrize("packed", [False, True])
def test_sizes_are_known_although_their_first_file_is_none(tmp_path, packed):
    os.makedirs(tmp_path / "photos")
    picture().save(tmp_path / "photos/a.png")
    command("resize.py", "photos", cwd=tmp_path)
    for size in "8", "16":
        (tmp_path / "photos" / size / "0.png").write_bytes(b"")
        (tmp_path / "photos" / size / ".DS_Store").write_bytes(b"")
    source = "photos"
    if packed:
        source = "photos.zip"
        shutil.make_archive(str(tmp_path / "photos"), "zip", tmp_path / "photos")
    _, said, _ = command("resize.py", source, "--zip", "data.zip", cwd=tmp_path)
    assert said.startswith("1 picture: 1 written")


def test_names_that_are_no_text_go_into_an_archive_and_come_back(tmp_path):
    os.makedirs(tmp_path / "data/16")
    name = os.fsdecode(b"\xff.png")
    for i, other in enumerate((name, "a.png")):
        picture(16, 16, seed=i).save(tmp_path / "data/16" / other)
    command("resize.py", "data/16", cwd=tmp_path)
    command("resize.py", "data/16", "--zip", "data.zip", cwd=tmp_path)
    for size in 8, 16:
        one, other = (PictureFolder(str(tmp_path / root), size) for root in ("data", "data.zip"))
        assert one.names == other.names and name in one.names
        assert one.fingerprint() == other.fingerprint()


def test_a_background_that_training_will_not_see_is_told(tmp_path):
    os.makedirs(tmp_path / "data/32")
    Image.new("RGBA", (32, 32), (255, 0, 0, 128)).save(tmp_path / "data/32/a.png")
    _, output, _ = command("resize.py", "data/32", "--background", "black", cwd=tmp_path)
    assert "over white in training at 32" in output
