"""Which files of a folder, or of an archive, are pictures that resize.py makes others of, and what
there is to say of those that are there already."""
import bisect
import contextlib
import itertools
import os
import re
import sys

from backend import archive, labels
from backend.errors import counted
from dataset import PICTURES, archived_sizes, available_sizes, is_picture, opened
from networks.config import power_of_two
from pictures import origin
from pictures.reading import open_picture, readable


def find_pictures(source, skip_sizes):
    """({relative path: path} of all pictures, sorted, and the relative paths of all other files).

    Hidden ones, size folders at the top and avatars.py's masks are not walked, and sizes that
    resize.py made further down are left out. Links to folders elsewhere are walked once.
    """
    pictures, others, walked = [], [], set()
    root = os.path.realpath(source)
    if not skip_sizes:                          # the other sizes are made beside it
        root = os.path.dirname(root)
    for folder, subfolders, names in os.walk(source, onerror=cannot_be_read, followlinks=True):
        there = os.stat(folder)
        if (there.st_dev, there.st_ino) in walked:
            subfolders.clear()
            continue
        walked.add((there.st_dev, there.st_ino))
        at_top = os.path.abspath(folder) == os.path.abspath(source)
        subfolders[:] = [s for s in sorted(subfolders) if not s.startswith(".")
                         and not leads_back(os.path.join(folder, s), root)
                         and not holds_masks(os.path.join(folder, s))
                         and not (at_top and skip_sizes and holds_size(os.path.join(folder, s)))]
        for name in names:
            if not name.startswith("."):
                found = pictures if name.lower().endswith(readable()[1]) else others
                found.append(os.path.relpath(os.path.join(folder, name), source))
    files = {name: os.path.join(source, name) for name in sorted(pictures)}
    return without_made(files, source) if skip_sizes else files, sorted(others)


def without_made(files, source):
    """{name: path or Member} without those that resize.py made of others among them: in folders
    called as their pictures are large, whose names are those that it gives to the pictures below
    the folder above, or in a larger size beside it."""
    names, sizes, made = sorted(files), {}, []
    for name in names:
        above, last = os.path.split(os.path.dirname(name))
        size = power_of_two(last)
        if size:
            sizes.setdefault(above, {}).setdefault(size, []).append(name)
    for above, by_size in sizes.items():
        by_size = {size: some for size, some in by_size.items()
                   if are_of(size, (files[name] for name in some))}
        start = os.path.join(above, "")
        below = names[bisect.bisect_left(names, start):
                      bisect.bisect_left(names, start[:-1] + chr(ord(os.sep) + 1))] \
            if above else names
        sized = {name for some in by_size.values() for name in some}
        expected = {labels.target_name(name[len(start):]) for name in below if name not in sized}
        for some in (by_size[size] for size in sorted(by_size, reverse=True)):
            if are_made(expected, map(os.path.basename, some)):
                made.append(some)
            expected |= {labels.target_name(os.path.basename(name)) for name in some}
    if made:
        print(f"note: left out {counted(sum(map(len, made)), 'picture')} in "
              f"{counted(len(made), 'folder')} that resize.py made of others here (such as "
              f"{os.path.join(source, made[0][0])}); if they are not, give the folder another name",
              file=sys.stderr)
    for some in made:
        for name in some:
            del files[name]
    return files


def are_made(expected, names):
    """Whether most of the names are expected, or one with the digits that only resize.py gives: of
    the others the pictures may have been deleted since."""
    names = [*names]
    found = [name for name in names if name in expected]
    return 2 * len(found) > len(names) or any(re.search(r"-[0-9a-f]{8}\.png$", n) for n in found)


def leads_back(folder, root):
    """Whether it is a link to a place in `root`, or to one in which that is."""
    there = os.path.realpath(folder)
    return os.path.islink(folder) and os.path.commonpath([there, root]) in (there, root)


def cannot_be_read(error):
    print(f"note: {error.filename}: {error.strerror}: left out", file=sys.stderr)


def find_archived(path):
    """({name: Member} of all pictures, names of all other files) of an archive, without hidden
    ones, those in size folders that it has for training, and sizes that resize.py made elsewhere
    in it."""
    pictures, others, outside = {}, [], []
    for _, there in sorted(archive.contents(path).items()):
        for member in there.members():
            parts = member.name.replace("\\", "/").split("/")
            if any(part.startswith(".") and part.strip(".") or part == "__MACOSX"
                   for part in parts):
                continue
            if ".." in parts or member.name.startswith("/") or "\0" in member.name:
                outside.append(member.name)
            elif member.name.lower().endswith(readable()[1]):
                pictures[member.name] = member
            else:
                others.append(member.name)
    if outside:
        print(f"{path}: left out {counted(len(outside), 'picture')} whose name leads out of it "
              f"(such as {outside[0]})")
    ready = {there.folder for size, there in archived_sizes(path).items() if are_of(size, (
        member for name, member in zip(there.names, there.members())
        if is_picture(name)))}
    place = os.path.dirname(next(iter(ready), ""))
    # Where there are pictures elsewhere, too, the largest of the sizes are some of these.
    if len(ready) > 1 and all(not place or name.startswith(f"{place}/") for name in pictures):
        pictures = {name: member for name, member in pictures.items()
                    if os.path.dirname(name) not in ready}
    return without_made(pictures, path), others


def holds_size(folder):
    """Whether it is one of those that train.py reads: 8/ with pictures of 8×8, and not a class
    that is called 8."""
    size = power_of_two(os.path.basename(folder))
    if not size:
        return False
    with contextlib.suppress(OSError):
        names = sorted(filter(is_picture, os.listdir(folder)))
        return bool(names) and are_of(size, (os.path.join(folder, name) for name in names))
    return True


def are_of(size, files):
    """Whether most of the first few pictures that can be read have that size, or none can."""
    found = []
    for file in itertools.islice(files, 20):
        with contextlib.suppress(Exception), open_picture(opened(file)) as picture:
            found.append(picture.size == (size, size))          # Pillow raises many kinds
    return 2 * sum(found) >= len(found)


def holds_masks(folder):
    """Whether it is one of avatars.py's, that show which part is where."""
    if not folder.endswith("_masks"):
        return False
    with contextlib.suppress(OSError):
        first = next((name for name in sorted(os.listdir(folder)) if name.endswith(".png")), "")
        return "masks" in (origin.read(os.path.join(folder, first)) or {})
    return False


def say_what_is_ready(source, files):
    """Where one folder alone is taken for a size, it may be a class that is called so, if it does
    not hold what was made of `files`."""
    ready = [place for place in (os.path.join(source, str(size))
                                 for size in available_sizes(source))
             if holds_size(place)]
    if len(ready) != 1:
        return
    with contextlib.suppress(OSError):
        made = {labels.target_name(name) for name in files}
        if are_made(made, filter(is_picture, os.listdir(ready[0]))):
            return
    print(f"note: {ready[0]} is left out, for its pictures are of the size that its name says, "
          "as for training; if it is a class, give it another name", file=sys.stderr)


def left_over(results, target, sizes):
    """Pictures in the folders of the sizes that come from none that is there, as from one that was
    deleted since."""
    expected = {labels.target_name(name) for name in results}
    folders = [os.path.join(target, str(size)) for size in sizes]
    return [os.path.join(folder, name) for folder in folders if os.path.isdir(folder)
            for name in sorted(os.listdir(folder)) if is_picture(name) and name not in expected]


def say_what_is_left(left, target, sizes, reported):
    """left: what `left_over` found; reported: whether a file names them all."""
    if left:
        print(f"  {counted(len(left), 'picture')} in {', '.join(map(str, reversed(sizes)))} of "
              f"{target} come from none that is there now (such as {left[0]}), and are trained on: "
              "delete those that you do not want" + ("" if reported else
                                                     "; --report FILE.csv names them"))


def say_what_is_older(files, results, target, sizes):
    """Pictures that were made before the file they are named after changed, as by another picture
    in its place. Only said: after copying all of them, times tell nothing."""
    older = []
    for name, outcome in results.items():
        since = changed(getattr(files[name], "archive", files[name]))
        if outcome.kind == "present" and any(
                changed(os.path.join(target, str(size), labels.target_name(name))) < since
                for size in sizes):
            older.append(str(files[name]))
    if older:
        print(f"  {counted(len(older), 'picture')} changed after the sizes were made (such as "
              f"{older[0]}): if it shows something else now, --force makes them anew")


def changed(file):
    """When, in seconds; 0 where it is not there any more."""
    with contextlib.suppress(OSError):
        return os.stat(file).st_mtime
    return 0


def read_extents(files):
    """{name: (width, height)}, without those that cannot be read, which are reported with their
    reasons when they are to be resized."""
    extents = {}
    for name, file in files.items():
        with contextlib.suppress(Exception), open_picture(opened(file)) as picture:
            extents[name] = picture.size
    return extents


def not_for_training(extents, size):
    """{name: why train.py does not take it as it is for a picture of this size}."""
    found = {}
    for name, (width, height) in extents.items():
        if os.sep in name:
            found[name] = "in a sub-folder"
        elif (width, height) != (size, size):
            found[name] = f"{width}×{height}"
        elif not name.lower().endswith(PICTURES):
            found[name] = f"not {' '.join(PICTURES)}"
    return found
