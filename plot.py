"""The course of a run as a picture and a film: python plot.py NAME

Writes sample/NAME/stats.png, from its stats.csv, and where there are two grids or more
sample/NAME/growth.gif, the same latents over time.
"""
import glob
import os
import re
import warnings

from PIL import Image, UnidentifiedImageError

from backend.errors import UserError, counted
from backend.files import naming, replacing
from cli import Parser, run
from measures.evaluate import COLUMNS
from pictures import film
from training import stats

SAMPLES = "sample"
# Title, scale, columns and how they are called.
PANELS = (
    ("Mean scores of D", "linear", {"score_real": "real", "score_fake": "generated",
                                      "score_held": "kept back"}),
    ("Losses", "linear", {"loss_D": "D", "loss_G": "G"}),
    ("R1 penalty and norms of the gradients", "log",
     {"r1": "R1", "grad_norm_D": "gradient of D", "grad_norm_G": "gradient of G"}),
    ("Images per second (the first at a size compile)", "linear", {"images_per_second": None}))
# Drawn where a run has measured them (the first: StyleGAN2's; train.py --metrics: as points).
METRICS = (("Path length in training", ("path_length",)),
           ("Mean sign of D's scores of real pictures (relativistic: of pairs), p of --augment",
            {"score_sign": "sign", "augment_p": "p"}), ("SWD × 1000", ("swd",)),
           ("MS-SSIM of pairs", ("ms_ssim",)), ("FID", ("fid",)), ("KID × 1000", ("kid",)),
           ("Precision and recall", ("precision", "recall")),
           ("Perceptual path length", ("ppl_z", "ppl_w")),
           ("Fréchet distance, parts", ("parts_fd",)),
           ("Of parts", ("parts_precision", "parts_recall", "parts_there", "parts_apart", "whole")))
FRAMES, LAST_SECONDS = 100, 3
# Fonts that a name of a run may need, where there are some; else it has boxes.
CHINESE = ("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Serif CJK SC", "Noto Serif CJK JP",
           "WenQuanYi Micro Hei", "WenQuanYi Zen Hei")


def main(argv=None):
    parser = Parser(description=__doc__)
    parser.add_argument("name", help="name of the run, or the folder of its stats.csv")
    args = parser.parse_args(argv)
    folder = os.path.join(SAMPLES, args.name)
    if os.path.isdir(args.name) and not os.path.isdir(folder):
        folder = args.name
    if not os.path.exists(os.path.join(folder, "stats.csv")):
        found = ", ".join(sorted(glob.glob(os.path.join(SAMPLES, "*", "stats.csv")))) or "none"
        raise UserError(f"{folder}/stats.csv: no such file, wanted that of a run; those that are "
                        f"there: {found}")
    rows = stats.read(os.path.join(folder, "stats.csv"))
    if len(rows) < 2:
        raise UserError(f"{folder}/stats.csv: found {counted(len(rows), 'line')}, wanted 2 or more "
                        "(there is one for every thousand images): train on, after its end with "
                        "--resume --kimg of more")
    written = [os.path.join(folder, "stats.png")]
    draw(rows, os.path.basename(os.path.abspath(folder)), written[0])
    grids = sorted(f for f in os.listdir(folder) if re.fullmatch(r"\d{9}\.png", f))
    if len(grids) > 1:
        written.append(os.path.join(folder, "growth.gif"))
        grow([os.path.join(folder, f) for f in grids], written[1])
    for path in written:
        print(path)
    return 0


def draw(rows, name, path):
    """One panel per kind of number, under a strip of the sizes; shaded while one fades in."""
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import font_manager, pyplot
    known = {font.name for font in font_manager.fontManager.ttflist}
    matplotlib.rcParams["font.family"] = ["DejaVu Sans", *(f for f in CHINESE if f in known)]
    wanted = [*PANELS] + [
        (title, "linear", names if isinstance(names, dict) else {name: name for name in names})
        for title, names in METRICS
        if any(row.get(name) is not None for row in rows for name in names)]
    heights = [0.15] + [2.3] * len(wanted)
    figure, (strip, *panels) = pyplot.subplots(
        len(heights), 1, figsize=(10, sum(heights)), sharex=True, layout="constrained",
        gridspec_kw={"height_ratios": heights})
    strip.set_axis_off()
    for first, last, size, fading in stretches(rows):
        if not fading:
            strip.text((first + last) / 2, 0, size, ha="center", va="bottom", fontsize=10)
    for panel, (title, scale, columns) in zip(panels, wanted):
        columns = {column: label for column, label in columns.items() if curve(rows, column)[0]}
        for i, (column, label) in enumerate(columns.items()):
            panel.plot(*curve(rows, column), label=label, linewidth=1.2, color=f"C{i}",
                       marker="o" if column in COLUMNS else None, markersize=4)
        panel.set_title(f"{name}: {title}" if panel is panels[0] else title, loc="left",
                        fontsize=10, parse_math=False)
        panel.set_yscale(scale)
        panel.grid(alpha=0.3)
        panel.margins(x=0)
        if len(columns) > 1:                    # beside the title
            panel.legend(loc="lower right", bbox_to_anchor=(1, 1), ncol=len(columns), fontsize=8,
                         frameon=False, borderaxespad=0.1)
        for first, last, _, fading in stretches(rows):
            if fading:
                panel.axvspan(first, last, color="black", alpha=0.07, linewidth=0)
            else:
                panel.axvline(first, color="black", alpha=0.3, linewidth=0.8)
    panels[-1].set_xlabel("thousand images seen (grey: a size fades in; numbers at the top: sizes)")
    with naming(path), replacing(path) as file, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")
        figure.savefig(file, format="png", dpi=110)
    pyplot.close(figure)


def curve(rows, column):
    """(kimg, values) where there are some; a measure's line breaks at a new size: those of two
    sizes do not compare."""
    kimg, values, size = [], [], None
    for row in rows:
        if row.get(column) is not None:
            if column in COLUMNS and size not in (None, row["size"]):
                kimg.append(row["kimg"])
                values.append(float("nan"))
            kimg.append(row["kimg"])
            values.append(row[column])
            size = row["size"]
    return kimg, values


def stretches(rows):
    """(first kimg, last kimg, size, whether it fades in) of each phase that `rows` went through."""
    result, first = [], 0.0
    for row, after in zip(rows, [*rows[1:], None]):
        phase = int(row["size"]), row["alpha"] < 1
        if after is None or phase != (int(after["size"]), after["alpha"] < 1):
            result.append((first, row["kimg"], *phase))
            first = row["kimg"]
    return result


def picture_of(path):
    try:
        return Image.open(path)
    except UnidentifiedImageError:
        raise UserError(f"{path}: not a picture, or a damaged one: delete it, and type the same "
                        "again") from None


def grow(paths, target):
    """A GIF of the grids at `paths`, at most a hundred of them, the last one shown longer.

    Grids that were painted smaller, by an earlier version, are enlarged.
    """
    step = -(-len(paths) // FRAMES)
    chosen = paths[::-1][::step][::-1]
    with picture_of(chosen[-1]) as last:
        size = last.size
    with film.gif(target) as write:
        for path in chosen:
            with picture_of(path) as picture:
                picture = picture.resize(size, Image.NEAREST)
                write(picture, LAST_SECONDS if path == chosen[-1] else max(0.08, 6 / len(chosen)))


if __name__ == "__main__":
    run(main)
