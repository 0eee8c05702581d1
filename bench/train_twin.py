"""A full training run of the PyTorch twin: the recipe, the data and the files of train.py.

    python bench/train_twin.py data --name twin --max_minutes 20

Takes the flags of train.py, but for what the twin has not: type --loss logistic --r1_interval 1
--no_share_fakes after --preset small.
Not resumable, no grids; its checkpoint/NAME_*.model are read by generate.py and metrics.py as ours
are. Needs PyTorch.
"""
import dataclasses
import os
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

import torch  # noqa: E402
from tqdm import tqdm  # noqa: E402

from backend.errors import UserError  # noqa: E402
from bench.torch_twin import Twin  # noqa: E402
from cli import run  # noqa: E402
from dataset import Loader  # noqa: E402
from training import flags, runs, settings  # noqa: E402
from training.schedule import crossed, ema_beta, gradient_scale  # noqa: E402
from weights import snapshot  # noqa: E402

# What the twin has only the ordinary way.
ONLY = dict(loss="logistic", r1_interval=1, share_fakes=False)


def main(argv=None):
    started = time.monotonic()
    s = settings.new_run(flags.parse(argv))
    for flag, value in ONLY.items():
        if s[flag] != value:
            raise UserError(f"--{flag}: found {s[flag]}, the twin has {value} only: type --loss "
                            "logistic --r1_interval 1 --no_share_fakes")
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.manual_seed(s["seed"])
    config, schedule = settings.model_config(s), settings.make_schedule(s)
    twin, images_seen, epoch, size = Twin(config), 0, None, None
    bar = tqdm(total=schedule.total_images, unit="img", mininterval=10)
    with Loader(s["data"], config.channels, s["seed"], s["mirror"], s["workers"]) as loader:
        while (images_seen < schedule.total_images
               and time.monotonic() - started < 60 * s["max_minutes"]):
            phase = schedule.at(images_seen)
            if phase.size != size:
                size = phase.size
                batches = loader.batches(size, phase.batch, images_seen)
            if phase.optimizer_epoch != epoch:
                epoch = phase.optimizer_epoch
                twin.begin(size, phase.fading, phase.lr)
            gamma = s["gamma"] * gradient_scale(size, schedule.max_size, s["gamma_scale"]) ** 2
            before = images_seen
            twin.step(torch.from_numpy(next(batches)[1]), phase.alpha, gamma, s["mixing"],
                      ema_beta(phase.batch, s["ema_kimg"][0]))
            images_seen += phase.batch
            bar.update(phase.batch)
            if crossed(before, images_seen, s["save_kimg"]):
                save(twin, s, schedule, images_seen)
    save(twin, s, schedule, images_seen)
    return 0


def save(twin, s, schedule, images_seen):
    phase = schedule.trained(images_seen)
    header = {"kind": "generator", "images_seen": images_seen, "name": s["name"],
              "size": phase.size, "alpha": phase.alpha, "settings": settings.to_save(s),
              "model": dataclasses.asdict(twin.config)}
    arrays = {f"ema/{name}": value.numpy() for name, value in twin.G_ema.state_dict().items()}
    os.makedirs("checkpoint", exist_ok=True)
    snapshot.save(runs.model_path("checkpoint", s["name"], images_seen), header, arrays)


if __name__ == "__main__":
    run(main)
