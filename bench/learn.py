"""Ours against the PyTorch twin in the same time: which learns further, and do both learn alike?

    python bench/learn.py data --minutes 20 [--seeds 0,1,2] [flags of train.py]

For each seed train.py and bench/train_twin.py run side by side, each on one core of its own, for
the same minutes. The sliced Wasserstein distance of every file that both have at the same number
of images, and of each one's last, goes to OUT.csv; printed are means and standard deviations over
the seeds. Runs that are already there are not repeated.
"""
import argparse
import glob
import os
import re
import statistics
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from backend.files import replacing  # noqa: E402

SIDES = {"ours": "train.py", "twin": "bench/train_twin.py"}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--images", type=int, default=4096, help="for the distance (default 4096)")
    parser.add_argument("--out", default="learn.csv", metavar="OUT.csv")
    args, flags = parser.parse_known_args()
    seeds = [int(seed) for seed in args.seeds.split(",")]
    for seed in seeds:
        train(args, seed, flags)
    rows = []
    for seed in seeds:
        rows += measure(args, seed)
        with replacing(args.out) as file:
            file.write(("side,seed,last,images,mean\n" +
                        "".join(",".join(map(str, row)) + "\n" for row in rows)).encode())
    show(rows)


def files(side, seed):
    """{images seen: path} of a run's files, in order."""
    paths = sorted(glob.glob(f"checkpoint/{side}{seed}_0*.model"))
    return {int(path[-15:-6]): path for path in paths}


def train(args, seed, flags):
    """Both at once, on different cores: what disturbs the machine disturbs both."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < len(SIDES):
        sys.exit(f"error: found {len(cores)} core, wanted one for each of {', '.join(SIDES)}")
    running = []
    for core, (side, script) in zip(cores, SIDES.items()):
        if files(side, seed):
            continue
        with open(f"{side}{seed}.log", "w") as log:
            running.append(subprocess.Popen(
                ["taskset", "-c", str(core), sys.executable, os.path.join(ROOT, script), args.data,
                 *flags, "--seed", str(seed), "--name", f"{side}{seed}", "--keep", "0",
                 "--max_minutes", str(args.minutes)],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL))
    if any(process.wait() for process in running):
        sys.exit(f"error: a run of seed {seed} ended badly; see its log")


def measure(args, seed):
    """[side, seed, whether it is the last, images seen, mean SWD] of what is to be compared."""
    found = {side: files(side, seed) for side in SIDES}
    common = set(found["ours"]) & set(found["twin"])
    rows = []
    for side, paths in found.items():
        for images, path in paths.items():
            last = images == max(paths)
            if images in common or last:
                rows.append([side, seed, int(last), images, distance(args, path)])
                print(*rows[-1], flush=True)
    return rows


def distance(args, path):
    result = subprocess.run([sys.executable, os.path.join(ROOT, "metrics.py"), path, args.data,
                             "--metrics", "swd", "--images", str(args.images)],
                            capture_output=True, text=True)
    if result.returncode:
        sys.exit(result.stderr)
    return float(re.search(r"SWD × 1000, mean +(\S+)", result.stdout).group(1))


def show(rows):
    keys = [*sorted({row[3] for row in rows if not row[2]}), "last"]
    for key in keys:
        for side in SIDES:
            some = [row for row in rows if row[0] == side and (row[2] if key == "last"
                                                               else row[3] == key)]
            values = [row[4] for row in some]
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            images = statistics.mean(row[3] for row in some)
            print(f"{key:>9} {side}: {statistics.mean(values):6.2f} ± {spread:.2f} "
                  f"(n = {len(values)}, {images:,.0f} images)")


if __name__ == "__main__":
    main()
