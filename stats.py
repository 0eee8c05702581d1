"""The numbers of a run over time: sample/<name>/stats.csv, a line for every thousand images."""
import contextlib
import math
import os
import resource
import sys
import time

from cli import UserError, replacing

# From loss_D to grad_norm_G, means over the images since the line before.
COLUMNS = ("kimg", "size", "alpha", "batch", "lr", "loss_D", "loss_G", "score_real", "score_fake",
           "r1", "grad_norm_D", "grad_norm_G", "skipped", "images_per_second", "memory_gib")
KIMG = 1


class Stats:
    """Gathers what every iteration measured, and appends to the file at `path`."""

    def __init__(self, path, images_seen):
        self.path, self.before = path, []
        with contextlib.suppress(UserError):        # none there yet, or not one of ours
            # What came after the file that is resumed comes again.
            self.before = [row for row in read(path) if round(1000 * row["kimg"]) <= images_seen]
        self.begin()

    def begin(self):
        self.gathered, self.images, self.since = {}, 0, time.monotonic()

    def add(self, measured, batch):
        """measured: {name: Var of one element}; nothing waits for their values yet."""
        for name, value in measured.items():
            self.gathered.setdefault(name, []).append(value)
        self.images += batch

    def write(self, training, phase):
        """Append a line, and begin the next. Numbers of skipped steps are not in its means."""
        row = {}
        for name, values in self.gathered.items():
            finite = [value for value in (v.item() for v in values) if math.isfinite(value)]
            row[name] = sum(finite) / len(finite) if finite else None
        row |= dict(kimg=training.images_seen / 1000, size=phase.size, alpha=phase.alpha,
                    batch=phase.batch, lr=phase.lr, skipped=training.skipped.item(),
                    images_per_second=self.images / (time.monotonic() - self.since),
                    memory_gib=peak_memory())
        if self.before is None:
            with open(self.path, "a") as file:
                file.write(line(row))
        else:
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            with replacing(self.path) as file:
                file.write((",".join(COLUMNS) + "\n" + "".join(map(line, self.before + [row])))
                           .encode())
            self.before = None
        self.begin()


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
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
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
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2 ** 30
