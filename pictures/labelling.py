"""Which labels resize.py's pictures come with: a column of a table, dataset.json, sub-folders."""
import collections
import csv
import os
import sys

from backend import archive, labels
from backend.errors import UserError, counted
from networks.config import power_of_two

SUB_FOLDERS = "sub-folders"
MOST_SHOWN = 6
MOST_BYTES = 1 << 30            # of a table


def find(source, above, column, names):
    """The Labels of the pictures `names` (relative to `source`, a folder or an archive), or None.

    above: another folder whose dataset.json counts, or None. column: "FILE.csv:COLUMN", or None.
    `made` says from what they are; it is None where they are a dataset.json of the user's own, that
    is where train.py looks for it. Raises UserError where `column` is wrong; of a dataset.json that
    is, nobody need know more than a note.
    """
    if column is not None:
        return of_column(column, names)
    try:
        is_there, found = of_json(source, above, names)
    except UserError as error:
        print(f"note: {error}; no labels are taken from it", file=sys.stderr)
        return None
    if is_there and (found is None or found.made != SUB_FOLDERS):
        return found                # or None, where it says that there are no labels
    loose = [name for name in names if os.sep not in name]
    if loose and 2 * len(loose) < len(names) and of_folders([*{*names} - {*loose}]):
        print(f"note: no labels, for {counted(len(loose), 'picture')} is in no sub-folder (such as "
              f"{loose[0]})", file=sys.stderr)
    return of_folders(names) or found


def of_column(column, names):
    """Labels by a table: its first column says which picture a line is about, by path, name, or
    name without an ending."""
    path, _, wanted = column.rpartition(":")
    if not path or not wanted:
        raise UserError(f"--labels {column or 'nothing'}: wanted FILE.csv:COLUMN")
    values = with_slashes(read_column(column, path, wanted))
    found = {}
    for keys in keys_of(names):
        for name, key in keys.items():
            if name not in found and key in values:
                found[name] = values[key]
    missing = [name for name in names if name not in found]
    if missing:
        raise UserError(f"--labels {column}: no value there for {len(missing):,} of "
                        f"{counted(len(names), 'picture')} (such as {missing[0]}): add lines, or "
                        "move these pictures away")
    kinds = len({*found.values()})
    if not 2 <= kinds <= labels.MOST_CLASSES:
        raise UserError(f"--labels {column}: {counted(kinds, 'value')}, wanted classes, 2 to "
                        f"{labels.MOST_CLASSES:,}")
    return labels.of_names(found, f"{os.path.basename(path)}:{wanted}")


def with_slashes(found):
    """{name of a picture: anything}, with names that Windows wrote also as they are here."""
    return {name.replace("\\", "/"): value for name, value in found.items()} | found


def keys_of(names):
    """How a table may call pictures, the surest first: {name: key}, of those that no other picture
    has too."""
    for key in (lambda name: name.replace(os.sep, "/"), os.path.basename,
                lambda name: os.path.splitext(os.path.basename(name))[0]):
        keys = {name: key(name) for name in names}
        count = collections.Counter(keys.values())
        yield {name: key for name, key in keys.items() if count[key] == 1}


def read_column(column, path, wanted):
    """{first field: that of the column `wanted`} of a table. Raises UserError."""
    found = {}
    try:
        if os.path.getsize(path) > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES >> 30} GiB")
        with open(path, newline="", encoding="utf-8-sig") as file:      # as Excel writes it
            first = file.readline()
            file.seek(0)
            rows = csv.reader(file, delimiter=max(",;\t", key=first.count))
            header = [name.strip() for name in next(rows, [])]
            if wanted not in header[1:]:
                raise UserError(f"--labels {column}: {path} has no column {wanted} after its "
                                f"first, wanted one of {', '.join(header[1:])[:200] or 'some'}")
            place = header.index(wanted, 1)
            for row in rows:
                key, value = (row[i].strip() if i < len(row) else "" for i in (0, place))
                if key and value and found.setdefault(key, value) != value:
                    raise UserError(f"--labels {column}: {path} says {found[key]} and {value} of "
                                    f"{key}, wanted one of them")
    except OSError as error:
        raise UserError(f"--labels {column}: {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"--labels {column}: {path} is not in UTF-8: save it anew, as \"CSV UTF-8\""
                        ) from None
    except (ValueError, csv.Error) as error:
        raise UserError(f"--labels {column}: {path} is no table that can be read "
                        f"({error})") from None
    return found


def of_json(source, above, names):
    """(whether there is a dataset.json, its Labels of `names` or None): in `source`, in an archive
    also in its topmost folder that has one, or in `above`."""
    if archive.is_archive(source):
        place = min((folder for folder, there in archive.contents(source).items()
                     if labels.NAME in there.names), key=lambda folder: (folder.count("/"), folder),
                    default=None)
        if place is None:
            return False, None
        there = archive.contents(source)[place]
        file, copied = there.member(there.names.index(labels.NAME)), os.path.basename(source)
    else:
        file = next((path for path in (os.path.join(folder, labels.NAME)
                                       for folder in (source, above) if folder)
                     if os.path.isfile(path)), None)
        if not file:
            return False, None
        place, copied = "", above and os.path.dirname(file) == source and \
            os.path.join(os.path.basename(source), labels.NAME)
    found = labels.read(file)
    if found is None:
        return True, None
    made = found.made or copied or None
    return True, found._replace(numbers=known(found.numbers, names, place), made=made)


def known(numbers, names, place):
    """{name: label} of those pictures of which it is known, `place`: the folder of an archive from
    which the names in `numbers` are. They may be called as resize.py calls them, in a folder of
    their size."""
    both, found = labels.with_target_names(with_slashes(numbers)), {}
    for name in names:
        within = os.path.relpath(name, place) if place else name
        folder, last = os.path.split(within)
        within = last if within not in both and power_of_two(folder) else within
        if within in both:
            found[name] = both[within]
    return found


def of_folders(names):
    """Labels where every picture is in one of two or more sub-folders: those of the topmost level
    on which they part."""
    ways = {name: os.path.dirname(name.replace(os.sep, "/")).split("/") for name in names}
    for level in range(min(map(len, ways.values()), default=0)):
        kinds = {name: way[level] for name, way in ways.items()}
        if len({*kinds.values()}) > 1 and "" not in kinds.values():
            found = labels.of_names(kinds, SUB_FOLDERS)
            return found if 2 * found.how_many() <= len(names) and \
                found.how_many() <= labels.MOST_CLASSES else None
    return None


def says(found, names, data, path):
    """One line about labels that are in `path`, for train.py `data`: the largest classes, and the
    smallest, of which there may be too few to learn from."""
    counts = collections.Counter(found.numbers[name] for name in names if name in found.numbers)
    most = sorted(counts, key=lambda number: (-counts[number], number))
    kinds = found.names()
    shown = [f"{' '.join(kinds[number].split())} {counts[number]:,}" for number in most]
    if len(shown) > MOST_SHOWN:
        shown[MOST_SHOWN - 1:-1] = ["…"]
    without, single = len(names) - sum(counts.values()), [*counts.values()].count(1)
    return (f"labels: {found.how_many()} classes" + (f" from {found.made}" if found.made else "") +
            f" ({', '.join(shown)}) in {path}, for python train.py {data} --labels" +
            (f"; {counted(without, 'picture')} without one, with which --labels refuses them"
             if without else "") +
            (f"; {single} of the classes {'is' if single == 1 else 'are'} of a single picture, of "
             "which nothing general can be learned" if single else ""))
