"""train.py and generate.py together, on real rendered symbols."""
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import ROOT, command
from PIL import Image

import runs
import settings
import snapshot
import train
from cli import UserError
from dataset import Loader

TINY = ["--batch", 8, "--latent", 16, "--fmap_max", 8, "--device", "cpu", "--workers", 1]
GROWING = TINY + ["--max_size", 16, "--phase_kimg", 0.064, "--fade_kimg", 0.064]


@pytest.fixture(scope="session")
def run(symbols, tmp_path_factory):
    """Folder of a finished run of 20 iterations that grew from 8 through a fade to 16."""
    folder = tmp_path_factory.mktemp("run")
    _, output, stderr = command("train.py", symbols, *GROWING, "--name", "tiny", "--kimg", 0.16,
                                "--save_kimg", 0.08, "--sample_kimg", 0.08, cwd=folder)
    return folder, output, stderr


def visible(folder):
    return sorted(name for name in os.listdir(folder) if not name.startswith("."))


def in_process(symbols, **changes):
    s = settings.OFFICIAL | dict(data=symbols, name="x", batch="8", latent=16, fmap_max=8,
                                 max_size=16, phase_kimg=0.064, fade_kimg=0.064) | changes
    settings.check(s)
    return s, settings.make_schedule(s), settings.model_config(s)


def train_on(training, count):
    s = training.s
    losses = []
    with Loader(s["data"], seed=s["seed"], workers=0) as loader:
        for _ in range(count):
            phase = training.schedule.at(training.images_seen)
            _, images = next(loader.batches(phase.size, phase.batch, training.images_seen))
            losses.append([float(x.item()) for x in training.step(images)])
    return np.array(losses)


def test_twenty_iterations_stay_finite_and_change_every_network(symbols):
    training = train.Training(*in_process(symbols))
    before = training.state_of_networks()
    losses = train_on(training, 20)
    assert losses.shape == (20, 2) and np.isfinite(losses).all()
    after = training.state_of_networks()
    for prefix in ("generator", "discriminator", "ema"):
        names = [n for n in after if n.startswith(prefix + "/") and n.endswith("weight")]
        assert all((after[n] != before[n]).any() for n in names if "rgb4" not in n)
    assert all(np.isfinite(a).all() for a in after.values())
    assert (after["generator/w_avg"] == after["ema/w_avg"]).all() and after["ema/w_avg"].any()


def test_run_writes_what_it_says(run):
    folder, output, stderr = run
    assert visible(folder / "checkpoint") == [
        "tiny_000000064.model", "tiny_000000080.model", "tiny_000000160.model",
        "tiny_resume.1.model", "tiny_resume.model"]
    assert sorted(os.listdir(folder / "sample/tiny")) == ["000000080.png", "000000160.png",
                                                          "real.png"]
    assert "size 16 from 64 images" in stderr and "whole run" in stderr
    assert "Finished" in output and "generate.py" in output
    header, arrays = snapshot.load(str(folder / "checkpoint/tiny_000000160.model"))
    assert (header["size"], header["alpha"], header["images_seen"]) == (16, 1.0, 160)
    assert all(n.startswith("ema/") for n in arrays)


def test_generate_reads_it_and_writes_all_grids(run):
    folder = run[0]
    command("generate.py", "checkpoint/tiny_000000160.model", "--n_row", 2, "--n_col", 3,
            cwd=folder)
    out = folder / "sample/tiny_000000160"
    assert sorted(os.listdir(out)) == ["interpolation.png", "mixing_coarse.png", "mixing_fine.png",
                                       "mixing_middle.png", "samples.png"]
    assert Image.open(out / "samples.png").size == (3 * 66 - 2, 2 * 66 - 2)
    assert Image.open(out / "mixing_fine.png").size == (4 * 66 - 2, 3 * 66 - 2)


def test_a_seed_gives_its_picture_wherever_it_stands(run):
    folder = run[0]
    for seed, columns, out in ((0, 3, "a"), (2, 1, "b")):
        command("generate.py", "checkpoint/tiny_resume.model", "--n_row", 1, "--n_col", columns,
                "--seed", seed, "--out", out, cwd=folder)
    a, b = (np.asarray(Image.open(folder / out / "samples.png")).astype(int) for out in "ab")
    assert abs(a[:, 132:196] - b).max() <= 1 and abs(a[:, :64] - b).max() > 1


@pytest.mark.parametrize("stop_after", [5, 11, 8])      # first size, mid-fade, at the border
def test_resume_equals_uninterrupted_run(symbols, tmp_path, stop_after):
    whole = train.Training(*in_process(symbols))
    train_on(whole, 18)
    first = train.Training(*in_process(symbols))
    train_on(first, stop_after)
    path = str(tmp_path / "x.model")
    snapshot.save(path, *first.state())
    second = train.Training(*in_process(symbols))
    second.restore(*snapshot.load(path), path)
    assert second.images_seen == 8 * stop_after
    train_on(second, 18 - stop_after)
    wanted, found = whole.state()[1], second.state()[1]
    assert wanted.keys() == found.keys()
    assert all((wanted[n] == found[n]).all() for n in wanted)


def test_an_existing_run_is_not_overwritten(run, symbols):
    code, _, stderr = command("train.py", symbols, "--name", "tiny", cwd=run[0], check=False)
    assert code == 2 and "--resume" in stderr and "--name" in stderr


def test_resuming_a_finished_run_says_so(run, symbols):
    code, output, _ = command("train.py", symbols, "--name", "tiny", "--resume", cwd=run[0])
    assert code == 0 and "finished" in output


def test_a_flag_against_the_saved_run_is_named_with_both_values(run, symbols):
    code, _, stderr = command("train.py", symbols, "--name", "tiny", "--resume", "--gamma", 3,
                              cwd=run[0], check=False)
    assert code == 2 and "--gamma 3" in stderr and "10" in stderr


@contextlib.contextmanager
def training_process(symbols, folder, name):
    """A train.py of its own process group that makes steps."""
    process = subprocess.Popen(
        [sys.executable, os.path.join(ROOT, "train.py"), symbols, *map(str, TINY), "--max_size",
         "8", "--name", name, "--kimg", "10000"], cwd=folder, stderr=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        while "size 8 from 0 images" not in process.stderr.readline():
            assert process.poll() is None
        time.sleep(8)
        yield process
    finally:
        process.kill()


def test_ctrl_c_saves_and_says_how_to_go_on(symbols, tmp_path):
    with training_process(symbols, tmp_path, "stopped") as process:
        os.killpg(process.pid, signal.SIGINT)           # as a terminal does
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and "--name stopped --resume" in output
    header, _, _ = runs.load_resume(str(tmp_path / "checkpoint"), "stopped")
    assert header["images_seen"] > 0
    _, output, _ = command("train.py", symbols, "--name", "stopped", "--resume", "--kimg",
                           header["images_seen"] / 1000 + 0.016, cwd=tmp_path)
    assert "Finished" in output


def test_sigterm_saves_and_exits_0(symbols, tmp_path):
    with training_process(symbols, tmp_path, "ended") as process:
        process.terminate()
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and "Stopped at" in output
    assert runs.newest(str(tmp_path / "checkpoint"), "ended")


def test_a_second_signal_stops_at_once(symbols, tmp_path):
    with training_process(symbols, tmp_path, "hurried") as process:
        process.terminate()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode in (130, 143)
    assert runs.newest(str(tmp_path / "checkpoint"), "hurried") is None


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")
def test_workers_die_with_a_killed_parent_and_the_run_can_go_on(symbols, tmp_path):
    with training_process(symbols, tmp_path, "killed") as process:
        with open(f"/proc/{process.pid}/task/{process.pid}/children") as file:
            children = file.read().split()
        process.kill()
        process.wait()
    end = time.monotonic() + 10
    while any(is_running(child) for child in children) and time.monotonic() < end:
        time.sleep(0.1)
    assert children and not any(is_running(child) for child in children)
    assert runs.lock(str(tmp_path / "checkpoint"), "killed")


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_only_the_newest_files_are_kept(symbols, tmp_path):
    command("train.py", symbols, *TINY, "--max_size", 8, "--name", "kept", "--kimg", 0.08,
            "--save_kimg", 0.016, "--keep", 2, cwd=tmp_path)
    assert visible(tmp_path / "checkpoint") == [
        "kept_000000064.model", "kept_000000080.model", "kept_resume.1.model", "kept_resume.model"]


def test_one_channel_with_wgan_gp(symbols, tmp_path):
    command("train.py", symbols, *TINY, "--channels", 1, "--loss", "wgan-gp", "--max_size", 8,
            "--name", "grey", "--kimg", 0.032, cwd=tmp_path)
    command("generate.py", "checkpoint/grey_000000032.model", "--n_row", 1, "--n_col", 1,
            cwd=tmp_path)
    assert Image.open(tmp_path / "sample/grey_000000032/samples.png").size == (64, 64)


def test_dry_run_prints_the_schedule_and_makes_nothing(symbols, tmp_path):
    _, output, _ = command("train.py", symbols, "--dry_run", cwd=tmp_path)
    assert re.search(r"^\s*16\s+600,000\s+1,200,000\s+128", output, re.M)
    assert "parameters" in output and "GiB" in output and os.listdir(tmp_path) == []


def test_help_answers_without_jittor():
    for script in ("train.py", "generate.py", "resize.py", "symbols.py"):
        code = (f"import sys, runpy; sys.argv = ['{script}', '--help']\n"
                f"try: runpy.run_path('{script}', run_name='__main__')\n"
                "except SystemExit: sys.exit('jittor' in sys.modules)")
        result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True,
                                text=True)
        assert result.returncode == 0 and "default" in result.stdout, result.stderr


@pytest.mark.parametrize("flags, message", [
    (["--batch", "6"], "multiple of 4"),
    (["--batch", "7:8"], "--batch"),
    (["--init_size", "12"], "--init_size"),
    (["--init_size", "64"], "size 64"),
    (["--max_size", "64"], "64: no such folder"),
    (["--init_size", "32", "--max_size", "16"], "--max_size 16"),
    (["--mixing", "2"], "--mixing"),
    (["--kimg", "0"], "--kimg"),
    (["--resume"], "no checkpoint"),
    (["--name", "a/b"], "--name"),
    (["--loss", "hinge"], "--loss"),
])
def test_wrong_flags_are_one_line_and_exit_2(symbols, tmp_path, flags, message):
    code, output, stderr = command("train.py", symbols, *flags, cwd=tmp_path, check=False)
    assert code == 2 and message in stderr and stderr.count("\n") == 1, stderr
    assert "Traceback" not in output
    assert os.listdir(tmp_path) == []


def test_missing_data_and_checkpoints_are_one_line(tmp_path):
    for arguments, message in ((["train.py", "nowhere"], "nowhere: "),
                               (["generate.py", "none.model"], "none.model: ")):
        code, _, stderr = command(*arguments, cwd=tmp_path, check=False)
        assert code == 2 and message in stderr and stderr.count("\n") == 1, stderr


def test_presets_name_known_flags_only():
    for preset in settings.PRESETS.values():
        assert preset.keys() <= settings.OFFICIAL.keys()
    with pytest.raises(UserError, match="--gamma"):
        in_process("x", gamma=-1)


# What must not cost anything ----------------------------------------------------------------------


def poisoned(images, value):
    images = images.copy()
    images[1, 0, 2, 3] = value
    return images


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_step_that_is_not_finite_changes_nothing_but_the_count(symbols, value):
    training = train.Training(*in_process(symbols))
    train_on(training, 2)
    before = training.state()[1]
    phase = training.schedule.at(training.images_seen)
    with Loader(symbols, workers=0) as loader:
        _, images = next(loader.batches(phase.size, phase.batch, training.images_seen))
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
    training = train.Training(*in_process(symbols))
    train_on(training, 2)
    loss = training.generator_loss
    training.generator_loss = lambda scores: loss(scores) * float("nan")
    before = training.state()[1]
    train_on(training, 1)
    after = training.state()[1]
    assert after.pop("skipped") == 1 and after.pop("skipped_in_a_row") == 1
    assert all((after[name] == before[name]).all() for name in after)


NOT_FINITE_FROM = """
import sys; sys.path.insert(0, sys.argv.pop(1))
import train, cli, numpy as np
step = train.Training.step
def poisoned(self, images):
    if self.images_seen >= 80 and (self.images_seen < 120 or {for_ever}):
        images = images * np.float32("nan")
    return step(self, images)
train.Training.step = poisoned
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
    assert "5 steps were skipped" in output and "Finished" in output
    assert runs.load_resume(str(tmp_path / "checkpoint"), "few")[1]["skipped"] == 5


def test_a_stop_before_the_first_step_saves_too(symbols, tmp_path):
    name = ["--name", "early", "--workers", 0]
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
    flags = ["--name", "direct", "--workers", 0]
    command("train.py", symbols, *TINY, "--max_size", 8, *flags, "--kimg", 0.016, "--conv",
            "direct", cwd=tmp_path)
    header, *_ = runs.load_resume(str(tmp_path / "checkpoint"), "direct")
    assert header["settings"]["conv"] == "direct" and "direct" in header["kernels"]
    _, _, error = command("train.py", symbols, *flags, "--resume", "--kimg", 0.024, cwd=tmp_path)
    assert "last digits" not in error
    code, _, error = command("train.py", symbols, *flags, "--resume", "--conv", "winograd",
                             cwd=tmp_path, check=False)
    assert code == 2 and "--conv winograd" in error and "--conv direct" in error


def test_other_pictures_on_resume_are_told(run, symbols, tmp_path):
    data, folder = tmp_path / "data", tmp_path / "run"
    shutil.copytree(symbols, data)
    command("train.py", data, *TINY, "--max_size", 8, "--name", "x", "--kimg", 0.016,
            cwd=(folder.mkdir(), folder)[1])
    os.remove(data / "8" / sorted(os.listdir(data / "8"))[0])
    _, _, error = command("train.py", data, "--name", "x", "--resume", "--kimg", 0.024, cwd=folder)
    assert "other pictures than when the run was saved (39 now, 40 then)" in error


def test_pictures_that_vanish_during_training_end_it_with_all_steps_saved(symbols, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(symbols, data)
    with training_process(data, tmp_path, "gone") as process:
        shutil.rmtree(data / "8")
        output, error = process.communicate(timeout=60)
    assert process.returncode == 2 and "Traceback" not in error
    assert re.search("pictures .*can(not)? be read", error.splitlines()[-1])
    assert runs.load_resume(str(tmp_path / "checkpoint"), "gone")[0]["images_seen"] > 0


def test_a_second_run_of_the_name_is_refused(symbols, tmp_path):
    os.makedirs(tmp_path / "checkpoint")
    held = runs.lock(str(tmp_path / "checkpoint"), "twice")
    code, _, error = command("train.py", symbols, "--name", "twice", cwd=tmp_path, check=False)
    assert code == 2 and "is being written by process" in error and held


# --init -------------------------------------------------------------------------------------------

OFFICIAL = os.path.join(ROOT, "test", "golden", "sg1_r32.pkl")


def started_from(path, symbols, **changes):
    """(a Training that begins with the weights at `path`, what the file holds)."""
    header, arrays = snapshot.load_any(str(path))
    s = settings.new_run(dict(data=symbols, name="x", init=str(path)) | changes, header)
    training = train.Training(s, settings.make_schedule(s), settings.model_config(s, header))
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
