"""cli.py: what all commands answer to flags that are mistyped, and words for numbers."""
import importlib

import pytest

import cli


def answer(monkeypatch, command, *words):
    """What a command says to these arguments."""
    monkeypatch.setattr("sys.argv", [f"{command}.py", *map(str, words)])
    with pytest.raises(cli.UserError) as error:
        importlib.import_module(command).main()
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("command, flags, meant", [
    ("train", ["--kimgs", 5], "--kimg"), ("train", ["--gama=1"], "--gamma"),
    ("generate", ["--truncation-psi", 0.5], "--truncation_psi"),
    ("train", ["--seeds", 3], "--seed"),
    ("generate", ["--psi", 0.5], "--truncation_psi"),
    ("generate", ["--trunc", 0.5], "--truncation_psi or --truncation_layers"),
    ("resize", ["--min-size=8"], "--min_size"), ("symbols", ["--fonts", "x"], "--font"),
    ("project", ["--step", 3], "--steps"), ("convert", ["--aproximate"], "--approximate"),
    ("metrics", ["--image", 100], "--images"), ("plot", ["--hlep"], "--help"),
])
def test_a_mistyped_flag_is_answered_with_the_one_that_was_meant(monkeypatch, command, flags,
                                                                 meant):
    words = ["x", "y"] if command in ("project", "convert", "metrics") else ["x"]
    line = answer(monkeypatch, command, *words, *flags)
    flag = flags[0].split("=")[0]
    assert line.startswith(f"{flag}: no such flag; did you mean {meant}? {command}.py --help")


@pytest.mark.parametrize("command, words, message", [
    ("train", ["x", "--preset", "smal"], "--preset: found smal, wanted one of official, small; did "
     "you mean small?"),
    ("generate", ["x", "--noise", "cosnt"], "did you mean const?"),
    ("generate", ["x", "--figures", "samples,mixin"], "--figures: found mixin, wanted one of "
     "samples, mixing, interpolation, truncation, noise; did you mean mixing?"),
    ("metrics", ["x", "y", "--metrics", "mssim"], "did you mean ms_ssim?"),
    ("resize", ["My", "Photos"], "Photos: one word too many (a name with spaces wants quotes)"),
    ("resize", ["x", "--zzz"], "--zzz: no such flag; resize.py --help"),
])
def test_a_mistyped_choice_or_word_is_named(monkeypatch, command, words, message):
    assert message in answer(monkeypatch, command, *words)


def test_one_is_not_plural():
    assert [cli.counted(n, "picture") for n in (0, 1, 2, 5000)] == [
        "0 pictures", "1 picture", "2 pictures", "5,000 pictures"]
