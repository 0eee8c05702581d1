"""Pictures/s of resize.py beside a loop over sizes: python bench/resize.py [--count 1000]

Both make 256 … 8 from pictures of 512 with the same filter and two processes; the loop opens every
picture once for each size and shrinks it in one go. They take turns; the ratio is the median's.
"""
import argparse
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from PIL import Image

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SIZES = [256, 128, 64, 32, 16, 8]
PROCESSES = 2


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000, help="pictures (default 1000)")
    parser.add_argument("--rounds", type=int, default=3, help="measured turns (default 3)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(folder, "512")
        run("symbols.py", source, "--count", str(args.count))
        seconds = {"resize.py": [], "loop": []}
        for _ in range(args.rounds):
            for name, function in (("resize.py", resize), ("loop", loop)):
                start = time.perf_counter()
                function(source, folder)
                seconds[name].append(time.perf_counter() - start)
                for size in SIZES:
                    shutil.rmtree(os.path.join(folder, str(size)))
    for name, times in seconds.items():
        print(f"{name:10} {args.count / statistics.median(times):7.1f} pictures/s")
    print(f"ratio {statistics.median(b / a for a, b in zip(*seconds.values())):.2f}")


def run(script, *arguments):
    subprocess.run([sys.executable, os.path.join(ROOT, script), *arguments], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def resize(source, _folder):
    run("resize.py", source, "--min_size", str(SIZES[-1]), "--workers", str(PROCESSES))


def loop(source, folder):
    names = sorted(os.listdir(source))
    with multiprocessing.Pool(PROCESSES) as pool:
        for size in SIZES:
            target = os.path.join(folder, str(size))
            os.mkdir(target)
            pool.starmap(shrink, [(os.path.join(source, name), os.path.join(target, name), size)
                                  for name in names], chunksize=8)


def shrink(path, target, size):
    Image.open(path).convert("RGB").resize((size, size), Image.LANCZOS).save(target)


if __name__ == "__main__":
    main()
