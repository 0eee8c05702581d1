"""--holdout: pictures that are kept back, and what D says of them."""
import csv
import shutil

import numpy as np
import pytest
from conftest import command
from small_runs import GROWING, in_process, train_on

from backend.errors import UserError
from dataset import Loader, PictureFolder, load_batch, to_float
from networks.inputs import fade
from training import runs, settings
from training.data import HeldOut
from training.iteration import Training


def names(root, size, **options):
    return set(PictureFolder(root, size, 0.3, **options).names)


def test_what_is_kept_back_is_the_same_at_all_sizes_and_never_trained_on(symbols):
    held, rest = names(symbols, 16, held=True), names(symbols, 16)
    assert held == names(symbols, 32, held=True) and not held & rest and len(held) > 3
    assert held | rest == set(PictureFolder(symbols, 16).names)
    with Loader(symbols, workers=0, holdout=0.3) as loader:
        paths = loader.folder(16).files(range(300), seed=0)
    assert {path.rsplit("/", 1)[-1] for path in paths} == rest


def test_their_score_is_ds_mean_of_them_as_training_shows_pictures(symbols):
    training = Training(*in_process(symbols, phase_kimg=0.008))
    train_on(training, 3)                                   # while 16×16 fades in
    phase = training.schedule.trained(training.images_seen)
    assert 0 < phase.alpha < 1
    folder = PictureFolder(symbols, 16, 0.3, held=True)
    images = to_float(load_batch(folder.files(range(8), 0), [False] * 8, 16, 3)[0])
    blurred = images.reshape(8, 3, 8, 2, 8, 2).mean((3, 5)).repeat(2, 2).repeat(2, 3)
    from backend import jt
    shown = jt.array((blurred + (images - blurred) * phase.alpha).astype("float32"))
    wanted = training.D(shown, fade(phase.alpha)).numpy().mean()
    assert abs(training.score(images, phase) - wanted) < 1e-5 * max(1, abs(wanted))
    training.s["grad_accum"] = 2
    parts = [training.D(shown[i:i + 4], fade(phase.alpha)).numpy() for i in (0, 4)]
    assert abs(training.score(images, phase) - np.mean(parts)) < 1e-5


def test_batches_of_them_are_scored_by_turns_and_outlast_their_files(symbols, tmp_path):
    shutil.copytree(symbols, tmp_path / "data")
    s, *rest = in_process(str(tmp_path / "data"), phase_kimg=0.008)
    training = Training(s | {"holdout": 0.5}, *rest)
    train_on(training, 3)
    phase = training.schedule.trained(training.images_seen)
    folder = PictureFolder(symbols, 16, 0.5, held=True)
    assert 16 < len(folder) < 24                            # no third batch without repetitions
    wanted = [training.score(to_float(load_batch(folder.files(range(i, i + 8), s["seed"]),
                                                 [False] * 8, 16, 3)[0]), phase) for i in (0, 8)]
    held = HeldOut(training)
    for before, images, turn in (0, 8, 0), (248, 256, 1), (0, 499, 1), (496, 504, 0):
        training.images_seen = images
        assert held.is_due(before) == (images > 8)
        assert held.score(phase) == wanted[turn] != wanted[1 - turn]
        shutil.rmtree(tmp_path / "data", ignore_errors=True)
    assert HeldOut(training).score(phase) is None


@pytest.mark.parametrize("arch", [["--arch", "stylegan2", "--max_size", 8], GROWING[10:]])
def test_a_run_writes_their_scores_and_learns_the_same_on_another_day(symbols, tmp_path, arch):
    flags = [symbols, *GROWING[:10], *arch, "--holdout", 0.3, "--augment", "diff"]
    for name, kimg, *resume in ("a", 1.3), ("b", 0.4), ("b", 1.3, "--resume"):
        command("train.py", *flags, "--name", name, "--kimg", kimg, *resume, cwd=tmp_path)
    whole, resumed = (runs.load_resume(str(tmp_path / "checkpoint"), name)[1] for name in "ab")
    assert all(np.array_equal(whole[name], resumed[name]) for name in whole)
    found = []
    for name in "ab":
        with open(tmp_path / f"sample/{name}/stats.csv", newline="") as file:
            found.append([row["score_held"] for row in csv.DictReader(file)])
    assert [len(scores) for scores in found] == [2, 3] and all(map(float, sum(found, [])))
    assert found[0][-1] == found[1][-1]                     # from 1,000 images on
    code, _, error = command("train.py", *flags[:-3], 0.1, "--name", "a", "--resume", cwd=tmp_path,
                             check=False)
    assert code == 2 and "--holdout 0.1" in error


def test_a_share_that_leaves_nothing_is_refused_in_one_line(symbols):
    with pytest.raises(UserError, match="--holdout 1e-06: that is none of the 40 pictures"):
        PictureFolder(symbols, 16, 1e-6, held=True)
    with pytest.raises(UserError, match="--holdout: found 1.5, wanted a share"):
        settings.new_run(dict(data=symbols, name="x", holdout=1.5))
