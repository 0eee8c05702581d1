"""Recipes side by side: which learns further in the same processor time?

    python bench/trials.py trials.txt data --minutes 10 --seeds 0,1,2 --out trials.csv \
        [--features data/attributes64.npz] [flags of train.py for all of them]

trials.txt has a line for each recipe: its name and its flags of train.py, such as

    batch8  --batch 8

As many runs at a time as there are --cores, each on its own, and each is stopped when it has had so
many minutes of processor time: other work on the machine then matters little. Compiling is not
counted, the loading of pictures is. The last files of each run are measured as metrics.py does and
get a line in OUT.csv. Typed again it does what is missing; a run that was interrupted goes on.
"""
import argparse
import csv
import glob
import os
import queue
import re
import shlex
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

TICKS = os.sysconf("SC_CLK_TCK")
MEASURED = {"swd": r"SWD × 1000, mean", "parts_fd": "Fréchet distance, parts",
            "recall": "recall, parts", "whole": "whole pictures"}
COLUMNS = ["name", "seed", "data", "flags", "average", "images_seen", "minutes", *MEASURED]


def main():
    args, flags = parse_arguments()
    with open(args.trials) as file:
        recipes = [shlex.split(line, comments=True) for line in file]
    if not os.path.exists(args.out):
        with open(args.out, "w", newline="") as file:
            csv.DictWriter(file, COLUMNS).writeheader()
    waiting = queue.Queue()
    for seed in args.seeds.split(","):
        for name, *own in filter(None, recipes):
            waiting.put(Run(args, name, seed, [*flags, *own]))
    with ThreadPoolExecutor() as pool:
        working = [pool.submit(work, waiting, core) for core in args.cores.split(",")]
    for one in working:
        one.result()                                    # says what went wrong in it


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trials", metavar="trials.txt", help="a name and flags in each line")
    parser.add_argument("data")
    parser.add_argument("--minutes", type=float, default=10,
                        help="of one core for each run (default 10)")
    parser.add_argument("--seeds", default="0", help="of each recipe (default 0)")
    parser.add_argument("--cores", default=",".join(map(str, sorted(os.sched_getaffinity(0)))),
                        help="to run on (default: all there are)")
    parser.add_argument("--against", metavar="DATA", help="measure against these pictures, where "
                        "data is a part of them (default: data)")
    parser.add_argument("--features", metavar="FILE", help="a network that knows parts")
    parser.add_argument("--images", type=int, default=2000, help="to compare (default 2000)")
    parser.add_argument("--last", type=int, default=3, metavar="N",
                        help="measure the last N points in time of each run (default 3)")
    parser.add_argument("--out", default="trials.csv", metavar="OUT.csv")
    return parser.parse_known_args()


def work(waiting, core):
    while True:
        try:
            run = waiting.get_nowait()
        except queue.Empty:
            return
        run.train(core)
        run.measure(core)


class Run:
    """One recipe with one seed; its files are those of train.py --name NAME_sSEED."""

    def __init__(self, args, recipe, seed, flags):
        self.args, self.recipe, self.seed, self.flags = args, recipe, seed, flags
        self.name = f"{recipe}_s{seed}"
        self.clock = f"sample/{self.name}/minutes.csv"      # images seen and processor time so far

    def spent(self):
        """[(thousands of images seen, minutes of processor time)], earlier pieces included."""
        if not os.path.exists(self.clock):
            return []
        with open(self.clock) as file:
            return [tuple(map(float, line.split(","))) for line in file if line.count(",") == 1]

    def train(self, core):
        before = max((minutes for _, minutes in self.spent()), default=0)
        if before >= self.args.minutes:
            return
        there = os.path.exists(f"checkpoint/{self.name}_resume.model")
        flags = ["--resume"] if there else [*self.flags, "--seed", self.seed]
        os.makedirs(f"sample/{self.name}", exist_ok=True)
        with open(f"{self.name}.log", "a") as log, open(self.clock, "a") as clock:
            process = subprocess.Popen(
                ["taskset", "-c", core, sys.executable, os.path.join(ROOT, "train.py"),
                 self.args.data, "--name", self.name, "--workers", "1", "--keep", "0", *flags],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL)
            times = {}
            while process.poll() is None:
                time.sleep(2)
                times |= processor_minutes(process.pid)
                minutes = before + sum(times.values())
                clock.write(f"{images_seen(self.name)},{minutes:.3f}\n")
                clock.flush()
                if minutes >= self.args.minutes:
                    process.send_signal(signal.SIGINT)
                    process.wait()
        if process.returncode:
            sys.exit(f"error: {self.name} ended badly; see {self.name}.log")

    def measure(self, core):
        paths = glob.glob(f"checkpoint/{self.name}_0*.model")
        images = sorted({int(re.search(r"_(\d{9})", path)[1]) for path in paths})
        for path in sorted(paths):
            seen = int(re.search(r"_(\d{9})", path)[1])
            row = dict(name=self.recipe, seed=self.seed, data=os.path.basename(self.args.data),
                       flags=shlex.join(self.flags), average=(re.search("_ema(.*).model", path)
                                                              or ["", ""])[1], images_seen=seen)
            if seen in images[-self.args.last:] and not self.is_measured(row):
                row["minutes"] = round(next((m for kimg, m in self.spent() if 1000 * kimg >= seen),
                                            self.spent()[-1][1]), 2)
                self.write(row | self.numbers(path, core))

    def is_measured(self, row):
        with open(self.args.out, newline="") as file:
            return any(all(there[key] == str(row[key]) for key in
                           ("name", "seed", "data", "average", "images_seen"))
                       for there in csv.DictReader(file))

    def write(self, row):
        with open(self.args.out, "a", newline="") as file:
            csv.DictWriter(file, COLUMNS).writerow(row)
        print(*row.values(), flush=True)

    def numbers(self, path, core):
        features = ["--features", self.args.features] if self.args.features else []
        result = subprocess.run(
            ["taskset", "-c", core, sys.executable, os.path.join(ROOT, "metrics.py"), path,
             self.args.against or self.args.data, "--metrics", "swd" + ",parts" * bool(features),
             "--images", str(self.args.images), *features], capture_output=True, text=True)
        if result.returncode:
            sys.exit(result.stderr)
        found = {key: re.search(rf"{label} +(\S+)", result.stdout)
                 for key, label in MEASURED.items()}
        return {key: match[1] for key, match in found.items() if match}


def images_seen(name):
    """In thousands, as far as stats.csv tells."""
    try:
        with open(f"sample/{name}/stats.csv") as file:
            return float(file.readlines()[-1].split(",")[0])
    except (OSError, ValueError, IndexError):
        return 0.0


def processor_minutes(pid):
    """{process id: minutes} of a run and the processes that load its pictures."""
    found = {}
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        found[pid] = (int(fields[11]) + int(fields[12])) / TICKS / 60
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                for child in file.read().split():
                    with open(f"/proc/{child}/cmdline") as command:
                        if "multiprocessing" in command.read():
                            found |= processor_minutes(int(child))
    except OSError:                                         # it has just ended
        pass
    return found


if __name__ == "__main__":
    main()
