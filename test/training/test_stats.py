"""stats.py and plot.py: the numbers of a run, through crashes and resumes, and their picture."""
import os
import shutil
import types

import numpy as np
import pytest
from conftest import ROOT, command
from PIL import Image
from small_runs import GROWING

import plot
from backend.errors import UserError
from measures import evaluate
from training import stats
from training.schedule import Schedule


def steps(path, images_seen, kimg, batch=16):
    """As train.py does: a line for every thousand images up to `kimg`."""
    schedule = Schedule(8, 32, kimg=kimg, fade_kimg=2, phase_kimg=4, batch={8: 16, 16: 16, 32: 16},
                        lr={8: 1, 16: 1, 32: 1})
    course = stats.Stats(str(path), images_seen)
    while images_seen < schedule.total_images:
        phase = schedule.at(images_seen)
        sound = dict(sound=np.float64(1))
        course.add({"loss_D": np.float64(images_seen), "loss_G": np.float64(-1)} | sound, batch)
        if images_seen % 2000 == 0:
            course.add({"r1": np.float64(5), "score_real": np.float64(np.nan)} | sound, 0)
        images_seen += batch
        if images_seen // 1000 != (images_seen - batch) // 1000:
            training = types.SimpleNamespace(images_seen=images_seen, skipped=np.float64(0),
                                             augmentation=None)
            course.write(training, phase)


def test_lines_are_means_over_the_images_since_the_one_before(tmp_path):
    steps(tmp_path / "stats.csv", 0, 4)
    rows = stats.read(str(tmp_path / "stats.csv"))
    assert [row["kimg"] for row in rows] == [1.008, 2, 3.008, 4]
    assert rows[1]["loss_D"] == pytest.approx((1008 + 1984) / 2) and rows[1]["loss_G"] == -1
    assert rows[0]["r1"] == 5 and rows[1]["r1"] is None
    assert rows[0]["score_real"] is None
    assert all(tuple(row) == stats.COLUMNS for row in rows)
    assert all(row["images_per_second"] > 0 and 0 < row["memory_gib"] < 100 for row in rows)


def test_what_is_measured_in_some_steps_is_the_mean_of_those(tmp_path):
    course, schedule = stats.Stats(str(tmp_path / "stats.csv"), 0), Schedule(8, 8)
    for score in np.float64(1), None, np.float64(3):
        course.add({"score_held": score, "sound": np.float64(1)}, 400)
    course.write(types.SimpleNamespace(images_seen=1200, skipped=np.float64(0), augmentation=None),
                 schedule.at(0))
    assert stats.read(str(tmp_path / "stats.csv"))[0]["score_held"] == 2


def test_a_file_that_is_deleted_meanwhile_begins_anew(tmp_path):
    folder = tmp_path / "run"
    course, schedule = stats.Stats(str(folder / "stats.csv"), 0), Schedule(8, 8)
    for images_seen in 1000, 2000, 3000:
        course.add({"sound": np.float64(1)}, 1000)
        course.write(types.SimpleNamespace(images_seen=images_seen, skipped=np.float64(0),
                                           augmentation=None), schedule.at(0))
        if images_seen == 1000:
            shutil.rmtree(folder)
    assert [row["kimg"] for row in stats.read(str(folder / "stats.csv"))] == [2, 3]


def test_a_skipped_step_counts_nothing_not_even_what_was_finite_in_it(tmp_path):
    course, schedule = stats.Stats(str(tmp_path / "stats.csv"), 0), Schedule(8, 8)
    for loss_D, loss_G, sound in ((1, 2, 1), (1e6, np.nan, 0), (3, 4, 1)):
        course.add({"loss_D": np.float64(loss_D), "loss_G": np.float64(loss_G),
                    "sound": np.float64(sound)}, 400)
    course.write(types.SimpleNamespace(images_seen=1200, skipped=np.float64(1), augmentation=None),
                 schedule.at(0))
    row, = stats.read(str(tmp_path / "stats.csv"))
    assert (row["loss_D"], row["loss_G"], row["skipped"]) == (2, 3, 1)


def test_a_resumed_run_has_every_line_once(tmp_path):
    whole, resumed = tmp_path / "whole.csv", tmp_path / "resumed.csv"
    steps(whole, 0, 9)
    steps(resumed, 0, 7)                                # it was killed here,
    steps(resumed, 4000, 9)                             # and the last file saved is of 4 kimg
    wanted, found = stats.read(str(whole)), stats.read(str(resumed))
    for row in wanted + found:
        del row["images_per_second"], row["memory_gib"]
    assert wanted == found


def test_the_line_of_the_very_image_that_is_resumed_stays(tmp_path):
    """2.007 · 1000 is a little more than 2007 in floating point."""
    path = tmp_path / "stats.csv"
    path.write_text(",".join(stats.COLUMNS) + "\n2.007,8,1,16" +
                    "," * (len(stats.COLUMNS) - 4) + "\n")
    assert len(stats.Stats(str(path), 2007).before) == 1
    assert len(stats.Stats(str(path), 2006).before) == 0


def test_what_a_crash_left_is_dropped_and_the_rest_kept(tmp_path):
    path = tmp_path / "stats.csv"
    steps(path, 0, 4)
    good = path.read_text()
    no_number = "5,8,1,16,x" + "," * (len(stats.COLUMNS) - 5) + "\n"
    for damage in ("5.008,8,1", "\0" * 300, no_number, "\n\n"):
        path.write_text(good + damage)
        assert len(stats.read(str(path))) == 4
    steps(path, 4000, 5)
    assert [row["kimg"] for row in stats.read(str(path))] == [1.008, 2, 3.008, 4, 5.008]
    path.write_text("a shopping list\n")
    with pytest.raises(UserError, match="no column kimg"):
        stats.read(str(path))


def test_phases_are_found_again(tmp_path):
    steps(tmp_path / "stats.csv", 0, 20)
    rows = stats.read(str(tmp_path / "stats.csv"))
    phases = [(size, fading) for _, _, size, fading in plot.stretches(rows)]
    assert phases == [(8, False), (16, True), (16, False), (32, True), (32, False)]
    borders = [first for first, *_ in plot.stretches(rows)]
    assert borders == pytest.approx([0, 4, 6, 10, 12], abs=1.01)


def test_the_line_of_a_measure_breaks_at_a_new_size():
    rows = [dict(kimg=k, size=s, swd=d, loss_D=1.0) for k, s, d in (
        (1, 8, 5.0), (2, 8, None), (3, 8, 4.0), (4, 16, 3.0))]
    kimg, values = plot.curve(rows, "swd")
    assert kimg == [1, 3, 4, 4] and values[:2] == [5, 4] and values[3] == 3
    assert np.isnan(values[2])
    assert plot.curve(rows, "loss_D") == ([1, 2, 3, 4], [1, 1, 1, 1])


def test_the_picture_and_the_film_of_a_run(tmp_path, symbols):
    command("train.py", symbols, *GROWING, "--name", "seen", "--kimg", 2.2, "--sample_kimg", 0.5,
            cwd=tmp_path)
    _, output, _ = command("plot.py", "seen", cwd=tmp_path)
    assert output.split() == ["sample/seen/stats.png", "sample/seen/growth.gif"]
    rows = stats.read(str(tmp_path / "sample/seen/stats.csv"))
    assert [(row["kimg"], row["size"]) for row in rows] == [(1, 16), (2, 16), (2.2, 16)]
    for name in stats.COLUMNS:
        # StyleGAN2's, and those of --augment and --holdout
        if name not in (*evaluate.COLUMNS, "path_length", "augment_p", "score_held"):
            assert all(row[name] is not None and np.isfinite(row[name]) for row in rows), name
    assert all(row["grad_norm_D"] > 0 and row["r1"] > 0 for row in rows)
    with Image.open(tmp_path / "sample/seen/stats.png") as picture:
        colours = set(np.asarray(picture.convert("RGB")).reshape(-1, 3)[:, 0].tolist())
        assert picture.width == 1100 and picture.height > 900 and len(colours) > 20
    with Image.open(tmp_path / "sample/seen/growth.gif") as film, \
            Image.open(tmp_path / "sample/seen/real.png") as real, \
            Image.open(tmp_path / "sample/seen/000002200.png") as last:
        # Sixteen columns of pictures of at most 16×16, each four times as large.
        assert last.size == real.size == (16 * 66 - 2, 8 * 66 - 2)
        assert film.n_frames == 5 and film.size == last.size
        film.seek(4)
        found = np.asarray(film.convert("RGB"), int)
        assert film.info["duration"] == 3000 and np.abs(found - np.asarray(last, int)).mean() < 12


def test_a_film_of_growth_takes_grids_that_were_painted_smaller(tmp_path):
    paths = [str(tmp_path / f"{i}.png") for i in range(2)]
    for path, zoom in zip(paths, (1, 2)):
        Image.new("RGB", (40 * zoom, 20 * zoom), (200, 0, 0)).save(path)
    plot.grow(paths, str(tmp_path / "growth.gif"))
    with Image.open(tmp_path / "growth.gif") as film:
        for i in range(2):
            film.seek(i)
            assert (np.asarray(film.convert("RGB")) == (200, 0, 0)).all() and film.size == (80, 40)


def test_a_plot_says_a_name_as_it_is_and_nothing_of_fonts(tmp_path):
    sample = tmp_path / "sample/猫 $a_b$ ᚠ"
    sample.mkdir(parents=True)
    shutil.copy(os.path.join(ROOT, "docs/runs/symbols/stats.csv"), sample)
    _, _, error = command("plot.py", sample.name, cwd=tmp_path)
    assert error == "" and sorted(os.listdir(sample)) == ["stats.csv", "stats.png"]


@pytest.mark.parametrize("rows", [3, 350])
def test_no_words_lie_on_the_curves(tmp_path, monkeypatch, rows):
    from matplotlib import pyplot
    figures = []
    monkeypatch.setattr(pyplot, "close", figures.append)
    course = stats.read(os.path.join(ROOT, "docs/runs/symbols/stats.csv"))[:rows]
    for row in course:
        row |= {"precision": 0.5, "recall": 0.4}        # a panel with two measures
    plot.draw(course, "x", str(tmp_path / "x.png"))
    strip, *panels = figures[0].axes
    assert [text.get_text() for text in strip.texts] == ["8", "16", "32"][:1 if rows == 3 else 3]
    legends = [panel.get_legend() for panel in panels if panel.get_legend()]
    assert len(legends) == 4 and not any(panel.texts for panel in panels)
    frames = [panel.get_window_extent() for panel in panels]
    titles = [title.get_window_extent() for title in (panel._left_title for panel in panels)]
    for words in legends + strip.texts:
        extent = words.get_window_extent()
        assert not any(extent.overlaps(frame) for frame in frames)
        assert not any(extent.overlaps(title) for title in titles if title.width)


def test_plot_says_what_is_missing(tmp_path):
    code, _, error = command("plot.py", "nothing", cwd=tmp_path, check=False)
    assert code == 2 and "sample/nothing/stats.csv" in error
    os.makedirs(tmp_path / "sample/short")
    (tmp_path / "sample/short/stats.csv").write_text(",".join(stats.COLUMNS) + "\n")
    with open(tmp_path / "sample/short/stats.csv", "a") as file:
        file.write("1,8,1,16" + "," * (len(stats.COLUMNS) - 4) + "\n")
    code, _, error = command("plot.py", "short", cwd=tmp_path, check=False)
    assert code == 2 and "found 1 line, wanted 2 or more" in error and "--resume --kimg" in error
