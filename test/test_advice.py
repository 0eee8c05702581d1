"""What commands say to somebody in the first hour: advice that leads on, and not in a circle."""
import os
import re
import shlex
import shutil

import pytest
from conftest import ROOT, command
from small_runs import TINY

import dataset
from networks.config import ModelConfig
from training import estimate
from training.schedule import Schedule


@pytest.fixture(scope="module")
def cats(symbols, tmp_path_factory):
    """A folder with My cats/8, 16 and 32; one/32 alone; photos without sizes; a text."""
    folder = tmp_path_factory.mktemp("advice")
    shutil.copytree(symbols, folder / "My cats")
    for name, place in (("8", "one/32"), ("32", "photos")):
        shutil.copytree(os.path.join(symbols, name), folder / place)
    shutil.copytree(os.path.join(symbols, "32"), folder / "one/32", dirs_exist_ok=True)
    (folder / "notes.txt").write_text("cats are nice\n")
    return folder


def said(cats, *arguments):
    code, _, error = command(*arguments, cwd=cats, check=False)
    lines = [line for line in error.splitlines(True) if not line.startswith("note: ")]
    assert code == 2 and len(lines) == 1 and lines[0].startswith("error: "), error
    return lines[0]


@pytest.mark.parametrize("arguments, advice", [
    (["train.py", "My cats/32"], "type python train.py 'My cats'\n"),
    (["train.py", "one/32"], "type python resize.py one/32, then python train.py one\n"),
    (["train.py", "one"], "type python resize.py one/32 --min_size 8\n"),
    (["train.py", "photos"], "type python resize.py photos, which makes them"),
    (["train.py", "notes.txt"], "notes.txt: a file, wanted a folder"),
    (["train.py", "nowhere"], "nowhere: No such file or directory; wanted a folder or a .zip that "
     "holds 8/"),
    (["train.py", "My cats", "--max_size", 512], "'--max_size 512: the largest pictures in"),
    (["train.py", "My cats", "--init_size", 64], "--init_size 64: the largest pictures in My cats "
     "are of 32: leave --init_size out, or make larger ones from the pictures as they were: python "
     "resize.py FOLDER --max_size 64\n"),
    (["train.py", "My cats", "--name", ""], "--name: found nothing, wanted a plain name"),
    (["resize.py", "My cats"], "for sizes below 32, type python resize.py 'My cats/32'\n"),
    (["resize.py", "one"], "type python resize.py one/32\n"),
])
def test_advice_leads_on(cats, arguments, advice):
    assert advice.strip("'") in said(cats, *arguments)


def test_advice_that_was_followed_helps(cats):
    shutil.copytree(cats / "one", cats / "other")
    advice = re.search(r"type python (.*), then python (.*)\n", said(cats, "train.py", "other/32"))
    command(*shlex.split(advice[1]), cwd=cats)
    command(*shlex.split(advice[2]), "--dry_run", cwd=cats)


def test_metrics_takes_the_folder_above_the_size(cats, symbols):
    model = os.path.join(ROOT, "test/golden/demo.model")
    error = said(cats, "metrics.py", model, "My cats/16")
    assert f"type python metrics.py {shlex.quote(model)} 'My cats'\n" in error


def test_sizes_that_cannot_be_made_are_not_promised(symbols):
    assert "resize.py" in dataset.what_to_type(symbols, 4)
    found = dataset.what_to_type(symbols, 256)
    assert "the largest there is 32" in found and "--max_size 256" in found


def test_resume_elsewhere_says_where_it_looked_and_what_is_there(cats):
    error = said(cats, "train.py", "My cats", "--resume")
    assert f"no run My cats in {cats}" in error and "runs that are there: none" in error
    os.makedirs(cats / "checkpoint")
    (cats / "checkpoint" / "old one_resume.model").touch()
    assert "runs that are there: old one)" in said(cats, "train.py", "My cats", "--resume")
    shutil.rmtree(cats / "checkpoint")


# Before the first step ----------------------------------------------------------------------------


def test_dry_run_guesses_the_time_and_needs_no_jittor(symbols, tmp_path):
    """Without a compiler Jittor would not start."""
    code = ("import os, sys; os.environ['cc_path'] = 'no-such-compiler'\n"
            "sys.path.insert(0, sys.argv.pop(1))\nimport cli, train\ncli.run(train.main)")
    _, output, error = command("-c", code, ROOT, symbols, "--dry_run", "--preset", "small",
                               "--device", "cpu", cwd=tmp_path)
    assert "StyledGenerator: " in output and "whole run will take about" in error
    assert os.listdir(tmp_path) == []


def test_parameters_are_counted_as_the_networks_have_them(symbols, tmp_path):
    import model
    config = ModelConfig(size=32, latent=64, fmap_base=512, fmap_max=64)
    _, output, _ = command("train.py", symbols, "--dry_run", "--preset", "small", cwd=tmp_path)
    for kind in model.StyledGenerator, model.Discriminator:
        count = sum(p.numel() for name, p in kind(config).named_parameters() if name != "w_avg")
        assert f"{kind.__name__}: {count:,} parameters" in output


def test_a_run_that_is_too_short_is_told_before_it_begins(symbols, tmp_path):
    flags = ["--max_size", 32, "--phase_kimg", 0.032, "--fade_kimg", 0.032, *TINY]
    for kimg, found in ((0.03, "ends at size 8; size 32 begins at 96 images"),
                        (0.1, "ends at size 32 as it fades in, which takes until 128")):
        _, _, error = command("train.py", symbols, *flags, "--kimg", kimg, "--dry_run",
                              cwd=tmp_path)
        assert f"warning: --kimg {kimg} {found}" in error and "type --kimg 1" in error
    _, _, error = command("train.py", symbols, *flags, "--kimg", 0.2, "--dry_run", cwd=tmp_path)
    assert "warning" not in error
    _, output, error = command("train.py", symbols, *flags, "--kimg", 0.032, "--name", "My run",
                               cwd=tmp_path)
    assert "or --max_size 8" in error and "Finished at size 8 of 32." in output
    assert "python generate.py 'checkpoint/My run_000000032.model'" in output
    assert "0.0/0.032 kimg" in error and "/0 kimg" not in error


def test_the_time_that_is_guessed_is_that_of_the_table(monkeypatch):
    """Rows of bench/README.md: feature maps, size, batch, images/s on two cores at 310 GFLOP/s."""
    monkeypatch.setattr(estimate, "cores", lambda: 2)
    for maps, size, batch, rate in ((64, 8, 32, 1056), (64, 16, 32, 450), (64, 32, 32, 118),
                                    (64, 64, 32, 31), (512, 16, 16, 16), (512, 32, 8, 4.5),
                                    (512, 64, 4, 2.0), (512, 128, 4, 1.3)):
        config = ModelConfig(size=size, latent=512, fmap_max=maps)
        guessed = 1 / estimate.image_seconds(config, size, batch)
        assert guessed == pytest.approx(rate, rel=0.2), (maps, size)
    assert estimate.matrix_speed() > 1
    schedule = Schedule(8, 16, kimg=3, fade_kimg=0.5, phase_kimg=0.5)
    assert estimate.over_run(schedule, {8: 1, 16: 10}.get) == 500 + 25_000
    assert estimate.over_run(schedule, {8: 1, 16: 10}.get, 1000) == 20_000


# Whatever takes the name of a run -----------------------------------------------------------------


def test_plot_finds_the_run_where_a_folder_has_its_name(symbols, tmp_path):
    shutil.copytree(symbols, tmp_path / "data")
    command("train.py", "data", *TINY, "--max_size", 8, "--kimg", 2.1, cwd=tmp_path)
    _, output, _ = command("plot.py", "data", cwd=tmp_path)
    assert "sample/data/stats.png" in output
    _, output, _ = command("plot.py", "sample/data", cwd=tmp_path)
    assert "sample/data/stats.png" in output


def test_a_model_that_is_not_there_is_told_with_those_that_are_nearest(cats):
    checkpoint = cats / "checkpoint"
    checkpoint.mkdir(exist_ok=True)
    for name in ("a_000001008.model", "a_000002000.model", "b_000000500.model", "猫.pkl", "a.txt"):
        (checkpoint / name).touch()
    assert "b_000000400.model: No such file or directory; there are b_000000500.model, " \
        "a_000001008.model, a_000002000.model and 1 more\n" in \
        said(cats, "generate.py", "checkpoint/b_000000400.model")
    assert "there are b_000000500.model, " in said(cats, "generate.py", "checkpoint/B.model")
    assert "a: No such file or directory; the last of the run a is checkpoint/a_000002000.model\n" \
        in said(cats, "generate.py", "a")
    assert "there are '猫.pkl', " in said(cats, "generate.py", "checkpoint/猫.model")
    assert said(cats, "metrics.py", "nowhere/x.model", "My cats").endswith("directory\n")
