"""Which pictures resize.py finds, whatever their names and ways, and what it says of those from
before."""
import os
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT, command
from resized import counts, made, picture

from backend.labels import target_name
from dataset import PictureFolder
from pictures.finding import holds_masks


def test_pictures_of_a_size_in_sub_folders_are_refused_with_what_to_do(tmp_path):
    os.makedirs(tmp_path / "data/32/cats")
    picture(32, 32).save(tmp_path / "data/32/cats/a.png")
    code, _, error = command("resize.py", "data/32", cwd=tmp_path, check=False)
    assert code == 2 and error.count("\n") == 1 and "cats/a.png" in error and "photos" in error
    os.rename(tmp_path / "data/32", tmp_path / "photos")
    command("resize.py", "photos", cwd=tmp_path)
    assert len(made(tmp_path / "photos/32")) == 1
    # Where it is called otherwise, no advice goes in a circle.
    os.makedirs(tmp_path / "other/32/cats")
    picture(32, 32).save(tmp_path / "other/32/cats/a.png")
    code, _, error = command("resize.py", "other", cwd=tmp_path, check=False)
    assert code == 2 and "another name" in error


def test_links_to_folders_elsewhere_are_followed_once_and_none_goes_in_a_circle(tmp_path):
    for folder in "photos/dogs", "elsewhere/deep":
        os.makedirs(tmp_path / folder)
    picture(seed=1).save(tmp_path / "photos/dogs/a.png")
    picture(seed=2).save(tmp_path / "elsewhere/deep/b.png")
    for name, target in (("cats", "../elsewhere"), ("again", "../elsewhere"), ("up", ".."),
                         ("self", "."), ("dogs2", "dogs")):
        os.symlink(target, tmp_path / "photos" / name)
    os.symlink("..", tmp_path / "elsewhere/deep/up")
    _, output, _ = command("resize.py", "photos", cwd=tmp_path)
    assert counts(output) == [2, 2, 0, 0], output
    assert len(made(tmp_path / "photos/32")) == 2


def test_a_link_to_the_sizes_that_are_made_is_not_read(tmp_path):
    os.makedirs(tmp_path / "data/32")
    picture(32, 32).save(tmp_path / "data/32/a.png")
    os.symlink("../16", tmp_path / "data/32/small")
    for _ in range(2):
        command("resize.py", "data/32", "--min_size", 16, cwd=tmp_path)
        assert os.listdir(tmp_path / "data/16") == ["a.png"]


def test_long_names_fit_and_none_is_hidden(tmp_path):
    os.makedirs(tmp_path / "photos")
    names = ["图" * 80 + ".jpg", "a" * 243 + ".png", "a" * 50 + "." + "z" * 99 + ".jpg",
             "é" * 120 + ".png"]
    for i, name in enumerate(names):
        picture(seed=i).save(tmp_path / "photos" / name)
    _, output, _ = command("resize.py", "photos", cwd=tmp_path)
    assert counts(output) == [4, 4, 0, 0], output
    assert len(PictureFolder(str(tmp_path / "photos"), 32)) == 4
    assert target_name("x" * 150 + ".jpg").startswith("x" * 100 + "-")      # as it always was


def test_names_of_any_bytes_are_reported_in_any_locale(tmp_path):
    os.makedirs(tmp_path / "photos")
    picture().save(tmp_path / "photos/a.png")
    with open(os.fsencode(tmp_path / "photos") + b"/br\xe9.png", "wb") as file:
        file.write(b"no picture")
    result = subprocess.run(
        [sys.executable, os.path.join(ROOT, "resize.py"), "photos", "--report", "odd.csv"],
        cwd=tmp_path, capture_output=True, text=True, env=os.environ | {
            "PYTHONIOENCODING": "utf-8:strict", "PYTHONPATH": ROOT})
    assert result.returncode == 0 and "br\\udce9.png" in result.stdout, result.stderr
    closed = subprocess.run(["sh", "-c", f"{sys.executable} {ROOT}/resize.py photos >&-"],
                            cwd=tmp_path, capture_output=True, text=True)
    assert closed.returncode == 0 and "Traceback" not in closed.stderr
    assert "br\\udce9.png,unreadable" in (tmp_path / "odd.csv").read_text()


def test_a_folder_of_masks_that_cannot_be_read_is_taken_for_none(tmp_path):
    assert not holds_masks(str(tmp_path / "nowhere_masks"))


def save_all(root, names):
    """Pictures, each as large as its folder is called, or 40×40."""
    for i, name in enumerate(names):
        folder = os.path.basename(os.path.dirname(name))
        side = {"7": 8}.get(folder) or int(folder) if folder.isdecimal() else 40
        os.makedirs(os.path.dirname(root / name), exist_ok=True)
        picture(side, side, seed=i).save(root / name)


def packed(folder):
    shutil.make_archive(folder, "zip", folder)
    return f"{folder}.zip"


@pytest.mark.parametrize("pack", [str, packed])
def test_what_resize_made_further_down_is_no_picture_of_its_own(tmp_path, pack):
    nest = str(tmp_path / "nest")
    save_all(tmp_path, ["nest/cats/0.png", "nest/cats/1.jpg", "nest/drawn/16/0.png",
                        "nest/drawn/16/1.png", "nest/kinds/a/0.png", "nest/kinds/b/0.png"])
    for some in "cats", "drawn/16", "kinds":            # 8, 16 and 32; 8; 8, 16 and 32
        command("resize.py", os.path.join(nest, some), cwd=tmp_path)
    _, output, noted = command("resize.py", pack(nest), "--zip", "all.zip", cwd=tmp_path)
    assert "6 pictures: 6 written" in output and "3 classes from sub-folders" in output
    assert "note: left out 14 pictures in 7 folders that resize.py made" in noted
    assert noted.count("\n") == 1


def test_what_was_made_stays_out_though_its_pictures_are_gone(tmp_path):
    save_all(tmp_path, [f"nest/cats/{i}.jpg" for i in range(4)] + ["nest/dogs/0.png"])
    command("resize.py", "nest/cats", cwd=tmp_path)
    for i in range(3):
        os.remove(tmp_path / f"nest/cats/{i}.jpg")
    _, output, noted = command("resize.py", "nest", cwd=tmp_path)
    assert "2 pictures: 2 written" in output and "left out 12 pictures" in noted


@pytest.mark.parametrize("pack", [str, packed])
@pytest.mark.parametrize("names", [
    ["digits/8/0.png", "digits/8/1.png", "digits/7/0.png", "digits/7/1.png", "digits/a.png"],
    ["emoji/64/a.png", "emoji/64/b.png", "emoji/16/c.png", "emoji/cover.jpg", "other/a.png"],
    ["None/a.png", "None/b.png", "016/a.png", "016/b.png"],
    ["tiles/16/a.png", "tiles/32/b.png", "tiles/64/c.png", "other/16/a.png"]])
def test_folders_that_are_called_as_their_pictures_are_large_stay(tmp_path, names, pack):
    """Where these are called otherwise than what resize.py makes."""
    save_all(tmp_path / "photos", names)
    _, output, noted = command("resize.py", pack(str(tmp_path / "photos")), "--zip", "x.zip",
                               cwd=tmp_path)
    assert f"{len(names)} pictures: {len(names)} written" in output and not noted


def test_a_size_that_was_made_before_is_not_taken_for_a_class(tmp_path):
    os.makedirs(tmp_path / "photos")
    picture(70, 50).save(tmp_path / "photos/a.png")
    for _ in range(2):
        _, output, noted = command("resize.py", "photos", "--max_size", 8, cwd=tmp_path)
        assert output.startswith("1 picture: ") and not noted
    save_all(tmp_path, [f"photos/8/{name}.png" for name in "bcd"])      # one of four is of photos
    _, _, noted = command("resize.py", "photos", "--max_size", 8, cwd=tmp_path)
    assert "photos/8 is left out" in noted


def test_what_is_there_from_before_is_told(tmp_path):
    os.makedirs(tmp_path / "photos")
    for i in range(2):
        picture(70, 50, seed=i).save(tmp_path / f"photos/{i}.png")
    command("resize.py", "photos", cwd=tmp_path)
    os.remove(tmp_path / "photos/1.png")
    _, output, _ = command("resize.py", "photos", "--fit", "pad", cwd=tmp_path)
    assert "3 pictures in 8, 16, 32" in output and "photos/32/1.png" in output
    assert "--fit: not for those that were there already: --force" in output
    assert "--report FILE.csv names them" in output
    _, output, _ = command("resize.py", "photos", "--report", "odd.csv", cwd=tmp_path)
    assert "3 pictures in 8" in output and "FILE.csv" not in output
    rows = [line.split(",") for line in (tmp_path / "odd.csv").read_text().splitlines()]
    assert sorted(name for name, found, _ in rows if found == "left over") == [
        f"photos/{size}/1.png" for size in (16, 32, 8)]
    assert len(made(tmp_path / "photos/32")) == 2           # nothing is deleted
    for size in (8, 16, 32):
        os.remove(tmp_path / f"photos/{size}/1.png")
    _, output, _ = command("resize.py", "photos", "--fit", "pad", "--force", cwd=tmp_path)
    assert "come from none" not in output and "not for those" not in output


def test_a_picture_that_was_replaced_under_its_name_is_told_until_force(tmp_path):
    os.makedirs(tmp_path / "photos")
    for i in range(2):
        picture(70, 50, seed=i).save(tmp_path / f"photos/{i}.png")
        os.utime(tmp_path / f"photos/{i}.png", (1, 1))
    told = "1 picture changed after the sizes were made (such as photos/1.png)"
    _, output, _ = command("resize.py", "photos", cwd=tmp_path)
    assert "changed after" not in output
    picture(70, 50, seed=2).save(tmp_path / "photos/1.png")
    after = os.stat(tmp_path / "photos/32/1.png").st_mtime + 10
    os.utime(tmp_path / "photos/1.png", (after, after))
    before = made(tmp_path / "photos/32")
    _, output, _ = command("resize.py", "photos", cwd=tmp_path)
    assert told in output and (made(tmp_path / "photos/32")["1.png"] == before["1.png"]).all()
    os.utime(tmp_path / "photos/1.png")
    _, output, _ = command("resize.py", "photos", "--force", cwd=tmp_path)
    assert "changed after" not in output
    assert (made(tmp_path / "photos/32")["1.png"] != before["1.png"]).any()
