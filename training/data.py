"""What a run trains on: its pictures and their classes, checked before the first step."""
import math
import sys

import numpy as np

from backend import mpi
from backend.errors import UserError, counted
from dataset import PictureFolder, from_which_share, load_labelled, to_float
from weights.bounds import short


def check_classes(labels, config, header, data, name):
    """Raise UserError where a run goes on with other classes than in the header of its file."""
    now, then = labels.classes if labels else [], header.get("classes", [])
    count = labels.how_many() if labels else 0
    if count == config.labels and now == then:
        return
    new, gone = (short(", ".join(sorted({*one} - {*other})), 100)
                 for one, other in ((now, then), (then, now)))
    how = f"{count}, not {config.labels}" if count != config.labels else \
        f"new: {new}, gone: {gone}" if {*now} != {*then} else "in another order"
    raise UserError(f"{data}: other classes than those of the run {name} ({how}): begin another "
                    "with --name")


def check_order(labels, init):
    """Raise UserError where a run begins with weights that know its classes by other numbers; those
    of other classes serve as any weights do."""
    now, then = labels.classes if labels else [], init[0].get("classes", []) if init else []
    if now and then and {*now} != {*then}:
        print(f"note: {init[2]} knows other classes: each goes on from what it knows of the one "
              "with its number", file=sys.stderr)
    elif now != then and sorted(now) == sorted(then):
        raise UserError(f"--init {init[2]}: its classes are in another order "
                        f"({short(', '.join(then))}): give dataset.json the same")


def check(s, schedule, config, labels):
    """Every size of the schedule is there, before the first step is made.

    Returns {size: fingerprint}, and the share of each class, where there are labels.
    """
    pictures, shares = {}, None
    for size in schedule.sizes:
        folder = PictureFolder(s["data"], size, s["holdout"], known=labels)
        folder.check(config.channels)
        pictures[str(size)] = folder.fingerprint()
        if s["holdout"]:
            held = PictureFolder(s["data"], size, s["holdout"], held=True, known=labels)
    if s["metrics"] and len(folder) < 2:
        raise UserError(f"--metrics: {folder.path} has {counted(len(folder), 'picture')}, wanted 2 "
                        "or more to compare: leave --metrics out")
    counts = {size: pictures[size]["count"] for size in pictures}
    if len({*counts.values()}) > 1:
        advice = "where resize.py was stopped, type the same again, and it makes what is missing" \
            if min(counts.values()) < len(folder) else \
            f"there may be some of {folder.size} that training cannot read, of which resize.py says"
        print(f"note: {s['data']}: found " + ", ".join(
            f"{counted(count, 'picture')} of {size}" for size, count in counts.items()) +
            f", wanted as many of each size: {advice}", file=sys.stderr)
    most = max(schedule.batch[size] for size in schedule.sizes)
    names = folder.names + (held.names if s["holdout"] else [])
    few, share = len(folder) < 5000, 1.0
    wanting = bool(s["holdout"]) and len(held) < most           # a batch
    if (few or wanting) and len(names) >= most:
        share = sorted(map(from_which_share, names))[most - 1]
        share = max(0.1, (math.floor(100 * share) + 1) / 100)
    if s["holdout"] and not s.get("resume"):
        print(f"note: --holdout {s['holdout']:g} keeps back {counted(len(held), 'picture')} of "
              f"{len(names):,}" + (
                  f": fewer than a batch ({most}) has places for, so that some come several times, "
                  "which D takes for a lack of variety: the fewer, the lower score_held is" +
                  (f"; --holdout {share:g} keeps enough" if share <= 0.3 else "")
                  if wanting else ""), file=sys.stderr)
    if s["labels"]:
        shares = np.bincount(folder.labels, minlength=config.labels) / len(folder)
    if few:
        advice = ["watch the grids for pictures that repeat"]
        if not s.get("resume"):                 # which keeps its flags
            advice += [] if s["mirror"] else ["try --mirror where it is right"]
            advice += [] if s["holdout"] or share > 0.3 else [
                f"--holdout {share:g} shows whether they are learned by heart"]
            if s["preset"] == "small":
                advice += ["nothing augments them: for long runs see --augment"
                           if s["augment"] == "none" else
                           "they are augmented once D tells nearly all from generated ones "
                           "(--augment none: never)"
                           if (s["augment"], s["augment_p"], s["arch"]) ==
                           ("ada", None, "stylegan1") else
                           "they are augmented"]
        print(f"note: {counted(len(folder), 'picture')}: fewer than 5,000 are few; "
              f"{', '.join(advice)}", file=sys.stderr)
    return pictures, shares


def check_same(folder):
    """Raise UserError in all processes where one sees others; each reads the folder itself."""
    found = folder.fingerprint()
    if not all(mpi.same(int(found.get(key, "0")[:12], 16)) for key in ("names", "labels")):
        raise UserError(f"{folder.path}: not all processes see the same pictures there: leave it "
                        "alone while training starts or grows, and give every machine a whole copy")


class HeldOut:
    """The pictures that --holdout keeps back, for D to score: some batches of the size that is
    trained, which stay in memory. Of several processes the first one scores what is its part of a
    batch, since the others wait for it."""

    # A batch for so many images, and so many of them by turns: each once in a line of stats.csv.
    IMAGES, BATCHES = 250, 4

    def __init__(self, training):
        self.training, self.shape, self.batches = training, None, []

    def is_due(self, before):
        """`before`: the images seen before the last step."""
        return self.training.images_seen // self.IMAGES > before // self.IMAGES

    def score(self, phase):
        """D's mean score of the next batch, a NumPy number; None where they cannot be read."""
        training, shape = self.training, (phase.size, phase.batch // mpi.SIZE)
        if shape != self.shape:
            self.batches = self.load(*shape)
            self.shape = shape if self.batches else None
        if not self.batches:
            return None
        images, labels = self.batches[training.images_seen // self.IMAGES % len(self.batches)]
        return training.score(to_float(images), phase, labels)

    def load(self, size, batch):
        s = self.training.s
        try:
            folder = PictureFolder(s["data"], size, s["holdout"], True, self.training.known)
            # No picture twice, which D would take for a lack of variety, unless there are too few.
            count = max(1, min(self.BATCHES, len(folder) // batch))
            return [load_labelled(folder, range(i * batch, (i + 1) * batch), s["seed"], False,
                                  self.training.config.channels)[:2] for i in range(count)]
        except UserError:       # they are gone, or are being made; the loop says it of all others
            return []
