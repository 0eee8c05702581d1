"""How many processor cores there are for this process, and how many threads it has."""
import os

from backend import mpi


def cores():
    """Number of processor cores that this process may use; mpirun's share the machine."""
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(mine, os.cpu_count() // mpi.LOCAL_SIZE))


def count():
    return int(os.environ.get("OMP_NUM_THREADS") or cores())


def settings():
    """How many threads Jittor is told to use, where it would not find out by itself."""
    if mpi.SIZE > 1 and "OMP_NUM_THREADS" not in os.environ:
        return {"OMP_NUM_THREADS": str(cores())}
    return {}
