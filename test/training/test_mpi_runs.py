"""train.py under mpirun, with real processes: it stops as one, says what is wrong, never hangs."""
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT, command
from several_processes import MPIRUN, TINY, needs_mpirun
from small_runs import is_running

from backend import mpi
from backend.errors import BackendError
from training import runs, schedule
from training.stats import read

TRAIN = [os.path.join(ROOT, "train.py")]

def start(count, *arguments, cwd):
    """train.py in `count` processes."""
    return start_each(*[arguments] * count, cwd=cwd)


def start_each(*arguments, cwd, program=TRAIN):
    """train.py under mpirun, a process for each list of arguments."""
    command = []
    for own in arguments:
        command += [":", "-np", "1", sys.executable, *program, *map(str, own)]
    return mpirun(*command[1:], cwd=cwd)


def mpirun(*arguments, cwd):
    return subprocess.Popen([*MPIRUN, *arguments], cwd=cwd, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


def finish(process):
    """(exit code, what it printed, its errors)."""
    output, errors = process.communicate(timeout=200)
    return process.returncode, output, errors


def train(count, *arguments, cwd):
    return finish(start(count, *arguments, cwd=cwd))


@needs_mpirun
def test_four_processes_begin_and_two_and_one_go_on(symbols, tmp_path):
    """Growing, with grids, metrics and saving, from files that say the same global batch."""
    flags = ["--name", "r", "--workers", 1, "--device", "cpu"]
    code, output, errors = train(
        4, symbols, *TINY, "--max_size", 16, "--phase_kimg", 0.064, "--fade_kimg", 0.064,
        "--sample_kimg", 0.064, "--save_kimg", 0.064, "--metrics", "swd", "--metric_kimg", 0.064,
        "--metric_images", 16, "--metric_share", 1, "--kimg", 0.096, *flags, cwd=tmp_path)
    assert code == 0 and output.count("Finished.") == 1, errors
    assert errors.count("size 16 from 64 images") == 1
    for count, kimg in (2, 0.128), (1, 0.16), (4, 0.192):
        code, output, errors = train(count, symbols, "--resume", *flags, "--kimg", kimg,
                                     cwd=tmp_path)
        assert code == 0 and output.count("Finished.") == 1, errors
        header, _, _ = runs.load_resume(str(tmp_path / "checkpoint"), "r")
        assert header["images_seen"] == round(1000 * kimg) and header["settings"]["batch"] == "16"
    assert sorted(os.listdir(tmp_path / "sample" / "r")) == [
        "000000064.png", "000000096.png", "000000128.png", "000000160.png", "000000192.png",
        "real.png", "stats.csv"]
    rows = read(str(tmp_path / "sample" / "r" / "stats.csv"))
    assert rows[-1]["kimg"] == 0.192 and all(row["batch"] == 16 for row in rows)


@needs_mpirun
def test_the_default_batches_are_the_official_ones_and_stay_when_fewer_go_on(symbols, tmp_path):
    flags = ["--name", "d", "--latent", 16, "--fmap_max", 8, "--device", "cpu", "--workers", 0]
    code, _, errors = train(2, symbols, *flags, "--max_size", 8, "--kimg", 0.256, cwd=tmp_path)
    assert code == 0 and "batch 256" in errors
    code, _, errors = train(1, symbols, "--name", "d", "--resume", "--kimg", 0.5, cwd=tmp_path)
    assert code == 0 and "batch 256" in errors
    assert runs.load_resume(str(tmp_path / "checkpoint"), "d")[0]["images_seen"] == 512


def test_default_batches():
    assert schedule.default_batch() == schedule.BATCH
    assert {size: batch for size, batch in schedule.default_batch(8).items() if size >= 8} == {
        8: 256, 16: 128, 32: 64, 64: 32, 128: 32, 256: 32, 512: 32, 1024: 32}
    for processes in range(1, 65):
        assert not any(b % (4 * processes) for b in schedule.default_batch(processes).values())


@needs_mpirun
@pytest.mark.parametrize("count, flags, message", [
    (3, ["--batch", 16], "found 16 at size 8, wanted a multiple of 12, 4 for each of 3 processes "
     "(the minibatch stddev works on groups of 4): type --batch 24"),
    (2, ["--batch", "8:32,16:12,32:16"], "type --batch 8:32,16:16,32:16"),
    (2, ["--batch", 16, "--grad_accum", 4], "2 processes and --grad_accum 4"),
    (4, ["--gamma", -1], "--gamma: found -1"),
    (2, ["--max_size", 64], "--max_size 64: the largest pictures in")])
def test_what_is_wrong_is_said_once_before_anything_is_written(symbols, tmp_path, count, flags,
                                                              message):
    code, output, errors = train(count, symbols, *flags, cwd=tmp_path)
    assert code == 2 and errors.count("error: ") == 1 and message in errors, errors
    assert not output.replace("-", "").strip().startswith("Traceback")
    assert os.listdir(tmp_path) == []


def test_a_single_process_knows_nothing_of_mpi():
    code = ("import os; from backend import jt; ours = jt.compile_extern; "
            "assert not ours.has_mpi and ours.mpi is None and not ours.in_mpi; "
            "assert 'libmpi' not in open('/proc/self/maps').read()")
    for inside in {}, {"OMPI_COMM_WORLD_SIZE": "1", "OMPI_COMM_WORLD_RANK": "0"}:
        result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True,
                                text=True, env=os.environ | inside)
        assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("have, use_cuda, gpus, message", [
    ("", False, 0, "several processes need Open MPI's mpicc, found none: type apt-get install"),
    ("MPICH", False, 0, "several processes need Open MPI's mpicc, found /"),
    ("Open MPI", True, 2, "need NCCL, which was not found: type pip install nvidia-nccl-cu13"),
    ("Open MPI nccl", True, 1, "2 processes on .* and 1 GPUs, wanted one for each"),
    ("Open MPI nccl", True, 2, None), ("Open MPI", False, 0, None)])
def test_what_several_processes_need_is_said_in_one_line(tmp_path, monkeypatch, have, use_cuda,
                                                         gpus, message):
    for name in "SIZE", "LOCAL_SIZE":
        monkeypatch.setattr(mpi, name, 2)
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "lib64").mkdir()
    if have:
        (tmp_path / "mpicc").write_text(f"#!/bin/sh\necho 'mpicc: {have} 4.1'\n")
        (tmp_path / "mpicc").chmod(0o755)
    if "nccl" in have:
        (tmp_path / "lib64" / "libnccl.so").touch()

    def check():
        told = mpi.settings(use_cuda, str(tmp_path))
        if use_cuda:
            mpi.check_gpus(gpus)
        return told
    if message:
        with pytest.raises(BackendError, match=message) as error:
            check()
        assert "\n" not in str(error.value)
    else:
        told = check()
        assert told["use_mpi"] == "1" and (told.get("use_nccl") == "1") == use_cuda


def test_another_mpi_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PMI_SIZE", "4")
    code, _, errors = command("train.py", "data", cwd=tmp_path, check=False)
    assert code == 2 and errors.startswith("error: this mpirun is not Open MPI's")


@needs_mpirun
def test_the_report_of_several_processes_shows_mpi_and_checks_a_sum():
    code, output, errors = finish(start_each(*[["--device", "cpu"]] * 2, cwd=ROOT,
                                             program=["-m", "backend"]))
    assert code == 0 and output.count("\nMPI ") == 1, errors
    assert "process 0 of 2" in output
    assert "sum over 2 processes: relative error 0.0e+00 ok" in output


@needs_mpirun
def test_other_commands_are_for_one_process(tmp_path):
    code, _, errors = finish(start_each(["x"], ["x"], cwd=tmp_path,
                                        program=[os.path.join(ROOT, "generate.py")]))
    assert code == 2
    assert errors.count("error: generate.py is for one process: leave mpirun out") == 1


@needs_mpirun
def test_an_error_of_one_process_is_told_and_ends_all(symbols, tmp_path):
    began = time.monotonic()
    code, _, errors = finish(start_each([symbols, *TINY], [f"{symbols}/none", *TINY],
                                        cwd=tmp_path))
    assert code == 2 and time.monotonic() - began < 60
    assert "none: No such file or directory" in errors and "(process 1 of 2, on " in errors


@needs_mpirun
def test_processes_that_see_other_pictures_do_not_train_together(symbols, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(symbols, other)
    os.rename(other / "8" / sorted(os.listdir(other / "8"))[0], other / "8" / "z.png")
    code, _, errors = finish(start_each(*([data, *TINY, "--name", "x"] for data in
                                          (symbols, other)), cwd=tmp_path))
    assert code == 2 and errors.count("error: ") == 1
    assert "not all processes see the same pictures" in errors


@needs_mpirun
@pytest.mark.parametrize("flag, first, second, message", [
    ("--seed", 1, 2, None), ("--lr", 0.001, 0.002, "are not equal any more")])
def test_all_begin_with_the_same_weights_and_drifting_apart_is_found(symbols, tmp_path, flag,
                                                                     first, second, message):
    code, output, errors = finish(start_each(
        *([symbols, *TINY, "--max_size", 8, "--name", "x", "--kimg", 0.064, flag, value]
          for value in (first, second)), cwd=tmp_path))
    if message:
        assert code == 2 and errors.count("error: ") == 1 and message in errors, errors
        assert not os.listdir(tmp_path / "checkpoint")[1:]
    else:
        assert code == 0 and "Finished." in output, errors


@needs_mpirun
def test_processes_that_would_resume_from_different_files_do_not(symbols, tmp_path):
    """As on two machines with a folder checkpoint/ each."""
    for kimg in 0.016, 0.032:
        flags = [*TINY, "--max_size", 8] if kimg == 0.016 else ["--resume"]
        assert train(1, symbols, *flags, "--name", "x", "--kimg", kimg, cwd=tmp_path)[0] == 0
    other = tmp_path / "other" / "checkpoint"
    other.mkdir(parents=True)
    os.rename(tmp_path / "checkpoint" / "x_resume.1.model", other / "x_resume.model")
    again = ["-np", "1", sys.executable, *TRAIN, symbols, "--name", "x", "--resume",
             "--device", "cpu", "--kimg", "1"]
    code, _, errors = finish(mpirun(*again, ":", "-wdir", str(other.parent), *again, cwd=tmp_path))
    assert code == 2 and "have read different files" in errors, errors


# Stopping ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def training(symbols, folder, count=2):
    """mpirun, and its train.py processes by rank, from when the run can be resumed."""
    process = start(count, symbols, *TINY, "--max_size", 8, "--name", "x", "--kimg", 10000,
                    "--save_kimg", 0.016, "--keep", 1, cwd=folder)
    try:
        end = time.monotonic() + 200
        while not os.path.exists(runs.resume_path(str(folder / "checkpoint"), "x")):
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.1)
        yield process, ranks(process.pid)
    finally:
        process.kill()


def ranks(pid):
    """Process ids of mpirun's processes, by rank."""
    found = {}
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        for pid in map(int, file.read().split()):
            with open(f"/proc/{pid}/environ") as environ:
                for entry in environ.read().split("\0"):
                    if entry.startswith("OMPI_COMM_WORLD_RANK="):
                        found[int(entry.partition("=")[2])] = pid
    return found


def gone(pids):
    """Whether all of the processes end, within ten seconds."""
    end = time.monotonic() + 10
    while any(map(is_running, pids)):
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def goes_on(symbols, folder):
    """Resumes with one process, and finishes."""
    header, _, _ = runs.load_resume(str(folder / "checkpoint"), "x")
    assert header["images_seen"] > 0
    code, output, errors = train(1, symbols, "--name", "x", "--resume", "--kimg",
                                 header["images_seen"] / 1000 + 0.016, cwd=folder)
    assert code == 0 and "Finished." in output, errors
    return header["images_seen"]


@needs_mpirun
def test_pictures_that_vanish_for_one_process_end_the_run_saved(symbols, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(symbols, other)
    process = start_each(*([data, *TINY, "--max_size", 8, "--name", "x", "--kimg", 10000,
                            "--save_kimg", 1000] for data in (symbols, other)), cwd=tmp_path)
    while not os.path.exists(tmp_path / "sample" / "x" / "stats.csv"):
        assert process.poll() is None
        time.sleep(0.1)
    shutil.rmtree(other / "8")
    code, _, errors = finish(process)
    assert code == 2 and errors.count("error: ") == 1, errors
    assert f"can be read: {other}/8/" in errors and "(process 1 of 2" in errors
    goes_on(symbols, tmp_path)


@needs_mpirun
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_ends_the_run_within_a_minute(symbols, tmp_path, rank):
    with training(symbols, tmp_path) as (process, pids):
        began = time.monotonic()
        os.kill(pids[rank], signal.SIGKILL)
        process.communicate(timeout=60)
        assert process.returncode != 0 and gone(pids.values())
        print(f"ended {time.monotonic() - began:.1f} s after kill -9 of process {rank}")
    goes_on(symbols, tmp_path)


@needs_mpirun
@pytest.mark.parametrize("target, number", [
    (0, signal.SIGTERM), (1, signal.SIGTERM), ("mpirun", signal.SIGUSR1)])
def test_a_signal_saves_once_and_exits_0(symbols, tmp_path, target, number):
    with training(symbols, tmp_path) as (process, pids):
        os.kill(process.pid if target == "mpirun" else pids[target], number)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert output.count("Stopped at") == output.count("Saved checkpoint/x_") == 1
    assert "mpirun -np 2 python train.py" in output
    images_seen = int(output.split("Saved checkpoint/x_")[1][:9])
    assert goes_on(symbols, tmp_path) == images_seen


@needs_mpirun
def test_after_a_signal_that_kills_mpirun_the_run_can_go_on(symbols, tmp_path):
    with training(symbols, tmp_path) as (process, pids):
        process.terminate()
        process.communicate(timeout=60)
        assert gone(pids.values())
    goes_on(symbols, tmp_path)


@needs_mpirun
def test_a_limit_of_time_stops_all_at_the_same_iteration(symbols, tmp_path):
    """Their clocks differ: the second process is told an hour, the first twenty seconds, in which a
    busy machine makes an iteration, too."""
    code, output, errors = finish(start_each(
        *([symbols, *TINY, "--max_size", 8, "--name", "x", "--max_minutes", minutes]
          for minutes in (1 / 3, 60)), cwd=tmp_path))
    assert code == 0 and "Stopped at" in output, errors
    goes_on(symbols, tmp_path)
