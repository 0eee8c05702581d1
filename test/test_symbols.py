"""symbols.py: every glyph drawn, centred, in colour on white, the same for the same seed."""
import os

import numpy as np
import pytest
from conftest import command
from PIL import Image

import symbols


def pixels(folder):
    return {n: np.asarray(Image.open(os.path.join(folder, n))) for n in sorted(os.listdir(folder))}


def test_default_font_has_over_5000_symbols_and_no_tofu():
    font = symbols.Font(symbols.default_font(), 32)
    assert len(font.chars) > 5000
    assert not font.has("\U0010ffff") and not font.has("\U00012000")
    assert font.render(" ", (1, 2, 3)) is None
    assert {"A", "7", "★"} <= set(font.chars) and "," not in font.chars


def test_pictures_are_centred_saturated_and_on_white(tmp_path):
    command("symbols.py", tmp_path / "64", "--chars", "A-Z★", cwd=tmp_path)
    pictures = pixels(tmp_path / "64")
    assert len(pictures) == 27
    for name, picture in pictures.items():
        assert picture.shape == (64, 64, 3) and (picture[[0, -1]] == 255).all(), name
        ink = np.argwhere((picture < 200).any(2))
        assert abs(ink.min(0) + ink.max(0) - 63).max() <= 2, f"{name} is not centred"
        darkest = picture[tuple(ink[picture[tuple(ink.T)].sum(1).argmin()])].astype(int)
        assert darkest.max() - darkest.min() > 0.5 * darkest.max(), f"{name} is not saturated"
    assert len({p.tobytes() for p in pictures.values()}) == 27


def test_seed_decides_colours_and_order_does_not(tmp_path):
    for folder, options in (("a/32", []), ("b/32", []), ("c/32", ["--seed", 1])):
        command("symbols.py", tmp_path / folder, "--chars", "A-J", "--count", 14, *options,
                cwd=tmp_path)
    a, b, c = (pixels(tmp_path / f / "32") for f in "abc")
    assert len(a) == 14 and a.keys() == b.keys() and all((a[n] == b[n]).all() for n in a)
    assert any((a[n] != c[n]).any() for n in a.keys() & c.keys())


def test_pictures_are_never_mixed_with_others(tmp_path):
    def render(*flags, folder="a/32", check=False):
        return command("symbols.py", folder, "--chars", "A-D", *flags, cwd=tmp_path, check=check)

    render(check=True)
    before = pixels(tmp_path / "a/32")
    # The same again, and more of the same, go on.
    render(check=True)
    _, output, _ = render("--count", 9, check=True)
    after = pixels(tmp_path / "a/32")
    assert len(after) == 9 and all((after[n] == before[n]).all() for n in before)
    font = os.path.join(os.path.dirname(symbols.default_font()), "DejaVuSerif.ttf")
    for flags, made in ((["--seed", 1], "--seed 0"), (["--chars", "A-E"], "--chars A-D"),
                        (["--font", font], "--font DejaVuSans.ttf (")):
        code, _, error = render(*flags)
        assert code == 2 and f"a/32/u00041.png exists, made with {made}" in error
        assert "type another folder, such as a_2/32\n" in error and error.count("\n") == 1
    Image.new("RGB", (32, 32)).save(tmp_path / "a/32/cat.png")
    code, _, error = render()
    assert code == 2 and "a/32/cat.png exists, and does not say how it was made" in error
    now = pixels(tmp_path / "a/32")
    assert len(now) == 10 and all((now[n] == after[n]).all() for n in after)
    os.makedirs(tmp_path / "My Photos/32")
    Image.new("RGB", (32, 32)).save(tmp_path / "My Photos/32/cat.jpg")
    _, _, error = render(folder="My Photos/32")
    assert "such as 'My Photos_2/32'\n" in error


def test_ranges_of_characters():
    assert symbols.parse_chars("A-C0-2+") == ["A", "B", "C", "0", "1", "2", "+"]
    assert symbols.parse_chars("a-") == ["a", "-"]


@pytest.mark.parametrize("options, message", [
    (["--font", "nothing.ttf"], "--font nothing.ttf: not a font that can be read (No such file"),
    (["--chars", "\U00012000"], "--chars"),
    (["--chars", "Z-A"], "Z-A"),
    (["--size", "32"], "--size 32"),
    (["--size", "33"], "--size"),
    (["--count", "0"], "--count"),
    (["--counts", "3"], "did you mean --count?"),
])
def test_errors_are_one_line_and_exit_2(tmp_path, options, message):
    code, _, stderr = command("symbols.py", tmp_path / "64", *options, cwd=tmp_path, check=False)
    assert code == 2 and message in stderr and stderr.count("\n") == 1, stderr
    assert "Errno" not in stderr
