"""What compiles for CUDA, on machines with a toolkit, none of which needs a GPU.

`make test-cuda-compile` runs this on its own, for it takes minutes. With stand-ins for the driver
and the libraries (cuda_stand_in/), a whole run is gone through too: every kernel compiles for a
GPU, and is not run. `make test-cuda-emulated` compiles kernels for the CPU instead, and computes.
"""
import contextlib
import glob
import os
import re
import subprocess
import sys

import pytest
from conftest import ROOT, command
from several_processes import MPIRUN, gradient_errors, needs_mpirun, take_steps
from test_cuda import write

from backend import cuda
from backend.errors import BackendError

STAND_IN = os.path.join(ROOT, "test", "cuda_stand_in")
EMULATED = ("training/test_adam", "weights/test_convert", "backend/test_fused",
            "backend/test_modulation", "pictures/test_generate", "networks/test_golden",
            "training/test_loss", "networks/test_model", "measures/test_swd")


@pytest.fixture(scope="module")
def toolkit():
    """The first complete toolkit of this machine."""
    with contextlib.suppress(BackendError):
        for folder, origin in cuda.toolkits():
            with contextlib.suppress(BackendError):
                found = cuda.Toolkit(folder, cuda.release(f"{folder}/bin/nvcc"), origin)
                cuda.contents(found)
                return found
    pytest.skip("no complete CUDA toolkit here: pip install -r requirements-cuda13.txt")


COMPILE = """
import sys
from backend import compilers, cuda, jittor_bringup
folder, release = sys.argv[1], tuple(map(int, sys.argv[2].split(".")))
toolkit = cuda.Toolkit(folder, release, "test")
home = cuda.lay_out(toolkit, cuda.contents(toolkit), [90])
with jittor_bringup.environment(jittor_bringup.SETTINGS | cuda.settings(home + "/bin/nvcc") |
                                {"cuda_archs": "90", "log_silent": "0"}), compilers.waited_for():
    import jittor as jt
for name in ("cublas", "cudnn", "curand", "cub", "cufft", "cusparse"):
    operators = getattr(jt.compile_extern, name + "_ops")
    print(name, *sorted(n for n in dir(operators) if not n.startswith("_")))
print(jt.flags.cache_path)
"""


# What Jittor's sources call of what newer versions dropped, and the precision of convolutions.
CALLS = """
#include <cub/cub.cuh>
#include <cuda_runtime.h>
#include <cudnn.h>
#include <npp.h>
#include <thrust/sort.h>
struct Square { __host__ __device__ int operator()(int x) const { return x * x; } };
__global__ void kernel(int* out) {
    cub::CountingInputIterator<int> numbers(3);
    cub::TransformInputIterator<int, Square, cub::CountingInputIterator<int>> squares(
        numbers, Square());
    out[cub::LaneId()] = cub::Max()(cub::Min()(squares[0], squares[1]), cub::Sum()(1, 2));
}
int main() {
    int count = 7, padding[2] = {1, 1};
    cudaGetDeviceCount(&count);
    cudaDeviceProp properties;
    properties.clockRate = 3;
    properties.computeMode = 0;
    cudnnConvolutionDescriptor_t convolution;
    cudnnCreateConvolutionDescriptor(&convolution);
    cudnnStatus_t status = cudnnSetConvolutionNdDescriptor(
        convolution, 2, padding, padding, padding, CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT);
    cudnnMathType_t math;
    cudnnGetConvolutionMathType(convolution, &math);
    printf("%d devices, status %d, math %s\\n", count, status,
           math == CUDNN_FMA_MATH ? "float32" : math == CUDNN_TENSOR_OP_MATH ? "TF32" : "?");
    return properties.clockRate - 3 + (NPP_MAX_64U == 0);
}
"""


def test_our_headers_compile_and_convolutions_are_float32_unless_amp_is_asked_for(
        toolkit, tmp_path):
    home = cuda.lay_out(toolkit, cuda.contents(toolkit), [90])
    write(tmp_path / "calls.cu", CALLS)
    program = str(tmp_path / "calls")
    subprocess.run([f"{home}/bin/nvcc", "-std=c++14", "-arch=compute_90", "-code=sm_90",
                    f"-I{home}/include", tmp_path / "calls.cu", "-o", program, f"-L{home}/lib64",
                    "-lcudnn", f"-Xlinker=-rpath={home}/lib64"], check=True)
    for environment, math in (({}, "float32"), ({"STYLEGAN1_AMP": "1"}, "TF32")):
        said = subprocess.run([program], env=os.environ | environment, capture_output=True,
                              text=True, check=True).stdout
        assert f"status 0, math {math}" in said
        assert cuda.driver()[1] or said.startswith("0 devices")


def test_jittor_and_its_cuda_operators_compile_and_load_without_a_gpu(toolkit):
    result = subprocess.run([sys.executable, "-c", COMPILE, toolkit.folder,
                             cuda.shown(toolkit.release)], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    print(result.stdout)
    loaded = {line.split()[0]: line.split()[1:] for line in result.stdout.splitlines() if line}
    for name, operator in (("cublas", "cublas_matmul"), ("cudnn", "cudnn_conv_backward_w"),
                           ("curand", "curand_random"), ("cub", "cub_arg_reduce")):
        assert operator in loaded[name], (name, loaded)
    assert "/stylegan1-cuda-" in result.stdout.splitlines()[-1]


# With stand-ins ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stand_ins(toolkit, tmp_path_factory):
    """The environment in which all of CUDA but its compiler is stand-ins.

    One library has the functions; those that Jittor's files are linked to by name and version are
    empty and lead to it. Where there is a GPU, it is not seen.
    """
    folder = tmp_path_factory.mktemp("stand_ins")
    home = cuda.lay_out(toolkit, cuda.contents(toolkit), [90])
    core = f"{folder}/libcuda.so.1"

    def link(path, *arguments):
        subprocess.run(["gcc", "-shared", "-fPIC", "-O2", *arguments, "-o", path, "-lm",
                        f"-Wl,-soname,{os.path.basename(path)}"], check=True)
    link(core, *glob.glob(f"{STAND_IN}/*.c"), f"-I{home}/include")
    preloaded = [core]
    for name in sorted(os.listdir(f"{home}/lib64")):
        if re.fullmatch(r"lib(cudart|cublas|cudnn|cudnn_ops|cudnn_cnn|curand|cufft|cusparse|nccl)"
                        r"\.so\.\d+", name):
            write(folder / "version", f"{name} {{ }};")
            link(f"{folder}/{name}", "-Wl,--no-as-needed", core,
                 f"-Wl,--version-script={folder}/version")
            preloaded.append(f"{folder}/{name}")
    return {"LD_PRELOAD": ":".join(preloaded), "CUDA_HOME": toolkit.folder}


def test_a_run_compiles_for_cuda_and_reaches_its_end(symbols, stand_ins, tmp_path, monkeypatch):
    for name, value in stand_ins.items():
        monkeypatch.setenv(name, value)
    _, _, told = command(
        "train.py", symbols, "--device", "cuda", "--amp", "--preset", "small", "--max_size", 16,
        "--kimg", 0.3, "--phase_kimg", 0.064, "--fade_kimg", 0.064, "--name", "x", "--workers", 0,
        "--sample_kimg", 0.1, "--metrics", "swd,ms_ssim", "--metric_kimg", 0.2,
        "--metric_images", 40, "--metric_share", 1, cwd=tmp_path, timeout=1800)
    print(told[-1000:])
    assert "SWD" in told and int(re.search(r"stand-in: (\d+) launches", told)[1]) > 1000
    model = max(tmp_path.glob("checkpoint/x_0*.model"))
    _, _, told = command("generate.py", model, "--device", "cuda", cwd=tmp_path)
    assert "stand-in" in told and list(tmp_path.glob("sample/**/*.png"))


STEP = """
import types
from bench import train_step
args = types.SimpleNamespace(device="cuda", fmap_max=8, latent=8)
step = train_step.jittor_step(args, 16, 4)
step()
from backend import jt
with jt.profile_scope() as report:
    step()
for name, _, count, *_ in report[1:]:
    print("kernel", count, name)
"""


def test_no_convolution_of_an_iteration_is_left_to_jittors_loops(stand_ins):
    """Jittor writes its own as loops over seven indices, some hundred times slower where it does
    not recognise one."""
    result = subprocess.run([sys.executable, "-c", STEP], cwd=ROOT, env=os.environ | stand_ins,
                            capture_output=True, text=True, timeout=1800)
    assert result.returncode == 0, result.stdout + result.stderr
    kernels = [(name, int(count)) for count, name in
               re.findall(r"^kernel (\d+) (.+)$", result.stdout, re.MULTILINE)]
    assert kernels and not [name for name, _ in kernels if "«DIM=7" in name]


TOTAL = """
import backend
backend.use_device("cuda")
from backend import jt, mpi
found = mpi.total(jt.array([1.0, 2.0]) + 3)
found.sync()
print("process", mpi.RANK, "sees", mpi.largest(mpi.RANK), jt.flags.use_cuda)
"""


@needs_mpirun
def test_each_process_takes_its_own_gpu_before_anything_is_made_on_one(stand_ins, tmp_path):
    if not any("libnccl" in path for path in stand_ins["LD_PRELOAD"].split(":")):
        pytest.skip("no NCCL here: pip install nvidia-nccl-cu13")
    settings = stand_ins | {"STAND_IN_GPUS": "2", "STAND_IN_LOG": "1"}
    preload = settings.pop("LD_PRELOAD")                # mpirun itself goes without
    result = subprocess.run(
        [*MPIRUN, "-np", "2", "-x", f"LD_PRELOAD={preload}", sys.executable, "-c", TOTAL], cwd=ROOT,
        env=os.environ | settings, capture_output=True, text=True, timeout=900)
    assert result.returncode == 0, result.stdout + result.stderr
    for rank in 0, 1:
        assert f"process {rank} sees 1 1" in result.stdout
        calls = re.findall(rf"stand-in: process {rank}: (\w+), GPU (\d)", result.stderr)
        assert {"cudaStreamCreateWithFlags", "cudaMalloc", "cublasCreate_v2", "cudnnCreate",
                "ncclCommInitRank", "ncclAllReduce"} < {name for name, _ in calls}
        assert {gpu for name, gpu in calls} == {str(rank)}, calls


@pytest.fixture(scope="module")
def emulated(stand_ins):
    """The environment of stand_ins, in which a compiler of ours compiles kernels for the CPU."""
    real = os.path.join(stand_ins["CUDA_HOME"], "bin", "nvcc")
    try:
        cuda.contents(cuda.Toolkit(STAND_IN, cuda.release(real), "test"))
    except BackendError as error:
        pytest.skip(f"only with a toolkit from pip: {error}")
    return stand_ins | {"CUDA_HOME": STAND_IN, "REAL_NVCC": real}


@pytest.mark.emulated
def test_an_emulated_gpu_computes_what_the_cpu_does(emulated):
    result = subprocess.run([sys.executable, "-m", "backend", "--device", "cuda"], cwd=ROOT,
                            env=os.environ | emulated, capture_output=True, text=True, timeout=1800)
    print(result.stdout)
    assert result.returncode == 0, result.stdout + result.stderr
    checks = re.findall(r"^check .* (\w+)$", result.stdout, re.MULTILINE)
    assert len(checks) == 10 and set(checks) == {"ok"}


@pytest.mark.emulated
def test_training_on_an_emulated_gpu_has_the_gradients_of_a_cpu(symbols, emulated, tmp_path):
    found = {device: take_steps(symbols, tmp_path / device, {"device": device}, timeout=1800,
                                **environment)
             for device, environment in (("cpu", {}), ("cuda", emulated))}
    for phase, errors in gradient_errors(found["cuda"], found["cpu"]).items():
        # One iteration of a phase may have an activation at its kink.
        assert sorted(errors)[-2] <= 1e-5, (phase, errors)


@pytest.mark.emulated
def test_the_tests_of_what_is_computed_pass_on_an_emulated_gpu(emulated):
    """Networks, losses, Adam and pictures, against float64 and golden outputs."""
    result = subprocess.run(
        [sys.executable, "-m", "pytest", *(f"test/{name}.py" for name in EMULATED)], cwd=ROOT,
        env=os.environ | emulated, capture_output=True, text=True, timeout=3600)
    print(result.stdout[-3000:])
    assert result.returncode == 0, result.stdout[-20_000:] + result.stderr[-3000:]
    assert int(re.search(r"stand-in: (\d+) launches", result.stderr)[1]) > 10_000
