"""What must not cost a run anything: bad numbers, time limits, other pictures, a second process."""
import os
import re
import shutil
import signal
import time

import numpy as np
import pytest
from conftest import ROOT, command
from small_runs import TINY, in_process, train_on, training_process

import train
from dataset import Loader
from training import runs, settings
from training.iteration import Training
from weights import snapshot


def poisoned(images, value):
    images = images.copy()
    images[1, 0, 2, 3] = value
    return images


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_step_that_is_not_finite_changes_nothing_but_the_count(symbols, value):
    training = Training(*in_process(symbols))
    train_on(training, 2)
    before = training.state()[1]
    phase = training.schedule.at(training.images_seen)
    with Loader(symbols, workers=0) as loader:
        _, images, _ = next(loader.batches(phase.size, phase.batch, training.images_seen))
    training.step(poisoned(images, value))
    after = training.state()[1]
    assert training.images_seen == 24 and after.pop("skipped") == 1
    assert after.pop("skipped_in_a_row") == 1
    assert all((after[name] == before[name]).all() for name in after)
    training.step(images)
    after = training.state()[1]
    assert after["skipped"] == 1 and after["skipped_in_a_row"] == 0
    assert all(np.isfinite(a).all() for a in after.values())
    assert (after["generator/mapping.layers.0.weight"]
            != before["generator/mapping.layers.0.weight"]).any()
    assert after["adam_generator/steps"] == 3


def test_a_generator_that_goes_wrong_takes_the_discriminators_step_back(symbols):
    training = Training(*in_process(symbols))
    train_on(training, 2)
    loss = training.generator_loss
    training.generator_loss = lambda *a: loss(*a) * float("nan")
    before = training.state()[1]
    train_on(training, 1)
    after = training.state()[1]
    assert after.pop("skipped") == 1 and after.pop("skipped_in_a_row") == 1
    assert all((after[name] == before[name]).all() for name in after)


NOT_FINITE_FROM = """
import sys; sys.path.insert(0, sys.argv.pop(1))
import backend; backend.use_device("cpu")
import train, cli, numpy as np
from training import iteration
step = iteration.Training.step
def poisoned(self, images, labels):
    if self.images_seen >= 80 and (self.images_seen < 120 or {for_ever}):
        images = images * np.float32("nan")
    return step(self, images, labels)
iteration.Training.step = poisoned
cli.run(train.main)
"""


def test_ten_such_steps_in_a_row_end_with_exit_code_3_and_the_good_file(symbols, tmp_path):
    arguments = [ROOT, symbols, *TINY, "--max_size", 8, "--name", "bad", "--save_kimg", 0.04,
                 "--kimg", 10]
    code, output, error = command("-c", NOT_FINITE_FROM.format(for_ever=True), *arguments,
                                  cwd=tmp_path, check=False)
    assert code == 3 and "10 steps in a row" in error and "up to 160 images" in error
    assert error.count(os.path.join(symbols, "8")) == 8 and "--resume" in error
    header, arrays, _ = runs.load_resume(str(tmp_path / "checkpoint"), "bad")
    assert header["images_seen"] in (80, 120)
    assert all(np.isfinite(a).all() for a in arrays.values())


def test_few_such_steps_are_counted_and_training_goes_on(symbols, tmp_path):
    arguments = [ROOT, symbols, *TINY, "--max_size", 8, "--name", "few", "--kimg", 0.16]
    _, output, _ = command("-c", NOT_FINITE_FROM.format(for_ever=False), *arguments, cwd=tmp_path)
    assert "5 steps skipped, whose" in output and "Finished" in output
    assert runs.load_resume(str(tmp_path / "checkpoint"), "few")[1]["skipped"] == 5


def test_a_stop_before_the_first_step_saves_too(symbols, tmp_path):
    name = ["--name", "early", "--workers", 0, "--device", "cpu"]
    _, output, _ = command("train.py", symbols, *TINY, "--max_size", 8, *name, "--kimg", 0.016,
                           "--max_minutes", 1e-4, cwd=tmp_path)
    assert "Stopped at 0 images" in output
    for minutes in (1e-4, 60):
        _, output, _ = command("train.py", symbols, *name, "--resume", "--max_minutes", minutes,
                               cwd=tmp_path)
    assert "Finished" in output
    command("train.py", symbols, *TINY, "--max_size", 8, "--name", "whole", "--kimg", 0.016,
            cwd=tmp_path)
    early, whole = (runs.load_resume(str(tmp_path / "checkpoint"), n)[1]
                    for n in ("early", "whole"))
    assert all((early[n] == whole[n]).all() for n in whole)


def test_max_minutes_stops_and_saves_like_ctrl_c(symbols, tmp_path):
    _, output, _ = command("train.py", symbols, *TINY, "--max_size", 8, "--name", "queue",
                           "--kimg", 10_000, "--max_minutes", 0.2, cwd=tmp_path)
    assert "Stopped at" in output and "--name queue --resume" in output
    assert runs.load_resume(str(tmp_path / "checkpoint"), "queue")[0]["images_seen"] > 0


def test_kernels_are_saved_with_the_run(symbols, tmp_path):
    flags = ["--name", "direct", "--workers", 0, "--device", "cpu"]
    command("train.py", symbols, *TINY, "--max_size", 8, *flags, "--kimg", 0.016, "--conv",
            "direct", cwd=tmp_path)
    header, *_ = runs.load_resume(str(tmp_path / "checkpoint"), "direct")
    assert header["settings"]["conv"] == "direct" and "direct" in header["kernels"]
    _, _, error = command("train.py", symbols, *flags, "--resume", "--kimg", 0.024, cwd=tmp_path)
    assert "last digits" not in error
    code, _, error = command("train.py", symbols, *flags, "--resume", "--conv", "winograd",
                             cwd=tmp_path, check=False)
    assert code == 2 and "--conv winograd" in error and "--conv direct" in error


def test_other_pictures_on_resume_are_told(symbols, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(symbols, data)
    command("train.py", data, *TINY, "--max_size", 8, "--name", "x", "--kimg", 0.016, cwd=tmp_path)
    os.remove(data / "8" / sorted(os.listdir(data / "8"))[0])
    for dry in ["--dry_run"], []:
        _, _, error = command("train.py", data, "--name", "x", "--resume", "--kimg", 0.024, *dry,
                              cwd=tmp_path)
        assert "other pictures than when the run was saved (39 now, 40 then)" in error


def test_pictures_that_vanish_during_training_end_it_with_all_steps_saved(symbols, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(symbols, data)
    with training_process(data, tmp_path, "gone") as process:
        shutil.rmtree(data / "8")
        output, error = process.communicate(timeout=60)
    assert process.returncode == 2 and "Traceback" not in error
    images = runs.load_resume(str(tmp_path / "checkpoint"), "gone")[0]["images_seen"]
    last = error.splitlines()[-1]
    assert re.search("pictures .*can(not)? be read", last) and images > 0
    assert f"up to {images:,} images is saved in checkpoint/gone_resume.model" in last
    assert "--name gone --resume" in last


def test_a_second_run_of_the_name_is_refused(symbols, tmp_path):
    os.makedirs(tmp_path / "checkpoint")
    held = runs.lock(str(tmp_path / "checkpoint"), "twice")
    code, _, error = command("train.py", symbols, "--name", "twice", cwd=tmp_path, check=False)
    assert code == 2 and "is being written by process" in error and held


@pytest.mark.parametrize("error, ours", [
    (MemoryError(), True), (RuntimeError("std::bad_alloc"), True),
    (RuntimeError("[f cuda_device_allocator.cc:31] Unable to alloc cuda device memory"), True),
    (RuntimeError("CUDA error code=2( out of memory ) cudaMallocHost"), True),
    (RuntimeError("Caught SIGCHLD. Maybe out of memory, please reduce your worker size"), False),
    (RuntimeError("Run cmd failed:g++ x.cc\nreturn -1. This might be an overcommit issue or out of "
                  "memory.Try : sudo sysctl vm.overcommit_memory=1"), False),
    (RuntimeError("compile failed: shared_memory.h: no such file"), False)])
def test_only_a_want_of_memory_is_told_as_one(error, ours):
    assert train.is_out_of_memory(error) == ours


def test_where_memory_is_not_enough_the_batch_is_divided_further(symbols):
    for batch, remedy in ("8", "type --grad_accum 2, which trains the same"), \
            ("4", "smaller --fmap_max or --max_size"):
        s, plan, _ = in_process(symbols, batch=batch)
        message = train.memory_advice(s, plan, 0)
        assert f"out of memory at size 8 with batch {batch}" in message and remedy in message


COMPILER_DIES = """
import sys; sys.path.insert(0, sys.argv.pop(1))
import backend; backend.use_device("cpu")
import train, cli
from training import iteration
step = iteration.Training.step
def dying(self, images, labels):
    if self.images_seen == 16:
        raise RuntimeError("[f 1123] Run cmd failed:/usr/bin/g++ kernel.cc\\nreturn 36608. This "
                           "might be an overcommit issue or out of memory.Try : sudo sysctl")
    return step(self, images, labels)
iteration.Training.step = dying
cli.run(train.main)
"""


def test_a_compiler_that_was_killed_is_named_as_such(symbols, tmp_path):
    code, _, error = command("-c", COMPILER_DIES, ROOT, symbols, *TINY, "--max_size", 8, "--name",
                             "My run", "--save_kimg", 0.008, "--kimg", 1, cwd=tmp_path, check=False)
    last = error.splitlines()[-1]
    assert code == 2 and "Traceback" not in error
    assert last.startswith("error: a compiler that Jittor started was killed or failed")
    assert "up to 16 images is saved in checkpoint/My run_resume.model" in last
    assert "--name 'My run' --resume" in last


@pytest.mark.parametrize("numbers", [
    (signal.SIGHUP, signal.SIGHUP), (signal.SIGTERM, signal.SIGTERM),
    (signal.SIGTERM, signal.SIGHUP), (signal.SIGHUP, signal.SIGTERM)])
def test_signals_that_come_as_a_pair_save(symbols, tmp_path, numbers):
    """From a closed terminal and from timeout: to the process, and to its group; from a system that
    ends a session: two kinds."""
    with training_process(symbols, tmp_path, "closed") as process:
        for number in numbers:
            os.killpg(process.pid, number)
            time.sleep(0.001)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and "--name closed --resume" in output
    assert runs.newest(str(tmp_path / "checkpoint"), "closed")


def test_a_run_of_an_earlier_version_is_told_what_is_other_and_keeps_its_loss(symbols, tmp_path):
    flags = ["--name", "old", "--workers", 0, "--device", "cpu"]
    command("train.py", symbols, *TINY, "--max_size", 8, "--loss", "wgan-gp", *flags, "--kimg",
            0.016, cwd=tmp_path)
    header, arrays, path = runs.load_resume(str(tmp_path / "checkpoint"), "old")
    assert header.pop("streams") and header["settings"].pop("init_alpha") == 1
    assert header.pop("reading")
    header.pop("format")
    snapshot.save(path, header, arrays)
    _, _, error = command("train.py", symbols, *flags, "--resume", "--kimg", 0.024, cwd=tmp_path)
    assert "drew its random numbers otherwise" in error and "look different from here" in error
    now = runs.load_resume(str(tmp_path / "checkpoint"), "old")[0]
    assert now["settings"]["gamma_scale"] == "port" and now["streams"]
    plan = settings.make_schedule(now["settings"])
    assert plan.lr[256] == 0.002 and plan.lr[512] == 0.003
