"""Tries to make a run lose work: kills it, fills its disk, damages its files, poisons its numbers.

    make torture                                   everything, about ten minutes on two cores
    python test/torture/torture.py --short         the same in small, as part of make test

Real training processes on rendered symbols. Ends with one line per promise: tried, survived, lost.
Exit code 1 if anything was lost.
"""
import argparse
import contextlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, ROOT)

from backend.errors import UserError  # noqa: E402
from training import runs  # noqa: E402
from weights import snapshot  # noqa: E402

TRAIN = [sys.executable, os.path.join(ROOT, "train.py")]
# A network so small that it makes hundreds of steps a minute, through a fade and two sizes.
NETWORK = ["--batch", "8", "--latent", "16", "--fmap_max", "8", "--device", "cpu", "--workers", "1",
           "--max_size", "16", "--save_kimg", "0.08", "--sample_kimg", "0.4", "--keep", "2"]


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="a few of each, in two minutes")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and the damages")
    args = parser.parse_args()
    random.seed(args.seed)
    few = args.short
    with tempfile.TemporaryDirectory(prefix="torture_") as folder:
        os.chdir(folder)
        say("making data, and an uninterrupted run that compiles everything")
        data = make_data()
        kimg = 2 if few else 6
        whole = finished_run(data, "whole", kimg)
        start(data, "whole", "--resume", "--kimg", str(kimg + 0.016)).communicate()
        rows = [kills(data, kimg, whole, count=3 if few else 50),
                *full_disks(data, whole_short(data)),
                damage("whole", count=40 if few else 200),
                bad_numbers(data, count=4 if few else 20),
                *fuzz(count=100 if few else 2000, seed=args.seed)]
    width = max(len(promise) for promise, *_ in rows)
    print(f"\n| {'promise':{width}} | tried | survived | lost |\n|{'-' * (width + 2)}|---|---|---|")
    for promise, tried, lost in rows:
        print(f"| {promise:{width}} | {tried} | {tried - lost} | {lost} |")
    return 1 if any(lost for *_, lost in rows) else 0


def say(text):
    print(text, flush=True)


def make_data():
    for script, *arguments in (["symbols.py", "data/16", "--chars", "A-Z0-9", "--count", "60"],
                               ["resize.py", "data/16", "--min_size", "8"]):
        subprocess.run([sys.executable, os.path.join(ROOT, script), *arguments], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return "data"


def start(data, name, *flags, command=TRAIN, **options):
    return subprocess.Popen([*command, data, "--name", name, *flags], stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, **options)


def phases(kimg):
    """Two thirds of the run at size 16, half of that fading in."""
    return [*NETWORK, "--kimg", str(kimg), "--phase_kimg", str(kimg / 3), "--fade_kimg",
            str(kimg / 3)]


def finished_run(data, name, kimg):
    output, _ = (process := start(data, name, *phases(kimg))).communicate()
    if process.returncode:
        sys.exit(output)
    return state_of(name)


def whole_short(data):
    return finished_run(data, "short", 0.8)


def state_of(name):
    """{array name: array} of the resume file, with the number of images."""
    header, arrays, _ = runs.load_resume("checkpoint", name)
    return arrays | {"images_seen": np.array(header["images_seen"])}


def equal(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[n], b[n]) for n in a)


# (a) ----------------------------------------------------------------------------------------------


def kills(data, kimg, whole, count):
    """SIGKILL at random moments, saves included; the resumed run ends like one that was not."""
    lost, flags = 0, phases(kimg)
    for i in range(count):
        process = start(data, "killed", *flags)
        for line in process.stdout:
            if "from" in line and "images" in line and line.strip()[0] != "n":
                break                                   # the line of a size: steps are being made
        time.sleep(random.uniform(0.02, 1.5))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        try:
            found = runs.load_resume("checkpoint", "killed")
        except UserError as error:
            say(f"LOST at kill {i}: {error}")
            found, lost = None, lost + 1
        flags = ["--resume"] if found else phases(kimg)
        if i % 10 == 9:
            say(f"  {i + 1} kills, {found[0]['images_seen'] if found else 0:,} images")
    output, _ = (process := start(data, "killed", *flags)).communicate()
    if process.returncode or not equal(state_of("killed"), whole):
        say(f"LOST: the killed run does not end like the other one\n{output[-500:]}")
        lost = count
    leftovers = [n for n in os.listdir("checkpoint")
                 if "killed" in n and n.endswith((".tmp", ".new"))]
    if leftovers:
        say(f"LOST: left behind: {leftovers}")
        lost += 1
    return "killed, resumed: ends bit-equal to a run that was not", count, lost


# (b) ----------------------------------------------------------------------------------------------


def full_disks(data, whole):
    """Rows for each way to run out of disk that this machine permits."""
    yield disk_row("file-size limit: says so, keeps the file, resumes equal", data, whole, "limit",
                   command=[sys.executable, "-c", SIZE_LIMIT, ROOT])
    yield disk_row("ENOSPC injected into every fsync: the same", data, whole, "injected",
                   command=[sys.executable, "-c", NO_SPACE, ROOT])
    with small_disk() as mounted:
        if mounted:
            yield disk_row("a full file system (tmpfs): the same", data, whole, "mounted",
                           disk=mounted)
        else:
            say("  no right to mount a small file system: only the two above")


NO_SPACE = """
import errno, os, sys
sys.path.insert(0, sys.argv.pop(1))
import train, cli
def fsync(_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
os.fsync = fsync
cli.run(train.main)
"""


SIZE_LIMIT = """
import resource, sys
sys.path.insert(0, sys.argv.pop(1))
import train, cli
from weights import snapshot
save = snapshot.save
def limited(*arguments):        # only while saving: the limit holds for the compilers of Jittor too
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, before[1]))
    try:
        save(*arguments)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
snapshot.save = limited
cli.run(train.main)
"""


def disk_row(promise, data, whole, name, disk=None, **trouble):
    """A run begins, its disk fills, it goes on to the end without saving; room is made, it ends
    equal."""
    folder = os.path.abspath(f"disk_{name}")
    os.makedirs(os.path.join(folder, "checkpoint"))
    data, lost = os.path.abspath(data), 0
    flags = phases(0.8)
    flags[flags.index("--kimg") + 1] = "0.32"
    process = start(data, name, *flags, cwd=folder)
    output, _ = process.communicate()
    if process.returncode:
        return promise, 1, 1
    kept = read_all(os.path.join(folder, "checkpoint"))
    if disk:
        disk.fill(os.path.join(folder, "checkpoint"))
        kept = read_all(os.path.join(folder, "checkpoint"))
    process = start(data, name, "--resume", "--kimg", "0.8", cwd=folder, **trouble)
    output, _ = process.communicate()
    if disk:
        disk.make_room()
    said = output.count("training goes on") >= 3 and "could not be saved" in output
    if process.returncode != 2 or not said or "Traceback" in output:
        say(f"LOST ({name}): exit code {process.returncode}\n{output[-800:]}")
        lost = 1
    now = read_all(os.path.join(folder, "checkpoint"))
    if any(now.get(path) != content for path, content in kept.items()):
        say(f"LOST ({name}): what was saved has changed")
        lost = 1
    process = start(data, name, "--resume", "--kimg", "0.8", cwd=folder)
    output, _ = process.communicate()
    header, arrays, _ = runs.load_resume(os.path.join(folder, "checkpoint"), name)
    if process.returncode or not equal(arrays | {"images_seen": np.array(header["images_seen"])},
                                       whole):
        say(f"LOST ({name}): does not end like the uninterrupted run\n{output[-500:]}")
        lost = 1
    return promise, 1, lost


def read_all(folder):
    found = {}
    for name in os.listdir(folder):
        if name.endswith(".model"):
            with open(os.path.join(folder, name), "rb") as file:
                found[name] = file.read()
    return found


@contextlib.contextmanager
def small_disk():
    """A SmallDisk where mounting is permitted, else None."""
    disk = SmallDisk()
    try:
        yield disk if disk.permitted() else None
    finally:
        disk.unmount()


class SmallDisk:
    """A tmpfs over the folder of the checkpoints, with room for no further save."""

    mounted = None

    def permitted(self):
        os.makedirs("mount_test", exist_ok=True)
        if self.mount("mount_test", 1 << 20):
            self.unmount()
            return True
        return False

    def mount(self, folder, size):
        result = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder],
                                capture_output=True)
        self.mounted = folder if result.returncode == 0 else None
        return self.mounted

    def fill(self, folder):
        """Move the files of `folder` onto a file system that they fill up to 30 kB."""
        kept = read_all(folder)
        self.mount(folder, sum(-(-len(c) // 4096) * 4096 for c in kept.values()) + 200_000)
        for name, content in kept.items():
            with open(os.path.join(folder, name), "wb") as file:
                file.write(content)
        with open(os.path.join(folder, "ballast"), "wb") as file:
            stat = os.statvfs(folder)
            file.write(bytes(stat.f_bavail * stat.f_frsize - 32768))

    def make_room(self):
        os.remove(os.path.join(self.mounted, "ballast"))
        subprocess.run(["mount", "-o", "remount,size=64m", self.mounted], check=True)

    def unmount(self):
        if self.mounted:
            subprocess.run(["umount", self.mounted], capture_output=True)
            self.mounted = None


# (c) ----------------------------------------------------------------------------------------------


def damage(name, count):
    """Truncated or with a flipped bit: found, and the file before it used; or without effect."""
    whole_header, whole, path = runs.load_resume("checkpoint", name)
    with open(path, "rb") as file:
        content = file.read()
    os.makedirs("damaged", exist_ok=True)
    victim = runs.resume_path("damaged", name)
    snapshot.save(runs.previous_path("damaged", name), whole_header | {"before": True}, whole)
    lost = 0
    for _ in range(count):
        place = random.randrange(len(content))
        data = bytearray(content)
        if random.random() < 0.5:
            del data[place:]
        else:
            data[place] ^= 1 << random.randrange(8)
        with open(victim, "wb") as file:
            file.write(data)
        try:
            with contextlib.redirect_stderr(io.StringIO()):
                header, arrays, _ = runs.load_resume("damaged", name)
            if not equal(arrays, whole) or header["settings"] != whole_header["settings"]:
                say(f"LOST: damage at byte {place} of {len(content)} was read as if it were right")
                lost += 1
        except Exception as error:
            say(f"LOST: damage at byte {place}: {error!r}")
            lost += 1
    return "damaged resume file: found or harmless, never silently wrong", count, lost


# (d) ----------------------------------------------------------------------------------------------

POISON = """
import sys; sys.path.insert(0, sys.argv.pop(1))
import backend; backend.use_device("cpu")
import random, train, cli, numpy as np
from training import iteration
count = int(sys.argv.pop(1))
random.seed(1)
poisoned = {8 * i for i in random.sample(range(10, 90), count)}
step = iteration.Training.step
def poison(self, images, labels):
    if self.images_seen not in poisoned:
        return step(self, images, labels)
    images = images.copy()
    images.flat[random.randrange(images.size)] = random.choice([np.nan, np.inf, -np.inf])
    before, epoch = self.state()[1], self.optimizer_epoch
    result = step(self, images, labels)
    after = self.state()[1]
    # Adam starts afresh at a new size, whatever the numbers are.
    left_out = ("skipped",) if epoch == self.optimizer_epoch else ("skipped", "adam_")
    names = [n for n in before if not n.startswith(left_out)]
    same = all((before[n] == after[n]).all() for n in names)
    print("untouched" if same else "TOUCHED", flush=True)
    return result
iteration.Training.step = poison
cli.run(train.main)
"""


def bad_numbers(data, count):
    """NaN and infinities in a batch: the step is skipped, nothing else is touched."""
    process = start(data, "poisoned", *phases(0.8),
                    command=[sys.executable, "-c", POISON, ROOT, str(count)])
    output, _ = process.communicate()
    untouched = output.count("untouched")
    state = state_of("poisoned") if process.returncode == 0 else {"skipped": np.zeros(1)}
    finite = all(np.isfinite(a).all() for a in state.values())
    if untouched != count or state["skipped"] != count or not finite:
        say(f"LOST: {output[-800:]}")
    return "a batch with NaN or infinity: skipped, counted, nothing touched", count, \
        count if not finite or state["skipped"] != count else count - untouched


# (e) ----------------------------------------------------------------------------------------------


def fuzz(count, seed):
    """Every reader on mutated files, each kind in a process with bounded time and memory."""
    for kind, label in (("model", ".model files"), ("foreign", "other projects' weights"),
                        ("pictures", "pictures (resize.py and the loader)"),
                        ("archives", "archives (the same)"),
                        ("labels", "dataset.json and tables of labels"), ("fonts", "fonts"),
                        ("bombs", None)):
        process = subprocess.run(
            [sys.executable, os.path.join(HERE, "fuzz.py"), kind, str(count), str(seed)],
            capture_output=True, text=True, timeout=1200)
        lines = process.stdout.splitlines()
        try:
            tried, lost = json.loads(lines[-1])
        except (IndexError, ValueError):                # it crashed, or was killed
            say(f"LOST ({kind}): exit code {process.returncode}\n{process.stderr[-800:]}")
            tried, lost = count, count
        for line in lines[:-1]:
            say(f"LOST ({kind}): {line}")
        promise = "small files built to waste: read or one line, within 2 s and 300 MB"
        yield f"mutated {label}: one line or read, no code run" if label else promise, tried, lost


if __name__ == "__main__":
    sys.exit(main())
