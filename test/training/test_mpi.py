"""A batch that is divided, among processes or by --grad_accum, trains as a whole one."""
import itertools
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT, command
from several_processes import MPIRUN, TINY, gradient_errors, needs_mpirun, take_steps

import dataset
from backend.errors import UserError
from dataset import Loader, PictureFolder
from networks.config import PORT, ModelConfig
from training import schedule, settings


@pytest.mark.parametrize("batch, count, size", [(4, 1, 4), (8, 2, 4), (64, 4, 4), (24, 3, 4),
                                                (64, 4, 8), (64, 2, 32)])
def test_a_part_of_a_batch_has_the_groups_that_it_has_in_the_batch(batch, count, size):
    groups = {frozenset(range(i, batch, batch // size)) for i in range(batch // size)}
    parts = schedule.parts(batch, count, size)
    assert sorted(parts.ravel()) == list(range(batch))
    for part in parts:
        own = part.reshape(size, -1)                    # as the discriminator groups them
        assert {frozenset(group) for group in own.T.tolist()} <= groups
    assert (schedule.parts(batch, 1, size)[0] == np.arange(batch)).all()


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
                names += [(first, *pair) for first, (paths, flips), _ in found
                          for pair in zip(paths, flips)]
        return sorted(names)
    alone = loaded(1, 0, 6)
    assert sorted(name for _, name, _ in alone) == sorted(
        PictureFolder(symbols, 8).files(range(96), 0))
    assert sorted(loaded(4, 0, 2) + loaded(2, 32, 3) + loaded(1, 80, 1)) == alone


@pytest.fixture(scope="module")
def steps(symbols, tmp_path_factory):
    """A function: what test/steps.py finds with so many processes, settings, order."""
    folder = tmp_path_factory.mktemp("steps")

    def take(processes, changes=None, permute=0):
        changes = changes or {}
        launcher = [*MPIRUN, "-np", str(processes)] if processes > 1 else []
        return take_steps(symbols, folder / f"{processes}_{permute}_{len(changes)}", changes,
                          permute, launcher)
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


@pytest.mark.parametrize("processes, changes", [
    (1, {"grad_accum": 2}),
    pytest.param(2, {}, marks=needs_mpirun), pytest.param(4, {}, marks=needs_mpirun),
    pytest.param(2, {"grad_accum": 2}, marks=needs_mpirun)])
def test_a_divided_batch_trains_as_a_whole_one(steps, alone, rounding, processes, changes):
    """Gradients at every phase of the schedule, and the weights after 20 iterations.

    Of each phase the best of three or four iterations counts: in a few, rounding carries an
    activation over the kink of a leaky ReLU. Adam with β₁ = 0 turns rounding into steps of single
    weights; how far that goes is measured by changing the order of summation alone.
    """
    divided = steps(processes, changes)
    for phase, errors in gradient_errors(divided, alone).items():
        assert min(errors) <= 1e-5, (phase, errors)
    ratios = [d / rounding[name] for name, d in distance(alone, divided).items() if d]
    print(f"weights: {np.median(ratios):.2f}, at most {max(ratios):.2f} times rounding alone")
    assert np.median(ratios) <= 1.5 and max(ratios) <= 4


STEP = """
import sys
import numpy as np
import backend
from training import settings, stats
backend.use_device("cpu")
from training.iteration import Training
batch, accum = map(int, sys.argv[1:])
s = settings.OFFICIAL | dict(data="-", name="-", init_size=32, max_size=32, batch=str(batch),
                             latent=16, fmap_max=32, grad_accum=accum)
training = Training(s, settings.make_schedule(s), settings.model_config(s))
images = np.zeros((batch, 3, 32, 32), "float32")
for _ in range(3):
    training.step(images)
print("\\nKiB", round(stats.peak_memory() * 2 ** 20))
"""


def test_accumulating_takes_the_memory_of_a_part():
    def peak(batch, accum):
        result = subprocess.run([sys.executable, "-c", STEP, str(batch), str(accum)], cwd=ROOT,
                                capture_output=True, text=True)
        return int(result.stdout.split("KiB")[1])
    small, whole, divided = peak(8, 1), peak(128, 1), peak(128, 16)
    print(f"peak {small / 1024:.0f}, {whole / 1024:.0f}, {divided / 1024:.0f} MiB")
    assert whole > 1.3 * small and divided - small < 0.2 * (whole - small)


def test_accumulating_may_begin_and_end_when_a_run_goes_on(symbols, tmp_path):
    for kimg, accum in (0.032, 2), (0.064, 4), (0.096, 1):
        resume = ["--resume"] if accum != 2 else [*TINY, "--max_size", 8]
        _, output, _ = command("train.py", symbols, *resume, "--name", "x", "--kimg", kimg,
                               "--grad_accum", accum, cwd=tmp_path)
        assert "Finished." in output


@pytest.mark.parametrize("flags, message", [
    (["--grad_accum", 3], "wanted a multiple of 12, 4 for each of --grad_accum 3"),
    (["--grad_accum", 0], "--grad_accum: found 0, wanted more than 0")])
def test_what_cannot_be_accumulated_is_one_line(symbols, tmp_path, flags, message):
    code, _, errors = command("train.py", symbols, *TINY, *flags, cwd=tmp_path, check=False)
    assert code == 2 and message in errors and errors.count("\n") == 1, errors


def test_a_stddev_of_the_whole_batch_is_not_divided():
    for config in ModelConfig(), ModelConfig(stddev_group=1):
        settings.check_division({"grad_accum": 2}, config)
    settings.check_division({"grad_accum": 1}, ModelConfig(**PORT))
    with pytest.raises(UserError, match="over the whole batch"):
        settings.check_division({"grad_accum": 2}, ModelConfig(**PORT))
