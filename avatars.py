"""Draws pictures from parts that artists made, for training on something worth looking at:

    python avatars.py data/128 --kind cats --count 5000

and attributes.csv beside them: which part stands where, in every picture. Running it again does
only what is missing; the pictures of a seed are the same however many there are. The art belongs
to others, see CREDITS.txt beside them. Needs pip install -r requirements-demo.txt.
"""
import colorsys
import csv
import io
import multiprocessing
import os
import re

from PIL import Image
from tqdm import tqdm

from backend.errors import UserError, counted
from backend.files import make_folder, naming, replacing
from backend.signals import ignore_ctrl_c
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
    folders = {args.out: made}
    if args.masks:
        folders[masks_beside(args.out)] = made | {"masks": "0 ground, " + ", ".join(
            f"{i + 1} {layer}" for i, layer in enumerate(art.columns))}
    there = set()
    for folder, how in folders.items():
        make_folder(folder)
        names = origin.check_folder(folder, how)
        odd = [name for name in names if not re.fullmatch(r"\d{6}\.png", name)]
        if odd:
            raise UserError(f"{os.path.join(folder, odd[0])}: wanted nothing but 000000.png … in "
                            "it: move it to another folder")
        there |= {os.path.join(folder, name) for name in names}
    count = max([args.count] + [number_of(path) + 1 for path in there])
    texts = {os.path.join(args.out, ATTRIBUTES): table(art, args.seed, count)} | {
        os.path.join(folder, CREDITS): credits(art, args) for folder in folders}
    for path, text in texts.items():
        check_text(path, text)
    todo = [number for number in range(args.count) if {
        os.path.join(folder, file_name(number)) for folder in folders} - there]
    for path, text in texts.items():
        with naming(path), replacing(path) as file:
            file.write(text.encode())
    jobs = [(art.name, args.seed, number, size, folders) for number in todo]
    # spawn: nothing of the parent is shared, and the parent's signal handlers are not inherited.
    with multiprocessing.get_context("spawn").Pool(
            min(args.workers, max(1, len(jobs) // 100)), initializer=ignore_ctrl_c) as pool:
        for error in tqdm(pool.imap(draw, jobs, chunksize=16), total=len(jobs), unit=" pictures",
                          disable=None):
            if error:
                raise UserError(error)
    print(f"{counted(len(todo), 'picture')} of {size}×{size} drawn, {args.count - len(todo):,} "
          f"already there, in {' and '.join(folders)}; what is in them: "
          f"{os.path.join(args.out, ATTRIBUTES)}. {art.credits()}")


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
    return os.path.normpath(out) + "_masks"


def file_name(number):
    return f"{number:06d}.png"


def number_of(path):
    return int(os.path.splitext(os.path.basename(path))[0])


def draw(job):
    """Draw the picture, and its mask where one is wanted; None, or what is wrong."""
    kind, seed, number, size, folders = job
    try:
        art = art_of(kind)
        pictures = draw_both(art, art.choose(seed, number), size)
        for picture, (folder, made) in zip(pictures, folders.items()):
            path = os.path.join(folder, file_name(number))
            with naming(path):
                save_png(picture, path, os.path.dirname(os.path.abspath(folder)), made)
    except UserError as error:
        return str(error)


def draw_both(art, chosen, size):
    """(the picture, its mask with a palette to look at it)."""
    picture, owner = art.draw(chosen, size)
    mask = Image.fromarray(owner, "P")
    colours = [(1, 1, 1)] + [colorsys.hsv_to_rgb(i / len(art.columns), 0.7, 0.9)
                             for i in range(len(art.columns))]
    mask.putpalette([round(255 * part) for colour in colours for part in colour])
    return picture, mask


def table(art, seed, count):
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", *art.attributes])
    for number in range(count):
        chosen = art.choose(seed, number)
        writer.writerow([file_name(number), *(chosen[name] for name in art.attributes)])
    return text.getvalue()


def credits(art, args):
    return (f"{art.credits()}\nThey were chosen at random, put one on the other, set on white and "
            f"scaled by avatars.py --kind {art.name} --seed {args.seed}.\nWho shows these "
            "pictures, or what a generator has learned from them, names the artist.\n")


def check_text(path, text):
    """Raise UserError where a file is at `path` that does not begin as `text` does.

    Of more pictures, or of fewer, it is the same table.
    """
    text = text.encode()
    if os.path.lexists(path):
        with naming(path), open(path, "rb") as file:
            there = file.read(len(text))
            if there != text[:len(there)]:
                raise UserError(f"{path} exists, and is not of these pictures: type another folder")


if __name__ == "__main__":
    run(main)
