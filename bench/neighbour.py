"""What a busy program on the same processor costs a training iteration.

    python bench/neighbour.py [--vs torch]

Each network is measured quiet, beside one process that computes without end, and twice at once, in
turns; medians, and how many times as long as quiet (medians of the rounds). With --vs torch, the
PyTorch twin too.
"""
import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from bench.train_step import Worker  # noqa: E402

NETWORKS = ((512, 8, 16), (512, 32, 8), (64, 8, 16), (64, 32, 16))      # fmap_max, size, batch


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="(default 7)")
    parser.add_argument("--vs", choices=["torch"], help="also measure the PyTorch twin")
    args = parser.parse_args()
    print("side    network                  quiet     busy neighbour    two at once")
    for fmap_max, size, batch in NETWORKS:
        options = argparse.Namespace(fmap_max=fmap_max, latent=None, device="cpu", generate=False)
        for side in ["jittor"] + [args.vs] * bool(args.vs):
            measure(side, size, batch, options, args.rounds)


def measure(side, size, batch, options, rounds):
    worker, other = (Worker(side, size, batch, options) for _ in range(2))
    for one in worker, other:
        for _ in range(3):                      # the first compiles
            one.step()
    situations = {"quiet": contextlib.nullcontext, "busy": busy, "two": lambda: training(other)}
    times = {name: [] for name in situations}
    for _ in range(rounds):
        for name, beside in situations.items():
            with beside():
                settle(worker)
                times[name].append(statistics.mean(worker.step() for _ in range(3)))
    quiet = times["quiet"]
    columns = [f"{statistics.median(quiet):.3f} s"] + [
        f"{statistics.median(times[name]):.3f} s ({ratio(times[name], quiet):.2f})"
        for name in ("busy", "two")]
    print(f"{side:7} {options.fmap_max:3} channels {size:2} x {batch:2}   " + "   ".join(columns),
          flush=True)
    for one in worker, other:
        one.finish()


def settle(worker, seconds=1.5):
    """Steps until what came before is forgotten."""
    end = time.monotonic() + seconds
    while worker.step() and time.monotonic() < end:
        pass


def ratio(times, quiet):
    return statistics.median(t / q for t, q in zip(times, quiet))


@contextlib.contextmanager
def busy():
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def training(worker):
    """Another training takes steps, inside."""
    ended = threading.Event()

    def steps():
        while not ended.is_set():
            worker.step()
    thread = threading.Thread(target=steps)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


if __name__ == "__main__":
    main()
