"""Brings Jittor 1.3.11 up on this machine; everything else says `from backend import jt`.

Left alone, `import jittor` switches CUDA on where it finds any `nvcc`, downloads oneDNN from a
server that may not answer, and compiles silently for two minutes. Here the device is chosen
first, oneDNN comes from the pip package `onednn-devel-cpu-gomp` with operators of our own
(`ops/`), and the compilation is announced. The environment is as before afterwards, and a
`cache_name` of our own keeps Jittor's cache as it is for the user's other projects.
"""
import contextlib
import ctypes
import glob
import hashlib
import importlib.metadata
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import time
import traceback

from backend import compilers, cuda, mpi, threads
from backend.errors import BackendError

ONEDNN_HEADERS, ONEDNN_LIBRARY = "onednn-devel-cpu-gomp", "onednn-cpu-gomp"
CUDA_OPERATORS = ("cub_ops", "cublas_ops", "cudnn_ops", "curand_ops")
SETTINGS = {"use_mkl": "0", "use_mpi": "0", "use_nccl": "0", "use_cutt": "0", "use_cutlass": "0",
            "cache_name": "stylegan1", "log_silent": os.environ.get("log_silent", "1")}
CRASHES = signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGQUIT


def bring_up(device, conv, cuda_home=None):
    """Import Jittor for `device` ("auto", "cpu", "cuda"), with `conv` kernels where it is the CPU.

    Returns {"jt": jittor, "onednn_ops": the operators of ops/ or None, "cuda_ops": those of
    cuda_ops/ or None, "has_winograd": whether 3×3 convolutions may be Winograd's, "has_amx":
    whether --amp makes those faster, "report": what was found, as lines for a person to read}.
    Raises BackendError when the device or a tool for compiling is not there.
    """
    check_machine()
    nvcc, found = find_cuda(device, cuda_home)
    use_cuda = bool(nvcc)

    where = cuda.settings(nvcc) if use_cuda else {"nvcc_path": ""}
    where |= mpi.settings(use_cuda, os.path.dirname(os.path.dirname(nvcc)))
    if mpi.SIZE > 1 and use_cuda:
        mpi.check_gpus(len(cuda.driver()[1]))
        cuda.use_gpu(mpi.LOCAL_RANK)
    where |= threads.settings()
    on_ctrl_c = signal.getsignal(signal.SIGINT)
    let_sigterm_through()
    with environment(SETTINGS | where), announced(use_cuda), crashes_left_alone(), \
            compilers.waited_for():
        jt = import_jittor(use_cuda)
        operators = cuda_operators = None
        if use_cuda:
            check_cuda_operators(jt)
            cuda_operators = load_cuda_operators(jt, os.path.dirname(os.path.dirname(nvcc)))
        else:
            operators = load_onednn_operators(jt)
    compilers.dismiss()
    # Jittor's handlers quit at once on Ctrl-C and when any child process dies.
    signal.signal(signal.SIGINT, on_ctrl_c)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    jt.flags.use_cuda = int(use_cuda)
    report = {
        "Python": f"{sys.version.split()[0]} at {sys.executable}",
        "Jittor": f"{jt.__version__}, cache {jt.flags.cache_path}",
        "compiler": f"{jt.flags.cc_path} {version_line(jt.flags.cc_path)}",
        "oneDNN": "not used on CUDA" if use_cuda else describe_onednn(),
        **found,
        "MPI": mpi.describe(),
        "device": "cuda" if use_cuda else f"cpu, {threads.count()} threads",
    }
    return {"jt": jt, "onednn_ops": operators, "report": report,
            "cuda_ops": cuda_operators,
            "has_winograd": operators is not None and conv == "winograd",
            "has_amx": operators is not None and conv == "winograd" and
            bool(ctypes.CDLL(None).stylegan1_has_amx())}


def import_jittor(use_cuda):
    """The module. Where it does not start the process ends, with one line and exit code 2: one
    that is loaded by half cannot be left, and aborts at the end of the program."""
    try:
        import jittor
        return jittor
    except Exception as error:
        lines = re.sub(r"\x1b\[[\d;]*m|\[f [^]]*\]", "", str(error)).split("\n")
        why = next((line.strip(" :") for line in lines if line.strip()), type(error).__name__)
        print(f"error: Jittor did not start: {why[:120]}. Type log_silent=0 python -m backend, to "
              f"see more{', or --device cpu' if use_cuda else ''}{mpi.who()}", file=sys.__stderr__,
              flush=True)
        if SETTINGS["log_silent"] == "0":
            traceback.print_exc(file=sys.__stderr__)
        os._exit(2)


def check_machine():
    """Say in one line which package is missing, instead of Jittor's traceback."""
    if not (3, 9) <= sys.version_info[:2] <= (3, 12):
        raise BackendError(f"Jittor needs Python 3.9 to 3.12, this is {sys.version.split()[0]}: "
                           "install python3.11 or python3.12 and make a new .venv")
    jittor = importlib.util.find_spec("jittor")
    if jittor is None:
        raise BackendError("Jittor is not installed: type pip install -r requirements.txt")
    for path in sys.executable or "", *jittor.submodule_search_locations:   # for a shell, as is
        if sign := re.search(r"[\s\\'\"`$&;|<>()]", path):
            raise BackendError(f"{path}: Jittor cannot compile where {sign[0]!r} is in the path: "
                               "move the folder to a place without, and make .venv anew")
    compiler = os.environ.get("cc_path") or "g++"
    if not shutil.which(compiler):
        raise BackendError(f"no C++ compiler ({compiler}): type apt-get install g++")
    header = os.path.join(sysconfig.get_paths()["include"], "Python.h")
    if not os.path.isfile(header):
        name = f"python{sys.version_info.major}.{sys.version_info.minor}-dev"
        raise BackendError(f"no Python headers ({header}): type apt-get install {name}")


def python_config():
    """The pythonX.Y-config that belongs to this interpreter (a virtual environment has none)."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}-config"
    path = os.path.join(sysconfig.get_config_var("BINDIR"), name)
    return path if os.path.isfile(path) else shutil.which(name)


@contextlib.contextmanager
def environment(settings):
    """os.environ with `settings`, None for what is to be away, inside the block; then as before."""
    before = dict(os.environ)
    for name, value in settings.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    if "python_config_path" not in before and python_config():
        os.environ["python_config_path"] = python_config()
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def crashes_left_alone():
    """Inside, Jittor is imported. Its handlers of a crash end the program as if all were well, so
    that it dies of what comes then, somewhere else, or has exit code 1."""
    libc, before = ctypes.CDLL(None), {}
    for number in CRASHES:
        before[number] = ctypes.create_string_buffer(256)       # a struct sigaction, 152 bytes
        libc.sigaction(number, None, before[number])            # Python cannot ask for those of C
    try:
        yield
    finally:
        for number, action in before.items():
            libc.sigaction(number, action, None)


@contextlib.contextmanager
def announced(use_cuda):
    """Say that Jittor compiles, and for how long, when nothing is compiled yet."""
    import jittor_utils
    core = os.path.join("cu*", "jittor_core*.so") if use_cuda else "jittor_core*.so"
    if glob.glob(os.path.join(glob.escape(jittor_utils.cache_path), core)):
        yield
        return
    say("Jittor compiles itself for this machine, once (about "
        f"{'three' if use_cuda else 'two'} minutes on two cores) …")
    start, done = time.time(), threading.Event()

    def tick():
        while not done.wait(15):
            say(f"  … still compiling, {time.time() - start:.0f} s")

    threading.Thread(target=tick, daemon=True).start()
    try:
        yield
    finally:
        done.set()
    say(f"Jittor is compiled ({time.time() - start:.0f} s); the next start takes seconds.")


def let_sigterm_through():
    """With it Jittor ends its helpers, and would wait for ever where a parent had it ignored."""
    if threading.current_thread() is threading.main_thread():
        if signal.getsignal(signal.SIGTERM) == signal.SIG_IGN:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])


def find_onednn():
    """(include folder, library folder, version) of the pip packages, or None."""
    folders = []
    for package, file in ((ONEDNN_HEADERS, "include/dnnl.hpp"), (ONEDNN_LIBRARY, "lib/libdnnl.so")):
        try:
            files = importlib.metadata.distribution(package).files or []
        except importlib.metadata.PackageNotFoundError:
            return None
        path = next((f.locate() for f in files if os.path.abspath(f.locate()).endswith(file)), None)
        if path is None or not os.path.isfile(path):
            return None
        folders.append(os.path.dirname(os.path.abspath(path)))
    return *folders, importlib.metadata.version(ONEDNN_LIBRARY)


def load_onednn_operators(jt):
    """Compile ops/ with oneDNN; Jittor's own convolutions then use them too. None if missing.

    The kernels that Jittor compiles while it runs are linked to the operators, so they are kept in
    a folder of their own: two copies or versions of this project would replace each other's.
    """
    found = find_onednn()
    if found is None:
        say("WARNING: oneDNN IS MISSING, CONVOLUTIONS RUN ABOUT A HUNDRED TIMES SLOWER. "
            f"Type: pip install {ONEDNN_HEADERS}==2022.2.1 (Linux x86-64)")
        return None
    include, lib, _ = found
    operators, name = compile_operators(
        jt, "ops", f' -fopenmp -I"{include}" -L"{lib}" -ldnnl -Wl,-rpath,"{lib}" ')
    kernels = os.path.join(jt.flags.cache_path, name)
    for part in "jit", "obj_files", "tmp":
        os.makedirs(os.path.join(kernels, part), exist_ok=True)
    jt.flags.cache_path = kernels
    return operators


def load_cuda_operators(jt, home):
    """Compile cuda_ops/, with the toolkit of a home that cuda.py laid out."""
    lib = os.path.join(home, "lib64")
    flags = f' -I"{home}/include" -L"{lib}" -lcudart -lcublas -lcudnn -Wl,-rpath,"{lib}" '
    return compile_operators(jt, "cuda_ops", flags)[0]


def compile_operators(jt, folder, flags):
    """(the operators in a folder beside this file, a name that changes with all they are made of).
    """
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), folder)
    sources = sorted(glob.glob(os.path.join(folder, "*")))
    key = hashlib.sha1((folder + flags).encode())
    for path in sources:
        with open(path, "rb") as file:
            key.update(file.read())
    name = f"stylegan1_{os.path.basename(folder)}_{key.hexdigest()[:8]}"
    return jt.compile_custom_ops(sources, extra_flags=flags, gen_name_=name), name


def check_cuda_operators(jt):
    """Raise BackendError where Jittor's operators for CUDA are not there: it only logs that."""
    missing = [name for name in CUDA_OPERATORS if not getattr(jt.compile_extern, name, None)]
    if missing or not jt.has_cuda:
        raise BackendError(f"Jittor could not compile or load {', '.join(missing) or 'CUDA'}: type "
                           "log_silent=0 python -m backend --device cuda, to see why")


def describe_onednn():
    found = find_onednn()
    return f"{found[2]} at {found[1]}" if found else "MISSING: convolutions are very slow"


def find_cuda(device, cuda_home):
    """(nvcc that Jittor is to use, {name: what was found}); "" for the CPU."""
    if device == "cpu":
        return "", {"CUDA": "not used: the CPU was asked for"}
    try:
        return cuda.set_up(cuda_home)
    except BackendError as error:
        if device == "cuda":
            raise BackendError(f"--device cuda: {error}, or type --device cpu") from None
        if cuda.driver()[1]:
            say(f"warning: there is a GPU, but {error}. Working on the CPU")
        return "", {"CUDA": f"not used: {error}"}


def version_line(program, containing=""):
    """The first line of `program --version` that holds `containing`, or ""."""
    result = subprocess.run([program, "--version"], capture_output=True, text=True)
    return next((line for line in result.stdout.splitlines() if containing in line), "")


def say(message):
    print(message, file=sys.stderr, flush=True)
