"""Trains StyleGAN1, growing from small pictures to large ones, or StyleGAN2.

    python train.py data --init_size 8
    python train.py data --arch stylegan2
    python train.py data --resume

This is the run: what it begins with, its loop, what it writes. One iteration is in
training/iteration.py, of StyleGAN2 in training/iteration2.py.
"""
import os
import re
import shlex
import sys
import time

import numpy as np

import backend
from backend import mpi, streams
from backend.errors import UserError, counted
from backend.files import make_folder
from cli import COMPILER_FAILED, StopSignals, bring_up, compiler_failed, run
from dataset import Loader, PictureFolder, load_batch, read_labels, to_float
from pictures.grid import save_grid
from pictures.painter import one_hot
from training import data, flags, runs, samples, settings, stats
from training.measuring import DuringTraining
from training.progress import (
    ProgressBar,
    dry_run,
    say_growth,
    say_how_long,
    say_other_kernels,
    say_what_changed,
    say_what_is_not_reached,
)
from training.schedule import can_be_divided, crossed, group_unit
from weights import snapshot

CHECKPOINTS, SAMPLES = "checkpoint", "sample"
MOST_SKIPPED = 10               # steps in a row whose numbers are not finite


def main(argv=None):
    started = time.monotonic()
    typed = flags.parse(argv)
    name = typed["name"]
    lock = None if typed.get("dry_run") or not mpi.FIRST else runs.lock(CHECKPOINTS, name)
    saved = find_run(typed)
    init = (*snapshot.load_any(typed["init"]), typed["init"]) if "init" in typed else None
    if saved:
        s = settings.resumed_run(typed, saved[0]["settings"])
        config = snapshot.model_config(saved[0], saved[2])
    else:
        s = settings.new_run(typed, init and init[0])
    labels = read_labels(s["data"]) if s["labels"] else None
    if saved:
        data.check_classes(labels, config, saved[0], s["data"], s["name"])
    else:
        config = settings.model_config(s, init and init[0], labels.how_many() if labels else 0)
        data.check_order(labels, init)
    settings.check_division(s, config)
    settings.check_freeze(s, config, init)
    schedule = settings.make_schedule(s)
    pictures, shares = data.check(s, schedule, config, labels)
    backend.use_conv(s["conv"])
    say_what_is_not_reached(schedule)
    if saved:
        say_what_changed(s, config, pictures, saved[0])
    if s.get("dry_run"):
        return dry_run(config, schedule, s, saved[0]["images_seen"] if saved else 0)
    if saved and saved[0]["images_seen"] >= schedule.total_images:
        print(f"The run {name} is finished: {saved[0]['images_seen']:,} images of "
              f"{schedule.total_images:,}. To make it longer, type a --kimg above "
              f"{saved[0]['images_seen'] / 1000:g}.")
        return 0
    if mpi.FIRST:                       # the only one that writes
        advice, grids = "type it in a folder that can be written", os.path.join(SAMPLES, name)
        make_folder(CHECKPOINTS, advice=advice)
        lock = lock or runs.lock(CHECKPOINTS, name)     # held until this process ends
        runs.remove_leftovers(CHECKPOINTS, name)
        if saved:
            runs.set_aside_damaged(CHECKPOINTS, name, saved[2])
        else:
            stats.set_aside(grids)
        make_folder(grids, advice=advice)
        runs.check_space(CHECKPOINTS, s, config)

    jt = bring_up(s["device"], s["cuda_home"], s["amp"])
    training = make_training(s, schedule, config, pictures, shares, labels)
    if saved:
        say_other_kernels(training, saved[0])
        training.restore(*saved)
        if mpi.SIZE > 1 and not mpi.same(training.checksum()):
            raise UserError(f"{saved[2]}: the processes have read different files: give every "
                            "machine the same folder checkpoint/")
        if settings.augmentation(s) != settings.augmentation(saved[0]["settings"]):
            # So that a --resume after this one goes on in the same way.
            runs.Saver(CHECKPOINTS, name, s["keep"], lambda line: print(line, file=sys.stderr)
                       ).save(training)
    else:
        if init:
            training.start_from(*init)
        training.start_together()
    saved = init = None                 # their arrays are large, and copied
    say_how_long(jt, training)
    try:
        return loop(training, started)
    except (RuntimeError, MemoryError) as error:
        if compiler_failed(error):
            raise UserError(f"{COMPILER_FAILED}; {how_to_go_on(s)}") from None
        if not is_out_of_memory(error):
            raise
        raise UserError(memory_advice(s, schedule, training.images_seen)) from None


def make_training(s, schedule, config, *of_data):
    """The Training of a run's architecture; of_data: pictures, shares, labels."""
    if s["arch"] == "stylegan2":
        from training.iteration2 import StyleGAN2Training as Training
    else:
        from training.iteration import Training
    return Training(s, schedule, config, *of_data)


def memory_advice(s, schedule, images_seen):
    """Where memory was not enough."""
    phase, accum = schedule.at(images_seen), 2 * s["grad_accum"]
    remedy = "begin another run with a smaller --fmap_max or --max_size"
    unit = group_unit(s["stddev_group"]) * mpi.SIZE * accum
    if can_be_divided(s["stddev_group"]) and not any(schedule.batch[size] % unit
                                                     for size in schedule.sizes):
        resume = "--resume " * os.path.exists(runs.resume_path(CHECKPOINTS, s["name"]))
        remedy = f"type {resume}--grad_accum {accum}, which trains the same in less memory"
    return f"out of memory at size {phase.size} with batch {phase.batch}: {remedy}"


def is_out_of_memory(error):
    """A want of memory, not Jittor's guess that there may be one."""
    return isinstance(error, MemoryError) or not compiler_failed(error) and bool(re.search(
        r"unable to alloc|cannot allocate|bad_alloc|(?<!maybe )out of memory", str(error), re.I))


def how_to_go_on(s):
    """What was saved last, and the command that goes on from there."""
    last = runs.newest(CHECKPOINTS, s["name"])
    if last is None:
        return "nothing had been saved yet"
    images = snapshot.load(last)[0]["images_seen"]
    return f"all up to {images:,} images is saved in {last}. To go on, type: {resume_command(s)}"


def find_run(typed):
    """(header, arrays, path) of the run to go on with, None for a new one."""
    name, resume = typed["name"], typed.get("resume")
    saved = runs.load_resume(CHECKPOINTS, name) if resume else None
    if saved or typed.get("dry_run") and not resume:
        return saved
    there = [p for p in (runs.resume_path(CHECKPOINTS, name),
                         runs.previous_path(CHECKPOINTS, name)) if os.path.exists(p)]
    if there:
        raise UserError(f"the run {name} exists ({there[0]}): type --resume to go on with it, or "
                        "--name OTHER to begin another")
    if models := runs.model_files(CHECKPOINTS, name):
        raise UserError(f"of the run {name}, {models[-1]} is there, but no "
                        f"{runs.resume_path(CHECKPOINTS, name)} to go on from: type --init "
                        f"{shlex.quote(models[-1])} --name OTHER, which begins with its weights")
    if resume:
        others = ", ".join(runs.names(CHECKPOINTS)) or "none"
        raise UserError(
            f"--resume: there is no run {name} in {os.getcwd()} (no "
            f"{runs.resume_path(CHECKPOINTS, name)}; runs that are there: {others}): type it in "
            "the folder where the run began, name the run with --name, or leave --resume out to "
            "begin")
    return None


# The loop ----------------------------------------------------------------------------------------


def loop(training, started):
    s, schedule = training.s, training.schedule
    columns, rows = samples.grid_shape(schedule.max_size, training.config.labels)
    cell = max(schedule.max_size, 64)                   # pixels; smaller pictures are enlarged
    classes = samples.row_classes(training.config.labels, rows).repeat(columns)
    latents = streams.rng("grid", s["seed"]).standard_normal(
        (columns * rows, training.config.latent), "float32")
    if len(classes):
        latents = np.concatenate([latents, one_hot(classes, training.config.labels)], 1)
    out = os.path.join(SAMPLES, s["name"])
    stop = StopSignals(started, s["max_minutes"])
    watch = DuringTraining(s, started)
    with ProgressBar(training) as bar, Loader(s["data"], training.config.channels, s["seed"],
                                              s["mirror"], s["workers"], bar.write,
                                              s["holdout"], training.known) as loader:
        saver = runs.Saver(CHECKPOINTS, s["name"], s["keep"], bar.write)

        def write_samples():
            """By the first process alone; no step leaves anything open that needs the others."""
            path = os.path.join(out, f"{training.images_seen:09d}.png")
            with saver.trying("training goes on"):
                if mpi.FIRST:
                    os.makedirs(out, exist_ok=True)
                    save_grid(training.sample(latents), columns, path, cell)
            return path

        if training.images_seen == 0 and mpi.FIRST:
            folder = loader.folder(schedule.max_size)
            files = samples.real_files(folder, s["seed"], columns * rows, classes)
            real, _ = load_batch(files, [False] * len(files), schedule.max_size,
                                 training.config.channels)
            with saver.trying("training goes on"):
                save_grid(to_float(real), columns, os.path.join(out, "real.png"), cell)
        events = s["tensorboard"] and mpi.FIRST and stats.Events(
            os.path.join(out, "events"), training.images_seen)
        course = stats.Stats(os.path.join(out, "stats.csv"), training.images_seen, events)
        held = s["holdout"] and mpi.FIRST and data.HeldOut(training)
        size = None
        while training.images_seen < schedule.total_images:
            phase = schedule.at(training.images_seen)
            begins = phase.size != size
            if begins:
                if size:
                    saver.save(training)                # the larger one may not fit into memory
                say_growth(training, phase, bar)
                size = phase.size
                batches = loader.batches(size, phase.batch, training.images_seen,
                                         training.my_parts(phase.batch).ravel())
            before, problem = training.images_seen, None
            try:
                _, images, known = next(batches)
            except UserError as error:                  # the pictures are gone
                problem = error
            verdict = mpi.largest(2 if problem else int(stop.asked()))
            if verdict == 2:
                saver.save(training)
                mpi.largest(0)                          # until the first has saved
                if problem is None:
                    mpi.largest(0)                      # until another has told its problem
                raise UserError(f"{problem}; {how_to_go_on(s)}")
            if verdict == 1:
                break
            if begins:
                data.check_same(loader.folder(size))
            measured, found = training.step(images, known), {}
            bar.step(phase, measured)
            if held and held.is_due(before):
                measured["score_held"] = held.score(phase)
            course.add(measured, phase.batch)
            if (crossed(before, training.images_seen, s["metric_kimg"])
                    or training.images_seen >= schedule.total_images):
                with bar.paused() as seconds:
                    found = watch.measure(training, bar.write, stop.asked) if mpi.FIRST else {}
                course.add_metrics(found, seconds())
            if found or crossed(before, training.images_seen, stats.KIMG):
                with saver.trying("training goes on"):
                    course.write(training, phase)
            if too_many_skipped(training, phase):
                return give_up(training, phase, before)
            if crossed(before, training.images_seen, s["sample_kimg"]):
                write_samples()
            if crossed(before, training.images_seen, s["save_kimg"]):
                saver.save(training)
        saver.save_at_the_end(training)
        if course.images:
            with saver.trying("the last numbers of this run are not in its stats.csv"):
                course.write(training, phase)
        grid = write_samples()
    model = runs.model_path(CHECKPOINTS, s["name"], training.images_seen)
    print(f"Saved {model} and the grid {grid}")
    if training.skipped.item():
        skipped = counted(round(training.skipped.item()), "step")
        print(f"{skipped} skipped, whose numbers were not finite")
    if training.images_seen < schedule.total_images:
        print(f"Stopped at {training.images_seen:,} images. To go on, type: {resume_command(s)}")
    else:
        size = training.header()["size"]
        short = f" at size {size} of {schedule.max_size}" if size < schedule.max_size else ""
        print(f"Finished{short}. To see more, type: python generate.py {shlex.quote(model)}")
    return 0


def too_many_skipped(training, phase):
    """Ten steps in a row were not finite. A GPU is asked every tenth step only: asking waits."""
    if backend.jt.flags.use_cuda and training.images_seen // phase.batch % MOST_SKIPPED:
        return False
    return training.skipped_in_a_row.item() >= MOST_SKIPPED


def give_up(training, phase, first):
    """Nothing is written; the pictures of the last step are named."""
    s = training.s
    folder = PictureFolder(s["data"], phase.size, s["holdout"])
    files = folder.files(range(first, first + phase.batch), s["seed"])
    last = runs.newest(CHECKPOINTS, s["name"])
    print(f"error: the numbers of {MOST_SKIPPED} steps in a row were not finite, up to "
          f"{training.images_seen:,} images; the last file saved is "
          f"{last or 'none'}. The pictures of the last step:\n  " + "\n  ".join(map(str, files)) +
          (f"\nTo go on from that file, type: {resume_command(s)}" if last else ""),
          file=sys.stderr)
    return 3


def resume_command(s):
    name = "" if s["name"] == os.path.basename(os.path.abspath(s["data"])) else \
        f" --name {shlex.quote(s['name'])}"
    start = f"mpirun -np {mpi.SIZE} " * (mpi.SIZE > 1)
    return f"{start}python train.py {shlex.quote(s['data'])}{name} --resume"


if __name__ == "__main__":
    run(main, parallel=True)
