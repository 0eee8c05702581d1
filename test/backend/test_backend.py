"""backend/: Jittor computes here, on oneDNN, and what a user had is as it was."""
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import reference
from conftest import ROOT, command, without_gpu

import backend
from backend import compilers, jittor_bringup, jt
from backend.errors import BackendError
from backend.kernels import conv2d


def python(code, **environment):
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True,
                          env=os.environ | environment)


def test_report_names_what_was_found_and_checks_a_convolution():
    code, output, _ = command("-m", "backend", "--device", "cpu", cwd=ROOT)
    assert code == 0
    for name in ("Jittor", "compiler", "oneDNN", "CUDA", "MPI"):
        assert f"\n{name}" in "\n" + output
    assert "relative error" in output and "GFLOP/s" in output and "MISSING" not in output


@without_gpu
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_jittors_own_convolutions_run_on_onednn(groups):
    """Any nn.Conv2d is fast, also one that is not this project's; gradients too."""
    rng = np.random.RandomState(0)
    x0, w0 = rng.randn(2, 6, 9, 9), rng.randn(12, 6 // groups, 3, 3)
    x, w = (jt.array(a.astype("float32")) for a in (x0, w0))
    with jt.profile_scope() as report:
        y = jt.nn.conv2d(x, w, padding=1, groups=groups)
        found = y.numpy()
    assert any(row[0].startswith("mkl_conv") for row in report)
    wanted = np.concatenate([reference.conv2d(a, b, padding=1) for a, b in
                             zip(np.split(x0, groups, 1), np.split(w0, groups))], 1)
    assert np.abs(found - wanted).max() < 1e-4
    # Linear in both operands: Σ x · ∂s/∂x = Σ w · ∂s/∂w = s for s = Σ y · r.
    r = rng.randn(*wanted.shape)
    dx, dw = jt.grad((y * jt.array(r.astype("float32"))).sum(), [x, w])
    total = (wanted * r).sum()
    assert abs((dx.numpy() * x0).sum() - total) < 1e-3 * np.abs(wanted).sum() / 100
    assert abs((dw.numpy() * w0).sum() - total) < 1e-3 * np.abs(wanted).sum() / 100


def test_environment_is_as_it_was():
    code = ("import os; before = dict(os.environ); from backend import jt; "
            "assert dict(os.environ) == before; print(jt.ones(3).sum().item())")
    result = python(code, log_v="0")
    assert result.returncode == 0 and "3.0" in result.stdout, result.stderr


def test_a_compiler_that_fails_is_one_line_and_exit_code_2(tmp_path):
    (tmp_path / "g++").write_text('#!/bin/sh\ncase "$*" in *--version*|*-dumpversion*) exec '
                                  '/usr/bin/g++ "$@";; esac\necho disk full >&2; exit 1\n')
    (tmp_path / "g++").chmod(0o755)
    result = python("from backend import jt", HOME=str(tmp_path),
                    PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: Jittor did not start: Run cmd failed")


@without_gpu
def test_an_nvcc_on_the_path_changes_nothing_without_a_gpu(tmp_path):
    (tmp_path / "nvcc").write_text("#!/bin/sh\necho release 11.8, V11.8\n")
    (tmp_path / "nvcc").chmod(0o755)
    result = python("from backend import jt; print(jt.flags.use_cuda)",
                    PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert result.returncode == 0 and result.stdout.strip().endswith("0"), result.stderr


@without_gpu
def test_cuda_where_there_is_none_is_one_line():
    code, _, stderr = command("-m", "backend", "--device", "cuda", cwd=ROOT, check=False)
    assert code == 2 and stderr.count("\n") == 1 and "--device cpu" in stderr


def test_missing_onednn_is_one_loud_line(monkeypatch, capsys):
    monkeypatch.setattr(jittor_bringup, "find_onednn", lambda: None)
    assert jittor_bringup.load_onednn_operators(jt) is None
    warning = capsys.readouterr().err
    assert warning.count("\n") == 1 and "ONEDNN" in warning.upper() and "pip install" in warning


def test_missing_compiler_and_headers_name_the_package(monkeypatch):
    monkeypatch.setenv("cc_path", "no-such-compiler")
    with pytest.raises(BackendError, match="apt-get install g"):
        jittor_bringup.check_machine()
    monkeypatch.delenv("cc_path")
    monkeypatch.setattr(jittor_bringup.sysconfig, "get_paths", lambda: {"include": "/nowhere"})
    with pytest.raises(BackendError, match="apt-get install python3.*-dev"):
        jittor_bringup.check_machine()


def test_ctrl_c_and_dying_children_are_left_to_python():
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL


def test_a_crash_is_one_and_says_where(tmp_path):
    code = "import faulthandler, ctypes; faulthandler.enable(); import backend; backend.jt\n" \
           "def read_nothing(): ctypes.string_at(0)\nread_nothing()"
    status, _, error = command("-c", code, cwd=tmp_path, check=False)
    assert status == -signal.SIGSEGV and "Segmentation fault" in error and "read_nothing" in error


def test_jittor_waits_for_its_threads_that_compile():
    path = os.path.join(os.path.dirname(jt.__file__), compilers.SOURCE)
    theirs = compilers.read(path).splitlines()
    ours = compilers.waiting(compilers.read(path)).splitlines()
    added = [i for i, line in enumerate(ours) if line.strip() == b"threads.wait_all();"
             and ours[i + 1].strip() == b"if (change_line)"]
    assert len(added) == 1 and ours[:added[0]] + ours[added[0] + 1:] == theirs
    core = os.path.dirname(jt.core.__file__)
    mended = os.path.join(core, "parallel_compiler.cc")
    assert compilers.read(mended).splitlines() == ours
    key = compilers.read(os.path.join(core, "obj_files/parallel_compiler.cc.o.key")).decode()
    assert mended in key and path not in key


def test_equal_runs_give_equal_bits():
    def gradient():
        jt.set_seed(5)
        x, w = jt.randn(4, 16, 16, 16), jt.randn(16, 16, 3, 3)
        y = conv2d(x, w, padding=1)
        return [g.numpy() for g in jt.grad((y * y).sum(), [x, w])]
    assert all((a == b).all() for a, b in zip(gradient(), gradient()))


def test_a_device_chosen_too_late_is_an_error():
    assert jt is not None
    with pytest.raises(RuntimeError, match="before"):
        backend.use_device("cuda")
