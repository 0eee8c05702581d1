"""Renders the symbols, letters and numbers of a font: a data set for people who have none yet.

    python symbols.py data/128
    python symbols.py data/128 --chars A-Z0-9 --count 3000
    python symbols.py data/128 --font /usr/share/fonts/truetype/noto/NotoColorEmoji.ttf

Each glyph is centred on white, or with --alpha on nothing, in a saturated colour of its own; a
colour font keeps its colours.
"""
import colorsys
import os
import unicodedata

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from backend.errors import UserError, counted
from backend.files import make_folder, naming
from cli import Parser, picture_size, run, size_argument
from pictures import origin
from pictures.grid import save_png

KINDS = "LNS"                       # Unicode categories: letters, numbers, symbols
MARGIN = 0.1                        # of the picture, kept white on every side
BITMAP_SIZES = (109, 136, 160, 128, 96, 64, 32)     # of fonts that hold pictures (Noto: 109)


def main():
    args = parse_arguments()
    size = picture_size(args.out, args.size)
    font = Font(args.font or default_font(), size, args.alpha)
    chars = font.chars if args.chars is None else parse_chars(args.chars)
    glyphs = [c for c in chars if font.has(c)]
    if not glyphs:
        raise UserError(f"{font.path} holds none of --chars {args.chars}: try --chars A-Z")
    make_folder(args.out)
    made = {"--font": font.identity, "--size": size} | origin.settings(
        args, ("chars", "alpha", "seed"))
    there = origin.check_folder(args.out, made)

    # Each glyph's own picture first, in a shuffled order, then all again in other colours.
    order = np.random.RandomState(args.seed).permutation(len(glyphs))
    wanted = args.count or len(glyphs)
    names, round_number, blank = set(), 0, set()
    with tqdm(total=wanted, unit=" pictures", disable=None) as bar:
        while len(names) < wanted and len(blank) < len(glyphs):
            for char in (glyphs[i] for i in order):
                if len(names) == wanted or char in blank:
                    continue
                picture = font.render(char, glyph_colour(args.seed, char, round_number))
                if picture is None:
                    blank.add(char)
                    continue
                name = file_name(char, round_number)
                save(picture, os.path.join(args.out, name), made)
                names.add(name)
                bar.update()
            round_number += 1
            if not args.count or font.in_colour:        # once more would be the same pictures
                break
    before = len(set(there) - names)
    print(f"{counted(len(names), 'picture')} of {size}×{size} in {args.out}"
          f"{f', beside {before:,} of an earlier start' if before else ''}, "
          f"{counted(len(glyphs) - len(blank), 'glyph')} of {os.path.basename(font.path)}; "
          f"{counted(len(blank), 'blank or missing glyph')} left out")


def parse_arguments():
    parser = Parser(description=__doc__)
    parser.add_argument("out", metavar="OUT/128", help="folder for the pictures, made if missing")
    parser.add_argument("--font", help="a .ttf or .otf file, also a colour emoji font "
                        "(default: DejaVu Sans, over 5,000 glyphs)")
    parser.add_argument("--chars", help="characters and ranges, such as A-Z0-9 (default: every "
                        "letter, number and symbol that the font has)")
    parser.add_argument("--count", type=int, help="number of pictures; more than there are glyphs "
                        "draws them again in other colours, where the font has none of its own "
                        "(default: one per glyph)")
    parser.add_argument("--size", type=size_argument,
                        help="height and width in pixels (default: the folder's name, or 128)")
    parser.add_argument("--alpha", action="store_true", default=None, help="on transparent ground, "
                        "for resize.py --alpha and train.py --channels 4")
    parser.add_argument("--seed", type=int, default=0, help="decides order and colours (default 0)")
    args = parser.parse_args()
    if args.count is not None and args.count < 1:
        parser.error(f"--count: found {args.count}, wanted 1 or more")
    if not 0 <= args.seed < 2 ** 32:
        parser.error(f"--seed: found {args.seed}, wanted 0 to {2 ** 32 - 1}")
    if args.chars == "":
        parser.error("--chars: found nothing, wanted some, such as A-Z0-9")
    return args


def default_font():
    import matplotlib
    return os.path.join(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")


def parse_chars(text):
    """"A-Z0-9+" → ["A", … "Z", "0", … "9", "+"], each once, in order."""
    chars, i = [], 0
    while i < len(text):
        if text[i + 1:i + 2] == "-" and i + 2 < len(text):
            first, last = ord(text[i]), ord(text[i + 2])
            if last < first:
                raise UserError(f"--chars: found {text[i:i + 3]}, wanted a range such as A-Z")
            chars += [chr(c) for c in range(first, last + 1)]
            i += 3
        else:
            chars.append(text[i])
            i += 1
    return list(dict.fromkeys(chars))


class Font:
    """A font file, opened at a size that fills a picture of `size` pixels. alpha: whether that has
    transparent ground."""

    def __init__(self, path, size, alpha=None):
        from fontTools.ttLib import TTFont
        self.path, self.size, self.alpha = path, size, alpha
        try:
            tables = TTFont(path, fontNumber=0, lazy=True)
            self.glyph_names = tables.getBestCmap() or {}
            self.in_colour = any(tag in tables for tag in ("CBDT", "sbix", "COLR", "SVG "))
            self.font = self.open_face()
        except Exception as error:      # fontTools raises many kinds for broken files
            reason = getattr(error, "strerror", None) or ascii(error)[:200]
            raise UserError(f"--font {path}: not a font that can be read ({reason})") from None
        self.tofu = self.ink_of(chr(0x10FFFF))

    def open_face(self):
        try:
            return ImageFont.truetype(self.path, round(self.size * (1 - 2 * MARGIN)))
        except OSError:                     # a font of pictures opens at its own size only
            for size in BITMAP_SIZES:
                try:
                    return ImageFont.truetype(self.path, size)
                except OSError:
                    continue
            raise

    @property
    def identity(self):
        with open(self.path, "rb") as file:
            return origin.identity(self.path, file.read())

    @property
    def chars(self):
        """Every letter, number and symbol of the font."""
        chars = (chr(c) for c in sorted(self.glyph_names))
        return [c for c in chars if unicodedata.category(c)[0] in KINDS]

    def has(self, char):
        return self.glyph_names.get(ord(char)) not in (None, ".notdef")

    def draw(self, char, colour):
        """The glyph on transparent ground, cropped to its ink (RGBA), or None where it is blank.

        A glyph that is damaged in the font counts as blank.
        """
        try:
            return self.draw_whole(char, colour)
        except OSError:
            return None

    def draw_whole(self, char, colour):
        left, top, right, bottom = self.font.getbbox(char)
        if right <= left or bottom <= top or right - left > 8 * self.font.size:
            return None
        canvas = Image.new("RGBA", (right - left + 4, bottom - top + 4), (*colour, 0))
        ImageDraw.Draw(canvas).text((2 - left, 2 - top), char, font=self.font,
                                    fill=(*colour, 255), embedded_color=self.in_colour)
        box = canvas.getchannel("A").getbbox()
        return canvas.crop(box) if box else None

    def ink_of(self, char):
        drawn = self.draw(char, (0, 0, 0))
        return drawn.tobytes() if drawn else None

    def render(self, char, colour):
        """RGB or RGBA picture with the glyph in its middle, or None for blank glyphs and tofu."""
        glyph = self.draw(char, colour)
        if glyph is None or (self.tofu and self.ink_of(char) == self.tofu):
            return None
        room = round(self.size * (1 - 2 * MARGIN))
        scale = min(room / glyph.width, room / glyph.height)
        if scale < 1 or self.in_colour:
            extent = [max(1, round(e * scale)) for e in glyph.size]
            glyph = glyph.resize(extent, Image.LANCZOS)
        picture = Image.new("RGBA", (self.size, self.size),
                            (255, 255, 255, 0 if self.alpha else 255))
        corner = [(self.size - e) // 2 for e in glyph.size]
        picture.alpha_composite(glyph, tuple(corner))
        return picture if self.alpha else picture.convert("RGB")


def glyph_colour(seed, char, round_number):
    """A saturated colour that depends on nothing but these three."""
    rng = np.random.RandomState([seed % 2 ** 32, ord(char), round_number])
    rgb = colorsys.hsv_to_rgb(rng.uniform(), rng.uniform(0.8, 1.0), rng.uniform(0.6, 0.95))
    return tuple(round(255 * c) for c in rgb)


def file_name(char, round_number):
    return f"u{ord(char):05x}" + (f"_{round_number}" if round_number else "") + ".png"


def save(picture, path, made):
    with naming(path):
        save_png(picture, path, os.path.dirname(os.path.dirname(os.path.abspath(path))), made)


if __name__ == "__main__":
    run(main)
