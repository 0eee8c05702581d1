"""Which labels resize.py's pictures come with: a column of a table, dataset.json, sub-folders."""
import csv
import os

from backend import archive, labels
from backend.errors import UserError, counted

SUB_FOLDERS = "sub-folders"
MOST_SHOWN = 6


def find(source, above, column, names):
    """The Labels of the pictures `names` (relative to `source`, a folder or an archive), or None.

    above: another folder whose dataset.json counts, or None. column: "FILE.csv:COLUMN", or None.
    Raises UserError.
    """
    if column:
        return of_column(column, names)
    is_there, found = of_json(source, above)
    if is_there and (found is None or found.made != SUB_FOLDERS):
        return found                # or None, where it says that there are no labels
    return of_folders(names) or found


def of_column(column, names):
    """Labels by a table: its first column says which picture a line is about, by path, name, or
    name without an ending."""
    path, _, wanted = column.rpartition(":")
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:      # as Excel writes it
            header, *rows = [row for row in csv.reader(file) if row] or [[]]
    except OSError as error:
        raise UserError(f"--labels {column}: {path}: {error.strerror}") from None
    except (ValueError, csv.Error) as error:
        raise UserError(f"--labels {column}: {path} is no table that can be read "
                        f"({error})") from None
    if wanted not in header[1:]:
        raise UserError(f"--labels {column}: {path} has no column {wanted} after its first, wanted "
                        f"one of {', '.join(header[1:])[:200] or 'some'}")
    place = header.index(wanted)
    values = {row[0]: row[place] for row in rows if len(row) > place and row[place]}
    found = {}
    for name in names:
        keys = name.replace(os.sep, "/"), os.path.basename(name)
        key = next((key for key in (*keys, os.path.splitext(keys[1])[0]) if key in values), None)
        if key is not None:
            found[name] = values[key]
    missing = [name for name in names if name not in found]
    if missing:
        raise UserError(f"--labels {column}: no value there for {len(missing)} of "
                        f"{counted(len(names), 'picture')} (such as {missing[0]}): add lines, or "
                        "move these pictures away")
    return checked(labels.of_names(found, f"{os.path.basename(path)}:{wanted}"), column)


def checked(found, column):
    if found.how_many() > labels.MOST_CLASSES:
        raise UserError(f"--labels {column}: {found.how_many():,} values, wanted classes, at most "
                        f"{labels.MOST_CLASSES:,}")
    return found


def of_json(source, above):
    """(whether there is a dataset.json, its Labels or None): in `source`, in an archive also in its
    topmost folder that has one, or in `above`."""
    if archive.is_archive(source):
        place = min((folder for folder, there in archive.contents(source).items()
                     if labels.NAME in there.names), key=lambda folder: (folder.count("/"), folder),
                    default=None)
        if place is None:
            return False, None
        there = archive.contents(source)[place]
        found = labels.read(there.member(there.names.index(labels.NAME)))
        return True, found and found._replace(numbers={
            os.path.join(place, name): number for name, number in found.numbers.items()})
    path = next((path for path in (os.path.join(folder, labels.NAME)
                                   for folder in (source, above) if folder)
                 if os.path.isfile(path)), None)
    return bool(path), path and labels.read(path)


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
    """One line about labels that are in `path`, for train.py `data`."""
    counts = {}
    for name in names:
        if name in found.numbers:
            number = found.numbers[name]
            counts[number] = counts.get(number, 0) + 1
    most = sorted(counts, key=lambda number: (-counts[number], number))
    shown = [f"{found.classes[number] if found.classes else number} {counts[number]:,}"
             for number in most[:MOST_SHOWN]]
    shown += ["…"] * (len(most) > MOST_SHOWN)
    without = len(names) - sum(counts.values())
    return (f"labels: {found.how_many()} classes" + (f" from {found.made}" if found.made else "") +
            f" ({', '.join(shown)}) in {path}, for python train.py {data} --labels" +
            (f"; {counted(without, 'picture')} without one, with which --labels refuses them"
             if without else ""))
