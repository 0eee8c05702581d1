"""A folder of any pictures → one folder per resolution, each with square PNGs.

    python resize.py data/128 --min_size 8      data/64 … data/8 beside data/128
    python resize.py photos                     photos/8 … photos/256 from all pictures in photos

Pictures of all kinds that Pillow reads (HEIC too after pip install pillow-heif), also grey,
palette, 16-bit, CMYK, transparent and rotated ones of any size, are made the same; of a film, the
first one. Other files are listed; masks that avatars.py drew are left out. Running it again does
only what is missing.
"""
import hashlib
import os
import re
import shlex
import statistics

from PIL import Image, ImageColor
from tqdm import tqdm

from backend.errors import UserError, counted
from backend.files import scratch_folder
from backend.signals import helpers
from backend.threads import cores
from cli import Parser, run, size_argument
from dataset import PICTURES, available_sizes
from networks.config import power_of_two
from pictures import origin
from pictures.grid import save_png
from pictures.reading import make_square, open_picture, readable, to_rgb


def main():
    args = parse_arguments()
    source = os.path.normpath(args.path)
    if not args.path or not os.path.isdir(source):
        found = "a file" if os.path.isfile(source) else "no such folder"
        raise UserError(f"{args.path or 'an empty name'}: {found}; wanted a folder of pictures")
    own_size = power_of_two(os.path.basename(os.path.abspath(source)))
    target = os.path.dirname(os.path.abspath(source)) if own_size else source

    files, others = find_pictures(source, skip_sizes=own_size is None)
    if not files:
        sizes = [] if own_size else available_sizes(source)
        larger = shlex.quote(os.path.join(args.path, str(max(sizes)))) if sizes else ""
        raise UserError(f"{args.path}: no pictures in it that can be read" +
                        (f"; found {by_ending(others)}" if others else "") +
                        (f"; for sizes below {max(sizes)}, type python resize.py {larger}"
                         if sizes else ""))
    extents = {}
    for name in files:
        try:
            with open_picture(os.path.join(source, name)) as picture:
                extents[name] = picture.size
        except Exception:               # reported with its reason when it is read below
            continue
    sizes = choose_sizes(args, own_size, extents.values())
    odd = [n for n, extent in extents.items() if own_size and (
        extent != (own_size, own_size) or not n.lower().endswith(PICTURES))]
    if odd:
        print(f"{args.path}: {len(odd)} of its {counted(len(files), 'picture')} not "
              f"{own_size}×{own_size} or not {' '.join(PICTURES)} (such as {odd[0]}): good for the "
              f"smaller sizes, but training at {own_size} needs them in another folder: move them "
              "to photos and type python resize.py photos")

    try:
        with scratch_folder(os.path.join(target, ".resize_tmp")) as scratch:
            for size in sizes:
                os.makedirs(os.path.join(target, str(size)), exist_ok=True)
            results = resize_all(args, source, target, scratch, files, sizes)
    except OSError as error:
        raise UserError(f"{error.filename or target}: {error.strerror}") from None
    return report(results, others, target, sizes)


def parse_arguments():
    parser = Parser(description=__doc__)
    parser.add_argument("path", help="folder of pictures; sub-folders are walked. data/128 (a "
                        "power of two) is read only, and the smaller sizes are made beside it")
    parser.add_argument("--min_size", type=size_argument, default=8,
                        help="smallest size in pixels (default 8)")
    parser.add_argument("--max_size", type=size_argument, help="largest size in pixels (default: "
                        "the largest that the folder's name or the median picture allows)")
    parser.add_argument("--fit", choices=["crop", "pad"], default="crop",
                        help="how pictures become square (default: crop the middle)")
    parser.add_argument("--background", default="white", metavar="COLOUR",
                        help="behind transparent and padded pictures, a name or #rrggbb "
                        "(default white)")
    parser.add_argument("--workers", type=int, default=cores(),
                        help="number of processes (default: one per core)")
    parser.add_argument("--force", action="store_true", help="make again what is there already")
    args = parser.parse_args()
    try:
        args.background = ImageColor.getcolor(args.background, "RGB")
    except ValueError:
        parser.error(f"--background: found {args.background}, wanted a colour such as white or "
                     "#ff8800")
    if args.workers < 1:
        parser.error(f"--workers: found {args.workers}, wanted 1 or more")
    return args


def find_pictures(source, skip_sizes):
    """Sorted relative paths of all pictures, and of all other files.

    Hidden ones, size folders at the top and avatars.py's masks are not walked.
    """
    pictures, others = [], []
    for folder, subfolders, names in os.walk(source):
        at_top = os.path.abspath(folder) == os.path.abspath(source)
        subfolders[:] = [s for s in subfolders if not s.startswith(".")
                         and not holds_masks(os.path.join(folder, s))
                         and not (at_top and skip_sizes and power_of_two(s))]
        for name in names:
            if not name.startswith("."):
                found = pictures if name.lower().endswith(readable()[1]) else others
                found.append(os.path.relpath(os.path.join(folder, name), source))
    return sorted(pictures), sorted(others)


def holds_masks(folder):
    """Whether it is one of avatars.py's, that show which part is where."""
    if not folder.endswith("_masks"):
        return False
    first = next((name for name in sorted(os.listdir(folder)) if name.endswith(".png")), "")
    return "masks" in (origin.read(os.path.join(folder, first)) or {})


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
    if largest < args.min_size:
        raise UserError(f"the largest size is {largest} (from --max_size, the folder's name or the "
                        f"median picture), the smallest {args.min_size}: "
                        f"type --min_size {max(4, largest)}")
    return [2 ** k for k in range(largest.bit_length() - 1, args.min_size.bit_length() - 2, -1)]


def target_name(name):
    """PNG name of the picture `name` (a relative path), different for every path.

    a.png keeps its name; others carry eight digits of a hash: a.jpg → a-0c9a5d21.png.
    """
    if os.sep not in name and name.endswith(".png"):
        return name
    digits = hashlib.sha256(os.fsencode(name)).hexdigest()[:8]
    stem = re.sub(r"[^\w.-]+", "_", os.path.splitext(name)[0].replace(os.sep, "_"))
    return f"{stem[-100:]}-{digits}.png"


def resize_all(args, source, target, scratch, files, sizes):
    """{name: (outcome, reason)}; outcome is "written", "present", "unreadable" or "unwritten"."""
    jobs = []
    for name in files:
        paths = [os.path.join(target, str(s), target_name(name)) for s in sizes]
        missing = [args.force or not os.path.isfile(p) for p in paths]
        jobs.append((os.path.join(source, name), sizes, paths, missing, args.fit, args.background,
                     scratch))
    todo = [i for i, job in enumerate(jobs) if any(job[3])]
    results = {name: ("present", None) for name in files}
    with helpers(min(args.workers, max(1, len(todo)))) as each:
        outcomes = each(resize_picture, [jobs[i] for i in todo], chunksize=8)
        for i, outcome in zip(todo, tqdm(outcomes, total=len(todo), unit=" pictures",
                                         disable=None)):
            results[files[i]] = outcome
    return results


def resize_picture(job):
    path, sizes, paths, missing, fit, background, scratch = job
    try:
        with open_picture(path) as opened:
            square = make_square(to_rgb(opened, background), fit, background)
    except Exception as error:          # Pillow raises many kinds for broken files
        return "unreadable", f"{type(error).__name__}: {error}"
    for size, target, needed in zip(sizes, paths, missing):
        # Each size from the one above it: the same filter at a fraction of the cost.
        square = square.resize((size, size), Image.LANCZOS)
        if needed:
            try:
                save_png(square, target, through=scratch)
            except OSError as error:
                return "unwritten", f"{target}: {error.strerror}"
    return "written", None


def report(results, others, target, sizes):
    """Print counts that add up and what was left out; 0 if every readable picture is there."""
    count = {kind: sum(outcome == kind for outcome, _ in results.values())
             for kind in ("written", "present", "unreadable", "unwritten")}
    print(f"{counted(len(results), 'picture')}: {count['written']} written, {count['present']} "
          f"already there, {count['unreadable']} skipped" +
          (f", {count['unwritten']} could not be written" if count["unwritten"] else "") +
          f"; sizes {', '.join(str(s) for s in reversed(sizes))} in {target}")
    for name, (outcome, reason) in results.items():
        if reason:
            print(f"  {'skipped' if outcome == 'unreadable' else 'NOT WRITTEN'} {name}: {reason}")
    if others:
        print(f"  no pictures that can be read: {by_ending(others)}")
    if count["unreadable"] == len(results):
        raise UserError("not one of the pictures can be read")
    return 1 if count["unwritten"] else 0


if __name__ == "__main__":
    run(main)
