"""How many processor cores there are for this process."""
import os

from backend import mpi


def cores():
    """Number of processor cores that this process may use; mpirun's share the machine."""
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(mine, os.cpu_count() // mpi.LOCAL_SIZE))
