"""setup.sh and the Makefile: what is half there is mended, and what cannot work is one line."""
import os
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT

from backend import jittor_bringup
from backend.errors import BackendError


def sh(folder, *words):
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=300)


@pytest.fixture
def clone(tmp_path):
    """A folder with setup.sh, the Makefile and no requirements."""
    for name in "setup.sh", "Makefile":
        shutil.copy(os.path.join(ROOT, name), tmp_path)
    for kind in "", "-demo", "-dev":
        (tmp_path / f"requirements{kind}.txt").write_text("")
    return tmp_path


def test_a_venv_that_was_made_by_half_is_made_anew(clone):
    assert sh(clone, sys.executable, "-m", "venv", "--without-pip", ".venv").returncode == 0
    result = sh(clone, "sh", "setup.sh", "requirements.txt")
    assert result.returncode == 0, result.stderr
    assert sh(clone, ".venv/bin/python", "-m", "pip", "--version").returncode == 0


@pytest.mark.skipif(not shutil.which("make"), reason="no make")
def test_where_python_has_gone_with_a_systems_update_setup_is_run_again(clone):
    os.makedirs(clone / ".venv/bin")
    os.symlink(sys.executable, clone / ".venv/bin/python")
    for name in "installed-demo", "installed-dev":
        (clone / ".venv" / name).touch()
    assert "setup.sh" not in sh(clone, "make", "-n", "test").stdout
    os.remove(clone / ".venv/bin/python")
    os.symlink("/nowhere/python3.8", clone / ".venv/bin/python")
    assert "setup.sh" in sh(clone, "make", "-n", "test").stdout


@pytest.mark.parametrize("name", ["my clone", "main (1)", "R&D", "it's", "a$HOME", "a;b"])
def test_a_path_that_jittor_cannot_compile_in_is_told_before_anything_is_installed(clone, name):
    place = clone / name
    os.makedirs(place)
    shutil.copy(clone / "setup.sh", place)
    result = sh(place, "sh", "setup.sh", "requirements.txt")
    assert result.returncode == 2 and name in result.stderr and "mv" in result.stderr
    assert os.listdir(place) == ["setup.sh"]


@pytest.mark.parametrize("name", ["plain-1.2_b", "größe", "图片", "a+b@c,d=e", "old~1", "#1!"])
def test_other_paths_are_no_trouble(clone, name):
    place = clone / name
    os.makedirs(place)
    shutil.copy(clone / "setup.sh", place)
    result = sh(place, "env", "PYTHON=/nowhere/python", "sh", "setup.sh")
    assert result.returncode == 2 and "no Python 3.9 to 3.12 found" in result.stderr


def test_bring_up_says_it_too(monkeypatch):
    jittor_bringup.check_machine()
    monkeypatch.setattr(sys, "executable", "/home/me/my clone/.venv/bin/python")
    with pytest.raises(BackendError, match="my clone/.venv/bin/python: Jittor cannot compile"):
        jittor_bringup.check_machine()
