"""The only place that knows how Jittor is brought up.

    import backend
    backend.use_device("auto")        # optional, and before the first use of jt
    from backend import jt

`jt` is Jittor 1.3.11 on the CPU (with oneDNN, see `jittor_bringup.py`) or on a CUDA device (see
`cuda.py`). It is brought up when it is first asked for, so that `--help` and a wrong folder are
answered on a machine where nothing is compiled yet.
"""
import os

_device, _cuda_home = "auto", None
_conv = "winograd"


def use_device(device, cuda_home=None):
    """Choose "auto" (CUDA where there is a GPU), "cpu" or "cuda". Call it before using `jt`.

    cuda_home: folder of the CUDA toolkit, None for the first that fits.
    """
    global _device, _cuda_home
    if "jt" in globals() and (device, cuda_home) != (_device, _cuda_home):
        raise RuntimeError("backend.use_device() has to be called before the first use of jt")
    _device, _cuda_home = device, cuda_home


def use_conv(conv):
    """Choose "winograd" or "direct" convolutions for the CPU. Before using `jt`."""
    global _conv
    if "jt" in globals() and conv != _conv:
        raise RuntimeError("backend.use_conv() has to be called before the first use of jt")
    _conv = conv


def use_amp(amp):
    """Whether a GPU's convolutions multiply in TF32, which keeps 10 bits of a number instead of 23
    (include/cudnn.h), and those of a CPU with AMX in bfloat16 (ops/bfloat16.h, ops/amx.h). Sums,
    and all that is no convolution, stay float32."""
    if amp:
        os.environ["STYLEGAN1_AMP"] = "1"
    else:
        os.environ.pop("STYLEGAN1_AMP", None)


def uses_amp():
    """Whether use_amp() was told so last."""
    return "STYLEGAN1_AMP" in os.environ


def kernels_compiled():
    """How many kernels Jittor keeps from earlier runs."""
    from backend import jt
    folder = os.path.join(jt.flags.cache_path, "jit")
    return sum(name.endswith(".so") for name in os.listdir(folder))


def __getattr__(name):
    if name not in ("jt", "onednn_ops", "cuda_ops", "has_winograd", "has_amx", "report"):
        raise AttributeError(f"module 'backend' has no attribute {name!r}")
    from backend import jittor_bringup
    globals().update(jittor_bringup.bring_up(_device, _conv, _cuda_home))
    return globals()[name]
