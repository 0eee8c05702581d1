"""What a run begins with, from preset and flags, and what it goes on with."""
import os
import re
import shutil

import pytest
from conftest import command
from small_runs import TINY
from weight_files import header

from backend.errors import UserError
from training import runs, schedule, settings, stats
from training.flags import parse
from weights import snapshot


def begun(symbols, **typed):
    return settings.new_run({"data": symbols, "name": "x"} | typed)


def test_sizes_that_a_table_does_not_name_have_the_presets_numbers(symbols):
    small = settings.make_schedule(begun(symbols, preset="small", batch="32:8", lr="32:0.003"))
    assert (small.batch[8], small.batch[16], small.batch[32]) == (16, 16, 8)
    assert (small.lr[8], small.lr[16], small.lr[32]) == (0.006, 0.006, 0.003)
    official = settings.make_schedule(begun(symbols, batch="32:8", lr="32:0.003"))
    assert (official.batch[8], official.batch[32]) == (schedule.BATCH[8], 8)
    assert (official.lr[8], official.lr[32]) == (schedule.LEARNING_RATE[8], 0.003)
    gan2 = settings.make_schedule(begun(symbols, arch="stylegan2", preset="paper256", lr="8:0.001"))
    assert gan2.lr[32] == 0.0025 and gan2.batch[32] == 64


def test_what_a_preset_shares_can_be_left_and_goes_on_as_it_began(symbols):
    typed = {"data": symbols, "name": "x", "preset": "small"}
    parsed = parse([symbols, "--preset", "small", "--no_share_fakes"])
    assert parsed["share_fakes"] is False and "share_fakes" not in parse([symbols])
    for share, again, message in (
            (True, False, "--no_share_fakes, but the run x was started with --share_fakes:"),
            (False, True, "--share_fakes, but the run x was started without --share_fakes:")):
        begun = settings.new_run(typed | ({} if share else {"share_fakes": False}))
        assert begun["share_fakes"] is share
        with pytest.raises(UserError, match=message):
            settings.resumed_run(typed | {"share_fakes": again}, settings.to_save(begun))


def test_a_table_typed_again_changes_nothing_of_a_run_that_goes_on(symbols):
    typed = {"data": symbols, "name": "x", "preset": "small", "batch": "32:8", "lr": "32:0.003"}
    saved = settings.to_save(settings.new_run(dict(typed)))
    for again in typed, {"data": symbols, "name": "x", "resume": True}, \
            {"data": symbols, "name": "x", "batch": "16:16", "lr": "8:0.006"}:
        assert settings.make_schedule(settings.resumed_run(dict(again), saved)) == \
            settings.make_schedule(saved)
    for other in {"batch": "16:8"}, {"lr": "8:0.005"}, {"lr": "0.006"}:
        with pytest.raises(UserError, match="was started with"):
            settings.resumed_run({"data": symbols, "name": "x"} | other, saved)


@pytest.mark.parametrize("flag", ["kimg", "phase_kimg", "fade_kimg", "gamma", "augment_kimg"])
def test_what_has_to_end_is_finite(symbols, flag):
    with pytest.raises(UserError, match=f"--{flag}: found inf, wanted a number"):
        begun(symbols, **{flag: float("inf"), "augment": "ada"})


@pytest.mark.parametrize("flag", ["lr", "dlr"])
@pytest.mark.parametrize("value", ["nan", "inf", "32:nan", "0"])
def test_learning_rates_are_numbers_above_0(symbols, flag, value):
    with pytest.raises(UserError, match=f"--{flag}: found '{value}', wanted numbers above 0"):
        settings.make_schedule(begun(symbols, **{flag: value}))


def test_what_never_comes_may_be_asked_for(symbols, tmp_path):
    command("train.py", symbols, *TINY, "--max_size", 8, "--name", "x", "--kimg", 0.016,
            "--sample_kimg", "inf", "--save_kimg", "inf", "--metric_kimg", "inf", cwd=tmp_path)
    assert sorted(os.listdir(tmp_path / "sample/x")) == ["000000016.png", "real.png", "stats.csv"]
    assert not schedule.crossed(0, 10 ** 9, float("inf"))


# What an earlier run has left --------------------------------------------------------------------


def test_a_run_without_its_resume_file_is_told_what_can_be_done(symbols, tmp_path):
    command("train.py", symbols, *TINY, "--max_size", 8, "--name", "x", "--kimg", 0.016,
            cwd=tmp_path)
    os.remove(tmp_path / "checkpoint/x_resume.model")
    for flags in [], ["--resume"]:
        code, _, error = command("train.py", symbols, *TINY, "--max_size", 8, "--name", "x", *flags,
                                 cwd=tmp_path, check=False)
        assert code == 2 and error.count("\n") == 1
        assert "--init checkpoint/x_000000016.model --name OTHER" in error
    shutil.rmtree(tmp_path / "checkpoint")              # then it is another run
    (tmp_path / "sample/x/stats.csv").write_text("numbers of the one before\n")
    _, _, error = command("train.py", symbols, *TINY, "--max_size", 8, "--name", "x", "--kimg",
                          0.016, cwd=tmp_path)
    assert "an earlier run: it is sample/x_1 now" in error
    assert (tmp_path / "sample/x_1/stats.csv").read_text() == "numbers of the one before\n"
    assert len([*tmp_path.glob("sample/*/000000016.png")]) == 2     # each with its own grids
    assert stats.read(str(tmp_path / "sample/x/stats.csv"))[-1]["kimg"] == 0.016


def test_a_damaged_file_never_takes_the_place_of_the_whole_one_before_it(tmp_path, capsys):
    folder = str(tmp_path)
    for n in (1, 2):
        runs.save_resume(folder, "run", header(images_seen=n), {"a": [1.0]})
    newest = tmp_path / "run_resume.model"
    newest.write_bytes(newest.read_bytes()[:100])
    _, _, used = runs.load_resume(folder, "run")
    runs.set_aside_damaged(folder, "run", used)
    assert (tmp_path / "run_resume.model.damaged").stat().st_size == 100
    runs.save_resume(folder, "run", header(images_seen=3), {"a": [1.0]})
    assert [snapshot.load(path)[0]["images_seen"] for path in (str(newest), used)] == [3, 1]
    runs.set_aside_damaged(folder, "run", str(newest))  # nothing was damaged
    assert newest.exists()
    capsys.readouterr()


# What is told of the data ------------------------------------------------------------------------


def test_sizes_with_different_numbers_of_pictures_are_told(symbols, tmp_path):
    shutil.copytree(symbols, tmp_path / "data")
    for name in sorted(os.listdir(tmp_path / "data/16"))[:7]:
        os.remove(tmp_path / "data/16" / name)
    _, _, error = command("train.py", "data", "--dry_run", "--preset", "small", cwd=tmp_path)
    assert "found 40 pictures of 8, 33 pictures of 16, 40 pictures of 32, wanted as many" in error
    assert "it makes what is missing" in error
    os.remove(tmp_path / "data/32" / sorted(os.listdir(tmp_path / "data/32"))[-1])
    shutil.rmtree(tmp_path / "data/16")
    shutil.copytree(os.path.join(symbols, "16"), tmp_path / "data/16")
    _, _, error = command("train.py", "data", "--dry_run", "--preset", "small", cwd=tmp_path)
    assert "some of 32 that training cannot read" in error
    _, _, error = command("train.py", symbols, "--dry_run", "--preset", "small", cwd=tmp_path)
    assert "wanted as many" not in error


def test_few_pictures_kept_back_are_told(symbols, tmp_path):
    flags = [symbols, "--dry_run", "--preset", "small", "--holdout"]
    _, _, error = command("train.py", *flags, 0.2, cwd=tmp_path)
    assert "note: --holdout 0.2 keeps back" in error and "than a batch (16)" in error \
        and "the lower score_held is\n" in error     # 40 have no share that is enough
    shutil.copytree(symbols, tmp_path / "data")
    for size in 8, 16, 32:
        for i in range(3):
            for name in os.listdir(os.path.join(symbols, str(size))):
                shutil.copy(os.path.join(symbols, str(size), name),
                            tmp_path / f"data/{size}/{i}{name}")
    flags[0], kept = "data", []
    _, _, error = command("train.py", *flags, 0.03, cwd=tmp_path)
    share = float(re.search(r"score_held is; --holdout (\S+) keeps enough\n", error)[1])
    for more in share, share - 0.01:
        _, _, error = command("train.py", *flags, more, cwd=tmp_path)
        kept.append(int(re.search(r"keeps back (\d+) ", error)[1]))
    assert kept[0] >= 16 and (kept[1] < 16 or share == 0.1)
    flags[0] = symbols
    for more in [0.6], [0.2, "--batch", 4]:
        _, _, error = command("train.py", *flags, *more, cwd=tmp_path)
        assert re.search(r"keeps back \d+ pictures of 40\n", error) and "batch" not in error


def test_the_small_preset_augments_where_pictures_are_few_and_nothing_else_is_typed(
        symbols, tmp_path, monkeypatch):
    def chosen(**typed):
        return begun(symbols, **{"preset": "small"} | typed)["augment"]

    assert [chosen(), chosen(augment="none"), chosen(augment="diff")] == ["ada", "none", "diff"]
    assert chosen(preset="official") == chosen(arch="stylegan2") == chosen(loss="wgan-gp") == "none"
    assert settings.augmentation(begun(symbols, preset="small", augment_target=0.8)) == {
        "augment": "ada", "augment_target": 0.8, "augment_kimg": 100}
    # Those of the size that is trained count.
    shutil.copytree(symbols, tmp_path / "data")
    for name in os.listdir(tmp_path / "data/32"):
        os.remove(tmp_path / "data/32" / name)
    monkeypatch.setattr(settings, "FEW", 40)
    assert chosen(data=str(tmp_path / "data"), max_size=16) == "none"
    for few, wanted in (40, "none"), (41, "ada"):       # there are 40
        monkeypatch.setattr(settings, "FEW", few)
        assert chosen() == wanted


def test_few_pictures_are_told_with_what_the_preset_makes_of_them(symbols, tmp_path):
    small = ["--preset", "small", "--batch", 4]
    often, never = "augmented once D tells nearly all from generated", "nothing augments them"
    for typed, augmented, share in (small, often, True), \
            ([*small, "--augment", "none"], never, True), \
            ([*small, "--holdout", 0.6], often, False), (small[:2], often, False), \
            (["--arch", "stylegan2", *small], never, True), \
            ([*small, "--loss", "wgan-gp"], never, True), (["--batch", 4], "", True):
        _, _, error = command("train.py", symbols, "--dry_run", *typed, cwd=tmp_path)
        assert "fewer than 5,000 are few" in error
        assert augmented in error and ("augment" in error) == bool(augmented), typed
        assert bool(re.search(r"--holdout 0\.[12]\d? shows", error)) == share, typed


def test_pictures_of_an_archive_are_named_where_numbers_are_not_finite(symbols, tmp_path):
    command("resize.py", os.path.join(symbols, "32"), "--zip", tmp_path / "data.zip", cwd=tmp_path)
    # So large a rate that the first steps leave the range of float32.
    code, _, error = command("train.py", "data.zip", *TINY, "--max_size", 8, "--name", "x",
                             "--kimg", 1, "--lr", "1e38", cwd=tmp_path, check=False)
    assert code == 3 and "data.zip/8/" in error and "saved is none" in error
    assert "To go on" not in error and "Traceback" not in error
