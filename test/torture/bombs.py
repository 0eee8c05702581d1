"""python bombs.py [READER …]: small files that are built to waste time or memory, in any container.

Each has a megabyte at most, and claims, repeats, nests or unpacks a multiple of that. Prints a line
for each that took more than two seconds or 300 MB, or did not end as it should, then [tried, lost];
with --all a line for each.
"""
import hashlib
import json
import os
import resource
import signal
import sys
import tempfile
import time

os.environ["OPENBLAS_NUM_THREADS"] = "1"       # each of its threads claims 134 MB, unused

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE), os.path.dirname(os.path.dirname(HERE))]

from archive_bombs import (  # noqa: E402
    HEADER,
    attributes,
    npz_bombs,
    own,
    safetensors,
    slow_styles,
    styles,
    tars,
    torch_streams,
    torch_zips,
)
from pickle_bombs import official, persistent, pickles  # noqa: E402

from backend.errors import UserError  # noqa: E402
from measures import weights_file  # noqa: E402
from measures.attributes import load as load_attributes  # noqa: E402
from pictures import styles_file  # noqa: E402
from weights import foreign, snapshot  # noqa: E402

LONGEST, SECONDS, MORE = 1_000_000, 2, 300_000_000


def jittor(data):
    return data + hashlib.sha1(data).digest() + b"HCAJSLHD"


READERS = {
    "pickle": (foreign.read, lambda: pickles() | official() | persistent()),
    "jittor": (foreign.read, lambda: {n: jittor(data) for n, data in pickles().items()}),
    "torch_zip": (foreign.read, torch_zips),
    "torch_stream": (foreign.read, torch_streams),
    "tar": (foreign.read, tars),
    "npz": (foreign.read, lambda: npz_bombs([], "g_running/style.1.linear.bias.npy", (8,)) |
            {"a slow mean of the styles": slow_styles()}),
    "safetensors": (foreign.read, safetensors),
    "model": (snapshot.load_any, own),
    "attributes": (load_attributes, attributes),
    "styles": (lambda path: styles_file.load(path, HEADER), styles),
    "weights": (lambda path: weights_file.read_state(path, {"a": (1,)}, "weights"),
                lambda: torch_zips() | pickles()),
}


def main(arguments):
    every = "--all" in arguments
    lost = tried = 0
    for reader in [a for a in arguments if a != "--all"] or READERS:
        read, bombs = READERS[reader]
        for name, data in bombs().items():
            tried += 1
            assert len(data) <= LONGEST, f"{reader}, {name}: {len(data):,} bytes"
            seconds, more, end = outcome(read, data)
            right = end.startswith(("read", "refused")) and "\n" not in end and len(end) < 500 \
                and seconds < SECONDS and more < MORE
            lost += not right
            if every or not right:
                print(f"{reader}, {name}: {seconds:.2f} s, {more / 1e6:.0f} MB, {end[:200]}",
                      flush=True)
    print(json.dumps([tried, lost]))


def outcome(read, data):
    """(seconds, bytes more at the peak, how it ended) of reading a file in its own process."""
    with tempfile.TemporaryDirectory(prefix="bomb_") as folder:
        path, (here, there) = os.path.join(folder, "file"), os.pipe()
        with open(path, "wb") as file:
            file.write(data)
        child = os.fork()
        if not child:
            os.close(here)
            answer = attempt(read, path, folder)
            os.write(there, json.dumps(answer).encode())
            os._exit(0)
        os.close(there)
        with open(here, "rb") as pipe:
            answer = pipe.read()
        _, status = os.waitpid(child, 0)
    return json.loads(answer) if answer else (4 * SECONDS, 0, f"killed, status {status}")


def attempt(read, path, folder):
    # The limits only keep the machine alive where the promise does not hold.
    resource.setrlimit(resource.RLIMIT_AS, (memory("VmSize") + (4 << 30),) * 2)
    signal.setitimer(signal.ITIMER_PROF, 4 * SECONDS)
    # The processor's seconds where they are fewer: the machine may be doing something else.
    before, clocks = memory("VmSize"), (time.monotonic, time.process_time)
    starts = [clock() for clock in clocks]
    try:
        read(path)
        end = "read"
    except UserError as error:
        end = f"refused: {error}".replace(folder, "")
    except BaseException as error:
        end = f"{type(error).__name__}: {str(error)[:200]}"
    seconds = min(clock() - start for clock, start in zip(clocks, starts))
    return seconds, memory("VmPeak") - before, end[:1000]


def memory(name):
    """Bytes of this process, claimed but untouched ones included."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith(name + ":"))


if __name__ == "__main__":
    main(sys.argv[1:])
