"""train.py under mpirun, with real processes: it learns the same, stops as one, hangs never."""
import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import ROOT
from test_train import is_running

import dataset
import runs
import schedule
from backend import BackendError, mpi
from dataset import Loader, PictureFolder
from stats import read

needs_mpirun = pytest.mark.skipif(
    not shutil.which("mpirun") or not shutil.which("mpicc"),
    reason="no Open MPI here: apt-get install openmpi-bin libopenmpi-dev")
MPIRUN = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-np"]
TINY = ["--batch", 16, "--latent", 16, "--fmap_max", 8, "--device", "cpu", "--workers", 0]


def start(count, *arguments, cwd, **options):
    """train.py in `count` processes."""
    return subprocess.Popen(
        [*MPIRUN, str(count), sys.executable, os.path.join(ROOT, "train.py"), *map(str, arguments)],
        cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": ROOT}, **options)


def train(count, *arguments, cwd):
    """(exit code, what it printed, its errors) of a run to its end."""
    process = start(count, *arguments, cwd=cwd)
    output, errors = process.communicate(timeout=300)
    return process.returncode, output, errors


# The same steps ----------------------------------------------------------------------------------


@pytest.mark.parametrize("batch, count", [(4, 1), (8, 2), (64, 4), (24, 3)])
def test_a_part_of_a_batch_has_the_groups_that_it_has_in_the_batch(batch, count):
    groups = {frozenset(range(i, batch, batch // 4)) for i in range(batch // 4)}
    parts = schedule.parts(batch, count)
    assert sorted(parts.ravel()) == list(range(batch))
    for part in parts:
        own = part.reshape(4, -1)                       # as the discriminator groups them
        assert {frozenset(group) for group in own.T.tolist()} <= groups
    assert (schedule.parts(batch, 1)[0] == np.arange(batch)).all()


def test_every_picture_goes_to_one_process_however_many_there_are(symbols):
    """Also from where another number of processes stopped: no gap, no repeat."""
    def loaded(count, images_seen, batches):
        names = []
        for part in schedule.parts(16, count):
            loader = Loader(symbols, workers=0, mirror=True)
            loader.submit = lambda job: None
            loader.result = lambda job, future: (np.array([job[0], job[1]], object), [])
            found = itertools.islice(loader.batches(8, 16, images_seen, part), batches)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(dataset, "to_float", lambda pixels: pixels)
                names += [(first, *pair) for first, (paths, flips) in found
                          for pair in zip(paths, flips)]
        return sorted(names)
    alone = loaded(1, 0, 6)
    assert sorted(name for _, name, _ in alone) == sorted(
        PictureFolder(symbols, 8).files(range(96), 0))
    assert sorted(loaded(4, 0, 2) + loaded(2, 32, 3) + loaded(1, 80, 1)) == alone


PHASES = {"size 8": [0, 16, 32, 48], "fading to 16": [64, 80, 96, 112], "size 16": [128, 144, 160],
          "fading to 32": [192, 208, 224, 240], "size 32": [256, 272, 288]}


@pytest.fixture(scope="module")
def steps(symbols, tmp_path_factory):
    """A function: what test/mpi_steps.py finds with so many processes, settings, order."""
    folder = tmp_path_factory.mktemp("steps")

    def take(processes, settings=None, permute=0):
        out = folder / f"{processes}_{permute}_{len(settings or {})}.npz"
        command = [sys.executable, os.path.join(ROOT, "test/mpi_steps.py"), symbols, str(out),
                   json.dumps(settings or {}), str(permute),
                   *(str(i) for positions in PHASES.values() for i in positions)]
        if processes > 1:
            command = [*MPIRUN, str(processes), *command]
        result = subprocess.run(command, capture_output=True, text=True, timeout=300,
                                env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT}/test"})
        assert result.returncode == 0, result.stderr
        return dict(np.load(out))
    return take


@pytest.fixture(scope="module")
def alone(steps):
    return steps(1)


@pytest.fixture(scope="module")
def rounding(steps, alone):
    """By how much weights differ when only the order of summation does: the most of four orders."""
    return {name: max(distances) for name, *distances in zip(
        weights(alone), *(distance(alone, steps(1, permute=p)).values() for p in (1, 2, 3, 4)))}


def weights(found):
    return [name for name in found if name.startswith("weights/")]


def distance(a, b):
    return {name: np.linalg.norm(a[name] - b[name]) for name in weights(a)}


@pytest.mark.parametrize("processes, settings", [
    (1, {"grad_accum": 2}),
    pytest.param(2, {}, marks=needs_mpirun), pytest.param(4, {}, marks=needs_mpirun),
    pytest.param(2, {"grad_accum": 2}, marks=needs_mpirun)])
def test_a_divided_batch_trains_as_a_whole_one(steps, alone, rounding, processes, settings):
    """Gradients at every phase of the schedule, and the weights after 20 iterations.

    Of each phase the best of three or four iterations counts: in a few, rounding carries an
    activation over the kink of a leaky ReLU. Adam with β₁ = 0 turns rounding into steps of single
    weights; how far that goes is measured by changing the order of summation alone.
    """
    divided = steps(processes, settings)
    for phase, positions in PHASES.items():
        for network in "DG":
            errors = []
            for images_seen in positions:
                names = [n for n in alone if n.startswith(f"{images_seen}/{network}/")]
                errors.append(max(np.abs(alone[n] - divided[n]).max() for n in names)
                              / max(np.abs(alone[n]).max() for n in names))
            print(f"{phase} {network}: {min(errors):.1e} to {max(errors):.1e}")
            assert min(errors) <= 1e-5, (phase, network, errors)
    ratios = [d / rounding[name] for name, d in distance(alone, divided).items() if d]
    print(f"weights: {np.median(ratios):.2f}, at most {max(ratios):.2f} times rounding alone")
    assert np.median(ratios) <= 1.5 and max(ratios) <= 4


STEP = """
import resource, sys
import numpy as np
import backend, settings
backend.use_device("cpu")
from training import Training
batch, accum = map(int, sys.argv[1:])
s = settings.OFFICIAL | dict(data="-", name="-", init_size=32, max_size=32, batch=str(batch),
                             latent=16, fmap_max=32, grad_accum=accum)
training = Training(s, settings.make_schedule(s), settings.model_config(s))
images = np.zeros((batch, 3, 32, 32), "float32")
for _ in range(3):
    training.step(images)
print("\\nKiB", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_accumulating_takes_the_memory_of_a_part():
    def peak(batch, accum):
        result = subprocess.run([sys.executable, "-c", STEP, str(batch), str(accum)], cwd=ROOT,
                                capture_output=True, text=True)
        return int(result.stdout.split("KiB")[1])
    small, whole, divided = peak(8, 1), peak(128, 1), peak(128, 16)
    print(f"peak {small / 1024:.0f}, {whole / 1024:.0f}, {divided / 1024:.0f} MiB")
    assert whole > 1.3 * small and divided - small < 0.2 * (whole - small)


# Runs --------------------------------------------------------------------------------------------


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
    (2, ["--max_size", 64], "64: no such folder")])
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


def test_another_mpi_is_named(monkeypatch):
    monkeypatch.setenv("PMI_SIZE", "4")
    with pytest.raises(BackendError, match="not Open MPI's"):
        mpi.settings(False, "")


@needs_mpirun
def test_the_report_of_several_processes_shows_mpi_and_checks_a_sum(tmp_path):
    result = subprocess.run([*MPIRUN, "2", sys.executable, "-m", "backend", "--device", "cpu"],
                            cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert result.returncode == 0 and result.stdout.count("\nMPI ") == 1, result.stderr
    assert "process 0 of 2" in result.stdout
    assert "sum over 2 processes: relative error 0.0e+00 ok" in result.stdout


@needs_mpirun
def test_other_commands_are_for_one_process(tmp_path):
    result = subprocess.run([*MPIRUN, "2", sys.executable, os.path.join(ROOT, "generate.py"), "x"],
                            capture_output=True, text=True, cwd=tmp_path, timeout=100)
    assert result.returncode == 2
    assert result.stderr.count("error: generate.py is for one process: leave mpirun out") == 1


@needs_mpirun
def test_an_error_of_one_process_is_told_and_ends_all(symbols, tmp_path):
    began = time.monotonic()
    process = subprocess.Popen(
        [*MPIRUN, "1", sys.executable, os.path.join(ROOT, "train.py"), symbols, *map(str, TINY),
         ":", "-np", "1", sys.executable, os.path.join(ROOT, "train.py"), symbols + "/none",
         *map(str, TINY)], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 2 and time.monotonic() - began < 60
    assert "none: No such file or directory" in errors and "(process 1 of 2, on " in errors


@needs_mpirun
def test_processes_that_see_other_pictures_do_not_train_together(symbols, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(symbols, other)
    os.rename(other / "8" / sorted(os.listdir(other / "8"))[0], other / "8" / "z.png")
    both = [sys.executable, os.path.join(ROOT, "train.py")]
    result = subprocess.run(
        [*MPIRUN, "1", *both, symbols, *map(str, TINY), "--name", "x", ":", "-np", "1", *both,
         str(other), *map(str, TINY), "--name", "x"], cwd=tmp_path, capture_output=True, text=True,
        timeout=100)
    assert result.returncode == 2 and "not all processes see the same pictures" in result.stderr


@needs_mpirun
@pytest.mark.parametrize("flag, first, second, message", [
    ("--seed", 1, 2, None), ("--lr", 0.001, 0.002, "are not equal any more")])
def test_all_begin_with_the_same_weights_and_drifting_apart_is_found(symbols, tmp_path, flag,
                                                                     first, second, message):
    both = [sys.executable, os.path.join(ROOT, "train.py"), symbols, *map(str, TINY), "--max_size",
            "8", "--name", "x", "--kimg", "0.064", flag]
    result = subprocess.run([*MPIRUN, "1", *both, str(first), ":", "-np", "1", *both, str(second)],
                            cwd=tmp_path, capture_output=True, text=True, timeout=100)
    if message:
        assert result.returncode == 2 and result.stderr.count("error: ") == 1, result.stderr
        assert message in result.stderr and not os.listdir(tmp_path / "checkpoint")[1:]
    else:
        assert result.returncode == 0 and "Finished." in result.stdout, result.stderr


@needs_mpirun
def test_processes_that_would_resume_from_different_files_do_not(symbols, tmp_path):
    other = tmp_path / "other"
    for folder, kimg in (tmp_path, 0.016), (other, 0.032):
        folder.mkdir(exist_ok=True)
        train(1, symbols, *TINY, "--max_size", 8, "--name", "x", "--kimg", kimg, cwd=folder)
    both = [sys.executable, os.path.join(ROOT, "train.py"), symbols, "--device", "cpu", "--name",
            "x", "--resume", "--kimg", "1"]
    result = subprocess.run([*MPIRUN, "1", *both, ":", "-np", "1", "-wdir", str(other), *both],
                            cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert result.returncode == 2 and "have read different files" in result.stderr


# Stopping ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def training(symbols, folder, count=2, *flags):
    """mpirun, and its train.py processes by rank, after the first file was saved."""
    process = start(count, symbols, *TINY, "--max_size", 8, "--name", "x", "--kimg", 10000,
                    "--save_kimg", 0.016, "--keep", 1, *flags, cwd=folder)
    try:
        end = time.monotonic() + 200
        while not runs.model_files(str(folder / "checkpoint"), "x"):
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.1)
        yield process, ranks(process.pid)
    finally:
        process.kill()


def ranks(mpirun):
    """Process ids of mpirun's processes, by rank."""
    found = {}
    with open(f"/proc/{mpirun}/task/{mpirun}/children") as file:
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
    both = [sys.executable, os.path.join(ROOT, "train.py")]
    flags = [*map(str, TINY), "--max_size", "8", "--name", "x", "--kimg", "10000", "--save_kimg",
             "1000"]
    process = subprocess.Popen(
        [*MPIRUN, "1", *both, symbols, *flags, ":", "-np", "1", *both, str(other), *flags],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not os.path.exists(tmp_path / "sample" / "x" / "stats.csv"):
        assert process.poll() is None
        time.sleep(0.1)
    shutil.rmtree(other / "8")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2 and errors.count("error: ") == 1, errors
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
    """Their clocks differ: the second process is told an hour, the first six seconds."""
    both = [sys.executable, os.path.join(ROOT, "train.py"), symbols, *map(str, TINY), "--max_size",
            "8", "--name", "x"]
    result = subprocess.run(
        [*MPIRUN, "1", *both, "--max_minutes", "0.1", ":", "-np", "1", *both, "--max_minutes",
         "60"], cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert result.returncode == 0 and "Stopped at" in result.stdout, result.stderr
    goes_on(symbols, tmp_path)
