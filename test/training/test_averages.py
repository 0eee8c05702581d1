"""Several averages of the generator, of which one is chosen after training."""
import argparse
import os

import numpy as np
import pytest
from conftest import command
from small_runs import GROWING, in_process, train_on

from training import flags, settings
from training.iteration import Training
from weights import snapshot

SEVERAL = [0.016, 0.1, 0.0]


def test_each_average_is_the_weighted_mean_of_all_generators_so_far(symbols):
    """In float64, from the generator's weights after each step. It grows on the way: what was not
    in use yet is not averaged."""
    training = Training(*in_process(symbols, ema_kimg=SEVERAL))
    first = training.state_of_networks()
    names = [name.partition("/")[2] for name in first
             if name.startswith("generator/") and "rgb" not in name and "w_avg" not in name]
    wanted = {kimg: {name: first[f"generator/{name}"].astype("f8") for name in names}
              for kimg in SEVERAL}
    for _ in range(12):
        size = training.schedule.at(training.images_seen).size
        train_on(training, 1)
        after = training.state_of_networks()
        for kimg in SEVERAL:
            kept = 0.5 ** (8 / (1000 * kimg)) if kimg else 0
            for name, mean in wanted[kimg].items():
                if "block16" not in name or size == 16:
                    mean += (1 - kept) * (after[f"generator/{name}"] - mean)
    assert size == 16
    for kimg, prefix in zip(SEVERAL, ("ema", "ema0.1", "ema0")):
        for name, mean in wanted[kimg].items():
            assert np.abs(after[f"{prefix}/{name}"] - mean).max() < 1e-6 * max(1, abs(mean).max())
        assert (after[f"{prefix}/w_avg"] == after["generator/w_avg"]).all()


def test_further_averages_change_nothing_of_the_training(symbols):
    one, more = (Training(*in_process(symbols, ema_kimg=kimg)) for kimg in ([0.016], SEVERAL))
    losses = [train_on(training, 6) for training in (one, more)]
    assert (losses[0] == losses[1]).all()
    state, other = one.state()[1], more.state()[1]
    assert all((other[name] == array).all() for name, array in state.items())
    assert {name.partition("/")[0] for name in other.keys() - state.keys()} == {"ema0.1", "ema0"}


def test_each_average_has_a_file_that_every_command_reads_and_that_goes_with_the_first(
        symbols, tmp_path):
    """Stopped and gone on with: the same files as of a run in one piece."""
    run = [symbols, *GROWING, "--ema_kimg", "0.016,0.1", "--save_kimg", 0.04, "--keep", 2,
           "--sample_kimg", 1]
    command("train.py", *run, "--name", "whole", "--kimg", 0.12, cwd=tmp_path)
    command("train.py", *run, "--name", "parts", "--kimg", 0.072, cwd=tmp_path)
    command("train.py", symbols, "--name", "parts", "--resume", "--kimg", 0.12, cwd=tmp_path)
    folder = tmp_path / "checkpoint"
    there = {f"whole_{n:09d}{average}.model" for n in (80, 120) for average in ("", "_ema0.1")}
    assert {n for n in os.listdir(folder) if n.startswith("whole_0")} == there
    last = [folder / f"{name}_000000120{average}.model" for average in ("", "_ema0.1")
            for name in ("whole", "parts")]
    loaded = [snapshot.load(str(path)) for path in last]
    assert [header["ema_kimg"] for header, _ in loaded] == [0.016, 0.016, 0.1, 0.1]
    for (_, whole), (_, parts) in (loaded[:2], loaded[2:]):
        assert whole.keys() == parts.keys()
        assert all((parts[name] == array).all() for name, array in whole.items())
    assert any((loaded[0][1][n] != loaded[2][1][n]).any() for n in loaded[0][1])
    output = command("generate.py", last[2], "--seeds", 1, cwd=tmp_path)[1]
    assert "whole_000000120_ema0.1" in output
    code, _, stderr = command("train.py", symbols, "--name", "parts", "--resume", "--ema_kimg", 0.5,
                              cwd=tmp_path, check=False)
    assert code == 2
    assert "--ema_kimg 0.5, but the run parts was started with --ema_kimg 0.016,0.1" in stderr


@pytest.mark.parametrize("text", ["", "4,", "four", "-1", "nan", "inf", "4,4", "4,4.0", "4 12"])
def test_half_lives_that_make_no_sense_are_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="found '.*', wanted"):
        flags.half_lives(text)


def test_a_run_of_an_earlier_version_goes_on_with_its_average(symbols):
    saved = dict(in_process(symbols)[0], ema_kimg=10.0)
    typed = dict(data=symbols, name="x", resume=True)
    assert settings.resumed_run(typed | {"ema_kimg": [10.0]}, saved)["ema_kimg"] == [10.0]
