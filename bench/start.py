"""Seconds until training runs: python bench/start.py

Warm: from the start of the process to the end of the first training step at size 8. Cold: the same
without any compiled kernel (Jittor itself is compiled), and then the first step of every phase that
follows while the networks grow to 64, less the time of its second step.
"""
import argparse
import math
import os
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fmap_max", type=int, default=64, help="width (default 64)")
    parser.add_argument("--max_size", type=int, default=64, help="grow to this (default 64)")
    parser.add_argument("--worker", choices=["cold", "warm"], help=argparse.SUPPRESS)
    parser.add_argument("--started", type=float, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return work(args)
    for kind in ("cold", "warm"):               # the first also makes what the second needs
        print(f"{kind}:", flush=True)
        subprocess.run([sys.executable, os.path.abspath(__file__), "--worker", kind, "--fmap_max",
                        str(args.fmap_max), "--max_size", str(args.max_size),
                        "--started", str(time.time())], check=True, stderr=subprocess.DEVNULL)


def work(args):
    import numpy as np

    from backend import jt
    from training import settings
    from training.iteration import Training
    if args.worker == "cold":
        folder = tempfile.TemporaryDirectory()
        for part in "jit", "obj_files", "tmp":
            os.makedirs(os.path.join(folder.name, part))
        jt.flags.cache_path = folder.name
    s = settings.OFFICIAL | dict(data="-", name="-", init_size=8, max_size=args.max_size,
                                 batch="16", fmap_max=args.fmap_max, latent=args.fmap_max,
                                 phase_kimg=0.032, fade_kimg=0.032,
                                 kimg=0.064 * int(math.log2(args.max_size)) - 0.16)
    schedule = settings.make_schedule(s)
    training, phase = Training(s, schedule, settings.model_config(s)), None
    while training.images_seen < schedule.total_images:
        now = schedule.at(training.images_seen)
        images = np.zeros((now.batch, 3, now.size, now.size), "float32")
        start = time.perf_counter()
        training.step(images)["loss_G"].item()
        seconds = time.perf_counter() - start
        if phase is None:
            print(f"  first step at size {now.size}, {time.time() - args.started:.1f} s after the "
                  "start", flush=True)
        elif (now.size, now.fading) != phase:
            first = seconds
        elif first is not None:
            print(f"  size {now.size}{', fading in' if now.fading else ''}: "
                  f"{max(0, first - seconds):.1f} s", flush=True)
            first = None
        if phase is None:
            first = None
        phase = now.size, now.fading


if __name__ == "__main__":
    main()
