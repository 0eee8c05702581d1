"""How much of two processes' speed is left when they train together, and where the rest goes.

    python bench/scaling.py [--size 8,32,128] [--batch 16,8,4] [--fmap_max 512]

Three sides take turns, each process on a core of its own: "alone" is one process with --batch
images per step, "apart" are two such that know nothing of each other, "together" are two under
mpirun with twice the batch between them. together ÷ apart is what working together costs, apart ÷
alone what two processes take from each other by using one memory. Medians over the rounds. Then,
of the pair together: bytes of a step's messages beside the parameters in use, and the shares of its
time spent waiting for the other process and in the messages.
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="32", help="sizes such as 8,16,32 (default 32)")
    parser.add_argument("--batch", default="8", help="images of a process, or one number per size "
                        "(default 8)")
    parser.add_argument("--fmap_max", type=int, default=512, help="width (default 512)")
    parser.add_argument("--rounds", type=int, default=7, help="measured rounds (default 7)")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--pipes", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return work(args)
    sizes, batches = ([int(x) for x in text.split(",")] for text in (args.size, args.batch))
    for size, batch in zip(sizes, batches * len(sizes) if len(batches) == 1 else batches):
        measure(args, size, batch)


def measure(args, size, batch):
    sides = {"alone": [Worker(args, size, batch, "0")],
             "apart": [Worker(args, size, batch, core) for core in "01"],
             "together": [Worker(args, size, batch, "rank")]}
    steps = None
    for workers in sides.values():                      # the first compiles
        ask(workers, "step 3")
    times = {side: [] for side in sides}
    for i in range(args.rounds):
        for side in list(sides) if i % 2 == 0 else reversed(sides):
            if steps is None:                           # a second or more for each measurement
                steps = max(1, round(1 / ask(sides["alone"], "step 1")[0]["seconds"]))
            times[side].append(max(answer["seconds"] for answer in ask(sides[side],
                                                                       f"step {steps}")))
    speed = {side: statistics.median(batch * (1 + (side != "alone")) / t for t in times[side])
             for side in sides}

    def ratio(a, b, factor=1):
        pairs = sorted(factor * y / x for x, y in zip(times[a], times[b]))
        return f"{statistics.median(pairs):.2f} ({pairs[0]:.2f} to {pairs[-1]:.2f})"

    shares = ask(sides["together"], f"shares {steps}")[0]
    print(f"size {size:4}, {batch:3} images each, fmap_max {args.fmap_max}: "
          + ", ".join(f"{side} {value:.2f}" for side, value in speed.items())
          + f" images/s; together / apart {ratio('together', 'apart')}; together / (2 alone) "
          f"{ratio('together', 'alone')}; {shares['bytes']:,} bytes a step for "
          f"{shares['parameters']:,} parameters ({shares['bytes'] / shares['parameters']:.2f} for "
          f"each); {100 * shares['waiting']:.1f} % of the time waiting, "
          f"{100 * shares['messages']:.1f} % in messages", flush=True)
    for workers in sides.values():
        for worker in workers:
            worker.end()


class Worker:
    """A process, or with core "rank" two under mpirun, that makes steps when told to."""

    def __init__(self, args, size, batch, core):
        # mpirun hands its input to the first process only; a pipe keeps the other one off its core.
        self.folder = tempfile.mkdtemp()
        names = [os.path.join(self.folder, str(rank)) for rank in range(2 if core == "rank" else 1)]
        for name in names:
            os.mkfifo(name)
        command = [sys.executable, os.path.abspath(__file__), "--worker", core, "--pipes",
                   self.folder, "--size", str(size), "--batch", str(batch), "--fmap_max",
                   str(args.fmap_max)]
        if core == "rank":
            command = ["mpirun", "--allow-run-as-root", "--bind-to", "none", "-np", "2", *command]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.pipes = [open(name, "w") for name in names]

    def tell(self, line):
        for pipe in self.pipes:
            pipe.write(line + "\n")
            pipe.flush()

    def answer(self):
        for line in self.process.stdout:                # Jittor prints while it compiles
            if line.startswith("{"):
                return json.loads(line)
        sys.exit("error: a worker ended; its message is above")

    def end(self):
        for pipe in self.pipes:
            pipe.close()
        self.process.wait()
        shutil.rmtree(self.folder)


def ask(workers, line):
    """What the workers answer to a line that all of them get at once."""
    for worker in workers:
        worker.tell(line)
    return [worker.answer() for worker in workers]


def work(args):
    from backend import mpi
    core = mpi.LOCAL_RANK if args.worker == "rank" else int(args.worker)
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[core]})
    import numpy as np

    import backend
    from training import settings
    backend.use_device("cpu")
    from backend import jt
    from networks.generator import parameters_in_use
    from training.iteration import Training
    size, batch = int(args.size), int(args.batch)
    s = settings.OFFICIAL | dict(data="-", name="-", init_size=size, max_size=size,
                                 batch=str(batch * mpi.SIZE), fmap_max=args.fmap_max)
    training = Training(s, settings.make_schedule(s), settings.model_config(s))
    training.start_together()
    images = np.random.RandomState(mpi.RANK).randn(batch, 3, size, size).astype("float32")
    spent = dict(bytes=0, waiting=0.0, messages=0.0)
    total = mpi.total

    def watched(x):
        jt.sync([x])
        before = time.perf_counter()
        mpi.largest(0)
        together = time.perf_counter()
        found = total(x)
        jt.sync([found])
        spent["bytes"] += 4 * x.numel()
        spent["waiting"] += together - before
        spent["messages"] += time.perf_counter() - together
        return found

    for line in open(os.path.join(args.pipes, str(mpi.RANK))):
        what, steps = line.split()
        mpi.total = watched if what == "shares" else total
        mpi.largest(0)
        spent.update(bytes=0, waiting=0.0, messages=0.0)
        start = time.perf_counter()
        for _ in range(int(steps)):
            training.step(images)
        seconds = time.perf_counter() - start
        answer = dict(seconds=seconds / int(steps), bytes=spent["bytes"] // int(steps),
                      waiting=spent["waiting"] / seconds, messages=spent["messages"] / seconds,
                      parameters=sum(p.numel() for net in (training.G, training.D)
                                     for p in parameters_in_use(net, size, False).values()))
        if mpi.FIRST:
            print("\n" + json.dumps(answer), flush=True)


if __name__ == "__main__":
    sys.exit(main())
