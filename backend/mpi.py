"""Several processes under Open MPI's mpirun: which one this is, and what they tell each other.

Karras et al. train on eight GPUs; here each process has one, or some cores, and a part of every
batch. For a single process nothing of MPI is needed, imported or compiled. Gradients go through
Jittor's operator (NCCL between GPUs), small numbers straight through the MPI library, which makes
nobody wait for a GPU. Whatever all have to take part in says so: a process that leaves it out
stops the others for ever.
"""
import ctypes
import os
import shutil
import subprocess

from backend.errors import BackendError

RANK, SIZE, LOCAL_RANK, LOCAL_SIZE = (
    int(os.environ.get(f"OMPI_COMM_WORLD_{name}", default)) for name, default in
    (("RANK", 0), ("SIZE", 1), ("LOCAL_RANK", 0), ("LOCAL_SIZE", 1)))
FIRST = RANK == 0                       # the one that writes and prints


def settings(use_cuda, home):
    """What Jittor is told of MPI: nothing for a single process. Raises BackendError, one line.

    home: the CUDA home (cuda.py), where it is used.
    """
    if SIZE == 1:
        return {"OMPI_COMM_WORLD_SIZE": None}           # Jittor takes mpirun -np 1 for several
    compiler = shutil.which("mpicc")
    if not compiler or b"Open MPI" not in subprocess.run(
            [compiler, "--showme:version"], capture_output=True).stdout:
        raise BackendError(f"several processes need Open MPI's mpicc, found {compiler or 'none'}: "
                           "type apt-get install openmpi-bin libopenmpi-dev")
    told = {"use_mpi": "1", "mpicc_path": compiler}
    if use_cuda:
        if not os.path.exists(os.path.join(home, "lib64", "libnccl.so")):
            raise BackendError("several GPUs need NCCL, which was not found: type pip install "
                               "nvidia-nccl-cu13 (with CUDA 12: nvidia-nccl-cu12)")
        told |= {"use_nccl": "1", "nccl_include_path": os.path.join(home, "include"),
                 "nccl_lib_path": os.path.join(home, "lib64")}
    return told


def check_launcher():
    """Raise BackendError where another MPI started this process: each would think it is alone."""
    if int(os.environ.get("PMI_SIZE", 1)) > 1 and SIZE == 1:
        raise BackendError("this mpirun is not Open MPI's, the only one that Jittor knows: type "
                           "apt-get install openmpi-bin libopenmpi-dev, then mpirun.openmpi")


def who():
    """This process, for a person; "" where it is the first, or alone."""
    return "" if FIRST else f" (process {RANK} of {SIZE}, on {os.uname().nodename})"


def describe():
    """What was found, for a person."""
    runs = shutil.which("mpirun")
    if not runs:
        return "not found (only needed for several processes)"
    version = subprocess.run([runs, "--version"], capture_output=True, text=True).stdout
    return f"{version.splitlines()[0] if version else 'unknown'} at {runs}" + (
        f"; process {RANK} of {SIZE}" if SIZE > 1 else "")


def check_gpus(count):
    """Raise BackendError where the processes of this machine are more than its GPUs."""
    if LOCAL_SIZE > max(1, count):
        raise BackendError(f"{LOCAL_SIZE} processes on {os.uname().nodename} and {count} GPUs, "
                           f"wanted one for each: type mpirun -np {count}, or leave "
                           "CUDA_VISIBLE_DEVICES away")


def total(x):
    """The sum of a Var over several processes, the same bits for all. All have to ask."""
    return x.mpi_all_reduce("add")


def largest(number):
    """The largest of the processes' whole numbers. All have to ask."""
    if SIZE == 1:
        return number
    mine, found = ctypes.c_int64(number), ctypes.c_int64()
    library = ctypes.CDLL(None)
    check(library.MPI_Allreduce(ctypes.byref(mine), ctypes.byref(found), 1,
                                handle("ompi_mpi_int64_t"), handle("ompi_mpi_op_max"),
                                handle("ompi_mpi_comm_world")))
    return found.value


def same(number):
    """Whether all processes have the same whole number. All have to ask."""
    return largest(number) == -largest(-number)


def give_from_first(array):
    """Overwrite a NumPy array with the first process's. All have to take part."""
    check(ctypes.CDLL(None).MPI_Bcast(ctypes.c_void_p(array.ctypes.data), array.nbytes,
                                      handle("ompi_mpi_byte"), 0, handle("ompi_mpi_comm_world")))


def handle(name):
    """What mpi.h calls MPI_COMM_WORLD and the like: in Open MPI, the address of a variable."""
    return ctypes.byref(ctypes.c_char.in_dll(ctypes.CDLL(None), name))


def check(status):
    if status:
        raise RuntimeError(f"MPI failed, error {status}")
