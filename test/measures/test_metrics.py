"""The numbers that say how good a generator is, against their definitions; train.py --metrics."""
import glob
import os
import shutil
import sys

import numpy as np
import pytest
from conftest import ROOT, command
from measure_weights import inception_weights, lpips_weights
from PIL import Image
from small_runs import GROWING

from backend import jt
from backend.errors import UserError
from dataset import PictureFolder
from measures import evaluate, feature_metrics, lpips, ms_ssim, path_length, swd
from model import StyledGenerator
from networks.config import ModelConfig
from pictures.painter import slerp
from training import stats
from weights import snapshot

# MS-SSIM ------------------------------------------------------------------------------------------


def reference_ssim(a, b):
    """(SSIM, contrast · structure) of one float64 plane each, pixel by pixel."""
    width = min(11, len(a))
    x = np.arange(width) - (width - 1) / 2
    line = np.exp(-x ** 2 / (2 * (1.5 * width / 11) ** 2))
    window = np.outer(line, line) / line.sum() ** 2
    c1, c2, whole, structures = 6.5025, 58.5225, [], []
    for top, left in np.ndindex(len(a) - width + 1, len(a) - width + 1):
        p, q = (plane[top:top + width, left:left + width] for plane in (a, b))
        mean_p, mean_q = (window * p).sum(), (window * q).sum()
        variance = (window * (p - mean_p) ** 2).sum() + (window * (q - mean_q) ** 2).sum()
        covariance = (window * (p - mean_p) * (q - mean_q)).sum()
        structures.append((2 * covariance + c2) / (variance + c2))
        whole.append(structures[-1] * (2 * mean_p * mean_q + c1) / (mean_p ** 2 + mean_q ** 2 + c1))
    return np.mean(whole), np.mean(structures)


def reference_ms_ssim(a, b):
    """Of two pictures [C, size, size]."""
    weights, size, result = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333], a.shape[-1], 1.0
    count = {64: 5, 32: 4, 16: 3}[size]
    total = sum(weights[:count])
    for scale in range(count):
        values = np.mean([reference_ssim(p, q) for p, q in zip(a, b)], 0)
        result *= max(values[0 if scale == count - 1 else 1], 0) ** (weights[scale] / total)
        a, b = ((x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4
                for x in (a, b))
    return result


@pytest.mark.parametrize("size", [16, 32, 64])
def test_ms_ssim_is_that_of_the_paper(size):
    rng = np.random.RandomState(0)
    a = rng.randint(0, 256, (2, 3, size // 4, size // 4)).repeat(4, 2).repeat(4, 3).astype(float)
    b = np.clip(a + 40 * rng.randn(*a.shape), 0, 255)
    found = ms_ssim.ms_ssim(a, b)
    assert found == pytest.approx([reference_ms_ssim(p, q) for p, q in zip(a, b)], rel=1e-4)
    assert (found < 0.99).all() and ms_ssim.ms_ssim(a, a) == pytest.approx([1, 1], abs=1e-5)


def test_diversity_is_the_mean_over_pairs_however_they_come():
    images = np.random.RandomState(1).randint(0, 256, (9, 1, 16, 16))
    whole, divided = ms_ssim.Diversity(), ms_ssim.Diversity()
    whole.add(images)
    for part in (images[:1], images[1:4], images[4:9]):
        divided.add(part)
    wanted = ms_ssim.ms_ssim(images[0:8:2], images[1:8:2]).mean()
    assert whole.mean() == pytest.approx(wanted) and divided.mean() == pytest.approx(wanted)
    assert whole.pairs == divided.pairs == 4


# The real pictures beside others of them ----------------------------------------------------------


def blobs(seed, count):
    """uint8 [count, 3, 16, 16]: smooth, each other."""
    noise = np.random.RandomState(seed).randn(count, 3, 16, 16)
    return np.clip(127 + 300 * swd.smooth(swd.smooth(noise)), 0, 255).astype("uint8")


def measure_of(real, fake, others=None):
    measure = evaluate.Measure({"swd"})
    measure.add(real, fake)
    if others is not None:
        measure.add_others(others)
    return measure


def test_a_perfect_generator_is_as_far_away_as_the_floor():
    found, floors = [], []
    for seed in range(4):
        real, fake, others = np.split(blobs(seed, 300), 3)
        measure = measure_of(real, fake, others)
        found.append(swd.distance(measure.real, measure.fake)["mean"])
        (count, floor), = measure.floors().items()
        floors.append(floor["mean"])
        assert count == 100
    assert np.mean(found) == pytest.approx(np.mean(floors), rel=0.1)
    # The same pictures once more are nearer, but not at no distance: patches are cut elsewhere.
    same = measure_of(real, real)
    assert 0 < swd.distance(same.real, same.fake)["mean"] < np.mean(floors)


def test_where_the_real_ones_do_not_suffice_smaller_sets_are_named_and_fall():
    floors = measure_of(blobs(0, 160), blobs(1, 160)).floors()
    means = [floor["mean"] for floor in floors.values()]
    assert list(floors) == [20, 40, 80] and means == sorted(means, reverse=True)
    label, *_, beside, _ = list(measure_of(blobs(0, 160), blobs(1, 160)).results())[-1][1:]
    assert label == "SWD × 1000, mean"
    assert beside.count(" of ") == 3 and f"{means[2]:.2f} of 80" in beside


def test_real_pictures_are_mirrored_where_training_mirrored_them(symbols, tmp_path):
    folder = PictureFolder(symbols, 16)
    plain, mirrored = (evaluate.Real(folder, 3, mirror, 0).load(range(40)) for mirror in (0, 1))
    turned = [(a == b[:, :, ::-1]).all() and (a != b).any() for a, b in zip(plain, mirrored)]
    same = [(a == b).all() for a, b in zip(plain, mirrored)]
    assert sum(turned) + sum(same) == 40 and 8 < sum(turned) < 32
    for mirror in [], ["--mirror"]:
        name = f"m{len(mirror)}"
        command("train.py", symbols, *GROWING, *mirror, "--kimg", 0.2, "--name", name, cwd=tmp_path)
        _, output, _ = command("metrics.py", f"checkpoint/{name}_000000200.model", symbols,
                               "--images", 20, "--metrics", "swd", cwd=tmp_path)
        assert ("mirrored" in output) == bool(mirror)
        assert "real ones beside other real ones" in output and " of 20)" in output


# Inception features -------------------------------------------------------------------------------


def test_fid_of_normal_distributions_is_that_of_the_formula():
    rng = np.random.RandomState(0)
    # Diagonal covariances: tr(C₁ + C₂ − 2 (C₁ C₂)^½) = Σ (σ₁ − σ₂)².
    mean, one, two = rng.randn(5), rng.rand(5) + 0.5, rng.rand(5) + 0.5
    a, b = rng.randn(40000, 5) * one, rng.randn(40000, 5) * two + mean
    wanted = (mean ** 2).sum() + ((one - two) ** 2).sum()
    assert feature_metrics.frechet_distance(a, b) == pytest.approx(wanted, rel=0.03)
    assert feature_metrics.frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


def test_fid_is_right_where_covariances_do_not_commute_and_are_singular():
    rng = np.random.RandomState(1)
    a, b = (rng.randn(200, 6) @ rng.randn(6, 6) for _ in range(2))
    cov_a, cov_b = np.cov(a.T), np.cov(b.T)
    root = np.sqrt(np.linalg.eigvals(cov_a @ cov_b).astype(complex)).real.sum()
    wanted = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(cov_a + cov_b) - 2 * root
    assert feature_metrics.frechet_distance(a, b) == pytest.approx(wanted, rel=1e-9)
    few = rng.randn(4, 30)                              # fewer pictures than features
    assert feature_metrics.frechet_distance(few, few) == pytest.approx(0, abs=1e-4)


def test_kid_is_the_unbiased_mmd_of_the_cubic_kernel():
    rng = np.random.RandomState(2)
    a, b = rng.randn(6, 4), rng.randn(6, 4) + 1

    def kernel(x, y):
        return (x @ y / 4 + 1) ** 3

    same = sum(kernel(x[i], x[j]) for x in (a, b) for i in range(6) for j in range(6) if i != j)
    wanted = same / 30 - 2 * sum(kernel(x, y) for x in a for y in b) / 36
    assert feature_metrics.kernel_distance(a, b, subsets=3) == pytest.approx(wanted)
    many = rng.randn(400, 4)
    values = [feature_metrics.kernel_distance(many[:200], many[200:], seed, 20, 50)
              for seed in range(2)]
    assert values[0] != values[1] and abs(values[0]) < 0.2


def test_precision_and_recall_are_shares_within_the_other_set():
    real = np.array([[0.0], [1], [2], [3], [100]])
    fake = np.array([[0.5], [1.5], [50], [-500]])
    # Radii of real, second neighbours: 2, 1, 1, 2, 98; of fake: 49.5, 48.5, 49.5, 501.5.
    assert feature_metrics.precision_recall(real, fake, 2) == (0.75, 0.8)
    assert feature_metrics.precision_recall(real, fake[:3], 1) == (1.0, 0.8)
    assert feature_metrics.precision_recall(real, real)[0] == 1


# Path length --------------------------------------------------------------------------------------


class Pixels:
    """In the place of LPIPS: the squared distance of pictures."""

    def features(self, images):
        return images

    def distance(self, a, b):
        return ((a - b) ** 2).sum((1, 2, 3))


@pytest.mark.parametrize("space", ["z", "w"])
def test_path_length_is_the_squared_speed_of_the_pictures(space, monkeypatch):
    """With a larger ε for float32, against half of it: distance ÷ ε² does not depend on ε."""
    jt.set_seed(0)
    generator = StyledGenerator(ModelConfig(size=8, latent=16, fmap_max=16))
    found = {}
    for epsilon in (2e-3, 1e-3):
        monkeypatch.setattr(path_length, "EPSILON", epsilon)
        found[epsilon] = path_length.path_length(Pixels(), generator, 8, 1.0, space, 40)
    assert found[2e-3] == pytest.approx(found[1e-3], rel=0.1) and found[2e-3] > 0
    again = path_length.path_length(Pixels(), generator, 8, 1.0, space, 40)
    assert again == found[1e-3]


def test_the_official_crop_is_where_faces_are():
    y, x = np.mgrid[:64, :64]
    found = path_length.face(np.stack([y, x])[None])
    assert found.shape == (1, 2, 32, 32)
    assert found[0, :, 0, 0].tolist() == [24, 16] and found[0, :, -1, -1].tolist() == [55, 47]


def test_paths_have_noise_of_their_own_the_same_for_both_ends(monkeypatch):
    seen = []

    def paint(generator, styles, size, alpha, noise):
        seen.append([m.numpy() for m in noise])
        return np.zeros((len(styles), 3, size, size), "float32")

    monkeypatch.setattr(path_length, "paint", paint)
    generator = StyledGenerator(ModelConfig(size=8, latent=4, fmap_max=4))
    path_length.path_length(Pixels(), generator, 8, 1.0, "w", 40)
    assert len(seen) == 3 and all(m.shape[:2] == (1, 1) for maps in seen for m in maps)
    assert (seen[0][0] != seen[1][0]).any() and (seen[1][0] != seen[2][0]).any()


def test_paths_in_z_go_at_even_speed_on_the_sphere():
    rng = np.random.RandomState(0)
    a, b = rng.randn(3, 50), 5 * rng.randn(3, 50)
    points = [slerp(a, b, np.full((3, 1), t)) for t in (0, 0.25, 0.5, 0.75, 1)]
    lengths = [np.linalg.norm(p, axis=1) for p in points]
    assert np.allclose(lengths, np.sqrt(50))
    for end, wanted in ((points[0], a), (points[4], b)):
        assert np.allclose(end / np.sqrt(50), wanted / np.linalg.norm(wanted, axis=1)[:, None])
    steps = [np.linalg.norm(p - q, axis=1) for p, q in zip(points, points[1:])]
    assert np.allclose(steps, steps[0])
    assert np.allclose(slerp(a, a, np.full((3, 1), 0.3)), points[0])


# The commands -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def measured(symbols, tmp_path_factory):
    """A run that measured as it went: (folder, stderr)."""
    folder = tmp_path_factory.mktemp("measured")
    _, _, stderr = command("train.py", symbols, *GROWING, "--kimg", 0.4, "--name", "with",
                           "--metrics", "swd,ms_ssim", "--metric_kimg", 0.1, "--metric_images", 20,
                           "--metric_share", 1, cwd=folder)
    return folder, stderr


def test_measuring_does_not_touch_the_training(measured, symbols):
    folder, stderr = measured
    command("train.py", symbols, *GROWING, "--kimg", 0.4, "--name", "without", cwd=folder)
    files = [glob.glob(str(folder / f"checkpoint/{name}_0*400.model"))[0]
             for name in ("with", "without")]
    (_, one), (_, other) = map(snapshot.load, files)
    assert one.keys() == other.keys() and all((one[n] == other[n]).all() for n in one)
    assert "SWD × 1000" in stderr and "20 pictures of 16×16, seed 0" in stderr


def test_stats_have_what_was_measured_and_metrics_py_agrees(measured, symbols):
    folder, _ = measured
    row = stats.read(str(folder / "sample/with/stats.csv"))[-1]
    assert row["kimg"] == 0.4 and 0 < row["ms_ssim"] < 1 and row["fid"] is None
    path = glob.glob(str(folder / "checkpoint/with_0*400.model"))[0]
    _, output, error = command("metrics.py", path, symbols, "--images", 20, cwd=folder)
    lines = {line.split("  ")[1].strip(): line for line in output.splitlines()[1:]}
    assert float(lines["SWD × 1000, mean"].split()[4]) == pytest.approx(row["swd"], rel=1e-3)
    assert float(lines["MS-SSIM of pairs"].split()[3]) == pytest.approx(row["ms_ssim"], rel=1e-3)
    assert all("20 pictures, seed 0, " in line for line in lines.values())
    assert "pytorch-fid" in error
    command("plot.py", "with", cwd=folder, check=False)


def test_measuring_takes_at_most_its_share_of_the_time(symbols, tmp_path):
    _, _, stderr = command("train.py", symbols, *GROWING, "--kimg", 0.2, "--metrics", "swd",
                           "--name", "x", "--metric_kimg", 0.1, "--metric_share", 0, cwd=tmp_path)
    assert "no metrics" in stderr and "--metric_share 0" in stderr
    assert all(row["swd"] is None for row in stats.read(str(tmp_path / "sample/x/stats.csv")))


def test_one_picture_is_not_enough_and_one_line(symbols, tmp_path):
    name = sorted(os.listdir(os.path.join(symbols, "32")))[0]
    os.makedirs(tmp_path / "one/32")
    shutil.copy(os.path.join(symbols, "32", name), tmp_path / "one/32")
    code, _, error = command("metrics.py", os.path.join(ROOT, "test/golden/demo.model"), "one",
                             cwd=tmp_path, check=False)
    assert code == 2 and "one/32: found 1 picture, wanted 2 or more" in error


def test_pictures_too_small_for_a_metric_are_one_line(tmp_path):
    os.makedirs(tmp_path / "data/4")
    for i in range(2):
        Image.new("RGB", (4, 4), (i, 0, 0)).save(tmp_path / f"data/4/{i}.png")
    code, _, error = command("metrics.py", os.path.join(ROOT, "test/golden/port16_zip.pt"), "data",
                             "--size", 4, "--metrics", "swd", cwd=tmp_path, check=False)
    assert code == 2 and error.count("\n") == 1 and "--metrics swd" in error
    assert "is of size 4, wanted 8 or more" in error


def test_all_figures_come_with_their_weights(measured, symbols, tmp_path):
    folder, _ = measured
    np.savez(tmp_path / "inception.npz", **inception_weights())
    np.savez(tmp_path / "lpips.npz", **lpips_weights())
    path = glob.glob(str(folder / "checkpoint/with_0*400.model"))[0]
    _, output, error = command("metrics.py", path, symbols, "--images", 12, "--inception",
                               tmp_path / "inception.npz", "--lpips", tmp_path / "lpips.npz",
                               cwd=folder)
    for label in ("SWD × 1000, size 16", "MS-SSIM", "FID", "KID", "precision", "recall",
                  "PPL in z", "PPL in w"):
        assert f"  {label}" in output
    assert output.count("noise drawn for every 16 paths, whole pictures") == 2
    assert output.count("12 pictures, seed 0") == len(output.splitlines()) - 1
    assert "note: no FID" not in error


@pytest.mark.parametrize("flags, message", [
    (["--metrics", "fid"], "pytorch-fid"), (["--metrics", "swd,ppl"], "lpips.LPIPS"),
    (["--metrics", "beauty"], "ms_ssim"), (["--metrics", "swd", "--metric_share", "2"], "0 to 1")])
def test_what_metrics_need_is_said_before_the_run_begins(symbols, tmp_path, flags, message):
    code, _, error = command("train.py", symbols, *flags, cwd=tmp_path, check=False)
    assert code == 2 and error.count("\n") == 1 and message in error
    assert not os.path.exists(tmp_path / "sample")


def test_missing_files_of_weights_are_one_line(tmp_path):
    with pytest.raises(UserError, match="x.pth"):
        evaluate.load_networks({"fid"}, "x.pth", None, None)
    with pytest.raises(UserError, match="x.pth"):
        lpips.LPIPS("x.pth")


# TensorBoard --------------------------------------------------------------------------------------


def test_events_have_the_numbers_of_stats_csv(symbols, tmp_path):
    pytest.importorskip("tensorboardX")
    from tensorboardX.proto.event_pb2 import Event
    for flags in (["--kimg", 2.1], ["--kimg", 3.1, "--resume"]):
        command("train.py", symbols, *(GROWING if len(flags) == 2 else []), *flags, "--name", "tb",
                "--tensorboard", cwd=tmp_path)
    found, starts = {}, []
    for path in sorted(glob.glob(str(tmp_path / "sample/tb/events/*")), key=os.path.getmtime):
        with open(path, "rb") as file:
            data = file.read()
        while data:                                     # length, its checksum, event, its checksum
            length = int.from_bytes(data[:8], "little")
            event = Event.FromString(data[12:12 + length])
            data = data[16 + length:]
            if event.HasField("session_log"):
                starts.append(event.step)
            for value in event.summary.value:
                found[event.step / 1000, value.tag] = value.simple_value
    rows = stats.read(str(tmp_path / "sample/tb/stats.csv"))
    assert [row["kimg"] for row in rows] == [1, 2, 2.104, 3, 3.104] and starts == [0, 2104]
    for row in rows:
        for name, value in row.items():
            if name != "kimg" and value is not None:
                assert found[row["kimg"], name] == pytest.approx(value, rel=1e-4), name


def test_without_its_package_tensorboard_is_one_line(tmp_path, monkeypatch):
    for name in ("tensorboardX.proto", "tensorboard.compat.proto"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match="pip install tensorboardX"):
        stats.Events(str(tmp_path), 0)


def test_pictures_that_cannot_be_read_are_told(symbols, tmp_path):
    shutil.copytree(os.path.join(symbols, "32"), tmp_path / "data/32")
    for name in sorted(os.listdir(tmp_path / "data/32"))[1:6]:
        path = tmp_path / "data/32" / name
        path.write_bytes(path.read_bytes()[:-60])
    _, _, error = command("metrics.py", os.path.join(ROOT, "test/golden/demo.model"), "data",
                          "--metrics", "swd", cwd=tmp_path)
    assert "note: 5 pictures cannot be read (such as data/32/" in error


@pytest.mark.parametrize("script, arguments", [
    ("metrics.py", ["x.model", "data"]), ("project.py", ["x.model", "a.png"]),
    ("symbols.py", ["out/32"])])
def test_seeds_out_of_reach_are_one_line(tmp_path, script, arguments):
    for seed in -1, 2 ** 32:
        code, _, error = command(script, *arguments, f"--seed={seed}", cwd=tmp_path, check=False)
        assert code == 2 and f"--seed: found {seed}, wanted 0 to" in error.splitlines()[-1]


def test_a_run_on_one_picture_cannot_be_measured_and_says_so_first(symbols, tmp_path):
    name = sorted(os.listdir(os.path.join(symbols, "8")))[0]
    os.makedirs(tmp_path / "one/8")
    shutil.copy(os.path.join(symbols, "8", name), tmp_path / "one/8")
    code, _, error = command("train.py", "one", *GROWING, "--max_size", 8, "--metrics", "ms_ssim",
                             cwd=tmp_path, check=False)
    assert code == 2 and "one/8 has 1 picture, wanted 2 or more" in error
