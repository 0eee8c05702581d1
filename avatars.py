"""Draws pictures from parts that artists made, for training on something worth looking at:

    python avatars.py data/128 --kind cats --count 5000

and attributes.csv beside them: which part stands where, in every picture. Running it again does
only what is missing; the pictures of a seed are the same however many there are. The art belongs
to others, see CREDITS.txt beside them. Needs pip install -r requirements-demo.txt.
"""
import colorsys
import csv
import functools
import io
import os
import re
import shlex

from PIL import Image
from tqdm import tqdm

from backend.errors import UserError, counted
from backend.files import make_folder, naming, replacing, scratch_folder, with_name
from backend.signals import helpers
from backend.threads import cores
from cli import Parser, picture_size, run, size_argument
from pictures import origin
from pictures.grid import save_png
from pictures.parts import KINDS, art_of

ATTRIBUTES, CREDITS = "attributes.csv", "CREDITS.txt"
MOST = 10 ** 6


def main():
    args = parse_arguments()
    size = picture_size(args.out, args.size)
    art = art_of(args.kind)
    made = {"--kind": args.kind, "--seed": args.seed, "--size": size, "parts": art.version}
    folders = {args.out: (picture, made)}
    if args.masks:
        folders[masks_beside(args.out)] = mask, made | {"masks": "0 ground, " + ", ".join(
            f"{i + 1} {layer}" for i, layer in enumerate(art.columns))}
    there = {}
    for folder, (_, how) in folders.items():
        make_folder(folder)
        there[folder] = origin.check_folder(folder, how)
        odd = [name for name in sorted(os.listdir(folder)) if not name.startswith(".") and
               name not in (ATTRIBUTES, CREDITS) and not re.fullmatch(r"\d{6}\.png", name)]
        if odd:
            raise UserError(f"{os.path.join(folder, odd[0])}: wanted nothing but 000000.png … in "
                            f"{folder}: type another folder, such as "
                            f"{shlex.quote(os.path.join(folder, args.kind, str(size)))}")
    check_table(os.path.join(args.out, ATTRIBUTES), art, args.seed)
    for folder in folders:
        write_credits(os.path.join(folder, CREDITS), art, args)
    jobs = []
    for number in range(args.count):
        missing = {folder: how for folder, how in folders.items()
                   if file_name(number) not in there[folder]}
        if missing:
            jobs.append((art.name, args.seed, number, size, missing))
    try:
        with scratch_folder(os.path.join(args.out, ".avatars_tmp")) as scratch, \
                helpers(min(args.workers, max(1, len(jobs) // 100))) as each:
            for error in tqdm(each(functools.partial(draw, scratch), jobs, chunksize=16),
                              total=len(jobs), unit=" pictures", disable=None):
                if error:
                    raise UserError(error)
    finally:
        write_table(args.out, art, args.seed)
    for folder in folders:
        drawn = sum(folder in job[-1] for job in jobs)
        print(f"{folder}: {counted(drawn, 'picture')} of {size}×{size} drawn, "
              f"{args.count - drawn:,} already there")
    print(f"What is in them: {os.path.join(args.out, ATTRIBUTES)}. {art.credits()}")


def parse_arguments():
    parser = Parser(description=__doc__)
    parser.add_argument("out", metavar="OUT/128", help="folder for the pictures, made if missing")
    parser.add_argument("--kind", choices=list(KINDS), default="cats",
                        help="what to draw (default cats)")
    parser.add_argument("--count", type=int, default=5000, metavar="N",
                        help="number of pictures (default 5000)")
    parser.add_argument("--size", type=size_argument,
                        help="height and width in pixels (default: the folder's name, or 128)")
    parser.add_argument("--seed", type=int, default=0, metavar="N",
                        help="decides which parts are chosen (default 0)")
    parser.add_argument("--masks", action="store_true", help="also draw OUT/128_masks: which part "
                        "each pixel shows, as a number (0: none; the picture's comment names them)")
    parser.add_argument("--workers", type=int, default=cores(), metavar="N",
                        help="number of processes (default: one per core)")
    args = parser.parse_args()
    for flag, least, most in ("count", 1, MOST), ("workers", 1, 1000), ("seed", 0, 2 ** 32 - 1):
        if not least <= (value := getattr(args, flag)) <= most:
            parser.error(f"--{flag}: found {value}, wanted {least} to {most}")
    return args


def masks_beside(out):
    return with_name(out) + "_masks"


def file_name(number):
    return f"{number:06d}.png"


def draw(scratch, job):
    """Draw what is missing of a picture and its mask, through the folder `scratch`.

    None, or what is wrong.
    """
    kind, seed, number, size, missing = job
    try:
        art = art_of(kind)
        chosen = art.choose(seed, number)
        for folder, (paint, made) in missing.items():
            path, painted = os.path.join(folder, file_name(number)), paint(art, chosen, size)
            with naming(path):
                save_png(painted, path, scratch, made)
    except UserError as error:
        return str(error)


def picture(art, chosen, size):
    return art.draw(chosen, size)


def mask(art, chosen, size):
    """With a palette, to look at it."""
    found = Image.fromarray(art.mask(chosen, size), "P")
    colours = [(1, 1, 1)] + [colorsys.hsv_to_rgb(i / len(art.columns), 0.7, 0.9)
                             for i in range(len(art.columns))]
    found.putpalette([round(255 * part) for colour in colours for part in colour])
    return found


def row(art, seed, name):
    chosen = art.choose(seed, int(os.path.splitext(name)[0]))
    return [name, *(chosen[attribute] for attribute in art.attributes)]


def check_table(path, art, seed):
    """Raise UserError where a file is at `path` that does not tell of these pictures."""
    def fits(found):
        return found and re.fullmatch(r"\d{6}\.png", found[0]) and found == row(art, seed, found[0])

    if not os.path.lexists(path):
        return
    with naming(path), open(path, newline="", encoding="utf-8", errors="replace") as file:
        lines = csv.reader(file)
        try:
            ours = next(lines, None) == ["file", *art.attributes] and all(map(fits, lines))
        except csv.Error:
            ours = False
    if not ours:
        raise UserError(f"{path} exists, and is not of these pictures: type another folder")


def write_table(folder, art, seed):
    """What is in the pictures that are there."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", *art.attributes])
    path = os.path.join(folder, ATTRIBUTES)
    with naming(path):
        writer.writerows(row(art, seed, name) for name in sorted(os.listdir(folder))
                         if re.fullmatch(r"\d{6}\.png", name))
        with replacing(path) as file:
            file.write(text.getvalue().encode())


def write_credits(path, art, args):
    text = (f"{art.credits()}\nThey were chosen at random, put one on the other, set on white and "
            f"scaled by avatars.py --kind {art.name} --seed {args.seed}.\nWho shows these "
            "pictures, or what a generator has learned from them, names the artist.\n").encode()
    with naming(path):
        if os.path.lexists(path):
            with open(path, "rb") as file:
                if file.read(len(text) + 1) != text:
                    raise UserError(f"{path} exists, and is not of these pictures: type another "
                                    "folder")
            return
        with replacing(path) as file:
            file.write(text)


if __name__ == "__main__":
    run(main)
