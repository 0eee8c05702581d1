"""--augment: the official transforms, their gradients, and how often they take place."""
import csv
import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT, command
from small_runs import TINY, in_process, train_on
from stylegan2_steps import STEPS, gradients, made

from backend import jt, warp
from backend.errors import UserError
from training import augment, runs, settings
from training.iteration import Training, mean_sign
from weights import snapshot

GOLDEN = os.path.join(ROOT, "test/golden/ada_r32.npz")


def relative(found, wanted):
    return np.abs(found - wanted).max() / np.abs(wanted).max()


def placing(p, seed=0, count=5, size=16, channels=3):
    draws = augment.Draws(np.random.default_rng(seed), count)
    return augment.draw_placing(draws, p, size, channels)


def pictures(count=5, size=16, channels=3, seed=1):
    return jt.array(np.random.RandomState(seed).randn(count, channels, size, size)
                    .astype("float32"))


def test_every_output_of_the_official_pipe_is_reproduced(tmp_path):
    _, output, _ = command("test/check_golden.py", "--ada", GOLDEN, "--device", "cpu",
                           "--dump", "out.npz", cwd=tmp_path)
    assert "22 arrays compared, 0 over their bound or not known" in output
    with np.load(GOLDEN) as golden, np.load(tmp_path / "out.npz") as found:
        wanted = {name for name in golden.files if name.endswith(("_out", "_grad"))}
        assert set(found.files) == wanted and len(wanted) == 22
        for name in wanted:
            bound = 1e-5 if name.endswith("_out") else 5e-5
            assert relative(found[name], golden[name]) < bound


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("p", [0.3, 1.0])
def test_the_loops_are_the_matrices_with_first_and_second_gradients(p, channels):
    found = []
    for form in warp.warp, warp.by_matrices:
        x, dy, u = (pictures(channels=channels, seed=seed) for seed in (1, 2, 3))
        y = form(x, placing(p, channels=channels))
        # As R1: of the gradient of what is not linear in y.
        first = jt.grad((y * y * dy).sum(), x)
        second = jt.grad((first * u).sum(), [x, dy])
        found.append([v.numpy() for v in (y, first, *second)])
    for loops, matrices in zip(*found):
        assert relative(loops, matrices) < 2e-5


ZOOM = """
import sys
import numpy as np
import backend; backend.use_device("cpu")
from backend import jt, warp
rng = np.random.RandomState(0)
for size, zoom, shift in (64, 0.7, 0), (64, 0.3, 20), (16, 3, 0), (64, 0.1, 0), (64, 1, 500):
    geometry = np.array([[[zoom, 0.1, shift], [-0.1, zoom, -shift], [0, 0, 1]]] * 2)
    placing = warp.Placing(geometry, np.tile(np.eye(3, 4), (2, 1, 1)), size)
    x, dy = (jt.array(rng.randn(2, 3, size, size).astype("float32")) for _ in range(2))
    found = []
    for form in warp.warp, warp.by_matrices:
        y = form(x, placing)
        found.append([v.numpy() for v in (y, *jt.grad((y * dy).sum(), [x]))])
    for one, other in zip(*found):
        assert np.abs(one - other).max() <= 2e-5 * max(1, np.abs(other).max()), (size, zoom)
"""


def test_a_new_process_may_begin_with_any_placing():
    """Its memory is as large as the first picture wants it."""
    command("-c", ZOOM, cwd=ROOT)


def test_what_is_not_chosen_stays_what_it_is_to_the_last_bit():
    x = pictures()
    one = placing(0.0)
    assert (warp.warp(x, one).numpy() == x.numpy()).all()
    assert (jt.grad((warp.warp(x, one) * x.detach()).sum(), x).numpy() == x.numpy()).all()


@pytest.mark.parametrize("transform, allowed", [
    ("xflip", lambda x, y: (y == x).all() or relative(y, x[:, :, ::-1]) < 0.2),
    ("brightness", lambda x, y: np.ptp(y - x) < 1e-5),
    ("lumaflip", lambda x, y: np.allclose(y - y.mean(0), x - x.mean(0), atol=1e-5))])
def test_a_transform_does_what_its_name_says(transform, allowed):
    size = 32
    smooth = np.add.outer(np.sin(np.arange(size) / 5), np.cos(np.arange(size) / 7))
    x = np.stack([np.stack([smooth, smooth.T, smooth ** 2])] * 8).astype("float32")
    draws = augment.Draws(np.random.default_rng(0), 8)
    y = warp.warp(jt.array(x), augment.draw_placing(draws, 1.0, size, 3, (transform,))).numpy()
    assert all(allowed(one, other) for one, other in zip(x, y))
    assert any((one != other).any() for one, other in zip(x, y))


@pytest.mark.parametrize("channels", [1, 3])
def test_diffaugment_is_the_papers_and_linear_but_for_the_brightness(channels):
    size, x = 16, np.random.RandomState(1).randn(6, channels, 16, 16)

    def by_hand(x, offset=0.5):
        rng, wanted = np.random.default_rng(3), []
        brightness, saturation, contrast = rng.random((3, 6))
        shift, hole = rng.integers(-2, 3, (2, 6)), rng.integers(0, size + 1, (2, 6))
        for i, one in enumerate(x):
            one = one + (brightness[i] - 0.5) * (offset / 0.5)
            if channels == 3:
                one = one.mean(0) + 2 * saturation[i] * (one - one.mean(0))
            one = one.mean() + (contrast[i] + 0.5) * (one - one.mean())
            padded = np.pad(one, ((0, 0), (2, 2), (2, 2)))
            down, right = 2 + shift[0, i], 2 + shift[1, i]
            one = padded[:, down:down + size, right:right + size].copy()
            top, left = (max(0, middle - size // 4) for middle in hole[:, i])
            one[:, top:hole[0, i] + size // 4, left:hole[1, i] + size // 4] = 0
            wanted.append(one)
        return np.stack(wanted)

    given = jt.array(x.astype("float32"))
    y = augment.by_diff(np.random.default_rng(3), 6, np.arange(6), given)
    assert relative(y.numpy(), by_hand(x)) < 2e-6
    dy, direction = (np.random.RandomState(seed).randn(*x.shape) for seed in (4, 5))
    dx = jt.grad((y * jt.array(dy.astype("float32"))).sum(), given).numpy()
    assert abs((dx * direction).sum() - (by_hand(direction, 0) * dy).sum()) < 1e-3


def of_colours(transform, count=5, size=16):
    """What a transform makes of random premultiplied colours with alpha, and what it makes of the
    colours themselves, times the same alpha; both from 0 to 1."""
    rng = np.random.RandomState(2)
    colours, alpha = rng.rand(count, 3, size, size), rng.rand(count, 1, size, size)
    alpha[:, :, :4] = 0
    found = transform(np.concatenate([colours * alpha, alpha], 1) * 2 - 1, alpha)
    return (found + 1) / 2, np.concatenate([(transform(colours * 2 - 1, alpha) + 1) / 2 * alpha,
                                            alpha], 1)


def test_colours_with_alpha_are_changed_as_those_without_and_alpha_stays():
    draws = [augment.draw_placing(augment.Draws(np.random.default_rng(4), 5), 0.8, 16, channels,
                                  augment.COLOUR) for channels in (3, 4)]

    def transform(x, alpha):
        x = jt.array(x.astype("float32"))
        return warp.warp(x, draws[x.shape[1] - 3]).numpy()

    found, wanted = of_colours(transform)
    assert relative(found, wanted) < 1e-6
    assert np.abs(found[:, :3, 4:] - found[:, 3:, 4:]).max() > 0.1     # something was seen


def test_diffaugment_with_alpha_is_that_of_the_colours_around_their_mean():
    plain = augment.by_diff

    def transform(x, alpha):
        """All but what has no fourth channel: hole and shift, which a batch of zeros shows."""
        rng = np.random.default_rng(3)
        if x.shape[1] == 4:
            return plain(rng, 5, np.arange(5), jt.array(x.astype("float32"))).numpy()
        brightness, saturation, contrast = rng.random((3, 5))[:, :, None, None, None]
        x = x + brightness - 0.5
        mean = x.mean(1, keepdims=True)
        x = mean + 2 * saturation * (x - mean)
        mean = (x * alpha).mean((1, 2, 3), keepdims=True) / alpha.mean((1, 2, 3), keepdims=True)
        return mean + (contrast + 0.5) * (x - mean)

    found, wanted = of_colours(transform)
    rng = np.random.default_rng(3)
    rng.random((3, 5))
    down, right = rng.integers(-2, 3, (2, 5))
    top, left = rng.integers(0, 17, (2, 5))
    far = np.abs(np.arange(16) + 0.5 - np.stack([top, left])[..., None]) > 4
    for i, (one, picture) in enumerate(zip(found, wanted)):
        moved = np.full((4, 16, 16), 0.5)                       # 0 of -1 to 1
        rows, columns = (slice(max(0, -s), 16 - max(0, s)) for s in (down[i], right[i]))
        moved[:, rows, columns] = picture[:, max(0, down[i]):16 + min(0, down[i]),
                                          max(0, right[i]):16 + min(0, right[i])]
        moved = np.where(far[0, i][:, None] | far[1, i], moved, 0.5)
        assert np.abs(one - moved).max() < 1e-5


def test_how_often_is_as_often_as_p_says():
    draws = augment.Draws(np.random.default_rng(0), 4000)
    for name in augment.GEOMETRY + augment.COLOUR:
        found, chosen = augment.one_geometric(name, draws, 0.36, 64) \
            if name in augment.GEOMETRY else augment.one_of_colour(name, draws, 0.36)
        wanted = 0.2 if name.startswith("rotate") and name != "rotate90" else 0.36
        assert abs(chosen.mean() - wanted) < 0.03
        assert len(found) in (1, 4000)


def test_p_rises_above_the_target_falls_below_it_and_not_below_zero():
    run = augment.Augmentation(dict(seed=0, augment="ada", augment_p=None, augment_target=0.6,
                                    augment_kimg=0.4))
    nothing = float("nan")
    seen = []
    for score in [1.0] * 12 + [0.1, 0.1, 0.1, -1.0] + [nothing] * 4 + [1.0, 1.0, 1.0, nothing] + \
            [0.0] * 20:
        finite = jt.ones(1) * (score == score)
        run.steer(mean_sign(jt.ones(8, 1) * score), finite, 10)
        seen.append(round(run.p, 6))
    assert seen[:3] == [0, 0, 0]
    assert seen[3::4] == [0.1, 0.2, 0.3, 0.2, 0.2, 0.3, 0.2, 0.1, 0.0, 0.0, 0.0]


def test_the_relativistic_loss_steers_by_pairs_so_that_the_zero_of_scores_does_not_matter(symbols):
    found = []
    for shift in 0, 100:
        training = Training(*in_process(symbols, loss="relativistic", augment="ada"))
        bias = dict(training.D.named_parameters())["head.dense1.bias"]
        bias.assign(bias + shift)
        images = np.random.default_rng(0).standard_normal((8, 3, 8, 8)).astype("float32")
        measured = training.step(images)
        assert abs(measured["score_real"].item() - shift) < 20
        found.append(measured["score_sign"].item())
    assert found[0] == found[1] and abs(found[0]) < 1


@pytest.mark.parametrize("changes", [dict(augment_kimg=0.05), dict(augment_p=0.5),
                                     dict(augment="diff")])
def test_resume_equals_uninterrupted_run_and_images_are_transformed(symbols, tmp_path, changes):
    changes = dict(augment="ada", augment_target=-1.0) | changes
    whole = Training(*in_process(symbols, **changes))
    train_on(whole, 12)
    first = Training(*in_process(symbols, **changes))
    train_on(first, 6)
    path = str(tmp_path / "x.model")
    snapshot.save(path, *first.state())
    second = Training(*in_process(symbols, **changes))
    second.restore(*snapshot.load(path), path)
    train_on(second, 6)
    wanted, found = whole.state()[1], second.state()[1]
    assert wanted.keys() == found.keys() and wanted["augmentation"][0] > 0.4
    assert all((wanted[n] == found[n]).all() for n in wanted)
    plain = Training(*in_process(symbols))
    train_on(plain, 12)
    assert any((wanted[n] != array).any() for n, array in plain.state()[1].items())


@pytest.mark.parametrize("changes", [dict(augment="ada", augment_p=0.5), dict(augment="diff")])
def test_a_batch_in_parts_is_transformed_as_the_whole(symbols, changes):
    whole, parts = (gradients(made(symbols, grad_accum=count, **changes)) for count in (1, 4))
    for kind in STEPS:
        names = [name for name in whole if name.startswith(kind)]
        most = max(np.abs(whole[name]).max() for name in names)
        assert all(np.abs(parts[name] - whole[name]).max() < 2e-5 * most for name in names)


def test_a_run_writes_p_and_goes_on(symbols, tmp_path):
    flags = [symbols, "--name", "few", *TINY, "--max_size", 8, "--augment", "ada",
             "--augment_kimg", 1, "--augment_target", -1]
    command("train.py", *flags, "--kimg", 1.2, cwd=tmp_path)
    command("train.py", *flags, "--kimg", 2.2, "--resume", cwd=tmp_path)
    with open(tmp_path / "sample/few/stats.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    # By 1 in a thousand images, at every fourth step.
    assert all(0 <= float(row["kimg"]) - float(row["augment_p"]) <= 0.033 for row in rows)
    assert float(rows[-1]["augment_p"]) > 2
    assert all(-1 <= float(row["score_sign"]) <= 1 for row in rows)
    _, _, error = command("train.py", *flags[:2], "few", "--augment", "none", "--kimg", 2.3,
                          "--resume", cwd=tmp_path)
    assert "from here on with --augment none, until here with --augment ada " \
        "--augment_target -1 --augment_kimg 1\n" in error
    process = subprocess.Popen([sys.executable, os.path.join(ROOT, "train.py"), *map(str, [
        *flags[:3], "--augment", "ada", "--resume", "--kimg", 1000])], cwd=tmp_path,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while "size 8 from" not in process.stderr.readline():       # then it makes steps,
        assert process.poll() is None
    process.kill()                                              # and what it goes on with is kept
    process.communicate()
    header, *_ = runs.load_resume(str(tmp_path / "checkpoint"), "few")
    assert header["settings"]["augment"] == "ada" and header["images_seen"] < 3000
    with open(tmp_path / "sample/few/stats.csv", newline="") as file:
        *_, before, after = csv.DictReader(file)
    assert before["augment_p"] and not after["augment_p"]


@pytest.mark.parametrize("now, p", [
    (dict(augment="ada"), 0.0), (dict(augment="ada", augment_p=0.2), 0.2),
    (dict(augment="diff"), 1.0)])
def test_a_run_may_begin_to_augment_when_it_goes_on(symbols, tmp_path, now, p):
    first = Training(*in_process(symbols))
    train_on(first, 3)
    path = str(tmp_path / "x.model")
    snapshot.save(path, *first.state())
    header, arrays = snapshot.load(path)
    s = settings.resumed_run(dict(data=symbols, name="x") | now, header["settings"])
    second = Training(s, *in_process(symbols)[1:])
    second.restore(header, arrays, path)
    assert second.images_seen == first.images_seen and second.augmentation.p == p
    train_on(second, 1)


@pytest.mark.parametrize("before, now, p", [
    (dict(), dict(augment_target=-1.0), 0.3), (dict(), dict(augment_p=0.2), 0.2),
    (dict(augment_p=0.2), dict(augment_target=0.8), 0.0)])
def test_p_stays_where_it_was_steered_to_and_only_there(symbols, before, now, p):
    first = Training(*in_process(symbols, augment="ada", **before))
    first.augmentation.p = 0.3
    s = settings.resumed_run(dict(data=symbols, name="x") | now, first.s)
    second = Training(s, *in_process(symbols)[1:])
    second.restore(*first.state(), "x.model")
    assert second.augmentation.p == p
    assert settings.augmentation(s).items() >= now.items()


@pytest.mark.parametrize("preset, wanted", [("small", (0.9, 100)), ("official", (0.6, 500)),
                                            ("of another version", (0.6, 500))])
def test_what_begins_to_augment_later_is_steered_as_its_preset_says(symbols, preset, wanted):
    saved = settings.to_save(in_process(symbols)[0]) | {"preset": preset, "augment_target": 0.1}
    s = settings.resumed_run(dict(data=symbols, name="x", augment="ada"), saved)
    assert (s["augment_target"], s["augment_kimg"]) == wanted


@pytest.mark.parametrize("typed", [dict(augment_kimg=100.0),
                                   dict(augment="diff", augment_target=0.7)])
def test_what_steers_nothing_is_refused_on_resume_too(symbols, typed):
    saved = settings.to_save(in_process(symbols)[0])
    with pytest.raises(UserError, match="says how p is steered"):
        settings.resumed_run(dict(data=symbols, name="x") | typed, saved)


@pytest.mark.parametrize("typed, message", [
    (dict(augment_p=0.2), "--augment_p is of --augment ada"),
    (dict(augment="diff", augment_p=0.2), "--augment_p is of --augment ada"),
    (dict(augment="ada", augment_p=1.5), "--augment_p: found 1.5, wanted a number from 0 to 1"),
    (dict(augment_kimg=100.0), "--augment_kimg says how p is steered"),
    (dict(augment="ada", augment_p=0.2, augment_target=0.5), "--augment_target says how p is"),
    (dict(augment="ada", augment_target=7.0), "--augment_target: found 7"),
    (dict(augment="ada", augment_kimg=0.0), "--augment_kimg: found 0"),
    (dict(augment="ada", loss="wgan-gp"), "type --augment_p 0.2")])
def test_what_makes_no_sense_is_refused_in_one_line(symbols, typed, message):
    with pytest.raises(UserError, match=message):
        settings.new_run(dict(data=symbols, name="x") | typed)
