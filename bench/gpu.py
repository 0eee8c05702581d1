"""Brings a GPU up, checks it against the CPU, runs the tests on it, measures its speed beside
PyTorch's and trains at 128×128.

    bash bench/gpu.sh [backend] [tests] [speed] [train]

Each stage ends within --minutes, goes on where it stopped, and writes its part of the report, raw
numbers with GPU, driver, toolkit and commit: OUT/NAME.json, and the same to read in OUT/NAME.txt.
"""
import argparse
import datetime
import glob
import json
import os
import re
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from backend.errors import UserError  # noqa: E402
from backend.files import replacing  # noqa: E402
from training import stats  # noqa: E402

# Size, batch and width of the iterations that are measured: the paper's, and a narrow one.
SPEEDS = ((8, 128, 512), (16, 128, 512), (32, 64, 512), (64, 32, 512), (128, 16, 512),
          (256, 8, 512), (32, 64, 64))
TRAIN = ("--max_size", "128", "--phase_kimg", "40", "--fade_kimg", "20", "--kimg", "1000",
         "--ema_kimg", "5", "--sample_kimg", "20", "--save_kimg", "100", "--keep", "2",
         "--metrics", "swd,ms_ssim", "--metric_kimg", "100")


class Report:
    """{stage: {item: what was measured}}, on the disk after every item."""

    def __init__(self, out, name):
        self.path = os.path.join(out, name)
        os.makedirs(out, exist_ok=True)
        self.content = {}
        if os.path.exists(self.path + ".json"):
            with open(self.path + ".json") as file:
                self.content = json.load(file)

    def done(self, stage):
        return self.content.get(stage, {})

    def add(self, stage, item, **measured):
        measured |= {"commit": output("git", "rev-parse", "--short", "HEAD").strip(),
                     "when": datetime.datetime.now().isoformat(" ", "minutes")}
        self.content.setdefault(stage, {})[item] = measured
        with replacing(self.path + ".json") as file:
            file.write(json.dumps(self.content, indent=1, ensure_ascii=False).encode())
        with replacing(self.path + ".txt") as file:
            file.write(self.text().encode())
        print(self.line(item, measured), flush=True)

    def text(self):
        return "".join(f"{stage} (commit {latest['commit']}, {latest['when']})\n" + "".join(
            self.line(item, measured) + "\n" for item, measured in items.items()) + "\n"
            for stage, items in self.content.items() for latest in [list(items.values())[-1]])

    @staticmethod
    def line(item, measured):
        return f"  {item}: " + ", ".join(f"{name} {value}" for name, value in measured.items()
                                         if name not in ("commit", "when"))


def output(*command):
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout
    except OSError:
        return ""


def attempt(command, seconds):
    """(exit code or None when it took longer, everything that it printed, seconds)."""
    start = time.monotonic()
    process = subprocess.Popen([sys.executable, *command], cwd=ROOT, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, errors="replace",
                               start_new_session=True, env=os.environ | {"PYTHONPATH": ROOT +
                               os.pathsep + os.environ.get("PYTHONPATH", "")})
    try:
        text, _ = process.communicate(timeout=max(1, seconds))
        code = process.returncode
    except subprocess.TimeoutExpired:
        process.terminate()             # not its children: compilers that die look like a crash
        try:
            text, _ = process.communicate(timeout=15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            text, _ = process.communicate()
        code = None
    return code, text, round(time.monotonic() - start, 1)


# Stages: each takes (report, the time.monotonic() at which it has to end, device) ---------------


def backend(report, end, device):
    code, text, seconds = attempt(["-m", "backend", "--device", device], end - time.monotonic())
    for line in text.splitlines():
        check = re.match(r"check +(.+): relative error (\S+) (\w+)", line)
        found = re.match(r"([\w ]{1,9}) (\S.*)", line)
        if check:
            report.add("checks", check[1], error=float(check[2]), result=check[3])
        elif found and not line.startswith(("  ", "Compiling")):
            report.add("machine", found[1].strip(),
                       found=found[2].replace(os.path.expanduser("~"), "~"))
    report.add("stages", "backend", exit_code=code, seconds=seconds)
    if code != 0:
        print(text[-5000:])


def tests(report, end, device):
    """A file at a time; what has passed is not run again, what takes too long goes on next time."""
    for path in sorted(glob.glob(os.path.join(ROOT, "test/**/test_*.py"), recursive=True)):
        name = os.path.relpath(path, os.path.join(ROOT, "test"))
        if name == "backend/test_cuda_compile.py":      # needs no GPU, but minutes
            continue
        if report.done("tests").get(name, {}).get("exit_code") in (0, 5):
            continue
        if end - time.monotonic() < 20:
            break
        code, text, seconds = attempt(["-m", "pytest", "-rfE", path], end - time.monotonic())
        summary = [line for line in text.splitlines() if re.search(r" in \d[\d.]*s", line)]
        counts = {word: int(number) for number, word in re.findall(
            r"(\d+) (passed|failed|skipped|error)", summary[-1] if summary else "")}
        failed = re.findall(r"^(?:FAILED|ERROR) (\S+)(?: - (.{0,200}))?", text, re.M)
        report.add("tests", name, exit_code=code, seconds=seconds, **counts,
                   **({"failures": [" ".join(f) for f in failed]} if failed else {}))


def speed(report, end, device):
    """bench/train_step.py, with and without --amp, beside PyTorch where it is installed, or where
    TORCH_PYTHON in the environment says."""
    python = os.environ.get("TORCH_PYTHON", sys.executable)
    has_torch = subprocess.run([python, "-c", "import torch"], capture_output=True).returncode == 0
    for size, batch, width in SPEEDS:
        item = f"size {size}, batch {batch}, fmap_max {width}"
        if report.done("speed").get(item, {}).get("exit_code") == 0:
            continue
        if end - time.monotonic() < 60:
            break
        code, text, seconds = attempt(
            ["bench/train_step.py", "--size", str(size), "--batch", str(batch), "--fmap_max",
             str(width), "--device", device, "--pairs", "3", "--torch_python", python, "--vs",
             "torch,torch_tf32,amp" if has_torch else "amp"],
            end - time.monotonic())
        sides = {row.split()[0]: row[row.index(":") + 1:].strip() for row in text.splitlines()
                 if re.match(r"\w+ +size", row)}
        report.add("speed", item, exit_code=code, seconds=seconds, **sides)
        if code != 0:
            print(text[-3000:])


def train(report, end, device):
    """5,402 symbols at 128×128, resumed at each call."""
    if not os.path.isdir(os.path.join(ROOT, "data/gpu/8")):
        for command in (["symbols.py", "data/gpu/128"], ["resize.py", "data/gpu/128"]):
            attempt(command, end - time.monotonic())
    there = glob.glob(os.path.join(ROOT, "checkpoint/gpu_resume*.model"))
    minutes = (end - time.monotonic() - 60) / 60
    code, text, seconds = attempt(
        ["train.py", "data/gpu", *(["--resume"] if there else TRAIN), "--device", device,
         "--max_minutes", f"{minutes:.2f}"], end - time.monotonic())
    if code != 0:
        print(text[-3000:])
    attempt(["plot.py", "gpu"], end - time.monotonic())
    try:
        rows = stats.read(os.path.join(ROOT, "sample/gpu/stats.csv"))
    except UserError:                               # it ended before its first thousand images
        rows = []
    speeds = {}
    for row in rows:
        speeds.setdefault(int(row["size"]), []).append(row["images_per_second"])
    last = rows[-1] if rows else {"kimg": 0, "size": None, "skipped": None}
    report.add("train", f"{last['kimg']:g} kimg", size=last["size"], skipped=last["skipped"],
               swd=[row["swd"] for row in rows if row["swd"] is not None],
               exit_code=code, seconds=seconds,
               **{f"images/s at {size}": round(statistics.median(values), 1)
                  for size, values in speeds.items()})


STAGES = {stage.__name__: stage for stage in (backend, tests, speed, train)}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stages", nargs="*", choices=[*STAGES, []], metavar="STAGE",
                        help=f"of {', '.join(STAGES)} (default: all)")
    parser.add_argument("--minutes", type=float, default=7.5, help="for each stage (default 7.5)")
    parser.add_argument("--out", default="bench/reports", help="folder (default bench/reports)")
    parser.add_argument("--name", default="gpu", help="of the report's files (default gpu)")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda",
                        help="cpu only to try this script (default cuda)")
    args = parser.parse_args()
    report = Report(os.path.join(ROOT, args.out), args.name)
    for stage in args.stages or STAGES:
        print(stage, flush=True)
        STAGES[stage](report, time.monotonic() + 60 * args.minutes, args.device)
    print(f"{report.path}.json\n{report.path}.txt")


if __name__ == "__main__":
    main()
