"""Runs that take seconds, as a command and in the tests' own process."""
import contextlib
import os
import subprocess
import sys
import time

import numpy as np
from conftest import ROOT

from dataset import Loader
from training import settings

TINY = ["--batch", 8, "--latent", 16, "--fmap_max", 8, "--device", "cpu", "--workers", 1]
GROWING = TINY + ["--max_size", 16, "--phase_kimg", 0.064, "--fade_kimg", 0.064]


def in_process(symbols, **changes):
    s = settings.OFFICIAL | dict(data=symbols, name="x", batch="8", latent=16, fmap_max=8,
                                 max_size=16, phase_kimg=0.064, fade_kimg=0.064) | changes
    settings.check(s)
    return s, settings.make_schedule(s), settings.model_config(s)


def train_on(training, count):
    s = training.s
    losses = []
    with Loader(s["data"], seed=s["seed"], workers=0) as loader:
        for _ in range(count):
            phase = training.schedule.at(training.images_seen)
            _, images, _ = next(loader.batches(phase.size, phase.batch, training.images_seen))
            measured = training.step(images)
            losses.append([float(measured[name].item()) for name in ("loss_D", "loss_G")])
    return np.array(losses)


@contextlib.contextmanager
def training_process(symbols, folder, name):
    """A train.py of its own process group that makes steps."""
    process = subprocess.Popen(
        [sys.executable, os.path.join(ROOT, "train.py"), symbols, *map(str, TINY), "--max_size",
         "8", "--name", name, "--kimg", "10000"], cwd=folder, stderr=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        while "size 8 from 0 images" not in process.stderr.readline():
            assert process.poll() is None
        time.sleep(8)
        yield process
    finally:
        process.kill()


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
