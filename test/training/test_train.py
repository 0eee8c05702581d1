"""train.py and generate.py together, on real rendered symbols."""
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import ROOT, command
from PIL import Image
from small_runs import GROWING, TINY, in_process, is_running, train_on, training_process

import backend
from backend.errors import UserError
from training import estimate, flags, recipes, runs, settings
from training.iteration import Training
from weights import snapshot


@pytest.fixture(scope="session")
def run(symbols, tmp_path_factory):
    """Folder of a finished run of 20 iterations that grew from 8 through a fade to 16."""
    folder = tmp_path_factory.mktemp("run")
    _, output, stderr = command("train.py", symbols, *GROWING, "--name", "tiny", "--kimg", 0.16,
                                "--save_kimg", 0.08, "--sample_kimg", 0.08, cwd=folder)
    return folder, output, stderr


def visible(folder):
    return sorted(name for name in os.listdir(folder) if not name.startswith("."))


def test_only_what_was_typed_counts_as_typed():
    assert flags.parse(["data/x"]) == {"data": "data/x", "name": "x"}
    typed = flags.parse(["data/x", "--kimg", "3", "--cuda_home", "/cuda", "--amp"])
    assert typed == {"data": "data/x", "name": "x", "kimg": 3, "cuda_home": "/cuda", "amp": True}


def test_twenty_iterations_stay_finite_and_change_every_network(symbols):
    training = Training(*in_process(symbols))
    before = training.state_of_networks()
    losses = train_on(training, 20)
    assert losses.shape == (20, 2) and np.isfinite(losses).all()
    after = training.state_of_networks()
    for prefix in ("generator", "discriminator", "ema"):
        names = [n for n in after if n.startswith(prefix + "/") and n.endswith("weight")]
        assert all((after[n] != before[n]).any() for n in names if "rgb4" not in n)
    assert all(np.isfinite(a).all() for a in after.values())
    assert (after["generator/w_avg"] == after["ema/w_avg"]).all() and after["ema/w_avg"].any()


@pytest.mark.skipif(not backend.has_winograd, reason="counts the operators of the CPU")
@pytest.mark.parametrize("changes", [{}, {"loss": "relativistic"}, {"gamma": 0.0},
                                     {"loss": "relativistic", "gamma": 0.0}, {"share_fakes": True}])
def test_an_iteration_runs_the_convolutions_that_the_estimate_counts(symbols, changes):
    """Both networks have five 3×3 layers at 16."""
    training = Training(*in_process(symbols, latent=64, fmap_max=64, init_size=16, **changes))
    train_on(training, 1)
    with backend.jt.profile_scope() as report:
        train_on(training, 1)
    name, count = report[0].index("Name"), report[0].index("Count")
    runs_of = {row[name].split("«")[0]: int(row[count]) for row in report[1:]}
    counted = estimate.passes(training.s)
    assert runs_of["winograd"] + runs_of["winograd_gradient"] == 5 * sum(counted)
    if changes:
        return
    assert runs_of["winograd"] == 5 * 8 + 5 * 3
    assert runs_of["winograd_gradient"] == 5 * 3 + 5 * 1
    assert counted == (4, 11) and estimate.passes(training.s | {"r1_interval": 4}) == (4, 8.75)
    layer, pixels = 64 * 64 * 9, 2 * 16 ** 2 + 2 * 8 ** 2
    passes = 11 * layer * (pixels + 4 ** 2 * 65 / 64) + 4 * layer * (pixels + 4 ** 2)
    assert estimate.training_gflop(training.config, 16) == pytest.approx(2 * passes / 1e9)


def test_a_lazy_penalty_comes_at_every_nth_step_also_after_a_resume(symbols, tmp_path):
    def gammas(training, count):
        seen, compute = [], training.discriminator_loss
        training.discriminator_loss = lambda *a: seen.append(a[3]) or compute(*a)
        train_on(training, count)
        return seen

    settings_of_run = in_process(symbols, r1_interval=3, gamma_scale="port")
    first = Training(*settings_of_run)
    assert gammas(first, 4) == [30, 0, 0, 30]
    second = Training(*settings_of_run)
    second.restore(*first.state(), "first")
    assert gammas(second, 3) == [0, 0, 30]


def test_shared_fakes_are_the_pictures_that_the_discriminator_saw(symbols):
    """One batch is generated for a step, not two, and both losses are of it."""
    def first_step(**changes):
        training, made = Training(*in_process(symbols, **changes)), []
        generate = training.generate
        training.generate = lambda *a: made.append(generate(*a)) or made[-1]
        return train_on(training, 1)[0], made, training

    separate, made, _ = first_step()
    assert len(made) == 2
    shared, made, training = first_step(share_fakes=True)
    assert len(made) == 1
    assert np.isclose(shared[0], separate[0], rtol=1e-5) and shared[1] != separate[1]
    assert all(np.isfinite(a).all() for a in training.state()[1].values())


def test_shared_fakes_of_a_batch_in_parts_are_of_the_same_latents(symbols):
    def latents_of_a_step(shared):
        training, seen = Training(*in_process(symbols, share_fakes=shared, grad_accum=2)), []
        generate = training.generate
        training.generate = lambda inputs, *a: seen.append(inputs.latents) or generate(inputs, *a)
        train_on(training, 1)
        return np.array(seen)

    of_D, of_G = np.split(latents_of_a_step(True), 2)
    assert len(of_D) == 2 and (of_D == of_G).all()
    of_D, of_G = np.split(latents_of_a_step(False), 2)
    assert (of_D != of_G).all()


def test_run_writes_what_it_says(run):
    folder, output, stderr = run
    assert visible(folder / "checkpoint") == [
        "tiny_000000064.model", "tiny_000000080.model", "tiny_000000160.model",
        "tiny_resume.1.model", "tiny_resume.model"]
    assert sorted(os.listdir(folder / "sample/tiny")) == ["000000080.png", "000000160.png",
                                                          "real.png", "stats.csv"]
    assert "size 16 from 64 images" in stderr and "whole run" in stderr
    assert "Finished" in output and "generate.py" in output
    header, arrays = snapshot.load(str(folder / "checkpoint/tiny_000000160.model"))
    assert (header["size"], header["alpha"], header["images_seen"]) == (16, 1.0, 160)
    assert all(n.startswith("ema/") for n in arrays)


def test_a_file_says_what_was_trained_where_a_batch_went_over_a_border(symbols):
    """60 images at size 8 in batches of 8: the eighth batch is the last of 8."""
    training = Training(*in_process(symbols, phase_kimg=0.06))
    train_on(training, 8)
    latents = np.zeros((4, 16), "float32")
    header = training.header()
    assert (header["images_seen"], header["size"], header["alpha"]) == (64, 8, 1.0)
    assert training.sample(latents).shape == (4, 3, 8, 8)
    train_on(training, 1)
    header = training.header()
    assert (header["size"], header["alpha"]) == (16, pytest.approx(4 / 64))
    assert training.sample(latents).shape == (4, 3, 16, 16)


def test_wgan_gp_caps_the_learning_rate_as_its_official_configuration_does(symbols):
    for changes, wanted in ((dict(loss="wgan-gp"), [0.001, 0.002, 0.002]),
                            (dict(loss="wgan-gp", lr="512:0.004"), [0.001, 0.002, 0.004]),
                            ({}, [0.001, 0.002, 0.003])):
        plan = in_process(symbols, **changes)[1]
        assert [plan.lr[size] for size in (8, 256, 512)] == wanted


def test_the_discriminator_learns_at_a_rate_of_its_own_where_one_is_named(symbols):
    for changes, wanted in ((dict(lr="0.006"), [(0.006, 0.006)] * 2),
                            (dict(lr="0.006", dlr="0.003"), [(0.006, 0.003)] * 2),
                            (dict(lr="0.006", dlr="16:0.003"), [(0.006, 0.006), (0.006, 0.003)])):
        plan = in_process(symbols, **changes)[1]
        phases = [plan.at(plan.border(size)) for size in (8, 16)]
        assert [(phase.lr, phase.dlr) for phase in phases] == wanted


def test_the_mapping_network_is_as_deep_as_its_flag_says(symbols):
    for changes, layers in (({}, 8), (dict(mapping_layers=3), 3)):
        training = Training(*in_process(symbols, **changes))
        found = [name for name in training.state_of_networks()
                 if name.startswith("generator/mapping.") and name.endswith("weight")]
        assert len(found) == training.config.mapping_layers == layers
    saved = dict(in_process(symbols)[0])
    del saved["mapping_layers"]                         # of a version that had no such flag
    with pytest.raises(UserError, match="started with --mapping_layers 8"):
        settings.resumed_run(dict(data=symbols, name="x", mapping_layers=3), saved)


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
    a, b = (np.asarray(Image.open(folder / out / "samples.png")) for out in "ab")
    assert (a[:, 132:196] == b).all() and (a[:, :64] != b).any()
    command("generate.py", "checkpoint/tiny_resume.model", "--seeds", "30-47,2", "--out", "c",
            cwd=folder)
    assert len(os.listdir(folder / "c")) == 19
    single = np.asarray(Image.open(folder / "c/seed000002.png"))
    assert single.shape == (16, 16, 3) and (single == b[::4, ::4]).all()


@pytest.mark.parametrize("text", ["", "5-", "-3", "7-3", "1-2-3", "x", "1,,2", "4294967296"])
def test_a_list_of_seeds_that_is_none_is_one_line(text, tmp_path):
    code, _, error = command("generate.py", "x.model", f"--seeds={text}", cwd=tmp_path, check=False)
    assert code == 2 and error.count("\n") == 1 and "--seeds" in error and "0-35,85" in error


def test_truncation_reaches_as_many_layers_as_it_is_told(run):
    folder, pictures = run[0], {}
    for layers in (0, 2, 99):
        command("generate.py", "checkpoint/tiny_resume.model", "--seeds", "1,5", "--out",
                f"t{layers}", "--truncation_psi", 0, "--truncation_layers", layers, cwd=folder)
        pictures[layers] = [np.asarray(Image.open(folder / f"t{layers}/seed{seed:06d}.png"))
                            for seed in (1, 5)]
    equal = {layers: (one == other).all() for layers, (one, other) in pictures.items()}
    assert equal == {0: False, 2: False, 99: True}          # all mean pictures are one


@pytest.mark.parametrize("stop_after", [5, 11, 8])      # first size, mid-fade, at the border
def test_resume_equals_uninterrupted_run(symbols, tmp_path, stop_after):
    whole = Training(*in_process(symbols))
    train_on(whole, 18)
    first = Training(*in_process(symbols))
    train_on(first, stop_after)
    path = str(tmp_path / "x.model")
    snapshot.save(path, *first.state())
    second = Training(*in_process(symbols))
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
    assert "loss logistic, gamma 10 every step, style mixing 0.9, augment none" in output
    _, output, _ = command("train.py", symbols, "--dry_run", "--arch", "stylegan2", cwd=tmp_path)
    assert re.search(r"^\s*32\s+0\s+32\s+0.002", output, re.M) and "fade" not in output
    assert "gamma 10 every 16 steps, path length 2 every 4 steps" in output


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
    (["--init_size", "64"], "--init_size 64: the largest pictures"),
    (["--max_size", "64"], "--max_size 64: the largest pictures"),
    (["--init_size", "32", "--max_size", "16"], "--max_size 16"),
    (["--mixing", "2"], "--mixing"),
    (["--kimg", "0"], "--kimg"),
    (["--resume"], "(no checkpoint"),
    (["--name", "a/b"], "--name"),
    (["--loss", "hinge"], "--loss"),
    (["--mapping_layers", "1001"], "--mapping_layers is 1001"),
    (["--latent", "2000000"], "--latent is 2000000"),
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
    for arch, presets in recipes.PRESETS.items():
        for preset in presets:
            assert recipes.recipe(arch, preset, 64).keys() == recipes.OFFICIAL.keys()
    with pytest.raises(UserError, match="--gamma"):
        in_process("x", gamma=-1)


def test_the_table_of_flags_tells_what_small_changes():
    with open(os.path.join(ROOT, "docs/training.md"), encoding="utf-8") as file:
        rows = [line.split("|")[1:4] for line in file if line.startswith("| `--")]

    def word(value):
        value = value[0] if isinstance(value, list) else value
        return {True: "on", False: "off"}[value] if isinstance(value, bool) else \
            f"{value:g}" if isinstance(value, float) else str(value)

    for name, value in recipes.SMALL.items():
        flags_, official, small = next(row for row in rows if f"`--{name}`" in row[0])
        place = re.findall("`--([a-z_0-9]+)`", flags_).index(name)
        assert small.strip().split(", ")[place] == word(value), (name, value, small)
        if recipes.OFFICIAL[name] is not None:                   # else it is by size
            assert official.strip().split(", ")[place] == word(recipes.OFFICIAL[name]), name
