"""cli.py: what all commands answer to flags that are mistyped, and words for numbers."""
import importlib
import os
import subprocess
import sys

import pytest
from conftest import ROOT, command, not_tested

import cli
from backend.errors import counted


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
    ("train", ["x", "--preset", "smal"], "--preset: found smal, wanted one of official, auto, "
     "paper256, paper512, paper1024, cifar, small; did you mean small?"),
    ("generate", ["x", "--noise", "cosnt"], "did you mean const?"),
    ("generate", ["x", "--figures", "samples,mixin"], "--figures: found mixin, wanted one of "
     "samples, mixing, interpolation, truncation, noise, classes; did you mean mixing?"),
    ("metrics", ["x", "y", "--metrics", "mssim"], "did you mean ms_ssim?"),
    ("resize", ["My", "Photos"], "Photos: one word too many (a name with spaces wants quotes)"),
    ("resize", ["x", "--qqq"], "--qqq: no such flag; resize.py --help"),
    ("train", ["--", "x", "--kimg", "5"], "--kimg: behind --, where no flags are"),
])
def test_a_mistyped_choice_or_word_is_named(monkeypatch, command, words, message):
    assert message in answer(monkeypatch, command, *words)


def test_a_name_that_begins_with_a_dash_is_answered_with_what_to_type(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-my pictures").mkdir()
    assert "type './-my pictures'" in answer(monkeypatch, "train", "-my pictures", "--kimg", 5)


def test_flags_may_stand_between_names(monkeypatch, tmp_path):
    """What is missing is IN, not a place for OUT."""
    monkeypatch.chdir(tmp_path)
    line = answer(monkeypatch, "convert", "in.model", "--half", "out.model")
    assert line.startswith("in.model: ")


def test_one_is_not_plural():
    assert [counted(n, "picture") for n in (0, 1, 2, 5000)] == [
        "0 pictures", "1 picture", "2 pictures", "5,000 pictures"]


def test_choices_that_are_numbers_are_one_line_too(tmp_path):
    code, _, error = command("train.py", "x", "--channels", 2, cwd=tmp_path, check=False)
    assert code == 2 and "found 2, wanted one of 1, 3" in error and error.count("\n") == 1


def test_a_reader_that_leaves_early_ends_a_command_without_a_word(tmp_path):
    """As in train.py data --dry_run | head -1, with more to print than a pipe holds."""
    program = tmp_path / "long.py"
    program.write_text(f"import sys\nsys.path.insert(0, {ROOT!r})\nimport cli\n"
                       "cli.run(lambda: [print('x' * 99) for _ in range(10_000)])\n")
    with subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b"" and process.wait() == 141


def test_what_is_not_tested_is_named_with_what_to_install():
    """Every reason for skipping a test that a machine may have."""
    for reason, wanted in (("no Open MPI here: apt-get install openmpi-bin", "several processes"),
                           ("safetensors is not installed", "pip install safetensors"),
                           ("could not import 'torch': No module named 'torch'", "twin")):
        found = not_tested({reason: 2})
        assert found[0].startswith("2 tests: ") and wanted in found[0]
    assert not_tested({"something else": 1}) == ["1 test: something else"]
    with open(os.path.join(ROOT, "test/several_processes.py")) as file:
        assert 'reason="no Open MPI here' in file.read()
