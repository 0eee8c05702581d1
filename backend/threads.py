"""How many processor cores there are for this process, and how many threads it has."""
import os

from backend import mpi


def cores():
    """Number of processor cores that this process may use; mpirun's share the machine."""
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(mine, os.cpu_count() // mpi.LOCAL_SIZE))


def count():
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(wanted) if wanted.isdigit() and int(wanted) else cores()


def settings():
    """What OpenMP is told."""
    # It would bind this thread to a core, and with it all that this one starts.
    told = {"OMP_PROC_BIND": "false"}
    if mpi.SIZE > 1 and "OMP_NUM_THREADS" not in os.environ:
        told["OMP_NUM_THREADS"] = str(cores())
    return told
