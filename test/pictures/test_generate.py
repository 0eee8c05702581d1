"""generate.py: every figure's size and content, styles as files, the same seed anywhere."""
import os
import sys

import numpy as np
import pytest
from conftest import ROOT, command
from PIL import Image
from random_model import cells, generating, save_random, singles

import generate
from backend.errors import UserError
from networks.config import ModelConfig
from pictures import figures
from weights import snapshot

CONFIG = ModelConfig(size=16, latent=16, fmap_max=16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("generate")
    save_random(folder / "x.model", CONFIG)
    return folder


@pytest.fixture
def make(folder, tmp_path, capsys):
    return generating(folder / "x.model", tmp_path, capsys)


def test_mixed_precision_paints_the_same_and_is_not_taken_for_the_other(make, folder, tmp_path):
    """To the eye: with AMX its pictures differ by a level or two."""
    exact, mixed = (singles(make("--seeds", "3-5", *more)).astype(int) for more in ([], ["--amp"]))
    assert np.abs(exact - mixed).max() <= 3
    with pytest.raises(UserError, match="made with --amp True"):
        generate.main([str(folder / "x.model"), "--out", str(tmp_path), "--seeds", "3-5"])


@pytest.mark.parametrize("noise", ["const", "random", "none"])
def test_a_seed_is_one_picture_alone_and_in_a_grid(make, noise):
    alone = singles(make("--seeds", "3-5,20", "--noise", noise))
    grid = cells(make("--figures", "samples", "--n_row", 2, "--n_col", 9, "--seed", 3,
                      "--noise", noise)["samples.png"]).reshape(18, 16, 16, 3)
    assert (alone == grid[[0, 1, 2, 17]]).all()


def test_kinds_of_noise_differ(make):
    const, random, none = (singles(make("--seeds", "1,2", "--noise", noise)).astype(int)
                           for noise in ("const", "random", "none"))
    assert all(np.abs(a - b).mean() > 1 for a, b in ((const, random), (const, none),
                                                     (random, none)))


def test_truncation_figure_has_the_mean_picture_at_psi_0_and_the_seeds_at_1(make):
    # Eight layers of eight, so that psi decides all of the picture.
    grid = cells(make("--figures", "truncation", "--n_row", 3, "--seed", 7)["truncation.png"])
    assert grid.shape[:2] == (3, len(figures.PSI))
    mean = grid[:, figures.PSI.index(0)]
    assert (mean == mean[:1]).all()
    for column, psi in ((0, 1), (1, 0.7), (5, -1)):
        assert (grid[:, column] == singles(make("--seeds", "7-9", "--truncation_psi", psi))).all()


def test_each_style_of_a_file_has_noise_of_its_own_however_many_there_are(make, tmp_path):
    make("--seeds", 3, "--w", tmp_path / "one.npz")
    with np.load(tmp_path / "one.npz") as file:
        np.savez(tmp_path / "w.npz", w=file["w"].repeat(20, 0))
    make("--w", tmp_path / "w.npz", "--noise", "random")
    found = {Image.open(tmp_path / f"w{i:06d}.png").tobytes() for i in range(20)}
    assert len(found) == 20


def test_noise_figure_shows_no_noise_three_draws_and_where_they_differ(make):
    grid = cells(make("--figures", "noise", "--n_row", 2)["noise.png"]).astype(int)
    assert grid.shape[:2] == (2, 5)
    assert (grid[:, 0] == singles(make("--seeds", "0,1", "--noise", "none"))).all()
    assert np.abs(grid[:, 1] - grid[:, 2]).mean() > 1 < np.abs(grid[:, 1] - grid[:, 3]).mean()
    assert grid[:, 4].max() == 255 and (grid[:, 4, ..., 0] == grid[:, 4, ..., 1]).all()


def test_mixing_takes_the_named_layers_from_the_top(make):
    flags = ["--row_seeds", "1-2", "--col_seeds", "5,9,7"]
    all_layers = cells(make(*flags, "--col_layers", "0-5")["mixing_0-5.png"])
    top, side = singles(make("--seeds", "5,9,7")), singles(make("--seeds", "1,2"))
    assert all_layers.shape[:2] == (3, 4) and (all_layers[0, 0] == 255).all()
    assert (all_layers[0, 1:] == top).all() and (all_layers[1:, 0] == side).all()
    assert (all_layers[1:, 1:] == top).all()
    some = cells(make(*flags, "--col_layers", "1,3")["mixing_1-3.png"])[1:, 1:]
    assert (some != top).any((2, 3, 4)).all() and (some != side[:, None]).any((2, 3, 4)).all()
    assert sorted(make(*flags)) == ["mixing_coarse.png", "mixing_fine.png", "mixing_middle.png"]


@pytest.mark.parametrize("space", ["z", "w"])
def test_a_row_of_the_interpolation_walks_from_seed_to_seed(make, space):
    grid = cells(make("--figures", "interpolation", "--n_row", 2, "--n_col", 5, "--seed", 4,
                      "--space", space)["interpolation.png"]).astype(int)
    ends = singles(make("--seeds", "4-6")).astype(int)
    # To the last bit but one: the way's ends are computed, not copied.
    assert np.abs(grid[:, 0] - ends[:2]).max() <= 1 and np.abs(grid[:, -1] - ends[1:]).max() <= 1
    step = np.abs(np.diff(grid, axis=1)).mean((2, 3, 4))
    assert (step > 0).all() and (step.max(1) < np.abs(ends[1:] - ends[:-1]).mean((1, 2, 3))).all()


def test_styles_are_saved_and_painted_again_bit_for_bit(make, tmp_path):
    path = tmp_path / "styles.npz"
    saved = make("--seeds", "0-8", "--w", path)
    with np.load(path) as file:
        assert file["w"].shape == (9, 6, 16) and (file["seeds"] == np.arange(9)).all()
    again = make("--w", path)
    assert list(again)[0] == "w000000.png" and (singles(again) == singles(saved)).all()
    # A plain w is every layer's, and its own noise maps are painted where it has some.
    np.savez(path, w=np.ones(16))
    one = singles(make("--w", path))
    np.savez(path, w=np.ones((1, 6, 16)), **{
        f"noise{i}": np.zeros((1, 1, 4 << i // 2, 4 << i // 2)) for i in range(6)})
    assert (singles(make("--w", path)) != one).any()
    assert (singles(make("--w", path)) == singles(make("--w", path, "--noise", "none"))).all()


@pytest.mark.parametrize("arrays, message", [
    ({"x": np.ones(3)}, "wanted an array w"), ({"w": np.ones((1, 4, 16))}, "(1, 4, 16)"),
    ({"w": np.ones(16), "noise0": np.ones((1, 1, 4, 4))}, "noise"), (None, "not a .npz"),
    ({"w": np.full(16, np.nan)}, "not finite")])
def test_a_file_that_has_no_fitting_styles_is_one_line(folder, tmp_path, arrays, message):
    path = tmp_path / "w.npz"
    if arrays:
        np.savez(path, **arrays)
    else:
        path.write_text("hello")
    with pytest.raises(UserError) as error:
        generate.main([str(folder / "x.model"), "--w", str(path)])
    assert message in str(error.value) and "w.npz" in str(error.value)


@pytest.mark.parametrize("flags, message", [
    (["--film", "gif", "--row_seeds", "1", "--col_seeds", "2"], "--film and --row_seeds"),
    (["--row_seeds", "1"], "--col_seeds"), (["--figures", "samples,faces"], "--figures"),
    (["--seeds", "1", "--row_seeds", "1", "--col_seeds", "1"], "--row_seeds and --seeds"),
    (["--row_seeds", "1", "--col_seeds", "2", "--col_layers", "4-6"], "0 to 5")])
def test_flags_that_make_no_sense_are_one_line(make, flags, message):
    with pytest.raises(UserError) as error:
        make(*flags)
    assert message in str(error.value) and "\n" not in str(error.value)


# What is there already, and where nothing can be written ------------------------------------------


@pytest.mark.parametrize("flags, name, other, there", [
    (["--figures", "samples"], "samples.png", ["--truncation_psi", 0.5], "--truncation_psi 0.7"),
    (["--seeds", "3"], "seed000003.png", ["--noise", "none"], "--noise const"),
    (["--seeds", "3"], "seed000003.png", ["--scale", 2], "without --scale"),
    (["--row_seeds", "1", "--col_seeds", "2-4,7"], "mixing_coarse.png", ["--col_seeds", "2,3"],
     "--col_seeds 2-4,7"),
    (["--film", "gif", "--seeds", "1,2"], "interpolation.gif", ["--seeds", "1,3"], "--seeds 1-2"),
    (["--film", "mp4", "--n_row", 1], "interpolation.mp4", ["--frames", 3], "--frames 2"),
    (["--seeds", "1,2", "--w", "styles.npz"], "styles.npz", ["--seeds", "1"], "--seeds 1-2")])
def test_what_was_made_with_other_settings_is_never_replaced_unasked(
        folder, tmp_path, monkeypatch, flags, name, other, there):
    if "mp4" in flags:
        pytest.importorskip("imageio_ffmpeg")
    monkeypatch.chdir(tmp_path)
    flags = [str(folder / "x.model"), "--out", ".", "--n_col", 2, "--frames", 2, *flags]

    def generate_with(*more):
        return generate.main([*map(str, flags), *map(str, more)])

    for _ in range(2):                                  # the same again is no question
        assert generate_with() == 0
    before = (tmp_path / name).read_bytes()
    with pytest.raises(UserError) as error:
        generate_with(*other)
    line = str(error.value)
    there = there if there.startswith("without") else f"with {there}"
    assert f"{name} exists, made {there}: " in line and "--overwrite" in line
    assert (tmp_path / name).read_bytes() == before
    assert generate_with(*other, "--overwrite") == 0
    assert (tmp_path / name).read_bytes() != before


def test_a_grid_may_be_larger_than_pillow_opens_and_is_made_again(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    flags = [str(folder / "x.model"), "--out", str(tmp_path), "--figures", "samples"]
    assert generate.main(flags) == 0 == generate.main(flags)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(tmp_path / "samples.png")
    with pytest.raises(UserError, match="samples.png exists, made with --seed 0"):
        generate.main([*flags, "--seed", "5"])


def test_pictures_of_other_weights_and_of_nobody_knows_whom_stay(folder, tmp_path):
    header, arrays = snapshot.load(str(folder / "x.model"))
    flags = [str(tmp_path / "x.model"), "--out", str(tmp_path), "--seeds", "5"]
    for change in (0, 1):
        arrays["ema/w_avg"] = arrays["ema/w_avg"] + change
        snapshot.save(flags[0], header, arrays)
        if not change:
            assert generate.main(flags) == 0
    with pytest.raises(UserError, match=r"seed000005.png exists, made with checkpoint x.model \("):
        generate.main(flags)
    Image.new("RGB", (16, 16)).save(tmp_path / "seed000005.png")
    with pytest.raises(UserError, match="does not say how it was made"):
        generate.main(flags)
    # More of the same is welcome.
    assert generate.main([*flags[:-1], "6"]) == 0 == generate.main([*flags[:-1], "6-8"])


def test_a_place_that_cannot_be_written_is_one_line_before_anything_is_painted(
        folder, tmp_path, monkeypatch):
    monkeypatch.setattr(generate, "bring_up", lambda *_: pytest.fail("Jittor was brought up"))
    (tmp_path / "file").write_text("x")
    for out, message in ((tmp_path / "file", "a file, wanted a folder"),
                         (tmp_path / "file/below", "cannot be written"),
                         ("/proc/self", "cannot be written")):
        with pytest.raises(UserError) as error:
            generate.main([str(folder / "x.model"), "--out", str(out)])
        assert f"--out {out}: " in str(error.value) and message in str(error.value)


@pytest.mark.parametrize("flags, name", [
    (["--seeds", "1"], "seed000001.png"), (["--film", "gif", "--seeds", "1"], "interpolation.gif"),
    (["--seeds", "1", "--w", "styles.npz"], "styles.npz")])
def test_a_full_disk_is_one_line(make, tmp_path, monkeypatch, flags, name):
    monkeypatch.chdir(tmp_path)
    real = os.replace

    def replace(source, target):
        if target.endswith(name):
            raise OSError(28, "No space left on device")
        real(source, target)

    monkeypatch.setattr("cli.os.replace", replace)
    with pytest.raises(UserError, match=f"{name}: No space left on device"):
        make(*flags)


@pytest.mark.parametrize("flags, name, size", [
    (["--seeds", "3"], "seed000003.png", (16, 16)),
    (["--seeds", "3", "--scale", 3], "seed000003.png", (48, 48)),
    (["--figures", "samples"], "samples.png", (2 * 66 - 2, 64)),
    (["--figures", "samples", "--scale", 1], "samples.png", (34, 16)),
    (["--figures", "samples", "--scale", 5], "samples.png", (162, 80)),
    (["--film", "gif", "--seeds", "3"], "interpolation.gif", (128, 128)),
    (["--film", "gif", "--seeds", "3", "--scale", 2], "interpolation.gif", (32, 32))])
def test_small_pictures_are_enlarged_by_whole_numbers(make, tmp_path, flags, name, size):
    make(*flags, "--n_row", 1, "--n_col", 2, "--frames", 1)
    with Image.open(tmp_path / name) as picture:
        assert picture.size == size
        pixels = np.asarray(picture.convert("RGB"))
    factor = len(pixels) // 16
    assert (pixels[:, :size[1]] == pixels[::factor, :size[1]:factor].repeat(factor, 0).repeat(
        factor, 1)).all()


def test_many_pictures_need_no_more_memory_than_a_few(folder, tmp_path):
    code = ("import resource, sys; sys.path.insert(0, sys.argv.pop(1)); import generate; "
            "generate.main(); print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)")
    peaks = []
    for seeds in ("0-63", "0-2999"):
        _, output, _ = command("-c", code, ROOT, str(folder / "x.model"), "--device", "cpu",
                               "--seeds", seeds, "--out", tmp_path / "many", cwd=tmp_path)
        peaks.append(int(output.split()[-1]) / (2 ** 20 if sys.platform == "darwin" else 2 ** 10))
    assert len(os.listdir(tmp_path / "many")) == 3000
    assert peaks[1] - peaks[0] < 8          # MiB; the pictures alone would be 9 as float32


@pytest.mark.parametrize("flags", [
    ["--scale", 5000], ["--seeds", 3, "--scale", 3000], ["--n_row", 10 ** 5, "--n_col", 10 ** 5],
    ["--film", "gif", "--frames", 10 ** 8], ["--film", "gif", "--scale", 200],
    ["--seed", 2 ** 32 - 1], ["--truncation_psi", "nan"], ["--truncation_psi", 1e30]])
def test_what_fits_into_no_memory_and_no_picture_is_one_line(make, flags):
    with pytest.raises(UserError, match="wanted"):
        make(*flags)


@pytest.mark.parametrize("flags, wanted", [
    (["--seeds", 3, "--n_row", 2, "--frames", 7], {"n_row", "frames"}),
    (["--figures", "truncation", "--n_row", 1, "--n_col", 3, "--space", "w"], {"n_col", "space"}),
    (["--row_seeds", 1, "--col_seeds", "2", "--seed", 4], {"seed"}),
    (["--film", "gif", "--seeds", "1,2", "--frames", 2, "--col_layers", 0], {"col_layers"}),
    (["--n_row", 1, "--n_col", 2, "--seed", 1, "--space", "w", "--col_layers", 0], set())])
def test_flags_that_change_nothing_are_told(make, flags, wanted):
    make(*flags)
    told = {line.split()[1].strip("-") for line in make.told.splitlines()
            if "changes nothing here" in line}
    assert told == wanted


@pytest.mark.parametrize("layers, told", [(6, False), (7, True)])
def test_more_truncated_layers_than_there_are_is_told(make, layers, told):
    make("--seeds", 3, "--truncation_layers", layers)
    assert ("x.model has 6 layers, no more" in make.told) == told


def test_noise_that_is_typed_replaces_that_of_a_file_of_styles(folder, tmp_path, make):
    make("--seeds", 3, "--w", tmp_path / "w.npz")
    with np.load(tmp_path / "w.npz") as file:
        w = file["w"]
    np.savez(tmp_path / "noisy.npz", w=w, **{
        f"noise{i}": np.full((1, 1, side, side), 3, "float32")
        for i, side in enumerate(CONFIG.noise_sides)})
    own, none, plain = (make("--w", tmp_path / name, *flags)["w000000.png"].astype(int)
                        for name, flags in (("noisy.npz", []), ("noisy.npz", ["--noise", "none"]),
                                            ("w.npz", ["--noise", "none"])))
    assert (none == plain).all() and (none != own).any()
    make("--w", tmp_path / "w.npz", "--truncation_psi", 0.1)
    assert "--truncation_psi changes nothing here" in make.told
