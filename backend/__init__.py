"""The only place that knows how Jittor is brought up.

    import backend
    backend.use_device("auto")        # optional, and before the first use of jt
    from backend import jt

`jt` is Jittor 1.3.11 on the CPU (with oneDNN, see `jittor_bringup.py`) or on a CUDA device that
Jittor supports by itself. It is brought up when it is first asked for, so that `--help` and a
wrong folder are answered on a machine where nothing is compiled yet.
"""

_device = "auto"
_conv = "winograd"


class BackendError(Exception):
    """What is missing on this machine, as one line that says how to get it."""


def use_device(device):
    """Choose "auto" (CUDA where there is a GPU), "cpu" or "cuda". Call it before using `jt`."""
    global _device
    if "jt" in globals() and device != _device:
        raise RuntimeError("backend.use_device() has to be called before the first use of jt")
    _device = device


def use_conv(conv):
    """Choose "winograd" or "direct" convolutions for the CPU. Before using `jt`."""
    global _conv
    if "jt" in globals() and conv != _conv:
        raise RuntimeError("backend.use_conv() has to be called before the first use of jt")
    _conv = conv


def __getattr__(name):
    if name not in ("jt", "onednn_ops", "has_winograd", "report"):
        raise AttributeError(f"module 'backend' has no attribute {name!r}")
    from backend import jittor_bringup
    globals().update(jittor_bringup.bring_up(_device, _conv))
    return globals()[name]
