"""avatars.py: pictures of parts, what is in them, and whose they are."""
import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import ROOT, command
from PIL import Image

from pictures.parts import KINDS, Art

pytest.importorskip("robohash")


def rows_of(folder):
    with open(folder / "attributes.csv") as file:
        return {row.pop("file"): row for row in csv.DictReader(file)}


def pixels(path):
    return np.asarray(Image.open(path))


@pytest.fixture(scope="module")
def cats(tmp_path_factory):
    """Folder with 64/ and 64_masks/, thirty cats."""
    root = tmp_path_factory.mktemp("cats")
    command("avatars.py", root / "64", "--count", 30, "--masks", cwd=root)
    return root


def test_attributes_say_which_part_stands_where(cats):
    """Drawn again from its row of attributes.csv alone, every picture is the same."""
    art, rows = Art("cats"), rows_of(cats / "64")
    assert sorted(rows) == [f"{i:06d}.png" for i in range(30)]
    for name, row in rows.items():
        assert (pixels(cats / "64" / name) == np.asarray(art.draw(row, 64))).all()
    one = rows["000003.png"]
    other = one | {"fur": next(v for v in art.attributes["fur"] if v != one["fur"])}
    assert (np.asarray(art.draw(other, 64)) != pixels(cats / "64/000003.png")).any()


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_mask_covers_what_is_drawn_and_nothing_else(kind):
    """Ground with ground all around it is white, but for hairs thinner than a pixel."""
    art = Art(kind)
    for number in range(6):
        chosen = art.choose(0, number)
        picture, mask = np.asarray(art.draw(chosen, 64)), art.mask(chosen, 64)
        assert mask.shape == (64, 64) and mask.max() <= len(art.columns)
        assert len(np.unique(mask)) > 3
        around = np.lib.stride_tricks.sliding_window_view(np.pad(mask, 1, "edge"), (3, 3))
        ground = (around == 0).all((2, 3))
        assert ground.mean() > 0.1 and (picture[ground] > 240).mean() > 0.98


def test_a_part_owns_the_pixels_that_change_with_it():
    art = Art("cats")
    chosen = art.choose(0, 1)
    picture, mask = np.asarray(art.draw(chosen, 64)), art.mask(chosen, 64)
    values = [v for v in art.attributes["mouth"] if v != chosen["mouth"]]
    changed = np.any([np.abs(np.asarray(art.draw(chosen | {"mouth": v}, 64), int) -
                             picture).max(2) > 100 for v in values], axis=0)
    mouth = list(art.columns).index("mouth") + 1
    assert (mask == mouth).any() and changed[mask == mouth].mean() > 0.5


def test_pictures_depend_on_seed_and_number_alone(cats, tmp_path):
    command("avatars.py", tmp_path / "a/64", "--count", 12, "--workers", 2, cwd=tmp_path)
    command("avatars.py", tmp_path / "b/64", "--count", 12, "--seed", 1, cwd=tmp_path)
    same = [(pixels(cats / "64" / f"{i:06d}.png") == pixels(tmp_path / f"a/64/{i:06d}.png")).all()
            for i in range(12)]
    others = [(pixels(tmp_path / f"b/64/{i:06d}.png") ==
               pixels(tmp_path / f"a/64/{i:06d}.png")).all() for i in range(12)]
    assert all(same) and not any(others)


def test_all_parts_are_drawn_about_equally_often():
    for kind in KINDS:
        art = Art(kind)
        chosen = [art.choose(0, number) for number in range(3000)]
        for name, values in art.attributes.items():
            if name.endswith(("_colour", "_print")) or name in art.kind.often:
                continue
            found = [sum(one[name] == value for one in chosen) for value in values]
            assert min(found) > 0.5 * 3000 / len(values) and max(found) < 1.6 * 3000 / len(values)


def test_it_goes_on_where_it_stopped_and_mixes_with_nothing_else(cats, tmp_path):
    folder = tmp_path / "64"
    shutil.copytree(cats / "64", folder)
    os.remove(folder / "000007.png")
    os.remove(folder / "attributes.csv")
    _, output, _ = command("avatars.py", folder, "--count", 10, cwd=tmp_path)
    assert output.startswith(f"{folder}: 1 picture of 64×64 drawn, 9 already there")
    assert (pixels(folder / "000007.png") == pixels(cats / "64/000007.png")).all()
    assert rows_of(folder) == rows_of(cats / "64")
    os.remove(folder / "000029.png")                    # as a start that was stopped leaves it
    command("avatars.py", folder, "--count", 5, cwd=tmp_path)
    assert len(rows_of(folder)) == 29
    shutil.copy(folder / "000001.png", folder / "best.png")
    code, _, error = command("avatars.py", folder, cwd=tmp_path, check=False)
    assert code == 2 and error.count("\n") == 1 and "best.png" in error
    os.remove(folder / "best.png")
    for flags, made in ((["--seed", 1], "--seed 0"), (["--kind", "people"], "--kind cats"),
                        (["--size", 32], "is for pictures of 64")):
        code, _, error = command("avatars.py", folder, *flags, cwd=tmp_path, check=False)
        assert code == 2 and error.count("\n") == 1 and made in error


@pytest.mark.parametrize("there", ["notes.txt", "64", "photo.jpg"])
def test_nothing_is_drawn_into_a_folder_that_holds_something_else(tmp_path, there):
    (tmp_path / "cats" / there).mkdir(parents=True)
    code, _, error = command("avatars.py", "cats", "--count", 2, cwd=tmp_path, check=False)
    assert code == 2 and error.count("\n") == 1 and there in error
    assert os.listdir(tmp_path / "cats") == [there]


def test_a_damaged_picture_is_told_with_what_to_do(cats, tmp_path):
    folder = tmp_path / "64"
    shutil.copytree(cats / "64", folder)
    (folder / "000003.png").write_bytes(b"")
    code, _, error = command("avatars.py", folder, cwd=tmp_path, check=False)
    assert code == 2 and error.count("\n") == 1 and "000003.png" in error and "delete it" in error


def test_masks_come_to_pictures_that_are_there(tmp_path):
    folder = tmp_path / "Katzen, 32"
    os.makedirs(folder)
    command("avatars.py", ".", "--size", 16, "--count", 3, cwd=folder)
    _, output, _ = command("avatars.py", ".", "--size", 16, "--count", 4, "--masks", cwd=folder)
    assert ".: 1 picture of 16×16 drawn, 3 already there" in output
    assert "Katzen, 32_masks: 4 pictures of 16×16 drawn, 0 already there" in output
    assert sorted(os.listdir(tmp_path)) == ["Katzen, 32", "Katzen, 32_masks"]


def begin_drawing(folder):
    """avatars.py at work on more than it will come to, with some pictures drawn."""
    started = subprocess.Popen([sys.executable, os.path.join(ROOT, "avatars.py"), folder.name,
                                "--count", "100000"], cwd=folder.parent, stderr=subprocess.PIPE,
                               text=True)
    while started.poll() is None and len(list(folder.glob("*.png"))) < 40:
        time.sleep(0.1)
    return started


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_stopped_it_leaves_whole_pictures_and_a_table_of_those_alone(tmp_path, number):
    folder = tmp_path / "16"
    started = begin_drawing(folder)
    started.send_signal(number)
    error = started.communicate()[1]
    assert started.returncode == 128 + number
    assert not re.search("Traceback|Error|semaphore", error)
    check_what_is_there(folder)


def test_a_killed_helper_is_one_line_and_what_it_left_goes(tmp_path):
    folder = tmp_path / "16"
    started = begin_drawing(folder)
    helper = next(int(pid) for pid in children(started.pid) if "spawn_main" in command_line(pid))
    os.kill(helper, signal.SIGKILL)
    error = started.communicate(timeout=60)[1]
    assert started.returncode == 2
    assert error.splitlines()[-1].startswith("error: a helper process was killed")
    assert "Traceback" not in error and "--workers" in error
    check_what_is_there(folder)


def test_what_a_killed_run_left_half_written_goes_with_the_next(tmp_path):
    folder = tmp_path / "16"
    started = begin_drawing(folder)
    os.kill(started.pid, signal.SIGKILL)
    started.communicate()
    drawn = len(list(folder.glob("*.png")))
    command("avatars.py", folder, "--count", drawn, cwd=tmp_path)
    check_what_is_there(folder)


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return file.read().split()


def command_line(pid):
    with open(f"/proc/{pid}/cmdline") as file:
        return file.read()


def check_what_is_there(folder):
    """Whole pictures, a table of those, and nothing else."""
    drawn = sorted(path.name for path in folder.glob("*.png"))
    assert sorted(rows_of(folder)) == drawn
    assert sorted(os.listdir(folder)) == [*drawn, "CREDITS.txt", "attributes.csv"]
    for name in drawn:
        Image.open(folder / name).load()


def test_a_table_of_somebody_else_is_never_replaced(tmp_path):
    for name, text in ("attributes.csv", "file,mood\na.png,sad\n"), ("CREDITS.txt", "thanks"):
        folder = tmp_path / name / "16"
        os.makedirs(folder)
        (folder / name).write_text(text)
        code, _, error = command("avatars.py", folder, "--count", 2, cwd=tmp_path, check=False)
        assert code == 2 and error.count("\n") == 1 and name in error
        assert os.listdir(folder) == [name] and (folder / name).read_text() == text


def test_masks_and_only_masks_are_not_taken_for_pictures(cats, tmp_path):
    code, _, error = command("resize.py", cats, cwd=cats, check=False)
    assert code == 2 and "no pictures in it" in error and "resize.py" in error
    for name, folder in (("a", "64"), ("a_masks", "64_masks"), ("2020_masks", "64")):
        os.makedirs(tmp_path / name)
        shutil.copy(cats / folder / "000001.png", tmp_path / name)
    _, output, _ = command("resize.py", tmp_path, cwd=tmp_path)
    assert output.startswith("2 pictures: 2 written")


def test_the_artist_is_named_in_every_folder(cats):
    for folder in "64", "64_masks":
        text = (cats / folder / "CREDITS.txt").read_text()
        assert "David Revoy" in text and "CC BY 4.0" in text


def test_a_missing_package_is_one_line(tmp_path):
    code = ("import sys; sys.path.insert(0, sys.argv.pop(1))\n"
            "from pictures import parts; parts.PACKAGE = 'not_there'\n"
            "import avatars, cli; cli.run(avatars.main)")
    code, _, error = command("-c", code, ROOT, "x/64", cwd=tmp_path, check=False)
    assert code == 2 and error.count("\n") == 1 and "requirements-demo.txt" in error
    assert os.listdir(tmp_path) == []
