"""train.py --init: a new run from the weights of a file, ours or another project's."""
import os

import numpy as np
import pytest
from conftest import ROOT, command
from small_runs import train_on

from pictures.painter import paint, styles_of
from training import settings
from training.iteration import Training
from weights import snapshot

OFFICIAL = os.path.join(ROOT, "test", "golden", "sg1_r32.pkl")


def started_from(path, symbols, **changes):
    """(a Training that begins with the weights at `path`, what the file holds)."""
    header, arrays = snapshot.load_any(str(path))
    s = settings.new_run(dict(data=symbols, name="x", init=str(path)) | changes, header)
    training = Training(s, settings.make_schedule(s), settings.model_config(s, header))
    training.start_from(header, arrays, path)
    return training, arrays


def test_init_takes_all_three_networks_of_an_official_file(symbols):
    training, arrays = started_from(OFFICIAL, symbols)
    phase = training.schedule.at(0)
    assert (phase.size, phase.alpha, training.images_seen) == (32, 1.0, 0)
    assert training.config.latent == 256 and training.config.fmap_max == 64
    state = training.state_of_networks()
    assert all((state[name] == arrays[name]).all() for name in state)


def test_init_leaves_larger_sizes_new_and_fades_them_in(symbols, tmp_path):
    header, arrays = snapshot.load_any(OFFICIAL)
    path = str(tmp_path / "x.model")
    snapshot.save(path, header | {"size": 8}, arrays)       # trained up to 8 of 32
    training, _ = started_from(path, symbols, batch="8", phase_kimg=0.008, fade_kimg=0.008)
    assert training.schedule.sizes == [8, 16, 32] and training.config.size == 32
    state = training.state_of_networks()
    for name in state:
        same = (state[name] == arrays[name]).all()
        assert same == ("16" not in name and "32" not in name) or not arrays[name].any()
    losses = train_on(training, 3)
    assert np.isfinite(losses).all() and training.schedule.at(16).size == 16


def test_a_file_in_mid_fade_goes_on_fading_where_it_was(symbols, tmp_path):
    header, arrays = snapshot.load_any(OFFICIAL)
    path = str(tmp_path / "x.model")
    snapshot.save(path, header | {"size": 16, "alpha": 0.75}, arrays)
    options = dict(batch="8", phase_kimg=0.032, fade_kimg=0.032)
    training, _ = started_from(path, symbols, **options)
    latents = np.random.RandomState(0).randn(4, 256).astype("float32")
    begin = training.sample(latents)
    assert training.schedule.at(0).alpha == training.header()["alpha"] == 0.75
    assert np.abs(begin - painted(path, latents)).max() < 1e-5
    train_on(training, 1)
    assert training.schedule.at(8).alpha == 1.0
    assert training.schedule.at(40).size == 32 and training.schedule.at(39).size == 16
    smaller, _ = started_from(path, symbols, init_size=8, **options)
    assert smaller.schedule.at(0).alpha == 1.0


def painted(path, latents):
    header, arrays = snapshot.load_any(path)
    generator = snapshot.make_generator(header, arrays, path)
    return paint(generator, styles_of(generator, latents, header["size"], 0.7), header["size"],
                 header["alpha"])


def test_init_without_a_discriminator_makes_a_fresh_one_and_says_so(symbols, capsys):
    path = os.path.join(ROOT, "test", "golden", "port16_stream.pt")
    training, arrays = started_from(path, symbols, batch="8", init_size=8, max_size=8)
    assert "at size 8; the discriminator is fresh" in capsys.readouterr().err
    state = training.state_of_networks()
    assert training.config.stddev_group == 0 and training.config.size == 8
    for name in arrays:
        inner = name[len("ema/"):]
        if "16" not in name:
            assert (state[f"ema/{inner}"] == arrays[name]).all()
            assert (state[f"generator/{inner}"] == arrays[name]).all()
    assert np.isfinite(train_on(training, 2)).all()


@pytest.mark.parametrize("arguments, message", [
    (["--init", OFFICIAL, "--resume"], "leave one out"),
    (["--init", OFFICIAL, "--latent", 64], "has 256: leave --latent out"),
    (["--init", OFFICIAL, "--init_size", 64], "above the size of"),
    (["--init", OFFICIAL, "--max_size", 16], "type --init_size 16"),
    (["--init", "nowhere.pkl"], "nowhere.pkl: No such file"),
])
def test_init_that_does_not_fit_ends_in_one_line(symbols, tmp_path, arguments, message):
    code, output, error = command("train.py", symbols, *arguments, cwd=tmp_path, check=False)
    assert code == 2 and message in error and error.count("\n") == 1 and not output


def test_a_run_from_other_weights_trains_and_resumes(symbols, tmp_path):
    flags = ["--batch", 8, "--device", "cpu", "--workers", 0, "--name", "fine"]
    _, _, error = command("train.py", symbols, "--init", OFFICIAL, *flags, "--kimg", 0.016,
                          cwd=tmp_path)
    assert "Starting from" in error and "official StyleGAN1, size 32) at size 32" in error
    command("train.py", symbols, "--name", "fine", "--resume", "--kimg", 0.024, "--workers", 0,
            cwd=tmp_path)
    header, _ = snapshot.load(str(tmp_path / "checkpoint/fine_000000024.model"))
    assert header["model"]["latent"] == 256 and "source" not in header
