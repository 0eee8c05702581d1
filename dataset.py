"""Pictures by directory name (data/8, data/16 …) as an endless, seeded stream of full batches.

They may lie in one archive, data.zip. What comes at position `images_seen` depends on the seed and
the pictures' names alone: not on the number of workers, nor on where the stream was started.
Nothing here imports Jittor.
"""
import collections
import concurrent.futures
import contextlib
import copy
import functools
import hashlib
import io
import multiprocessing
import os
import shlex

import numpy as np
from PIL import Image

from backend import labels, pixels, streams
from backend.archive import Member, contents, is_archive
from backend.errors import UserError
from backend.signals import start_worker
from networks.config import power_of_two

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
CHECKED_AT_START = 50           # pictures per size whose header is read before the first step


class PictureFolder:
    """The pictures of one size in `root`/<size>, a folder or in an archive. Holds their names only.

    holdout: the share of them that is left out, or, where `held`, what is there instead; a
    picture's name decides, so that it is the same one at all sizes. known: the Labels that
    read_labels gave; then `labels` is the class of each picture, int32 [pictures], else None.
    Raises UserError for a missing or empty folder, and where a label is missing.
    """

    def __init__(self, root, size, holdout=0.0, held=False, known=None):
        self.path, self.size = os.path.join(root, str(size)), size
        self.archived = archived_sizes(root).get(size) if is_archive(root) else None
        try:
            if self.archived:
                names = self.archived.names
            elif is_archive(root):
                raise FileNotFoundError
            else:
                with os.scandir(self.path) as entries:
                    names = sorted(entry.name for entry in entries)
        except OSError:
            if not os.path.exists(root):
                raise UserError(f"{root}: no such folder or .zip: type where the pictures are "
                                "now") from None
            raise UserError(f"{self.path}: no such folder, wanted pictures of {size}×{size}: "
                            f"{what_to_type(root, size)}") from None
        self.places = [i for i, name in enumerate(names)        # among all files that are there
                       if is_picture(name)]
        self.names = [names[i] for i in self.places]
        if not self.names:
            raise UserError(f"{self.path}: no pictures in it, wanted some of {size}×{size}: "
                            f"{what_to_type(root, size)}")
        if holdout:
            count = len(self.names)
            kept = [i for i, name in enumerate(self.names) if is_held(name, holdout) == held]
            self.names = [self.names[i] for i in kept]
            self.places = [self.places[i] for i in kept]
            if not self.names:
                raise UserError(f"--holdout {holdout:g}: that is {'none' if held else 'all'} of "
                                f"the {count} pictures in {self.path}: type another share")
        self.labels = labels.of_pictures(known, self.names, self.path) if known else None

    def __len__(self):
        return len(self.names)

    def check(self, channels=3):
        """Raise UserError if one of a few pictures, spread over the folder, has another size, or
        if there are to be 4 channels and none of them is transparent anywhere."""
        step = max(1, len(self) // CHECKED_AT_START)
        transparent = channels < 4
        for i in range(0, len(self), step):
            path = self.file(i)
            try:
                with Image.open(opened(path)) as picture:
                    check_size(path, picture.size, self.size)
                    with contextlib.suppress(OSError, SyntaxError, ValueError):
                        transparent = transparent or pixels.is_transparent(picture)
            except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
                raise UserError(f"{path}: cannot be read ({error}): leave it out") from None
        if not transparent:
            raise UserError(f"{self.path}: found no picture with transparent parts (of "
                            f"{len(range(0, len(self), step))} that were looked at), wanted some, "
                            "for 4 channels are colours and transparency: make them with python "
                            "resize.py FOLDER --alpha --force; those that have none are for "
                            "networks without --channels 4")

    def fingerprint(self):
        """{"count": number of pictures, "names": hash of their names}, "labels": of their labels,
        where there are."""
        found = {"count": len(self),
                 "names": hashlib.sha1("\n".join(self.names).encode(errors="replace")).hexdigest()}
        return found if self.labels is None else \
            found | {"labels": hashlib.sha1(self.labels.tobytes()).hexdigest()}

    def file(self, i):
        """The path of a picture, or the Member of an archive that it is."""
        return self.archived.member(self.places[i]) if self.archived else \
            os.path.join(self.path, self.names[i])

    def indices(self, positions, seed):
        """Which pictures are at these positions of the endless shuffle."""
        return [int(shuffled(len(self), i // len(self), seed)[i % len(self)]) for i in positions]

    def of_class(self, number):
        """A PictureFolder of only those of one class; there may be none."""
        some = copy.copy(self)
        kept = np.flatnonzero(self.labels == number)
        some.names, some.places = ([whole[i] for i in kept] for whole in (self.names, self.places))
        some.labels = self.labels[kept]
        return some

    def files(self, positions, seed):
        """Those at these positions."""
        return [self.file(i) for i in self.indices(positions, seed)]


def opened(file):
    """What Pillow can open: of an archive, bytes that are read now."""
    return io.BytesIO(file.read()) if isinstance(file, Member) else file


def archived_sizes(path):
    """{size: its Contents} of an archive: 8/, 16/ … at its top or in a folder of it."""
    return archived_place(path)[1]


def archived_place(path):
    """(the folder of an archive in which 8/, 16/ … are, {size: its Contents})."""
    found = {}                                          # by the folder that they are in
    for folder, there in contents(path).items():
        above, _, name = folder.rpartition("/")
        size = power_of_two(name)
        if size and size <= 1024 and name == str(size):
            found.setdefault(above, {})[size] = there
    highest = min(found, default=None, key=lambda above: (
        above.count("/") + bool(above), -len(found[above]), above))
    return highest or "", found.get(highest, {})


def read_labels(root):
    """The labels.Labels of the pictures in 8/, 16/ … of `root`, from the dataset.json beside them.

    Raises UserError where there is none, or where it does not tell two classes.
    """
    place, there = root, None
    if is_archive(root):
        place = f"{root}/{archived_place(root)[0]}".rstrip("/")
        there = contents(root).get(archived_place(root)[0])
    path = os.path.join(place, labels.NAME)
    is_there = labels.NAME in there.names if there else os.path.isfile(path)
    if not is_there:
        if not os.path.exists(root):
            raise UserError(f"{root}: no such folder or .zip: type where the pictures are now")
        raise UserError(f"no {path}, which says of which class each picture is: type python "
                        "resize.py FOLDER, where FOLDER has a sub-folder for each class, or with "
                        "--labels FILE.csv:COLUMN")
    found = labels.of_file(there.member(there.names.index(labels.NAME)) if there else path,
                           os.stat(root if there else path).st_mtime_ns)
    if not found or found.how_many() < 2:
        raise UserError(f"{path}: found {'one class' if found else 'no labels'}, wanted two or "
                        "more")
    return found


def is_picture(name):
    """Whether a file of this name is taken for a picture to train on."""
    return name.lower().endswith(PICTURES) and not name.startswith(".")


def is_held(name, share):
    """Whether a picture of this name belongs to that share of all; so do those that resize.py makes
    of it."""
    return from_which_share(name) < share


def from_which_share(name):
    """Any larger share, from 0 to 1, holds the picture of this name."""
    stem = os.path.splitext(labels.target_name(name))[0].encode(errors="replace")
    return int.from_bytes(hashlib.sha1(stem).digest()[:4], "big") / 2 ** 32


@functools.lru_cache(maxsize=2)
def shuffled(count, epoch, seed):
    """The order of one pass over `count` pictures."""
    return streams.rng("order", seed, epoch).permutation(count)


def available_sizes(root):
    """Sorted sizes of the power-of-two folders in `root`. Raises UserError for what is neither a
    folder nor an archive."""
    if is_archive(root):
        return sorted(archived_sizes(root))
    try:
        names = [e.name for e in os.scandir(root) if e.is_dir()]
    except NotADirectoryError:
        end = root.lower().rfind(".zip/") + len(".zip")
        if is_archive(root[:end]):
            raise UserError(f"{root}: all sizes of an archive are wanted: type {root[:end]}"
                            ) from None
        raise UserError(f"{root}: a file, wanted a folder or a .zip that holds 8/, 16/ …: put "
                        "pictures into a folder, say photos, and type python resize.py photos"
                        ) from None
    except OSError as error:
        raise UserError(f"{root}: {error.strerror}; wanted a folder or a .zip that holds 8/, "
                        "16/ …, as python resize.py makes them from pictures") from None
    return sorted(size for size in map(power_of_two, names) if size and size <= 1024)


def check_root(root, command):
    """Raise UserError where `root` is no folder of sizes, with what to type instead.

    command: what was typed before it.
    """
    if available_sizes(root):
        return
    above, name = os.path.split(os.path.abspath(root))
    if power_of_two(name):
        first = "" if len(available_sizes(above)) > 1 else \
            f"python resize.py {shlex.quote(root)}, then "
        above = os.path.dirname(os.path.normpath(root)) or \
            (os.path.relpath(above) if root != os.path.abspath(root) else above)
        raise UserError(f"{root} holds pictures of one size, wanted the folder above it, with 8/, "
                        f"16/ …: type {first}{command} {shlex.quote(above)}")
    raise UserError(f"{root}: found no folders 8/, 16/ … in it: type python resize.py "
                    f"{shlex.quote(root)}, which makes them from the pictures in it")


def what_to_type(root, size):
    """How to come by pictures of `size` in `root`."""
    sizes = available_sizes(root) if os.path.isdir(root) or is_archive(root) else []
    if is_archive(root):
        wanted = f"--max_size {size}" if max(sizes, default=size) < size else \
            f"--min_size {min(size, 8)}"
        return (f"make the archive anew: python resize.py FOLDER {wanted} --zip "
                f"{shlex.quote(root)} --force")
    if sizes and max(sizes) > size:
        source = shlex.quote(os.path.join(root, str(max(sizes))))
        return f"type python resize.py {source} --min_size {min(size, 8)}"
    if sizes and max(sizes) < size:
        return (f"the largest there is {max(sizes)}, which cannot be enlarged: make them from the "
                f"pictures as they were, python resize.py FOLDER --max_size {size}")
    return f"type python resize.py {shlex.quote(root)} --min_size {min(size, 8)}"


def check_size(path, found, size):
    if tuple(found) != (size, size):
        raise UserError(f"{path}: found {found[0]}×{found[1]} pixels, wanted {size}×{size} as the "
                        "folder's name says: make the size folders with python resize.py")


def load_batch(paths, flips, size, channels):
    """uint8 [N, channels, size, size], mirrored where `flips` says so, and what could not be read.

    paths: or Members of an archive. The latter: [(index, path, reason)]. In the place of such a
    picture is another of the same batch, see stand_ins.
    """
    batch, bad = np.empty((len(paths), channels, size, size), np.uint8), []
    for i, (path, flip) in enumerate(zip(paths, flips)):
        try:
            with Image.open(opened(path)) as picture:
                check_size(path, picture.size, size)
                found = pixels.of_picture(picture, channels)
        except (OSError, UserError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            bad.append((i, path, str(error).removeprefix(f"{path}: ")))
            continue
        batch[i] = found[:, :, ::-1] if flip else found
    if len(bad) == len(paths):
        raise UserError(f"none of the {len(paths)} pictures of a batch can be read: {bad[0][1]}: "
                        f"{bad[0][2]}")
    return (batch[stand_ins(len(paths), bad)] if bad else batch), bad


def stand_ins(count, bad):
    """Which picture of a batch is in each place: its own, or another where that is among `bad`."""
    wanting = {i for i, _, _ in bad}
    good = [i for i in range(count) if i not in wanting]
    return [good[i % len(good)] if i in wanting else i for i in range(count)]


def load_labelled(folder, positions, seed, mirror, channels):
    """(pictures at these positions of the endless shuffle, their classes, int32 [N], or None where
    the folder has no labels, what could not be read), see load_batch."""
    chosen = folder.indices(positions, seed)
    found, bad = load_batch([folder.file(i) for i in chosen], flips(positions, seed, mirror),
                            folder.size, channels)
    classes = folder.labels
    return (found, classes if classes is None else classes[chosen][stand_ins(len(chosen), bad)],
            bad)


def to_float(values):
    """uint8 0 … 255 → float32 in [-1, 1]."""
    return values.astype(np.float32) / 127.5 - 1


class Loader:
    """Loads batches ahead of time in `workers` processes; 0 loads when asked.

        with Loader("data", channels=3, seed=0) as loader:
            for first, images, labels in loader.batches(size=32, batch=16, images_seen=0): …

    A picture that cannot be read is said once, through `warn`, and another stands in its place.
    """

    def __init__(self, root, channels=3, seed=0, mirror=False, workers=1, warn=print, holdout=0.0,
                 known=None):
        self.root, self.channels, self.seed, self.mirror = root, channels, seed, mirror
        self.holdout, self.known = holdout, known
        self.workers, self.pool, self.warn = workers, None, warn
        self.folders, self.unreadable = {}, collections.defaultdict(set)    # by size

    def __enter__(self):
        if self.workers:
            # spawn, not fork: Jittor's OpenMP threads do not survive a fork.
            self.pool = concurrent.futures.ProcessPoolExecutor(
                self.workers, multiprocessing.get_context("spawn"), start_worker,
                (os.getpid(),))
        return self

    def __exit__(self, *_):
        if self.pool:       # not waited for, it could end while Python does, with a traceback
            self.pool.shutdown(cancel_futures=True)

    def folder(self, size):
        """The PictureFolder of a size, with the names that it had when it was first asked for."""
        if size not in self.folders:
            self.folders[size] = PictureFolder(self.root, size, self.holdout, known=self.known)
        return self.folders[size]

    def batches(self, size, batch, images_seen, part=None):
        """Endless (images_seen, float32 [N, channels, size, size] in [-1, 1], labels). Of 4
        channels see backend/pixels.py.

        labels: int32 [N], the class of each picture; None where they are not wanted. part: which
        images of each batch, as a list of N indices; all of them by default.
        """
        folder = self.folder(size)
        part = range(batch) if part is None else part
        ahead = []
        position = images_seen
        while True:
            while len(ahead) < 2 * self.workers + 1:
                wanted = [position + int(i) for i in part]
                chosen = folder.indices(wanted, self.seed)
                job = ([folder.file(i) for i in chosen], flips(wanted, self.seed, self.mirror),
                       size, self.channels)
                ahead.append((position, chosen, job, self.submit(job)))
                position += batch
            first, chosen, job, future = ahead.pop(0)
            found, bad = self.result(job, future)
            self.tell(bad, folder)
            classes = None if folder.labels is None else \
                folder.labels[chosen][stand_ins(len(chosen), bad)]
            yield first, to_float(found), classes

    def submit(self, job):
        try:
            return self.pool and self.pool.submit(load_batch, *job)
        except concurrent.futures.BrokenExecutor:       # result() will say it
            return None

    def result(self, job, future):
        """What load_batch gives, also when a worker was killed, for want of memory for instance."""
        if future:
            try:
                while not concurrent.futures.wait([future], 0.5).done:
                    pass                # where a disk hangs, signals are still attended to
                return future.result()
            except concurrent.futures.BrokenExecutor:
                if self.pool:
                    self.warn("warning: a loading process was killed; pictures are loaded in the "
                              "main process from now on")
                self.pool = None
        return load_batch(*job)

    def tell(self, bad, folder):
        """Warn of each file once. Raises UserError where it is more than one in a hundred."""
        unreadable = self.unreadable[folder.size]
        for _, path, reason in bad:
            if path not in unreadable:
                unreadable.add(path)
                self.warn(f"warning: {path}: cannot be read ({reason}); left out")
        if bad and len(unreadable) > max(10, len(folder) / 100):
            raise UserError(f"{folder.path}: {len(unreadable)} of its {len(folder)} pictures "
                            f"cannot be read, the last {path}: make them anew with resize.py")


def flips(positions, seed, mirror):
    """Which of the images at these positions are mirrored; each has a coin of its own."""
    return [mirror and streams.rng("mirror", seed, i).random() < 0.5 for i in positions]
