"""backend/cuda.py: a CUDA home out of what is installed, and one line where something is missing.

The toolkits here are folders of empty files with an nvcc that prints what a real one does. What
a real one compiles is in test_cuda_compile.py.
"""
import os
import stat
import subprocess
import sys

import pytest
from conftest import ROOT, command, without_gpu

from backend import cuda
from backend.errors import BackendError

HEADERS = ("cuda_runtime.h", "cuda_runtime_api.h", "cublas_v2.h", "cublas_api.h", "cublasLt.h",
           "curand.h", "cufft.h", "cusparse.h")
LIBRARIES = ("cudart", "cublas", "cublasLt", "curand", "cufft", "cusparse")
NVCC = """#!/bin/sh
case "$1" in
    --version) echo "Cuda compilation tools, release {release}, V{release}.88" ;;
    --list-gpu-arch) printf 'compute_%s\\n' {archs} ;;
    --dryrun) echo '#$ TOP={folder}' ;;
    *) printf '%s\\n' "$@" ;;
esac
"""
H200, B200 = cuda.GPU("NVIDIA H200", 90), cuda.GPU("NVIDIA B200", 100)


def write(path, text=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def make_toolkit(folder, release="13.0", archs="75 80 90 100 120", cudnn=9, without=()):
    """A toolkit's folder, with cuDNN in it; without: headers and libraries that it lacks."""
    nvcc = write(folder / "bin/nvcc", NVCC.format(release=release, archs=archs, folder=folder))
    nvcc.chmod(0o755)
    ending = release.split(".")[0]
    for name in HEADERS:
        write(folder / "include" / name, f"// {name}\n")
    cccl = "include/cccl" if release >= "13" else "include"
    write(folder / cccl / "cub/cub.cuh")
    write(folder / cccl / "cub/version.cuh", "#define CUB_VERSION 300001\n")
    write(folder / cccl / "thrust/sort.h")
    for name in LIBRARIES:
        write(folder / f"lib64/lib{name}.so.{ending}")
    write(folder / "lib64/libcudart_static.a")
    write(folder / "include/cudnn.h")
    write(folder / "include/cudnn_version.h", f"#define CUDNN_MAJOR {cudnn}\n"
          "#define CUDNN_MINOR 2\n#define CUDNN_PATCHLEVEL 1\n")
    parts = ("", "_ops", "_cnn") if cudnn >= 9 else (
        "", *(f"_{part}_{kind}" for part in ("ops", "cnn") for kind in ("infer", "train")))
    for part in parts:
        write(folder / f"lib64/libcudnn{part}.so.{cudnn}")
    for name in without:
        for path in [*folder.glob(f"include/{name}.h"), *folder.glob(f"lib64/lib{name}.so*")]:
            path.unlink()
    return folder


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Nothing of CUDA but what a test makes, an empty cache, and an H200 with a driver of 13.0."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("CUDA_HOME", raising=False)
    monkeypatch.setattr(cuda, "pip_folders", lambda major: [])
    monkeypatch.setattr(cuda.shutil, "which", lambda name: None)
    monkeypatch.setattr(cuda, "INSTALLED", ())
    monkeypatch.setattr(cuda, "SYSTEM", str(tmp_path / "usr"))
    monkeypatch.setattr(cuda, "driver", lambda: ((13, 0), [H200]))
    return tmp_path


def set_up(folder):
    nvcc, found = cuda.set_up(str(folder))
    assert os.access(nvcc, os.X_OK) and not os.path.islink(nvcc)
    return os.path.dirname(os.path.dirname(nvcc)), found


@pytest.mark.parametrize("release,archs,cudnn", [("11.2", "52 70 80 86", 8),
                                                 ("12.4", "52 70 80 90", 8),
                                                 ("12.9", "52 70 80 90 100 120", 9),
                                                 ("13.0", "75 80 90 100 120", 9)])
def test_a_home_has_every_name_that_jittor_looks_for(machine, release, archs, cudnn):
    home, found = set_up(make_toolkit(machine / "toolkit", release, archs, cudnn))
    for name in ("cudart", "cublas", "cublasLt", "cudnn", "curand", "cufft", "cusparse",
                 "cudnn_ops_infer", "cudnn_ops_train", "cudnn_cnn_infer", "cudnn_cnn_train"):
        assert os.path.isfile(f"{home}/lib64/lib{name}.so"), name
    assert os.path.isfile(f"{home}/lib64/libcudart_static.a")       # nvcc links it by itself
    for name in (*HEADERS, "cudnn.h", "npp.h", "cub/cub.cuh", "cub/version.cuh", "thrust/sort.h"):
        assert os.path.isfile(f"{home}/include/{name}"), name
    for name in ("cuda_runtime.h", "cudnn.h", "cub/cub.cuh"):
        ours = os.path.realpath(f"{home}/include/{name}")
        assert ours == os.path.join(ROOT, "backend/include", name)
        theirs = f'#include <../include_real/{name}>'
        assert theirs in open(ours).read() and os.path.isfile(f"{home}/include_real/{name}")
    assert release in found["CUDA"] and "H200" in found["GPU"] and f"{cudnn}.2.1" in found["cudnn"]


def test_the_compiler_is_asked_for_these_gpus_and_a_standard_that_cub_takes(machine, monkeypatch):
    """Jittor asks for C++14, GPUs up to 90 and short cuts in the maths; the rest is as it was."""
    monkeypatch.setattr(cuda, "driver", lambda: ((13, 0), [H200, B200, H200]))
    kept = ["a file.cc", "-DX=\"a b\"", "-o", "$x"]
    asked = ["-std=c++14", *kept[:2], "-arch=compute_90", "-code=sm_90",
             "--use_fast_math", *kept[2:]]
    for release, standard in (("11.8", "c++14"), ("13.0", "c++17")):
        home, _ = set_up(make_toolkit(machine / release, release, "52 80 90"))
        told = subprocess.run([f"{home}/bin/nvcc", *asked], capture_output=True, text=True,
                              check=True).stdout.splitlines()
        assert told == ["-gencode=arch=compute_90,code=compute_90",
                        "-gencode=arch=compute_90,code=sm_90",
                        f"-std={standard}", *kept]


def test_a_home_is_made_once_and_another_for_whatever_changes(machine, monkeypatch):
    folder = make_toolkit(machine / "toolkit")
    first, _ = set_up(folder)
    made = os.stat(first).st_mtime_ns
    assert set_up(folder)[0] == first and os.stat(first).st_mtime_ns == made
    homes = [first]
    write(folder / "lib64/libcublas.so.13", "a newer one")
    homes.append(set_up(folder)[0])
    monkeypatch.setattr(cuda, "driver", lambda: ((13, 0), [B200]))
    homes.append(set_up(folder)[0])
    assert len(set(homes)) == 3
    assert sorted(os.listdir(machine / "cache/stylegan1")) == sorted(map(os.path.basename, homes))
    assert stat.S_IMODE(os.stat(f"{first}/bin/nvcc").st_mode) == 0o755


def test_what_is_missing_is_named_as_pip_calls_it(machine):
    with pytest.raises(BackendError, match=r"pip install nvidia-cublas nvidia-cudnn-cu13$"):
        cuda.set_up(str(make_toolkit(machine / "13", without=("cublasLt", "cudnn"))))
    with pytest.raises(BackendError, match=r"pip install nvidia-cudnn-cu12 nvidia-curand-cu12$"):
        cuda.set_up(str(make_toolkit(machine / "12", "12.4", without=("curand", "cudnn"))))
    assert not (machine / "cache").exists()


def test_pips_packages_of_one_cuda_are_found(tmp_path, monkeypatch):
    for name, part in (("nvidia_cublas", "cu13"), ("nvidia_cudnn_cu13", "cudnn"),
                       ("nvidia_cudnn_cu12", "cudnn12"), ("other", "cublas")):
        library = f"nvidia/{part}/lib/libany.so"
        write(tmp_path / library)
        write(tmp_path / f"{name}-9.1.dist-info/METADATA",
              f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 9.1\n")
        write(tmp_path / f"{name}-9.1.dist-info/RECORD", f"{library},,\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert cuda.pip_folders(13) == [str(tmp_path / "nvidia" / part) for part in ("cu13", "cudnn")]
    assert cuda.pip_folders(12) == [str(tmp_path / "nvidia/cudnn12")]


def test_the_first_toolkit_that_fits_the_driver_is_taken(machine, monkeypatch):
    new, old = make_toolkit(machine / "new"), make_toolkit(machine / "old", "12.4")
    monkeypatch.setenv("CUDA_HOME", str(new))
    monkeypatch.setattr(cuda, "INSTALLED", (str(machine / "no"), str(old)))
    assert "13.0" in cuda.set_up()[1]["CUDA"]
    monkeypatch.setattr(cuda, "driver", lambda: ((12, 2), [H200]))
    assert "12.4" in cuda.set_up()[1]["CUDA"]
    monkeypatch.setattr(cuda, "INSTALLED", ())
    with pytest.raises(BackendError, match="driver runs CUDA up to 12.2.*13.0.*install.*CUDA 12"):
        cuda.set_up()
    write(new / "bin/nvcc", "#!/bin/sh\nexit 1\n")
    with pytest.raises(BackendError, match="nvcc --version.*wanted"):
        cuda.set_up()


def test_a_gpu_that_the_toolkit_has_dropped_is_told(machine, monkeypatch):
    monkeypatch.setattr(cuda, "driver", lambda: ((13, 0), [cuda.GPU("Tesla V100", 70)]))
    with pytest.raises(BackendError, match="V100.*7.0.*CUDA 13.0 begins with 7.5.*--cuda_home"):
        cuda.set_up(str(make_toolkit(machine / "toolkit")))


def test_nothing_found_is_one_line_that_says_what_to_type(machine, monkeypatch):
    with pytest.raises(BackendError, match="pip install -r requirements-cuda13.txt"):
        cuda.set_up()
    with pytest.raises(BackendError, match="--cuda_home .*/nowhere: found no bin/nvcc"):
        cuda.set_up(str(machine / "nowhere"))
    with pytest.raises(BackendError, match="CUDA 10.2, wanted 11.2 to 13"):
        cuda.set_up(str(make_toolkit(machine / "toolkit", "10.2")))
    monkeypatch.setattr(cuda, "driver", lambda: (None, []))
    with pytest.raises(BackendError, match="no NVIDIA GPU"):
        cuda.set_up()


def test_an_nvcc_that_is_a_script_or_a_link_leads_to_its_toolkit(machine, monkeypatch):
    folder = make_toolkit(machine / "cuda-13.0")
    script = write(machine / "bin/nvcc", f'#!/bin/sh\nexec {folder}/bin/nvcc "$@"\n')
    script.chmod(0o755)
    (machine / "cuda").symlink_to(folder)
    monkeypatch.setattr(cuda.shutil, "which", lambda name: str(script))
    monkeypatch.setattr(cuda, "INSTALLED", (str(machine / "cuda"),))
    assert cuda.toolkits() == [(str(folder), "on the path")]
    nvcc, found = cuda.set_up()
    assert f"at {folder}" in found["CUDA"]


@without_gpu
def test_mixed_precision_where_there_is_none_is_one_line_and_float32(symbols, tmp_path):
    _, _, error = command("train.py", symbols, "--preset", "small", "--max_size", 8, "--kimg",
                          0.032, "--fmap_max", 16, "--amp", "--conv", "direct", cwd=tmp_path)
    assert error.count("--amp: found no GPU and no AMX") == 1
