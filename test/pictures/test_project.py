"""project.py: a picture that the demo's generator made is found again, and painted again."""
import os
import shlex

import numpy as np
import pytest
from conftest import ROOT, command
from PIL import Image

from backend import jt
from backend.errors import UserError
from pictures.projection import correlation, pyramid, read_picture

# A generator of thirteen coloured symbols, 32×32, after 110,000 images.
DEMO = os.path.join(ROOT, "test/golden/demo.model")


def psnr(a, b):
    return 10 * np.log10(255 ** 2 / ((a.astype(float) - b) ** 2).mean())


@pytest.fixture(scope="module")
def projected(tmp_path_factory):
    """Folder with seed000003.png, painted without truncation and with noise of its own, projected;
    and what project.py printed."""
    folder = tmp_path_factory.mktemp("project")
    command("generate.py", DEMO, "--seeds", 3, "--truncation_psi", 1, "--noise", "random", "--out",
            ".", cwd=folder)
    _, output, _ = command("project.py", DEMO, "seed000003.png", "--steps", 250, "--out", "out",
                           "--device", "cpu", cwd=folder)
    return folder, output


def test_a_picture_of_its_own_is_recovered_to_30_db(projected):
    folder, output = projected
    found = float(output.split("PSNR ")[1].split()[0])
    assert found >= 30
    with Image.open(folder / "out/seed000003_projected.png") as picture:
        assert picture.size == (2 * 128 + 2, 128)
        both = np.asarray(picture)[::4, ::4]
    target = np.asarray(Image.open(folder / "seed000003.png"))
    assert (both[:, :32] == target).all()
    result = np.asarray(picture)[::4, 130::4]
    assert psnr(result, target) == pytest.approx(found, abs=0.06)


def test_generate_paints_what_was_found_again(projected):
    folder, _ = projected
    command("generate.py", DEMO, "--w", "out/seed000003_projected.npz", "--out", "again",
            "--device", "cpu", cwd=folder)
    again = np.asarray(Image.open(folder / "again/w000000.png"))
    result = np.asarray(Image.open(folder / "out/seed000003_projected.png"))[::4, 130::4]
    assert np.abs(again.astype(int) - result).max() <= 1


def test_another_projection_never_takes_the_place_of_this_one(projected):
    folder, output = projected
    assert f"python generate.py {shlex.quote(DEMO)} --w out/seed000003_projected.npz" in output
    flags = ["--steps", 250, "--out", "out", "--device", "cpu"]
    before = {p.name: p.read_bytes() for p in (folder / "out").iterdir()}
    for picture, more, there in (("seed000003.png", ["--space", "w+"], "--space w"),
                                 ("other/seed000003.png", [], "picture seed000003.png (")):
        os.makedirs(folder / "other", exist_ok=True)
        Image.new("RGB", (32, 32)).save(folder / "other/seed000003.png")
        code, _, error = command("project.py", DEMO, picture, *flags, *more, cwd=folder,
                                 check=False)
        assert code == 2 and f"out/seed000003_projected.npz exists, made with {there}" in error
        assert "--overwrite" in error and error.count("\n") == 1
    assert {p.name: p.read_bytes() for p in (folder / "out").iterdir()} == before


def test_the_film_ends_nearer_than_it_begins(projected):
    folder, _ = projected
    with Image.open(folder / "out/seed000003_projected.gif") as film:
        assert film.size == (2 * 128 + 2, 128) and film.n_frames == 64
        frames = []
        for i in (0, film.n_frames - 1):
            film.seek(i)
            frames.append(np.asarray(film.convert("RGB"))[::4])
    first, last = (psnr(frame[:, 130::4], frame[:, :128:4]) for frame in frames)
    assert last > first + 5


def test_noise_is_kept_normal_and_free_of_patterns(projected):
    with np.load(projected[0] / "out/seed000003_projected.npz") as file:
        assert file["w"].shape == (1, 8, 64) and np.ptp(file["w"], axis=1).max() == 0
        for i in range(8):
            noise = file[f"noise{i}"]
            assert abs(noise.mean()) < 1e-5 and noise.std() == pytest.approx(1, abs=1e-4)
            if noise.shape[-1] > 8:
                neighbours = (noise[..., 1:] * noise[..., :-1]).mean()
                assert abs(neighbours) < 0.1


def test_correlation_sees_patterns_at_every_size():
    rng = np.random.RandomState(0)
    white = rng.randn(1, 1, 32, 32).astype("float32")
    striped = white * 0.1 + np.tile([1, -1], 16).astype("float32")
    blocks = rng.randn(1, 1, 4, 4).repeat(8, 2).repeat(8, 3).astype("float32")
    values = [correlation(jt.array(noise)).item() for noise in (white, striped, blocks)]
    assert values[0] < 0.1 and values[1] > 0.5 and values[2] > 0.5
    # As the definition says, in NumPy.
    total, x = 0.0, white.astype("float64")
    for _ in range(3):
        total += sum((x * np.roll(x, 1, axis)).mean() ** 2 for axis in (2, 3))
        x = 2 * x.reshape(1, 1, len(x[0, 0]) // 2, 2, -1, 2).mean((3, 5))
    assert values[0] == pytest.approx(total, rel=1e-4)


def test_the_pyramid_is_complete_and_has_no_mean_but_at_the_end():
    x = np.random.RandomState(1).randn(2, 3, 32, 32).astype("float32")
    levels = [level.numpy() for level in pyramid(jt.array(x))]
    assert [level.shape[-1] for level in levels] == [32, 16, 8, 4]
    total = 0
    for level in reversed(levels):
        total = level + (np.repeat(np.repeat(total, 2, 2), 2, 3) if np.ndim(total) else 0)
    assert np.abs(total - x).max() < 1e-5
    assert all(np.abs(level.mean((2, 3))).max() < 1e-6 for level in levels[:-1])


def test_weights_that_do_not_say_their_size_are_told_and_painted_again_at_the_one_typed(tmp_path):
    port = os.path.join(ROOT, "test/golden/port16_zip.pt")
    Image.new("RGB", (16, 16)).save(tmp_path / "x.png")
    for size, told in ([], 1), (["--size", 8], 0):
        _, output, error = command("project.py", port, "x.png", "--steps", 1, *size, "--out",
                                   f"out{told}", cwd=tmp_path)
        assert error.count("does not say to which size it was trained") == told
        *_, typed = output.splitlines()
        command(*shlex.split(typed.partition("python ")[2]), "--out", f"again{told}", cwd=tmp_path)


def test_any_picture_is_taken_by_its_middle_square(tmp_path):
    Image.new("RGBA", (60, 30), (0, 0, 255, 0)).save(tmp_path / "x.png")    # transparent: white
    assert (read_picture(str(tmp_path / "x.png"), 16, 3) == 1).all()
    assert read_picture(str(tmp_path / "x.png"), 16, 1).shape == (1, 16, 16)
    (tmp_path / "y.png").write_text("no picture")
    with pytest.raises(UserError, match="y.png: not a picture"):
        read_picture(str(tmp_path / "y.png"), 16, 3)


@pytest.mark.parametrize("flags, message", [
    (["none.png"], "none.png: not a picture that can be read (No such"),
    (["x.png", "--steps", "0"], "--steps")])
def test_bad_input_is_one_line(tmp_path, flags, message):
    code, _, error = command("project.py", DEMO, *flags, cwd=tmp_path, check=False)
    assert code == 2 and error.count("\n") == 1 and message in error and "Errno" not in error
