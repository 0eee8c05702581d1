"""What a run will cost in arithmetic, time and memory: guesses from the shapes of the layers."""
import functools
import math
import re
import time

import numpy as np

from backend.threads import cores
from networks.config import size_of
from networks.shapes import discriminator_shapes, generator_shapes

MATRIX_GFLOPS = 310             # of the two cores of bench/README.md


@functools.lru_cache
def convolution_macs(config, size):
    """Multiply-adds of (generator, discriminator) for one image at `size`, counted unfused."""
    def side(name):
        # StyleGAN2's sampling layers have as many products as pixels of their smaller side.
        halved = config.arch == "stylegan2" and re.search(r"conv0" if "synthesis" in name else
                                                          r"conv1|skip", name)
        return (size_of(name) or 4) // (2 if halved else 1)

    return tuple(sum(math.prod(shape) * side(name) ** 2 for name, shape in shapes.items()
                     if re.search(r"(conv\d?|skip)\.weight", name)
                     and (size_of(name) or 4) <= size)
                 for shapes in (generator_shapes(config), discriminator_shapes(config)))


OFFICIAL_PASSES = 4, 11


def passes(s):
    """Passes of an iteration over all layers of (generator, discriminator), for a run's settings.

    Generator: twice forward (once with --share_fakes, but for a batch in parts), and gradients of
    pictures and weights once. Discriminator: forward and both gradients for real and for fake (6),
    R1's gradient (1) and, beyond what it shares with the real pictures' gradient, two more for its
    derivative (2), in every --r1_interval-th iteration; forward and the pictures' gradient in the
    G step (2). The relativistic loss has the penalty on both sides, and scores real pictures in the
    G step too. StyleGAN2 has R1 in a step of its own (5, and pictures for the other side), and one
    for the path length, of half a batch (6).
    """
    both = s["loss"] == "relativistic"
    if s["arch"] == "stylegan2":
        penalties = 1 / s["r1_interval"] if s["gamma"] else 0
        return (4 + (3 / s["pl_interval"] if s["pl_weight"] else 0) + both * penalties,
                8 + both + 5 * (1 + both) * penalties)
    penalty = 3 * (1 + both) / s["r1_interval"] if s["gamma"] else 0
    shared = s["share_fakes"] and s["grad_accum"] == 1
    return 4 - shared, 8 + both + penalty


def training_gflop(config, size, passes=OFFICIAL_PASSES):
    """GFLOP per image of the convolutions of one iteration, counted direct: D, R1 and G steps."""
    return 2 * float(np.dot(passes, convolution_macs(config, size))) / 1e9


def image_seconds(config, size, batch, matrix_gflops=MATRIX_GFLOPS, passes=OFFICIAL_PASSES):
    """Seconds that an image takes in training on this CPU, a guess: arithmetic, what the layers
    read and write, and what each operator costs however small it is.

    Fitted to bench/README.md's table: within a seventh of it, but for one row that took 1.6 times
    as long. matrix_gflops: speed of this machine, as `matrix_speed` measures it.
    """
    maps = sum(config.width(s) * s * s for s in config.sizes if s <= size) * 4 / 1e9
    levels = sum(s <= size for s in config.sizes)
    return training_gflop(config, size, passes) / (3 * matrix_gflops) + 22 * maps / cores() + \
        0.008 * levels / batch


def matrix_speed():
    """GFLOP/s of a product of matrices, the best of some in a tenth of a second."""
    a, best, end = np.ones((768, 768), "float32"), math.inf, time.perf_counter() + 0.1
    while time.perf_counter() < end:
        begin = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - begin)
    return 2 * len(a) ** 3 / best / 1e9


def over_run(schedule, cost, images_seen=0):
    """The sum of cost(size) over all images from `images_seen` to the end of the run."""
    borders = [schedule.border(s) for s in schedule.sizes[1:]] + [schedule.total_images]
    total, start = 0.0, images_seen
    for size, end in zip(schedule.sizes, borders):
        end = min(end, schedule.total_images)
        if end > start:
            total += (end - start) * cost(size)
            start = end
    return total


def run_gflop(config, schedule, passes, images_seen=0):
    """GFLOP from `images_seen` to the end of the run."""
    return over_run(schedule, lambda size: training_gflop(config, size, passes), images_seen)


def run_seconds(config, schedule, passes, images_seen=0, matrix_gflops=MATRIX_GFLOPS):
    """Seconds of the same on this CPU, a guess."""
    return over_run(schedule, lambda size: image_seconds(config, size, schedule.batch[size],
                                                         matrix_gflops, passes), images_seen)


def memory_gib(config, schedule, parts=1):
    """Rough peak of a process: activations at the worst size, and three times what a save has.

    parts: into how many each batch is divided, among processes and by --grad_accum.
    """
    worst = 0
    for size in schedule.sizes:
        activations = sum(config.width(s) * s * s for s in config.sizes if s <= size)
        worst = max(worst, 16 * 4 * activations * schedule.batch[size] / parts)
    return 0.15 + (worst + 3 * file_bytes(config)[0]) / 2 ** 30


def file_bytes(config, averages=1):
    """(bytes of a file to resume from, bytes of the files with the averaged generators)."""
    generator, discriminator = (4 * sum(math.prod(shape) for shape in shapes.values())
                                for shapes in (generator_shapes(config),
                                               discriminator_shapes(config)))
    # G, D, Adam's of both, and the averages.
    return (2 + averages) * generator + 2 * discriminator, averages * generator


def duration(seconds):
    """90 → "2 min", 100000 → "1.2 days"."""
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.1f} {unit}" if unit != "min" else f"{seconds / 60:.0f} min"
    return f"{seconds:.0f} s"
