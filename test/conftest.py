"""Real pictures for the tests: symbols, rendered and resized by the project's own commands."""
import contextlib
import faulthandler
import os
import signal
import subprocess
import sys

import pytest

from backend import cuda, signals
from backend.errors import counted

# What a shell starts in the background has Ctrl-C ignored, and so would all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
# And nohup has hangups ignored: the tests outlive one, what they start heeds it.
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda number, frame: None)

# A command that a test calls must not change what the tests' own process starts.
signals.shielded = contextlib.nullcontext

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
without_gpu = pytest.mark.skipif(bool(cuda.driver()[1]), reason="there is a GPU")


def pytest_configure(config):
    """Where a process of the tests dies, `make test` shows what of its file is not pytest's."""
    folder = config.rootpath / ".pytest_cache"
    folder.mkdir(exist_ok=True)
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if not worker:                          # the main process, which begins before its workers do
        for left in folder.glob("crash*"):
            left.unlink()
    faulthandler.enable(open(folder / f"crash{worker}", "w"))


def pytest_collection_modifyitems(items):
    """The longest first, so that no process of `make test` is left alone with one at the end."""
    items.sort(key=lambda item: item.path.name not in ("test_torture.py", "test_leaks.py"))


def command(*arguments, cwd, check=True, timeout=600):
    """Run `python arguments…` of the project in `cwd`: (exit code, stdout, stderr)."""
    script = [os.path.join(ROOT, arguments[0]) if arguments[0].endswith(".py") else arguments[0]]
    result = subprocess.run([sys.executable, *script, *map(str, arguments[1:])], cwd=cwd,
                            capture_output=True, text=True, timeout=timeout,
                            env=os.environ | {"PYTHONPATH": ROOT})
    if check:
        assert result.returncode == 0, result.stdout + result.stderr
    return result.returncode, result.stdout, result.stderr


@pytest.fixture(scope="session")
def symbols(tmp_path_factory):
    """Folder with 8/, 16/ and 32/, forty coloured letters each."""
    root = tmp_path_factory.mktemp("symbols")
    command("symbols.py", root / "32", "--chars", "A-Z0-9+=!?", "--count", 40, cwd=root)
    command("resize.py", root / "32", "--min_size", 8, cwd=root)
    return str(root)


# What a machine lacks, and the promises that are then not tested: the beginning of a reason.
MISSING = {
    "no Open MPI": "several processes: apt-get install openmpi-bin libopenmpi-dev",
    "could not import 'torch'": "the PyTorch twin of bench/: pip install torch",
    "torch is not installed": "weights written by PyTorch: pip install torch",
    "safetensors is not installed": "weights as .safetensors: pip install safetensors",
    "could not import 'tensorboardX'": "TensorBoard's files: pip install tensorboardX",
    "could not import 'onnx": "ONNX: pip install onnx onnxruntime",
    "could not import 'imageio_ffmpeg'": "films as mp4: pip install imageio-ffmpeg",
    "no chromium": "the page in a browser: apt-get install chromium",
    "could not import 'playwright": "the page in a browser: pip install playwright",
    "could not import 'robohash'": "avatars: pip install -r requirements-demo.txt",
    "CUDA": "CUDA: make test-cuda-compile",
}


def pytest_terminal_summary(terminalreporter):
    """The last lines of make test: which promises were not tested here, and what to install."""
    reasons = {}
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        reasons[reason] = reasons.get(reason, 0) + 1
    if reasons:
        terminalreporter.section("not tested here")
    for line in not_tested(reasons):
        terminalreporter.line(line)


def not_tested(reasons):
    """{reason: number of tests} → what to print of each."""
    return [f"{counted(count, 'test')}: " +
            next((text for part, text in MISSING.items() if part in reason), reason)
            for reason, count in reasons.items()]
