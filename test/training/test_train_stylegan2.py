"""Training StyleGAN2: a divided batch, going on, transfer, and flags that belong elsewhere."""
import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT, command
from several_processes import MPIRUN, needs_mpirun
from stylegan2_steps import STEPS, gradients, made, step

from backend import jt
from backend.errors import UserError
from train import make_training
from training import recipes, schedule, settings
from weights import snapshot

SMALL = ["--arch", "stylegan2", "--preset", "small", "--latent", 16, "--fmap_max", 8, "--batch", 8,
         "--max_size", 16, "--device", "cpu", "--workers", 0]


@pytest.fixture(scope="module")
def whole(symbols):
    return gradients(made(symbols))


def assert_the_same_gradients(found, wanted):
    assert found.keys() == wanted.keys()
    for kind in STEPS:
        names = [name for name in wanted if name.startswith(kind)]
        most = max(np.abs(wanted[name]).max() for name in names)
        assert most > 0
        for name in names:
            assert np.abs(found[name] - wanted[name]).max() < 2e-5 * most, name
    assert np.allclose(found["pl_mean"], wanted["pl_mean"], rtol=1e-5)


@pytest.mark.parametrize("parts", [2, 4])
def test_a_batch_in_parts_has_the_gradients_of_the_whole(symbols, whole, parts):
    """Also where the path lengths of all parts are in the mean that is differentiated."""
    assert_the_same_gradients(gradients(made(symbols, grad_accum=parts)), whole)


def test_a_batch_in_parts_scores_the_same_pairs_as_the_whole(symbols):
    whole, parts = (gradients(made(symbols, loss="relativistic", grad_accum=n)) for n in (1, 2))
    assert_the_same_gradients(parts, whole)


@needs_mpirun
@pytest.mark.parametrize("loss", ["logistic", "relativistic"])
def test_two_processes_have_the_gradients_of_one(symbols, whole, tmp_path, loss):
    out = tmp_path / "out.npz"
    result = subprocess.run(
        [*MPIRUN, "-np", "2", sys.executable, os.path.join(ROOT, "test/stylegan2_steps.py"),
         symbols, str(out), loss], capture_output=True, text=True, timeout=300,
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT}/test"})
    assert result.returncode == 0, result.stderr
    wanted = whole if loss == "logistic" else gradients(made(symbols, loss=loss))
    assert_the_same_gradients(dict(np.load(out)), wanted)


def test_penalties_come_at_every_fourth_and_sixteenth_step(symbols):
    training = made(symbols)
    measured = [step(training) for _ in range(17)]
    assert [i for i, found in enumerate(measured) if "path_length" in found] == [0, 4, 8, 12, 16]
    assert [i for i, found in enumerate(measured) if "r1" in found] == [0, 16]
    # Both penalties' steps are counted by Adam, and its rates are corrected for them.
    assert training.adam_G.steps.item() == 22 and training.adam_D.steps.item() == 19
    assert training.adam_G.correction == 4 / 5 and training.adam_D.correction == 16 / 17
    # At every step the terms are steps of their own all the same, as in the official code.
    training = made(symbols, r1_interval=1, pl_interval=1)
    step(training)
    assert training.adam_G.correction == training.adam_D.correction == 1 / 2


def test_the_relativistic_loss_scores_pairs_of_a_class_and_has_the_penalty_on_both(symbols):
    training = made(symbols, shares=np.array([0.9, 0.1]), loss="relativistic")
    seen = []

    def D(pictures, labels):
        scores = training.D(pictures, 1.0, labels)
        slope = jt.grad(scores.sum(), pictures, retain_graph=True).numpy()
        seen.append((scores.numpy().astype("float64"), (slope ** 2).sum() / 16, labels.numpy()))
        return scores

    training.critic = lambda *_: D
    # All of the rare class, which random labels would hardly ever be.
    images = np.random.default_rng(0).standard_normal((16, 3, 16, 16)).astype("float32")
    measured = training.step(images, np.ones(16, int))
    measured = {name: value.item() for name, value in measured.items()}
    scores, norms, labels = zip(*seen)
    assert len(seen) == 6 and (np.array(labels) == [0, 1]).all()
    softplus = np.logaddexp(0, [scores[0] - scores[1], scores[3] - scores[2]]).mean((1, 2))
    assert np.allclose([measured["loss_G"], measured["loss_D"]], softplus, rtol=1e-5)
    assert np.isclose(measured["score_sign"], np.sign(scores[2] - scores[3]).mean())
    assert min(norms[4:]) > 0 and np.isclose(measured["r1"], norms[4] + norms[5], rtol=1e-4)


def test_a_resumed_run_goes_on_bit_for_bit(symbols):
    through, stopped = made(symbols), made(symbols)
    for _ in range(6):
        step(through)
    for _ in range(3):
        step(stopped)
    header, arrays = stopped.state()
    resumed = made(symbols)
    for network in resumed.G, resumed.D:
        for p in network.parameters():
            p.assign(p.numpy() * 0)
    resumed.restore(header, arrays, "-")
    for _ in range(3):
        step(resumed)
    wanted, found = through.state()[1], resumed.state()[1]
    assert found.keys() == wanted.keys() and "pl_mean" in found
    for name in wanted:
        assert (found[name] == wanted[name]).all(), name


@pytest.mark.parametrize("images_seen", [16, 64], ids=["", "with path lengths"])
def test_a_step_whose_numbers_are_not_finite_changes_nothing_of_its_network(symbols, images_seen):
    training = made(symbols)
    step(training)
    before = training.state()[1]
    training.images_seen = images_seen
    training.D.head.dense1.bias.assign(np.array([np.nan], "float32"))
    measured = step(training)
    after = training.state()[1]
    assert measured["sound"].item() == 0 and after["skipped"] == 1
    paths = "path_length" in measured                   # which do not ask D
    assert paths == (images_seen == 64)
    assert (before["pl_mean"] != after["pl_mean"]) == paths
    for name in before:
        if name.startswith(("discriminator/", "ema/", "adam_discriminator/")) or not paths and \
                name.startswith(("generator/", "adam_generator/")):
            same = before[name] == after[name]
            assert same.all() or "dense1.bias" in name, name


def test_the_average_follows_closely_at_first():
    assert schedule.ema_beta(16, 10, images_seen=0, rampup=0.05) == 0
    assert schedule.ema_beta(16, 10, images_seen=6400, rampup=0.05) == 0.5 ** (16 / 320)
    assert schedule.ema_beta(16, 10, images_seen=10 ** 7, rampup=0.05) == 0.5 ** (16 / 10_000)


def test_recipes_are_those_of_the_official_code(monkeypatch):
    auto = recipes.recipe("stylegan2", "auto", 256)
    assert (auto["batch"], auto["lr"], auto["mapping_layers"]) == ("16", "0.0025", 2)
    assert auto["gamma"] == pytest.approx(0.8192) and auto["ema_kimg"] == [5.0]
    assert auto["fmap_base"] == 8192 and recipes.recipe("stylegan2", "auto", 512)["fmap_base"] == \
        16384
    monkeypatch.setattr(recipes.mpi, "SIZE", 8)
    assert recipes.recipe("stylegan2", "auto", 64)["batch"] == "64"
    cifar = recipes.recipe("stylegan2", "cifar", 32)
    assert not cifar["pl_weight"] and not cifar["mixing"] and not cifar["d_residual"]
    config = settings.model_config(cifar | {"max_size": 32})
    assert (config.stddev_group, config.d_residual, config.fmap_base) == (32, False, 16384)


def test_the_table_of_presets_tells_what_small_holds():
    with open(os.path.join(ROOT, "docs/training.md"), encoding="utf-8") as file:
        row, = ([cell.strip() for cell in line.split("|")[1:-1]] for line in file
                if line.startswith("| small: ") and "no path length" in line)
    small = recipes.recipe("stylegan2", "small", 64)
    assert f"--loss {small['loss']}" in row[0] and not small["pl_weight"]
    assert row[1:] == [small["batch"], small["lr"],
                       f"{small['gamma']:g}, every {small['r1_interval']}th step",
                       f"{small['ema_kimg'][0]:g}, ramped up" * bool(small["ema_rampup"]),
                       f"{small['fmap_base'] // 512} (at most {small['fmap_max']})",
                       str(small["mapping_layers"])]


def test_train_generate_and_transfer(symbols, tmp_path):
    command("train.py", symbols, *SMALL, "--name", "a", "--kimg", 1, "--pl_weight", 2, cwd=tmp_path)
    _, output, _ = command("convert.py", "--check", "checkpoint/a_resume.model", cwd=tmp_path)
    assert "block16.skip" in output and "to_rgb4" in output
    command("generate.py", "checkpoint/a_000001000.model", "--device", "cpu", cwd=tmp_path)
    assert (tmp_path / "sample/a_000001000/mixing_coarse.png").exists()
    with open(tmp_path / "sample/a/stats.csv") as file:
        names, *lines = file.read().splitlines()
    assert float(dict(zip(names.split(","), lines[0].split(",")))["path_length"]) > 0
    # On, from all networks, with the first three layers of D as they are.
    _, _, said = command("train.py", symbols, "--init", "checkpoint/a_resume.model", "--name", "b",
                         "--batch", 8, "--freeze_d", 3, "--kimg", 0.032, "--device", "cpu",
                         "--workers", 0, cwd=tmp_path)
    before, after = (snapshot.load(str(tmp_path / f"checkpoint/{name}_resume.model"))[1]
                     for name in "ab")
    frozen = ("from_rgb16", "block16.conv0", "block16.conv1")
    assert f"{', '.join(frozen)} of D stay as they are" in said
    for name, array in before.items():
        if name.startswith("discriminator/") and "bias" not in name:
            same = (array == after[name]).all()
            assert same == name.startswith(tuple(f"discriminator/{f}" for f in frozen)), name


@pytest.mark.parametrize("flags, message", [
    (["--init_size", 8], "--init_size is of --arch stylegan1"),
    (["--loss", "wgan-gp"], "--loss wgan-gp is of --arch stylegan1"),
    (["--no_share_fakes"], "--no_share_fakes is of --arch stylegan1"),
    (["--preset", "cifar", "--arch", "stylegan1"], "--preset cifar is a recipe of StyleGAN2"),
    (["--pl_weight", 0, "--pl_interval", 4], "--pl_interval is of the path length penalty"),
    (["--pl_weight", 1, "--arch", "stylegan1"], "--pl_weight is of --arch stylegan2"),
    (["--freeze_d", 2], "--freeze_d keeps layers of the weights of --init"),
    (["--pl_interval", 0], "--pl_interval: found 0"),
    (["--arch", "stylegan3"], "stylegan3")])
def test_flags_of_the_other_architecture_are_refused_in_one_line(symbols, tmp_path, flags, message):
    code, _, error = command("train.py", symbols, "--arch", "stylegan2", *flags, cwd=tmp_path,
                             check=False)
    assert code == 2 and message in error and "Traceback" not in error


@pytest.mark.parametrize("flags, message", [
    (["--arch", "stylegan1"], "is a stylegan2, which cannot become one: leave --arch out"),
    (["--max_size", 8], "does not grow"),
    (["--freeze_d", 99], "has 7 layers above its head, from from_rgb16 to block8.skip"),
    (["--fmap_max", 16], "has 32: leave --fmap_max out")])
def test_what_does_not_fit_the_weights_is_refused_in_one_line(symbols, tmp_path, flags, message):
    pickle = os.path.join(ROOT, "test/golden/sg2_train_r16.pkl")
    code, _, error = command("train.py", symbols, "--init", pickle, *flags, cwd=tmp_path,
                             check=False)
    assert code == 2 and message in error and "Traceback" not in error


@pytest.mark.parametrize("typed", [dict(arch="stylegan2"), dict(pl_weight=2.0), dict(freeze_d=3),
                                   dict(ema_rampup=0.05)])
def test_a_run_of_an_earlier_version_stays_what_it_was(symbols, typed):
    saved = settings.to_save(recipes.recipe("stylegan1", "official", 16) | dict(
        max_size=16, batch="8"))
    saved = {flag: value for flag, value in saved.items() if flag not in settings.LATER}
    assert settings.resumed_run(dict(data=symbols, name="x"), saved)["arch"] == "stylegan1"
    with pytest.raises(UserError, match="was started with|is of --arch stylegan2"):
        settings.resumed_run(dict(data=symbols, name="x") | typed, saved)


def test_weights_decide_the_size_that_a_recipe_is_for_and_no_average_ramps_up(symbols):
    header, _ = snapshot.load_any(os.path.join(ROOT, "test/golden/sg2_train_r16.pkl"))
    s = settings.new_run(dict(data=symbols, name="x", init="-", preset="auto"), header)
    assert s["max_size"] == s["init_size"] == 16 and s["ema_rampup"] == 0
    assert s["gamma"] == recipes.auto(16, 1)["gamma"]


def test_layers_of_a_file_without_a_discriminator_are_not_frozen(symbols, tmp_path):
    header, arrays = snapshot.load_any(os.path.join(ROOT, "test/golden/sg2_train_r16.pkl"))
    header.pop("source")
    snapshot.save(str(tmp_path / "g.model"), header, {
        name: a for name, a in arrays.items() if name.startswith("ema/")})
    code, _, error = command("train.py", symbols, "--init", "g.model", "--freeze_d", 2,
                             cwd=tmp_path, check=False)
    assert code == 2 and "g.model has no discriminator" in error and error.count("\n") == 1


def test_a_fresh_network_is_the_same_on_every_device(symbols):
    """All that is random comes from NumPy: nothing from the device's own generator is left."""
    states = []
    for seed in 1, 2:
        jt.set_seed(seed)
        s = recipes.recipe("stylegan2", "small", 16) | dict(data=symbols, name="x", max_size=16,
                                                            init_size=16)
        settings.check(s)
        states.append(make_training(s, settings.make_schedule(s),
                                    settings.model_config(s)).state_of_networks())
    assert all((states[0][name] == states[1][name]).all() for name in states[0])


def test_a_resumed_run_says_which_flags_are_of_the_other_architecture(symbols):
    saved = settings.to_save(recipes.recipe("stylegan2", "official", 16) | dict(
        max_size=16, init_size=16, batch="8"))
    with pytest.raises(UserError, match="--phase_kimg is of --arch stylegan1"):
        settings.resumed_run(dict(data=symbols, name="x", phase_kimg=2.0), saved)
