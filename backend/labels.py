"""dataset.json: of which class each picture is, as stylegan2-ada's and stylegan3's tools write it.

    {"labels": [["cats/1.jpg", 0], ["dogs/1.jpg", 1]], "classes": ["cats", "dogs"], "made": "…"}

The names are those of the pictures before resize.py, from the folder in which the file is. What the
classes are called is ours, and so is "made", from what resize.py took the labels: only such a file
is it that it may write anew.
"""
import contextlib
import functools
import hashlib
import json
import math
import os
import re
from typing import NamedTuple, Optional

import numpy as np

from backend.archive import Member
from backend.errors import UserError
from backend.files import naming, replacing

NAME = "dataset.json"
MOST_BYTES = 1 << 27
MOST_CLASSES = 10_000           # each is an output of the discriminator
MOST_OF_NAME = 240              # bytes: 255, less what it has more while it is written


class Labels(NamedTuple):
    """numbers: {name of a picture: its class, from 0}; classes: what they are called, [] where
    that is not said; made: from what resize.py took them, None where it did not."""

    numbers: dict
    classes: list
    made: Optional[str] = None

    def how_many(self):
        """Classes."""
        return len(self.classes) or 1 + max(self.numbers.values(), default=-1)

    def names(self):
        """What the classes are called, their numbers where that is not said."""
        return self.classes or [str(number) for number in range(self.how_many())]


def read(file):
    """The Labels of a dataset.json, a path or a Member of an archive; None where it has none.

    Raises UserError, one line that names it.
    """
    try:
        if isinstance(file, Member):
            data = file.read()
        else:
            with open(file, "rb") as opened:
                data = opened.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES >> 20} MiB")
        return parse(json.loads(data))
    except OSError as error:
        raise UserError(f"{file}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file}: no labels that can be read ({str(error)[:100]}), wanted "
                        '{"labels": [["NAME.png", 0], …]}, with a class from 0 for each '
                        "picture") from None


@functools.lru_cache(maxsize=2)
def of_file(file, _modified):
    """What `read` gives, with the names that resize.py makes beside those that are there."""
    found = read(file)
    return found and found._replace(numbers=with_target_names(found.numbers))


def with_target_names(numbers):
    return {target_name(name): number for name, number in numbers.items()} | numbers


def of_pictures(found, names, path):
    """int32 [pictures]: the classes of the pictures `names` in the folder `path`, by what `of_file`
    gave. Raises UserError."""
    missing = [name for name in names if name not in found.numbers]
    if missing:
        has = "has" if len(missing) == 1 else "have"
        raise UserError(f"{len(missing):,} of the {len(names):,} pictures in {path} {has} no label "
                        f"in {NAME} (such as {missing[0]}): add them there or, where pictures were "
                        "moved or deleted since, make all sizes anew in another place: python "
                        "resize.py FOLDER --zip NEW.zip")
    return np.array([found.numbers[name] for name in names], "int32")


def target_name(name):
    """The PNG's name that resize.py gives to the picture `name` (a relative path), different for
    every path.

    a.png keeps its name; others carry eight digits of a hash: a.jpg → a-0c9a5d21.png.
    """
    if os.sep not in name and name.endswith(".png") and len(os.fsencode(name)) <= MOST_OF_NAME:
        return name
    digits = hashlib.sha256(os.fsencode(name)).hexdigest()[:8]
    stem = re.sub(r"[^\w.-]+", "_", os.path.splitext(name)[0].replace(os.sep, "_"))[-100:]
    while len(os.fsencode(stem)) > MOST_OF_NAME - len("-12345678.png"):
        stem = stem[1:]
    return f"{stem.lstrip('.')}-{digits}.png"


def parse(found):
    """Raises ValueError."""
    if not isinstance(found, dict):
        raise ValueError("no object of JSON")
    labels, classes, made = (found.get(key) for key in ("labels", "classes", "made"))
    if labels is None:                          # as those tools write it where there are none
        return None
    if isinstance(labels, dict):
        labels = list(labels.items())
    if not isinstance(labels, list) or not labels or not all(
            isinstance(one, (list, tuple)) and len(one) == 2 and isinstance(one[0], str)
            for one in labels):
        raise ValueError("labels that are no list of pairs")
    lengths = {len(label) for _, label in labels if isinstance(label, list)}
    if len(lengths) > 1:
        raise ValueError(f"labels that are lists of {min(lengths)} and of {max(lengths)} numbers")
    numbers = {name: number_of(label) for name, label in labels}
    classes = [] if classes is None else classes
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes) or \
            len({*classes}) < len(classes):
        raise ValueError("classes that are no list of names")
    for name in numbers:
        os.fsencode(name)                       # a ValueError for what is no name of a file
    if len(classes) > MOST_CLASSES:
        raise ValueError(f"{len(classes):,} classes, wanted up to {MOST_CLASSES:,}")
    if classes and max(numbers.values()) >= len(classes):
        raise ValueError(f"a label {max(numbers.values())}, but names for {len(classes)}")
    return Labels(numbers, classes, made if isinstance(made, str) else None)


def number_of(label):
    """A class of its number, or of zeros and a single one."""
    if isinstance(label, list) and label.count(1) == 1 and label.count(0) == len(label) - 1:
        label = label.index(1)
    if type(label) is not int or not 0 <= label < MOST_CLASSES:
        raise ValueError(f"a label {str(label)[:40]}, wanted a class from 0 to {MOST_CLASSES - 1}")
    return label


def of_names(numbered, made):
    """Labels from {name of a picture: name of its class}; the classes in the order of numbers, then
    of names."""
    classes = sorted({*numbered.values()}, key=lambda name: (
        int(name) if name.isascii() and name.isdecimal() and len(name) < 10 else math.inf, name))
    order = {name: number for number, name in enumerate(classes)}
    return Labels({name: order[kind] for name, kind in numbered.items()}, classes, made)


def to_json(labels):
    """What `read` reads, as bytes."""
    found = {"labels": sorted(map(list, labels.numbers.items()))}
    found |= {"classes": labels.classes} if labels.classes else {}
    found |= {"made": labels.made} if labels.made else {}
    return json.dumps(found, ensure_ascii=False).encode("utf-8", "surrogatepass")


def check_writable(folder, made):
    """Raise UserError where a dataset.json is in a folder that resize.py did not make."""
    path = os.path.join(folder, NAME)
    if not os.path.exists(path):
        return
    there = None
    with contextlib.suppress(UserError):
        there = read(path)
    if there is None or there.made is None:
        raise UserError(f"{path} exists, and resize.py did not make it: give it another name to "
                        f"have the labels from {made}")


def write(folder, labels):
    """Into the dataset.json of a folder, which is there only as a whole."""
    path = os.path.join(folder, NAME)
    with naming(path), replacing(path) as file:
        file.write(to_json(labels))
