"""CUDA as people have it today, laid out as Jittor 1.3.11 expects it.

Jittor looks for one folder with bin/nvcc, include/ and lib64/, and knows CUDA up to 12 and cuDNN 8.
Here such a folder is made in the user's cache, of links to an installed toolkit and to the nvidia-*
packages of pip, with an nvcc that is a small script, and with the headers of include/ that put back
what CUDA 13 and cuDNN 9 have dropped. No file of Jittor, of the toolkit or of a package is changed.
"""
import ctypes
import dataclasses
import glob
import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tempfile

from backend.errors import BackendError

OLDEST, NEWEST = (11, 2), 13
INSTALLED, SYSTEM = ("/usr/local/cuda", "/opt/cuda", "/usr/local/cuda-*"), "/usr"
# What Jittor links or includes: the library, a header of it, the one with its version, and the pip
# package (less -cu12 or -cu11; those of CUDA 13 have no ending, but for cuDNN's).
NEEDED = {"cudart": ("cuda_runtime.h", "cuda_runtime_api.h", "nvidia-cuda-runtime"),
          "cublas": ("cublas_v2.h", "cublas_api.h", "nvidia-cublas"),
          "cublasLt": ("cublasLt.h", "cublas_api.h", "nvidia-cublas"),
          "cudnn": ("cudnn.h", "cudnn_version.h", "nvidia-cudnn"),
          "curand": ("curand.h", "curand.h", "nvidia-curand"),
          "cufft": ("cufft.h", "cufft.h", "nvidia-cufft"),
          "cusparse": ("cusparse.h", "cusparse.h", "nvidia-cusparse"),
          "cub": ("cub/cub.cuh", "cub/version.cuh", "nvidia-cuda-cccl")}
HEADERS_ONLY = {"cub"}
# Headers of include/ that stand before the toolkit's own, and what they are for.
WRAPPED = {"cuda_runtime.h": "fields of cudaDeviceProp that CUDA 13 dropped",
           "cudnn.h": "functions for recurrent networks that cuDNN 9 dropped; none is called here",
           "cub/cub.cuh": "iterators and functors that CUB 3 dropped",
           "npp.h": "in the place of a library of which only eight constants are used"}
# Libraries, also those that nvcc (cudart_static, cudadevrt) and these load by themselves.
LINKED = re.compile(r"lib(cudart|cudart_static|cudadevrt|cublas|cublasLt|cudnn\w*|curand|cufft|"
                    r"cufftw|cusparse|nvJitLink|nvrtc|nvrtc-builtins|nccl)\.(so|a)\b")


@dataclasses.dataclass(frozen=True)
class Toolkit:
    folder: str                 # that has bin/nvcc
    release: tuple              # such as (13, 0)
    origin: str                 # how it was found, in words

    @property
    def nvcc(self):
        return os.path.join(self.folder, "bin", "nvcc")

    def __str__(self):
        return f"{shown(self.release)} at {self.folder} ({self.origin})"


@dataclasses.dataclass(frozen=True)
class GPU:
    name: str
    capability: int             # such as 90

    def __str__(self):
        return f"{self.name}, compute capability {shown(divmod(self.capability, 10))}"


def set_up(cuda_home=None):
    """(nvcc of a home laid out for this machine's GPUs, {name: what was found, for a person}).

    cuda_home: folder of the toolkit to use; without it the first that fits the driver, of
    CUDA_HOME, nvcc on the path, INSTALLED and pip's. Raises BackendError, one line that says what
    is missing and what to type.
    """
    runs, gpus = driver()
    if not gpus:
        raise BackendError("no NVIDIA GPU with a working driver was found")
    problem = None
    for folder, origin in toolkits(cuda_home):
        try:
            toolkit = Toolkit(folder, release(os.path.join(folder, "bin", "nvcc")), origin)
            check_driver(toolkit, runs, gpus)
            links = contents(toolkit)
        except BackendError as error:
            problem = problem or error
            continue
        home = lay_out(toolkit, links, [gpu.capability for gpu in gpus])
        return os.path.join(home, "bin", "nvcc"), {
            "GPU": "; ".join(map(str, gpus)), "driver": f"runs CUDA up to {shown(runs)}",
            "CUDA": str(toolkit), **libraries(links), "home": home,
            "wrapped": "; ".join(f"{name} ({why})" for name, why in WRAPPED.items())}
    raise problem


def settings(nvcc):
    """What Jittor is told of the home by the environment.

    A cache for each home: Python would find a core compiled for the CPU before one for CUDA in the
    same cache, and load that.
    """
    home = os.path.dirname(os.path.dirname(nvcc))
    return {"nvcc_path": nvcc, "cache_name": f"stylegan1-{os.path.basename(home)}"}


def shown(version):
    return ".".join(map(str, version))


# What there is -----------------------------------------------------------------------------------


def toolkits(cuda_home=None):
    """[(folder of a toolkit, where it comes from)]. Raises BackendError where there is none."""
    places = [(cuda_home, "--cuda_home")] if cuda_home else [
        (os.environ.get("CUDA_HOME"), "CUDA_HOME"),
        (os.path.dirname(os.path.dirname(shutil.which("nvcc") or "")), "on the path"),
        *((folder, "installed") for pattern in INSTALLED
          for folder in sorted(glob.glob(pattern), reverse=True)),
        *((folder, "from pip") for major in (13, 12, 11) for folder in pip_folders(major))]
    found = {}
    for folder, origin in places:
        if folder and os.path.isfile(os.path.join(folder, "bin", "nvcc")):
            found.setdefault(top(folder), origin)
    if not found:
        raise BackendError(
            f"--cuda_home {cuda_home}: found no bin/nvcc in it, wanted the folder of a CUDA toolkit"
            if cuda_home else
            "no CUDA toolkit (nvcc) was found: type pip install -r requirements-cuda13.txt")
    return list(found.items())


def top(folder):
    """Where the toolkit of folder/bin/nvcc lies, which may be a link or a script."""
    said = output(os.path.join(folder, "bin", "nvcc"), "--dryrun", "-x", "cu", os.devnull)
    found = re.search(r"TOP=(.+)", said)
    if found and os.path.isfile(os.path.join(found[1], "bin", "nvcc")):
        folder = found[1]
    return os.path.realpath(folder)


def output(*command):
    """What a command prints; "" where it cannot run."""
    try:
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except OSError:
        return ""
    return result.stdout.decode(errors="replace")


def pip_folders(major):
    """Folders with include/, lib/ and bin/ of pip's nvidia-* packages for CUDA `major`."""
    folders = set()
    # Only theirs: a large environment's metadata takes a second to read.
    for info in [info for folder in sys.path
                 for info in glob.glob(os.path.join(glob.escape(folder), "nvidia_*.dist-info"))]:
        package = importlib.metadata.Distribution.at(info)
        ending = re.search(r"-cu(\d+)$", package.metadata["Name"] or "")
        if (int(ending[1]) if ending else 13) == major:
            folders |= {str(package.locate_file(os.path.join(*file.parts[:2])))
                        for file in package.files or [] if file.parts[0] == "nvidia"
                        and len(file.parts) > 3 and file.parts[2] in ("include", "lib", "bin")}
    return sorted(folders)


def release(nvcc):
    """(major, minor) of an nvcc. Raises BackendError for one that cannot serve."""
    said = output(nvcc, "--version")
    found = re.search(r"release (\d+)\.(\d+)", said)
    if not found:
        raise BackendError(f"{nvcc} --version: found {said[:60]!r}, wanted a line with its release")
    version = int(found[1]), int(found[2])
    if version < OLDEST or version[0] > NEWEST:
        raise BackendError(f"{nvcc} is of CUDA {shown(version)}, wanted {shown(OLDEST)} to "
                           f"{NEWEST}: type pip install -r requirements-cuda13.txt")
    return version


def driver():
    """((major, minor) of the newest CUDA that the driver runs, [GPU]); (None, []) without one."""
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None, []
    version, count = ctypes.c_int(0), ctypes.c_int(0)
    if (library.cuInit(0) or library.cuDriverGetVersion(ctypes.byref(version))
            or library.cuDeviceGetCount(ctypes.byref(count))):
        return None, []
    gpus = []
    for ordinal in range(count.value):
        device, name, parts = ctypes.c_int(0), ctypes.create_string_buffer(100), []
        library.cuDeviceGet(ctypes.byref(device), ordinal)
        library.cuDeviceGetName(name, 100, device)
        for attribute in (75, 76):                      # compute capability: major, minor
            value = ctypes.c_int(0)
            library.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
            parts.append(value.value)
        gpus.append(GPU(name.value.decode(errors="replace"), 10 * parts[0] + parts[1]))
    return (version.value // 1000, version.value % 1000 // 10), gpus


def use_gpu(ordinal):
    """Make one of driver()'s GPUs this process's, before Jittor is loaded. Raises BackendError.

    Jittor makes a stream while it is loaded, and by that a context of some hundred megabytes on
    the GPU that is chosen then: without this, every process on the first.
    """
    library = ctypes.CDLL("libcuda.so.1")
    device, context = ctypes.c_int(0), ctypes.c_void_p()
    if (library.cuDeviceGet(ctypes.byref(device), ordinal)
            or library.cuDevicePrimaryCtxRetain(ctypes.byref(context), device)
            or library.cuCtxSetCurrent(context)):
        raise BackendError(f"GPU {ordinal} cannot be used: type nvidia-smi to see its state")


def check_driver(toolkit, runs, gpus):
    """Raise BackendError where driver, GPUs and toolkit do not fit; a newer minor release does."""
    if runs[0] < toolkit.release[0]:
        raise BackendError(
            f"the driver runs CUDA up to {shown(runs)}, and {toolkit.nvcc} is of "
            f"{shown(toolkit.release)}: update the driver, or install a toolkit of CUDA {runs[0]} "
            "and name it with --cuda_home")
    oldest = min(architectures(toolkit))
    for gpu in gpus:
        if gpu.capability < oldest:
            raise BackendError(f"{gpu}: CUDA {shown(toolkit.release)} begins with "
                               f"{shown(divmod(oldest, 10))}; install an older toolkit and name it "
                               "with --cuda_home")


def architectures(toolkit):
    """Compute capabilities that an nvcc knows, such as [75, 80, … 120]."""
    said = output(toolkit.nvcc, "--list-gpu-arch")
    found = sorted(int(number) for number in re.findall(r"compute_(\d+)\b", said))
    if not found:
        raise BackendError(f"{toolkit.nvcc} --list-gpu-arch lists nothing: install CUDA 11.2 or "
                           "newer and name it with --cuda_home")
    return found


def code_flags(toolkit, capabilities):
    """What nvcc compiles for: these GPUs; and for one that it does not know yet, PTX."""
    known, flags = architectures(toolkit), set()
    for capability in capabilities:
        nearest = max((k for k in known if k <= capability), default=min(known))
        kind = "sm" if nearest == capability else "compute"
        flags.add(f"-gencode=arch=compute_{nearest},code={kind}_{nearest}")
    return sorted(flags)


# The home ----------------------------------------------------------------------------------------


def contents(toolkit):
    """{path in the home: what it links to}. Raises BackendError for what is missing.

    The headers that ours stand before are in include_real/.
    """
    links, behind = {}, {name.split("/")[0] for name in WRAPPED}
    for root in roots(toolkit):
        for folder in (os.path.join(root, "include"), os.path.join(root, "include", "cccl")):
            for name in os.listdir(folder) if os.path.isdir(folder) else []:
                if root != SYSTEM or name.startswith(("cu", "nccl")):
                    there = "include_real" if name in behind else "include"
                    links.setdefault(f"{there}/{name}", os.path.join(folder, name))
        for folder in library_folders(root):
            for name in sorted(filter(LINKED.match, os.listdir(folder))):
                path = os.path.join(folder, name)
                links.setdefault(f"lib64/{name}", path)
                if ".so." in name:                      # pip's have no name without a version
                    links.setdefault(f"lib64/{name[:name.index('.so.') + 3]}", path)
    for part in ("ops", "cnn"):                         # the names of cuDNN 8
        for kind in ("infer", "train"):
            if f"lib64/libcudnn_{part}.so" in links:
                links.setdefault(f"lib64/libcudnn_{part}_{kind}.so",
                                 links[f"lib64/libcudnn_{part}.so"])
    check_complete(toolkit, links)
    cub = links["include_real/cub"]
    here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "include")
    return links | {f"include/cub/{name}": os.path.join(cub, name) for name in os.listdir(cub)} | {
        f"include/{name}": os.path.join(here, name) for name in WRAPPED}


def roots(toolkit):
    """Folders with include/ and lib/ or lib64/; the first to have a file wins."""
    machine = {"aarch64": "sbsa"}.get(os.uname().machine, os.uname().machine)
    return [toolkit.folder, os.path.join(toolkit.folder, "targets", f"{machine}-linux"),
            *pip_folders(toolkit.release[0]), SYSTEM]


def library_folders(root):
    names = (f"lib/{os.uname().machine}-linux-gnu", "lib64") if root == SYSTEM else ("lib64", "lib")
    return [folder for folder in (os.path.join(root, name) for name in names)
            if os.path.isdir(folder)]


def check_complete(toolkit, links):
    """Raise BackendError: which packages are missing, in one line."""
    major, missing = toolkit.release[0], {}
    for name, (header, _, package) in NEEDED.items():
        top = header.split("/")[0]
        there = f"include/{top}" in links or f"include_real/{top}" in links
        if not there or (name not in HEADERS_ONLY and f"lib64/lib{name}.so" not in links):
            missing[package if major >= 13 and name != "cudnn" else f"{package}-cu{major}"] = True
    if missing:
        raise BackendError(f"CUDA {toolkit} is not complete: type pip install {' '.join(missing)}")


SCRIPT = """#!/bin/sh
# Jittor asks for C++14, for GPUs up to 90, and for short cuts in exp, log and division. A script,
# for Jittor would follow a link.
for x; do
    shift
    case "$x" in
        -std=c++14) x=-std={standard} ;;
        -arch=*|-code=*|--use_fast_math) continue ;;
    esac
    set -- "$@" "$x"
done
exec "{nvcc}" {flags} "$@"
"""


def lay_out(toolkit, links, capabilities):
    """The home for this toolkit and these GPUs, made where it is not there yet; its path.

    Its name changes with all that is in it, for Jittor compiles again only for another path.
    """
    script = SCRIPT.format(nvcc=toolkit.nvcc, flags=" ".join(code_flags(toolkit, capabilities)),
                           standard="c++17" if toolkit.release[0] >= 12 else "c++14")
    key = hashlib.sha1(script.encode())
    for path, target in sorted(links.items()):
        key.update(f"{path} {target} {os.path.getsize(target)}\n".encode())
    for name in WRAPPED:
        with open(links[f"include/{name}"], "rb") as file:
            key.update(file.read())
    cache = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"),
                         "stylegan1")
    home = os.path.join(cache, f"cuda-{key.hexdigest()[:12]}")
    if os.path.isdir(home):
        return home
    try:
        os.makedirs(cache, exist_ok=True)
        new = tempfile.mkdtemp(dir=cache)
    except OSError as error:
        raise BackendError(f"{cache}: {error.strerror}; wanted a folder to write to: set "
                           "XDG_CACHE_HOME to another") from None
    for name, target in links.items():
        path = os.path.join(new, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.symlink(target, path)
    os.makedirs(os.path.join(new, "bin"))
    with open(os.path.join(new, "bin", "nvcc"), "w") as file:
        file.write(script)
    os.chmod(file.name, 0o755)
    try:
        os.rename(new, home)
    except OSError:                                     # another process was quicker
        shutil.rmtree(new)
    return home


def libraries(links):
    """{name: version and path of each library, for a person}."""
    result = {}
    for name, (_, header, _) in NEEDED.items():
        path = links["include_real/cub" if name in HEADERS_ONLY else f"lib64/lib{name}.so"]
        result[name] = f"{version(links.get(f'include/{header}'))} at {os.path.realpath(path)}"
    return result


def version(header):
    """The version that a header defines, as "9.28.0" or, where it is one number, that."""
    try:
        with open(header or "", encoding="latin-1") as file:
            text = file.read()
    except OSError:
        return "?"
    numbers = [re.search(rf"#define +[A-Z]+_(?:VER_)?{part}\w* +(\d+)", text)
               for part in ("MAJOR", "MINOR", "PATCH")]
    if not all(numbers):
        numbers = [re.search(r"#define +[A-Z]+_VERSION +(\d+)", text)]
    return ".".join(number[1] if number else "?" for number in numbers)
