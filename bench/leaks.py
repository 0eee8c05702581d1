"""Do augmentations show in what is generated? Trains on pictures none of which is turned, mirrored,
red or dark, and counts those that a generator makes:

    python bench/leaks.py OUT --augment_p 0,0.2,0.6,0.8,0.95 --kimg 200

The pictures are letters F of 16×16, upright, green to blue on white. A generated one
counts as turned or mirrored where it is nearest to a real one when it is turned or mirrored back,
as red where most of its ink is, as dark where its border is. OUT gets the pictures and the runs.
"""
import colorsys
import os
import subprocess
import sys

import numpy as np
from PIL import Image, ImageDraw, ImageFont

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from backend.files import make_folder  # noqa: E402
from cli import Parser, bring_up, run  # noqa: E402
from measures.evaluate import generated  # noqa: E402
from measures.feature_metrics import squared_distances  # noqa: E402
from weights import snapshot  # noqa: E402

SIZE, REAL = 16, 600
KINDS = "turned", "mirrored", "red", "dark"


def main():
    parser = Parser(description=__doc__)
    parser.add_argument("out", metavar="OUT", help="folder, made if missing")
    parser.add_argument("--augment_p", default="0,0.2,0.6,0.8,0.95", metavar="LIST",
                        help="of the runs (default 0,0.2,0.6,0.8,0.95)")
    parser.add_argument("--kimg", type=float, default=200, help="of each (default 200)")
    parser.add_argument("--images", type=int, default=500, help="to count (default 500)")
    args = parser.parse_args()
    pictures = real_pictures()
    folder = os.path.join(args.out, "letters")
    make_folder(os.path.join(folder, str(SIZE)))
    for i, picture in enumerate(pictures):
        Image.fromarray(picture).save(os.path.join(folder, str(SIZE), f"{i:03}.png"))
    python(args.out, "resize.py", f"letters/{SIZE}")
    bring_up("cpu")
    print(f"{'augment_p':24}" + "".join(f"{kind:>10}" for kind in KINDS))
    show("real", pictures[1::2], pictures[::2])
    for p in args.augment_p.split(","):
        transformed = transform(pictures[1::2], float(p))
        show(f"{p}: real, transformed", transformed, pictures[::2])
        python(args.out, "train.py", "letters", "--name", f"p{p}", "--preset", "small",
               "--loss", "logistic", "--gamma", "1", "--r1_interval", "1", "--no_share_fakes",
               "--fmap_max", "32", "--phase_kimg", str(args.kimg / 4), "--fade_kimg",
               str(args.kimg / 8), "--kimg", str(args.kimg), "--augment", "ada", "--augment_p", p)
        path = os.path.join(args.out, "checkpoint", f"p{p}_{round(1000 * args.kimg):09d}.model")
        header, arrays = snapshot.load(path)
        generator = snapshot.make_generator(header, arrays, path)
        made = generated(generator, SIZE, header["alpha"], range(args.images))
        show(f"{p}: generated", made.transpose(0, 2, 3, 1), pictures)
    return 0


def python(folder, script, *arguments):
    done = subprocess.run([sys.executable, os.path.join(ROOT, script), *arguments], cwd=folder,
                          capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)


def real_pictures():
    """uint8 [REAL, SIZE, SIZE, 3], different in letter, colour, size and place."""
    rng, found = np.random.RandomState(0), []
    for _ in range(REAL):
        hue, height = rng.uniform(0.3, 0.65), rng.randint(60, 69)
        colour = [round(255 * c) for c in colorsys.hsv_to_rgb(hue, 0.9, rng.uniform(0.5, 0.9))]
        large = Image.new("RGB", (4 * SIZE, 4 * SIZE), "white")
        ImageDraw.Draw(large).text(2 * SIZE + rng.randint(-4, 5, 2), "F",
                                   tuple(colour), ImageFont.load_default(int(height)), "mm",
                                   stroke_width=3)
        found.append(np.asarray(large.resize((SIZE, SIZE), Image.LANCZOS)))
    return np.stack(found)


def transform(pictures, p):
    """Real pictures as the discriminator sees them."""
    from backend import jt
    from backend.warp import warp
    from training.augment import Draws, draw_placing
    draws = Draws(np.random.default_rng(0), len(pictures))
    x = pictures.transpose(0, 3, 1, 2).astype("float32") / 127.5 - 1
    found = warp(jt.array(x), draw_placing(draws, p, SIZE, 3)).numpy()
    return np.clip(np.rint((found + 1) * 127.5), 0, 255).astype("uint8").transpose(0, 2, 3, 1)


def shares(pictures, real):
    """{kind: share of the pictures, uint8 [N, SIZE, SIZE, 3]}. real: upright ones."""
    ink = 255 - pictures.astype("float64")
    shape, known = ink.mean(3), 255 - real.mean(3).reshape(len(real), -1)
    ways = []                           # how near each is to a real one when it is put back
    for mirrored in False, True:
        for quarters in range(4):
            back = np.rot90(shape[:, :, ::-1] if mirrored else shape, quarters, (1, 2))
            ways.append(squared_distances(back.reshape(len(back), -1), known).min(1))
    way = np.argmin(ways, 0)
    amount = ink.sum((1, 2))            # of red, green and blue that is missing
    border = np.concatenate([pictures[:, [0, -1]].reshape(len(pictures), -1),
                             pictures[:, :, [0, -1]].reshape(len(pictures), -1)], 1)
    found = way % 4 > 0, way >= 4, amount[:, 0] < amount[:, 1:].min(1), border.mean(1) < 128
    return {kind: float(which.mean()) for kind, which in zip(KINDS, found)}


def show(label, pictures, real):
    print(f"{label:24}" + "".join(f"{share:10.1%}" for share in shares(pictures, real).values()),
          flush=True)


if __name__ == "__main__":
    run(main)
