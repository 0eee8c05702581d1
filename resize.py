"""Pictures of any kind → one folder per resolution, each with square PNGs, or all in one archive.

    python resize.py data/128 --min_size 8      data/64 … data/8 beside data/128
    python resize.py photos                     photos/8 … photos/256 from all pictures in photos
    python resize.py photos.zip                 the same from an archive, into photos/
    python resize.py photos --zip data.zip      into one file: python train.py data.zip
    python resize.py photos --labels a.csv:kind with labels: python train.py photos --labels
    python resize.py icons --alpha              transparent ones: python train.py icons --channels 4

Pictures of all kinds that Pillow reads (HEIC too after pip install pillow-heif), also grey,
palette, 16-bit, CMYK, transparent and rotated ones of any size, are made the same; of a film, the
first one. Other files are listed; masks that avatars.py drew, and sizes that were made in
sub-folders before, are left out. Running it again does only what is missing (but for --zip). Where
all pictures are in sub-folders, these become their labels, in dataset.json; labels that are there
in such a file stay. At the end stands what was found to be odd: pictures that are not square, too
small, there twice, or that show next to nothing, of those that it read.
"""
import contextlib
import os
import re
import shlex
import statistics
import sys

from PIL import Image, ImageColor
from tqdm import tqdm

from backend import archive, labels
from backend.errors import UserError, counted
from backend.files import make_folder, naming, remove_leftovers, scratch_folder
from backend.pixels import WHITE
from backend.signals import helpers
from backend.threads import cores
from cli import Parser, run, size_argument
from dataset import available_sizes
from networks.config import power_of_two
from pictures import finding, labelling, oddities
from pictures.resizing import Job, Outcome, resize_picture


def main():
    args = parse_arguments()
    source = os.path.normpath(args.path)
    packed = archive.is_archive(source)
    if not args.path or not (packed or os.path.isdir(source)):
        found = "a file" if os.path.isfile(source) else "no such folder"
        raise UserError(f"{args.path or 'an empty name'}: {found}; wanted a folder of pictures or "
                        "a .zip of them")
    own_size = None if packed else power_of_two(os.path.basename(os.path.abspath(source)))
    target = args.zip or (os.path.dirname(os.path.abspath(source)) if own_size else
                          source[:-4] if packed else source)
    check_outputs(args, source)

    files, others = finding.find_archived(source) if packed else \
        finding.find_pictures(source, skip_sizes=own_size is None)
    if not files:
        raise UserError(f"{args.path}: " + what_instead(args, [] if own_size else
                                                        available_sizes(source), packed, others))
    if not packed and not own_size:
        finding.say_what_is_ready(source, files)
    if own_size and all(os.sep in name for name in files):
        raise UserError(f"{args.path}: its pictures are in sub-folders (such as {next(iter(files))}"
                        f"), where train.py does not look for those of {own_size}×{own_size}: give "
                        f"{args.path} another name, say photos, and type python resize.py photos")
    extents = finding.read_extents(files)
    sizes = choose_sizes(args, own_size, extents.values())
    odd = finding.not_for_training(extents, own_size) if own_size else {}
    for name, why in [*odd.items()][:1]:
        print(f"{args.path}: {len(odd)} of its {counted(len(files), 'picture')} are of no use for "
              f"training at {own_size} (such as {name}: {why}): good for the smaller sizes, but "
              "for this one move them to photos and type python resize.py photos")
    found = labelling.find(source, os.path.dirname(os.path.abspath(source)) if own_size else None,
                           args.labels, [*extents])
    largest = max(sizes)
    if args.zip:
        as_they_are = {name: files[name] for name in extents.keys() - odd.keys() if own_size}
        results = into_archive(args, files, sizes, own_size, as_they_are, found)
        sizes = [own_size, *sizes] if as_they_are else sizes
    else:
        check_folders(files, sizes, source, target)
        if found and found.made:
            found = writable(found, target, args.labels)
        results = into_folders(args, files, sizes, target)
        if found and found.made:
            labels.write(target, found)
    left = [] if args.zip else finding.left_over(results, target, sizes)
    status = report(args, results, others, target, sizes, largest, left)
    if own_size and args.background not in (None, WHITE) and any(
            outcome.traits and outcome.traits.transparent for outcome in results.values()):
        print(f"  what is transparent in {args.path} is over white in training at {own_size}, not "
              "over --background: where that matters, rename the folder and type the same again")
    if not args.zip:
        finding.say_what_is_left(left, target, sizes, args.report)
        finding.say_what_is_older(files, results, target, sizes)
    if found:
        print("  " + labelling.says(found, [*extents], shlex.quote(target),
                                    args.zip or os.path.join(target, labels.NAME)))
    return status


def check_folders(files, sizes, source, target):
    """Raise UserError where a size would be written into a folder of pictures to be read."""
    if os.path.abspath(source) != os.path.abspath(target):
        return
    taken = {str(size) for size in sizes} & {name.split(os.sep)[0] for name in files
                                             if os.sep in name}
    if taken:
        place = os.path.join(source, min(taken))
        raise UserError(f"{place}: a folder of yours, with pictures of other sizes, into which "
                        f"those of {min(taken)}×{min(taken)} would be written: give that folder "
                        "another name, or type --zip FILE.zip")


def writable(found, target, typed):
    """The Labels, where they can be written; else None after a note, or a UserError where they were
    `typed`."""
    try:
        labels.check_writable(target, found.made)
    except UserError as error:
        if typed:
            raise
        print(f"note: {error}", file=sys.stderr)
        return None
    return found


def what_instead(args, sizes, packed, others):
    """What is in a place without pictures, and what to type."""
    if sizes and packed:
        return (f"holds {', '.join(map(str, sizes))} already: type python train.py "
                f"{shlex.quote(args.path)}")
    larger = shlex.quote(os.path.join(args.path, str(max(sizes)))) if sizes else ""
    flags = f" --zip {shlex.quote(args.zip)}" if args.zip else ""
    return ("no pictures in it that can be read" +
            (f"; found {by_ending(others)}" if others else "") +
            (f"; for sizes below {max(sizes)}, type python resize.py {larger}{flags}"
             if sizes else ""))


def into_archive(args, files, sizes, own_size, as_they_are, found):
    """{name: Outcome}; as_they_are: {name: path} of what goes into own_size/ unchanged; found:
    Labels or None."""
    with naming(args.zip), archive.writing(os.path.realpath(args.zip)) as made:
        if found:
            made.add(labels.NAME, labels.to_json(found))
        for name in sorted(as_they_are):
            with naming(as_they_are[name]), open(as_they_are[name], "rb") as file:
                made.add(f"{own_size}/{name}", file.read())
        results = resize_all(args, "", None, files, sizes, made)
        if all(outcome.kind == "unreadable" for outcome in results.values()):
            name, outcome = next(iter(results.items()))
            raise UserError(f"{args.path}: not one of its pictures can be read (such as {name}: "
                            f"{outcome.reason}), so {args.zip} was not written")
    return results


def into_folders(args, files, sizes, target):
    """{name: Outcome}."""
    try:
        with scratch_folder(os.path.join(target, ".resize_tmp")) as scratch:
            new = [folder for folder in (os.path.join(target, str(size)) for size in sizes)
                   if not os.path.isdir(folder)]
            for folder in new:
                os.makedirs(folder)
            results = resize_all(args, target, scratch, files, sizes)
            for folder in new:
                with contextlib.suppress(OSError):      # but where there is something in it
                    os.rmdir(folder)
            return results
    except OSError as error:
        raise UserError(f"{error.filename or target}: {error.strerror}") from None


def parse_arguments():
    parser = Parser(description=__doc__)
    parser.add_argument("path", help="folder of pictures, or a .zip of them (stylegan2-ada's and "
                        "stylegan3's data sets too); sub-folders are walked. data/128 (a power of "
                        "two) is read only, and the smaller sizes are made beside it")
    parser.add_argument("--min_size", type=size_argument, default=8,
                        help="smallest size in pixels (default 8)")
    parser.add_argument("--max_size", type=size_argument, help="largest size in pixels (default: "
                        "the largest that the folder's name or the median picture allows)")
    parser.add_argument("--fit", choices=["crop", "pad"], default="crop",
                        help="how pictures become square (default: crop the middle)")
    parser.add_argument("--background", metavar="COLOUR",
                        help="behind transparent and padded pictures, a name or #rrggbb "
                        "(default white)")
    parser.add_argument("--alpha", action="store_true", help="keep what is transparent, and pad "
                        "with it, for train.py --channels 4")
    parser.add_argument("--zip", metavar="FILE.zip", help="write all sizes into an archive "
                        "instead of folders, for train.py FILE.zip; of data/128, those of 128 too")
    parser.add_argument("--labels", metavar="FILE.csv:COLUMN", help="the labels of the pictures, "
                        "for train.py --labels: a column of a table whose first one has their "
                        "names (default: those of a dataset.json, else the sub-folders)")
    parser.add_argument("--report", metavar="FILE.csv", help="write the names of the pictures that "
                        "are odd, and why; reads all of them, also those that are there already")
    parser.add_argument("--workers", type=int, default=cores(),
                        help="number of processes (default: one per core)")
    parser.add_argument("--force", action="store_true", help="make again what is there already")
    args = parser.parse_args()
    if args.alpha and args.background:
        parser.error("--background: nothing is behind what --alpha keeps transparent: leave one "
                     "out")
    try:
        args.background = None if args.alpha else ImageColor.getcolor(args.background or "white",
                                                                      "RGB")
    except ValueError:
        parser.error(f"--background: found {args.background}, wanted a colour such as white or "
                     "#ff8800")
    if args.workers < 1:
        parser.error(f"--workers: found {args.workers}, wanted 1 or more")
    for flag, path, ending in ("--zip", args.zip, ".zip"), ("--report", args.report, ".csv"):
        if path is not None and not path.lower().endswith(ending):
            parser.error(f"{flag}: found {path or 'an empty name'}, wanted a name that ends in "
                         f"{ending}")
    return args


def check_outputs(args, source):
    """Raise UserError where --zip or --report would replace what is something else."""
    for flag, path in ("--zip", args.zip), ("--report", args.report):
        if path and (os.path.isdir(path) or not os.path.isdir(os.path.dirname(path) or ".")):
            raise UserError(f"{flag} {path}: wanted a file in a folder that is there")
        if path:
            make_folder(os.path.dirname(path) or ".", flag)
            remove_leftovers(os.path.realpath(path))
    if args.zip and os.path.exists(args.zip):
        if os.path.isfile(source) and os.path.samefile(args.zip, source):
            raise UserError(f"--zip {args.zip}: that is what is read: type another name")
        if not args.force:
            raise UserError(f"--zip {args.zip} exists: type another name to keep it, or --force")
    if args.report and os.path.exists(args.report) and not oddities.is_report(args.report):
        raise UserError(f"--report {args.report} exists, and is no report of resize.py: type "
                        "another name")


def by_ending(names):
    """"2 .heic (such as a.heic), 1 .txt (such as b.txt)"."""
    kinds = {}
    for name in names:
        ending = os.path.splitext(name)[1].lower() or "without an ending"
        kinds.setdefault(ending, []).append(name)
    most_first = sorted(kinds.items(), key=lambda kind: -len(kind[1]))
    advice = "; .heic is read after pip install pillow-heif" * (".heic" in kinds)
    return ", ".join(f"{len(some)} {ending} (such as {some[0]})"
                     for ending, some in most_first) + advice


def choose_sizes(args, own_size, extents):
    """[largest, … smallest] sizes to make."""
    if own_size:
        largest = args.max_size or own_size // 2
        if largest >= own_size:
            raise UserError(f"--max_size {largest}: {args.path} serves for the sizes below "
                            f"{own_size}; type --max_size {own_size // 2}, or name the folder "
                            "otherwise")
    else:
        median = statistics.median([min(e) for e in extents] or [args.min_size])
        largest = args.max_size or min(1024, 2 ** (int(median).bit_length() - 1))
    if largest < 4:
        raise UserError(f"{args.path}: the largest size is {largest} (from the folder's name or "
                        "the median picture), wanted 4 or more: these pictures are too small")
    if largest < args.min_size:
        raise UserError(f"the largest size is {largest} (from --max_size, the folder's name or the "
                        f"median picture), the smallest {args.min_size}: "
                        f"type --min_size {largest}")
    return [2 ** k for k in range(largest.bit_length() - 1, args.min_size.bit_length() - 2, -1)]


def resize_all(args, target, scratch, files, sizes, made=None):
    """{name: Outcome}; made: an archive that the pictures go into."""
    jobs = []
    for name, file in files.items():
        paths = [os.path.join(target, str(s), labels.target_name(name)) for s in sizes]
        missing = [made or args.force or not os.path.isfile(p) for p in paths]
        jobs.append(Job(file, sizes, paths, list(map(bool, missing)), args.fit, args.background,
                        scratch))
    if made is None and not args.force:
        check_kind(jobs, args.alpha)
    names = list(files)
    todo = [i for i, job in enumerate(jobs) if any(job.missing) or args.report]
    results = {name: Outcome("present") for name in names}
    with helpers(min(args.workers, max(1, len(todo)))) as each:
        outcomes = each(resize_picture, [jobs[i] for i in todo], chunksize=8)
        for i, outcome in zip(todo, tqdm(outcomes, total=len(todo), unit=" pictures",
                                         disable=None)):
            for path, data in zip(jobs[i].paths, outcome.pngs):
                made.add(path.replace(os.sep, "/"), data)
            results[names[i]] = outcome._replace(pngs=())
    return results


def check_kind(jobs, alpha):
    """Raise UserError where pictures would come beside others that keep transparency, or do not."""
    there = {os.path.dirname(path): path for job in jobs
             for path, missing in zip(job.paths, job.missing) if not missing}
    for folder, path in there.items():
        with contextlib.suppress(OSError, SyntaxError, ValueError), Image.open(path) as picture:
            if (picture.mode == "RGBA") != alpha:
                raise UserError(f"{folder}: holds pictures made with{'out' * alpha} --alpha: type "
                                "--force to make them anew, or write with --zip")


def report(args, results, others, target, sizes, largest, left):
    """Print counts that add up and what was left out; 0 if every readable picture is there.

    largest: size that was made of them; left: files that come from none of them.
    """
    count = {kind: sum(outcome.kind == kind for outcome in results.values())
             for kind in ("written", "present", "unreadable", "unwritten")}
    print(f"{counted(len(results), 'picture')}: {count['written']} written, {count['present']} "
          f"already there, {count['unreadable']} skipped" +
          (f", {count['unwritten']} could not be written" if count["unwritten"] else "") +
          f"; sizes {', '.join(str(s) for s in reversed(sizes))} in {target}")
    typed = [f"--{flag}" for flag, usual in (("fit", "crop"), ("background", WHITE))
             if getattr(args, flag) not in (usual, None)]
    if typed and count["present"]:
        print(f"  {' and '.join(typed)}: not for those that were there already: --force makes them "
              "anew")
    for name, outcome in results.items():
        if outcome.reason:
            print(f"  {'skipped' if outcome.kind == 'unreadable' else 'NOT WRITTEN'} {name}: "
                  f"{outcome.reason}")
    others = [name for name in others if os.path.basename(name) != labels.NAME and
              not re.fullmatch(r"attributes(\d+\.npz|\.csv)", os.path.basename(name))]
    if others:
        print(f"  no pictures that can be read: {by_ending(others)}")
    odd = [(name, "unreadable", outcome.reason) for name, outcome in results.items()
           if outcome.kind == "unreadable"]
    read = {name: outcome.traits for name, outcome in results.items() if outcome.traits}
    odd += oddities.find(read, args.alpha, args.fit, largest)
    odd += [(path, "left over", "made of none that is there now") for path in left]
    for line in oddities.lines(odd, args.fit, largest):
        print(f"  {line}")
    if args.alpha and read and not any(each.transparent for each in read.values()):
        print(f"  none of {counted(len(read), 'picture')} has anything transparent in it: without "
              "--alpha, and without --channels 4 of train.py, they train quicker")
    if args.report:
        with naming(args.report):
            oddities.write(args.report, odd)
        print(f"  {args.report}: {counted(len(odd), 'line')}")
    if count["unreadable"] == len(results):
        raise UserError("not one of the pictures can be read")
    return 1 if count["unwritten"] else 0


if __name__ == "__main__":
    run(main)
