"""The numbers of a run over time: sample/<name>/stats.csv, a line for every thousand images."""
import contextlib
import itertools
import math
import os
import re
import resource
import sys
import time

from backend import mpi
from backend.errors import UserError
from backend.files import replacing
from measures import evaluate

# Means over the steps since the line before that were not skipped.
MEANS = ("loss_D", "loss_G", "score_real", "score_fake", "r1", "grad_norm_D", "grad_norm_G",
         "path_length", "score_sign", "score_held")
COLUMNS = ("kimg", "size", "alpha", "batch", "lr", *MEANS, "augment_p", "skipped",
           "images_per_second", "memory_gib", *evaluate.COLUMNS)
KIMG = 1


def set_aside(folder):
    """Give the folder of an earlier run, whose files of weights are gone, another name."""
    if os.path.exists(os.path.join(folder, "stats.csv")):
        names = (f"{folder}_{number}" for number in itertools.count(1))
        other = next(name for name in names if not os.path.lexists(name))
        try:
            os.rename(folder, other)
        except OSError as error:
            raise UserError(f"{folder}: has the numbers of an earlier run, and cannot be renamed "
                            f"({error.strerror}): type another --name") from None
        print(f"note: {folder} was there, of an earlier run: it is {other} now", file=sys.stderr)


class Stats:
    """Gathers what every iteration measured, and appends to the file at `path`.

    events: an Events, which gets the same numbers, or None.
    """

    def __init__(self, path, images_seen, events=None):
        self.path, self.before, self.events = path, [], events
        with contextlib.suppress(UserError):        # none there yet, or not one of ours
            # What came after the file that is resumed comes again.
            self.before = [row for row in read(path) if round(1000 * row["kimg"]) <= images_seen]
        self.begin()

    def begin(self):
        self.gathered, self.images, self.since = [], 0, time.monotonic()
        self.metrics = {}

    def add(self, measured, batch):
        """measured: what Training.step returned, and what else there is of MEANS, or None; nothing
        waits for its values yet."""
        self.gathered.append(measured)
        self.images += batch

    def add_metrics(self, found, seconds):
        """{column: value} of metrics.py, for the next line; its images/s leave their time out."""
        self.metrics = found
        self.since += seconds

    def write(self, training, phase):
        """Append a line, and begin the next. Numbers of skipped steps are not in its means, also
        those of a network whose own numbers were finite."""
        if not mpi.FIRST:
            return self.begin()
        row, steps = {}, [step for step in self.gathered if step["sound"].item()]
        for name in MEANS:
            values = [step[name].item() for step in steps if step.get(name) is not None]
            values = [value for value in values if math.isfinite(value)]    # a norm may overflow
            row[name] = sum(values) / len(values) if values else None
        augmentation = training.augmentation
        row |= dict(kimg=training.images_seen / 1000, size=phase.size, alpha=phase.alpha,
                    batch=phase.batch, lr=phase.lr, skipped=training.skipped.item(),
                    augment_p=augmentation.p if augmentation else None,
                    images_per_second=self.images / (time.monotonic() - self.since),
                    memory_gib=peak_memory()) | self.metrics
        names = ",".join(COLUMNS) + "\n"
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        if self.before is None:
            with open(self.path, "a") as file:          # a new one, where somebody has deleted it
                file.write(line(row) if file.tell() else names + line(row))
        else:
            with replacing(self.path) as file:
                file.write((names + "".join(map(line, self.before + [row]))).encode())
            self.before = None
        self.begin()
        if self.events:
            self.events.write(training.images_seen, row)


class Events:
    """The same numbers for TensorBoard, as event files in `folder`; the step is images seen.

    Raises UserError where neither tensorboardX nor tensorboard is installed.
    """

    def __init__(self, folder, images_seen):
        path = os.path.join(folder, f"events.out.tfevents.{time.time():.0f}.{os.getpid()}")
        # Records, not their EventFileWriter: its thread ends when the disk is full, and then the
        # next flush would wait for it for ever.
        try:
            from tensorboardX.proto import event_pb2, summary_pb2
            from tensorboardX.record_writer import RecordWriter
            file = path
        except ImportError:
            try:
                from tensorboard.compat.proto import event_pb2, summary_pb2
                from tensorboard.summary.writer.record_writer import RecordWriter
            except ImportError:
                raise UserError("--tensorboard needs one more package: type pip install "
                                "tensorboardX") from None
            file = None
        os.makedirs(folder, exist_ok=True)
        self.records = RecordWriter(file or open(path, "wb"))
        self.event, self.summary = event_pb2, summary_pb2.Summary
        self.add(0, file_version="brain.Event:2")
        # TensorBoard forgets what came after the file that is resumed.
        self.add(images_seen, session_log=event_pb2.SessionLog(status=event_pb2.SessionLog.START))

    def add(self, step, **content):
        event = self.event.Event(wall_time=time.time(), step=step, **content)
        self.records.write(event.SerializeToString())
        self.records.flush()

    def write(self, images_seen, row):
        values = [self.summary.Value(tag=name, simple_value=value) for name, value in row.items()
                  if value is not None and name != "kimg"]
        self.add(images_seen, summary=self.summary(value=values))


def line(row):
    def shown(name):
        if row.get(name) is None:
            return ""
        return f"{row[name]:.3f}" if name == "kimg" else f"{row[name]:.6g}"
    return ",".join(map(shown, COLUMNS)) + "\n"


def read(path):
    """The lines of a file as [{column: number, or None where there is none}].

    Lines that a crash cut off or damaged are left out. Raises UserError for another kind of file.
    """
    try:
        with open(path, newline="") as file:
            text = file.read()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file, wanted the stats.csv of a run") from None
    names, *lines = text[:text.rfind("\n") + 1].splitlines() or [""]
    names, rows = names.split(","), []
    if "kimg" not in names:
        raise UserError(f"{path}: found no column kimg, wanted the stats.csv of a run")
    for values in lines:
        with contextlib.suppress(ValueError):
            values = [float(value) if value else None for value in values.split(",")]
            if len(values) == len(names) and values[names.index("kimg")] is not None:
                rows.append(dict(zip(names, values)))
    return rows


def peak_memory():
    """GiB that this process has used at most."""
    # getrusage's may be that of the process that started this one.
    with contextlib.suppress(OSError, TypeError):
        with open("/proc/self/status") as file:
            return int(re.search(r"VmHWM:\s+(\d+) kB", file.read())[1]) / 2 ** 20
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2 ** 30
