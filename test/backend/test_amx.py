"""train.py --amp on a CPU with AMX: what is rounded, and how far gradients are from float32's."""
import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from small_runs import in_process, train_on
from stylegan2_steps import gradients, made
from test_winograd import BITS

import backend
import model
from backend import jt
from backend.kernels import Winograd, WinogradGradient, winograd
from training.adam import Adam
from training.iteration import Training

pytestmark = pytest.mark.skipif(not backend.has_amx, reason="no AMX here")


@pytest.fixture(autouse=True)
def amp_off_again():
    yield
    backend.use_amp(False)


def both(compute):
    """What `compute` gives in float32, and with --amp."""
    found = []
    for amp in False, True:
        backend.use_amp(amp)
        found.append(compute().numpy().astype("float64"))
    return found


def off(wanted, found):
    return np.linalg.norm(found - wanted) / np.linalg.norm(wanted)


@pytest.mark.parametrize("form", ["same", "up", "down"])
@pytest.mark.parametrize("shape", [(8, 64, 32, 16), (3, 48, 32, 32), (16, 80, 144, 16),
                                   (20, 80, 144, 32)])
def test_only_what_is_no_forward_pass_is_rounded_to_8_bits(form, shape):
    n, fan_in, fan_out, size = shape
    rng = np.random.default_rng(0)
    x = jt.array(rng.standard_normal((n, fan_in, size, size), "float32"))
    w, back = (jt.array(rng.standard_normal((*two, 3, 3), "float32"))
               for two in ((fan_out, fan_in), (fan_in, fan_out)))
    dy = jt.array(rng.standard_normal(Winograd(form)(x, w).shape, "float32"))
    forward, pixels = off(*both(lambda: Winograd(form, False, 0.5)(x, w))), x[:, 0].numel()
    pixels *= 4 if form == "up" else 1
    assert 0 < forward < 5e-5 if pixels >= 4096 else forward == 0
    assert 1e-4 < off(*both(lambda: Winograd(form, True, 0.5)(x, back))) < 4e-3
    narrow = max(fan_in, fan_out) <= 64
    error = off(*both(lambda: WinogradGradient(form, 0.5)(x, dy)))
    assert 1e-4 * narrow < error < (4e-3 if narrow else 5e-5)


@pytest.mark.parametrize("form, sides", [("smooth_up", (12, 8)), ("smooth_down", (24, 16))])
def test_rows_of_a_picture_that_are_no_whole_tile_of_amx_are_right(form, sides):
    rng = np.random.default_rng(0)
    x = jt.array(rng.standard_normal((20, 192, *sides), "float32"))
    w = jt.array(rng.standard_normal((256, 192, 3, 3), "float32"))

    def gradient():
        y = winograd(x, w, form)
        return jt.grad((y * y).sum(), x)

    assert off(*both(lambda: winograd(x, w, form))) < 5e-5
    assert off(*both(gradient)) < 5e-5


def test_how_many_threads_round_changes_no_bit():
    def bits(count, **amp):
        threads = {"OMP_NUM_THREADS": str(count)}
        return subprocess.run([sys.executable, "-c", BITS], cwd=ROOT, check=True, text=True,
                              capture_output=True, env=os.environ | threads | amp).stdout

    assert bits(2) != bits(2, STYLEGAN1_AMP="1") == bits(24, STYLEGAN1_AMP="1")


@pytest.mark.parametrize("loss", ["logistic", "relativistic"])
def test_gradients_are_within_5_percent_of_float32_at_every_phase(symbols, monkeypatch, loss):
    training = Training(*in_process(symbols, latent=64, fmap_max=64, max_size=32, batch="16",
                                    loss=loss))
    seen, propose = [], Adam.propose

    def standing_still(adam, loss, *gradients):
        seen.append({name: g.numpy() for name, g in zip(adam.parameters, gradients)})
        adam.lr = 0
        return propose(adam, loss, *gradients)

    phases = set()
    while len(phases) < 5:
        phase = training.schedule.at(training.images_seen)
        if (phase.size, phase.fading) not in phases:
            phases.add((phase.size, phase.fading))
            train_on(training, 1)                           # the optimizers of this size
            state = training.state()
            with monkeypatch.context() as patch:
                patch.setattr(Adam, "propose", standing_still)
                seen.clear()
                for amp in False, True:
                    backend.use_amp(amp)
                    training.restore(*state, "memory")
                    train_on(training, 1)
            backend.use_amp(False)
            training.restore(*state, "memory")
            for wanted, found in zip(seen[:2], seen[2:]):
                # The constant's bias goes before the instance norm, and is 0 but for rounding.
                errors = {name: off(wanted[name].astype("float64"), found[name])
                          for name in wanted if wanted[name].any()
                          and name != "synthesis.block4.epilogue0.bias"}
                assert max(errors.values()) < 0.05, (phase, errors)
            assert any((seen[0][name] != seen[2][name]).any() for name in seen[0])
        train_on(training, 1)


def test_stylegan2s_gradients_are_within_5_percent_of_float32_in_every_step(symbols):
    found = []
    for amp in False, True:
        backend.use_amp(amp)
        found.append(gradients(made(symbols, latent=64, fmap_max=64, max_size=32, init_size=32)))
    # R1 knows biases through the minibatch's deviation alone: a thousandth of what D's loss says.
    errors = {name: off(wanted.astype("float64"), found[1][name])
              for name, wanted in found[0].items() if wanted.any()
              and not (name.startswith("R1") and name.endswith("bias"))}
    assert 0 < max(errors.values()) < 0.05, errors


def test_the_networks_are_the_same(symbols):
    """--amp changes products alone: what is stored is float32."""
    backend.use_amp(True)
    training = Training(*in_process(symbols, latent=64, fmap_max=64, amp=True))
    train_on(training, 1)
    assert training.kernels() == "a CPU with Winograd kernels, AMX, version 3"
    assert all(p.dtype == "float32" for p in model.parameters_in_use(training.G, 8, False).values())
