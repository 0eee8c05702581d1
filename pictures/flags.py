"""The flags of generate.py: what they are called, their help, and what was typed."""
import sys

from cli import (
    Parser,
    add_device_arguments,
    add_out_arguments,
    names_argument,
    numbers_argument,
    size_argument,
)
from pictures import features, figures, film
from pictures.painter import NOISES

FIGURES = ("samples", "mixing", "interpolation", "truncation", "noise", "classes")
FPS = 24
MOST_FRAMES, MOST_PSI, MOST_AMOUNT = 10_000, 100, 100
USUAL = {"n_row": 4, "n_col": 8, "seed": 0, "frames": FPS, "space": "z", "truncation_psi": 0.7}
# What is said of flags where they change nothing.
IN_VAIN = {
    "frames": "it is of --film",
    "space": "it is of --film and of --figures interpolation",
    "col_layers": "it is of mixing grids",
    "n_row": "it is of grids and films without seeds named",
    "n_col": "it is of grids and films without seeds named, and of ways along --direction",
    "seed": "it is of grids and films without seeds named",
    "scale": "--features writes pictures as large as painted",
    "truncation_psi": "what --w paints has its styles already",
    "truncation_layers": "what --w paints has its styles already"}


def parse_arguments(argv, description):
    """What was typed, as argparse has it, where it goes together; else one line and exit code 2."""
    parser = Parser(description=description)
    parser.add_argument("checkpoint", help="a .model file that train.py wrote, or other weights")
    parser.add_argument("--figures", type=figures_argument, metavar="LIST",
                        help="which grids to write, of " + ",".join(FIGURES) + " (default "
                        "samples,mixing,interpolation, and classes, a row for each label, where "
                        "there are up to 16); truncation has ψ of its own, "
                        + ", ".join(map(str, figures.PSI)))
    parser.add_argument("--label", metavar="NAME|NUMBER", help="of a network with labels: paint "
                        "pictures of this class only, or of several, cats,dogs, which the seeds "
                        "have in turn: ways and mixtures from one to the other (default: of each "
                        "seed a class that it draws)")
    parser.add_argument("--n_row", type=int, help="rows of each grid (default 4)")
    parser.add_argument("--n_col", type=int, help="columns of each grid (default 8)")
    parser.add_argument("--seed", type=int,
                        help="seed of the first picture; the next have seed + 1, … (default 0)")
    parser.add_argument("--seeds", type=numbers_argument, metavar="LIST",
                        help="such as 0-35,85: write these pictures, one PNG for each and as large "
                        "as painted, instead of the grids; with --film, the stops of its way")
    parser.add_argument("--w", metavar="FILE.npz", help="the pictures of the styles in FILE, as "
                        "project.py writes it; with --seeds: write their styles to FILE")
    parser.add_argument("--row_seeds", type=numbers_argument, metavar="LIST",
                        help="only a mixing grid, of these seeds down its side")
    parser.add_argument("--col_seeds", type=numbers_argument, metavar="LIST",
                        help="and these along its top")
    parser.add_argument("--col_layers", type=numbers_argument, metavar="LIST",
                        help="the layers such as 0-3 whose style comes from the top, two for each "
                        "size from 4 on (default: three grids, for coarse, middle and fine ones)")
    parser.add_argument("--direction", metavar="FILE.npz:NAME", help="go along a direction that "
                        "directions.py found")
    parser.add_argument("--amount", type=amounts_argument, metavar="A[,B]", help="how far, in its "
                        "standard deviations: 2 moves all that is painted, -3,3 paints the way, a "
                        "row for each seed of --seeds or style of --w, --n_col pictures long, or "
                        "with --film there and back (default -3,3)")
    parser.add_argument("--features", metavar="FOLDER", help="with --seeds or --w: also what the "
                        "layers hold, for labels: FOLDER gets a PNG and a .npz for each picture")
    parser.add_argument("--feature_layers", metavar="LIST", help="which ones: conv1, the second "
                        "convolution of each size, epilogue1, the same after its style, epilogue0, "
                        "the first after its style, or of one size, such as block32.epilogue1; "
                        "StyleGAN2: conv1, conv0, with all that follows each (default "
                        f"{features.DEFAULT['stylegan1']}; StyleGAN2: conv1)")
    parser.add_argument("--film", choices=sorted(film.WRITERS),
                        help="only a film that walks from picture to picture and back to the first")
    parser.add_argument("--frames", type=int, metavar="N",
                        help=f"of a film, from one picture to the next (default {FPS}, a second)")
    parser.add_argument("--space", choices=["z", "w"], help="interpolation along the "
                        "sphere of latents z, or straight between styles w (default z)")
    parser.add_argument("--noise", choices=NOISES, help="one set of maps for all pictures, maps of "
                        "each picture's own, or none (default const; of --w, the maps in FILE)")
    parser.add_argument("--truncation_psi", type=float,
                        help="0: the mean picture, 1: no truncation (default 0.7)")
    parser.add_argument("--truncation_layers", type=int, metavar="N",
                        help="how many layers it applies to, coarse ones first (default 8; all of "
                        "StyleGAN2's)")
    parser.add_argument("--size", type=size_argument, help="of other projects' weights: size in "
                        "pixels to which they were trained (default: the largest they have layers "
                        "for)")
    parser.add_argument("--scale", type=int, metavar="N", help="make a pixel N×N of them (default: "
                        "as many as make a picture 64 pixels high in grids and 128 in films; 1 for "
                        "the PNGs of --seeds and --w)")
    parser.add_argument("--amp", action="store_true", default=None, help="mixed precision, as "
                        "train.py's: sooner painted, on a GPU and on a CPU with AMX")
    add_out_arguments(parser)
    add_device_arguments(parser)
    args = parser.parse_args(argv)
    typed = {flag for flag in IN_VAIN if getattr(args, flag) is not None}
    for flag, usual in USUAL.items():
        if getattr(args, flag) is None:
            setattr(args, flag, usual)
    for flag in ("n_row", "n_col", "frames", "scale"):
        if getattr(args, flag) is not None and getattr(args, flag) < 1:
            parser.error(f"--{flag}: found {getattr(args, flag)}, wanted 1 or more")
    for flag, most in ("seed", 2 ** 31), ("truncation_layers", 1000), ("frames", MOST_FRAMES):
        if not 0 <= (getattr(args, flag) or 0) <= most:
            parser.error(f"--{flag}: found {getattr(args, flag)}, wanted 0 to {most}")
    if not abs(args.truncation_psi) <= MOST_PSI:
        parser.error(f"--truncation_psi: found {args.truncation_psi}, wanted a number from "
                     f"{-MOST_PSI} to {MOST_PSI}")
    args.amount = args.amount or ("-3,3" if args.direction else None)
    if bool(args.row_seeds) != bool(args.col_seeds):
        parser.error("--row_seeds and --col_seeds belong together: type both")
    only = [flag for flag, found in (
        ("--film", args.film), ("--row_seeds", args.row_seeds), ("--figures", args.figures),
        ("--seeds" if args.seeds else "--w", (args.seeds or args.w) and not args.film),
        ("--w", args.w and args.film and not is_way(args))) if found]
    if len(only) > 1:
        parser.error(f"{' and '.join(only)}: each writes something else, type one of them")
    if args.amount and not args.direction:
        parser.error("--amount is how far to go along --direction FILE.npz:NAME: type both")
    if is_way(args) and (
            args.figures or args.row_seeds or args.w and args.seeds):
        parser.error(f"--direction paints its way from {args.amount.replace(',', ' to ')}, and no "
                     "--figures, --row_seeds or --seeds with --w beside: type one number, such as "
                     "--amount 2, to move those")
    if args.features and (args.film or bool(args.seeds) == bool(args.w) or
                          is_way(args)):
        parser.error("--features is of single pictures: type --seeds LIST or --w FILE.npz with it, "
                     "no --film, and one --amount")
    if args.feature_layers and not args.features:
        parser.error("--feature_layers is of --features FOLDER: type both")
    if args.label is not None and "classes" in (args.figures or ()):
        parser.error("--label: --figures classes has a row for each label, leave one of them out")
    if args.w and not args.seeds and args.label is not None:
        parser.error("--label: what --w paints has its styles already, leave --label out")
    for flag in sorted(typed & in_vain(args)):
        print(f"note: --{flag} changes nothing here: {IN_VAIN[flag]}", file=sys.stderr)
    if args.film == "mp4":
        film.ffmpeg()
    return args


def in_vain(args):
    """The flags of IN_VAIN that have no say in what is painted."""
    way, single = is_way(args), bool(args.seeds or args.w)
    grids = set() if args.film or way or single else \
        {"mixing"} if args.row_seeds else set(args.figures or FIGURES)
    says = {
        "frames": args.film,
        "space": args.film and not way or "interpolation" in grids,
        "col_layers": "mixing" in grids,
        "n_row": not single and not args.row_seeds and grids != {"classes"},
        "n_col": way or not single and not args.row_seeds and not (
            grids and grids <= {"truncation", "noise"}),
        "seed": not single and not args.row_seeds,
        "scale": not args.features,
        "truncation_psi": args.seeds or not args.w,
        "truncation_layers": args.seeds or not args.w}
    return {flag for flag, found in says.items() if not found}


def amounts_of(text):
    return [float(amount) for amount in text.split(",")]


def is_way(args):
    """Whether a way along --direction is painted, not pictures moved by one amount."""
    return bool(args.direction) and len(amounts_of(args.amount)) > 1


def amounts_argument(text):
    """argparse type: the text where it is a number or two, such as -3,3."""
    found = amounts_of(text)
    if len(found) > 2 or not all(abs(amount) <= MOST_AMOUNT for amount in found):
        raise ValueError
    return text


amounts_argument.__name__ = (f"one or two numbers from {-MOST_AMOUNT} to {MOST_AMOUNT}, "
                             "such as 2 or -3,3")


def figures_argument(text):
    """argparse type: names of FIGURES."""
    return names_argument(text, FIGURES).split(",")
