"""The flags of train.py: what they are called, their help, and what was typed."""
import argparse
import math
import os

from backend.errors import UserError
from backend.threads import cores
from cli import Parser, add_device_arguments, size_argument
from measures import evaluate
from networks.config import ARCHITECTURES
from training.recipes import FEW, OFFICIAL, OFFICIAL2, PRESETS, SMALL, SMALL2

# What may be another on --resume. Of it, only how pictures are augmented changes what is learned:
# whether D knows them by heart is seen on the way.
AUGMENT = ("augment", "augment_p", "augment_target", "augment_kimg")
MAY_CHANGE = {*AUGMENT, "kimg", "save_kimg", "sample_kimg", "keep", "workers", "device",
              "cuda_home", "max_minutes", "metrics", "metric_kimg", "metric_images", "metric_share",
              "inception", "lpips", "features", "tensorboard", "grad_accum"}


def default_workers():
    return min(8, max(1, cores() // 2))


def make_parser():
    parser = Parser(
        argument_default=argparse.SUPPRESS,
        description="Trains StyleGAN1, growing from --init_size to --max_size, on DATA/8, DATA/16 "
        "… (as resize.py makes them), or StyleGAN2 at --max_size.\nWrites checkpoint/NAME_*.model "
        "and sample/NAME/*.png.")

    def add(flag, text, **options):
        name = flag.lstrip("-")
        if "choices" not in options and options.get("action") is None:
            options.setdefault("metavar", "N")
        official = OFFICIAL.get(name)
        if official is not None and official is not False:
            own = {flag: value for flag, value in SMALL2.items() if SMALL.get(flag) != value
                   or flag in OFFICIAL2}
            others = [("small", SMALL), ("StyleGAN2", OFFICIAL2), ("StyleGAN2's small", own)]
            others = [f"; {kind}: {shown(recipe[name])}" for kind, recipe in others
                      if name in recipe and name != "arch"]
            text += f" (default {shown(official)}{''.join(others)})"
        parser.add_argument(flag, help=text, **options)

    parser.add_argument("data", help="folder or .zip that holds 8/, 16/, 32/ …")
    add("--arch", "the network: StyleGAN1 grows, StyleGAN2 is trained at one size",
        choices=ARCHITECTURES)
    add("--preset", "recipe that the flags below change: official is the paper's, small suits "
        "hours on a CPU or a few thousand pictures; the others are StyleGAN2's (default official)",
        choices=PRESETS["stylegan2"])
    add("--name", "name of the run (default: the last part of DATA)", metavar="NAME")
    add("--resume", "go on where the run of this name stopped; only --" +
        ", --".join(sorted(MAY_CHANGE)) + " may then be other than before", action="store_true")
    add("--init", "begin a new run with the weights of FILE: a .model file, official StyleGAN1's "
        "or StyleGAN2's, the PyTorch or the Jittor port's. It starts at the file's size, in its "
        "fade where the file is in one; larger ones are new; the widths are the file's. A "
        "StyleGAN2 goes on at its own size", metavar="FILE")
    add("--freeze_d", "StyleGAN2, with --init: so many layers of the discriminator, those nearest "
        "the picture, stay as they are", type=int)
    add("--dry_run", "print the schedule, the parameters and guesses of memory and, for a CPU, of "
        "time, and stop", action="store_true")
    add("--init_size", "size in pixels to begin with", type=size_argument)
    add("--max_size", "size in pixels to grow to, and the only one of StyleGAN2 (default: the "
        "largest folder in DATA)", type=size_argument)
    add("--kimg", "length of the run in thousands of images", type=float)
    add("--phase_kimg", "thousands of images at each size after its fade", type=float)
    add("--fade_kimg", "thousands of images over which a new size fades in", type=float)
    add("--batch", "images per step, of all processes together: one number, or by size such as "
        "8:128,16:64, others as by default; multiples of 4 for each process, with paper256 and "
        "paper512 of 8, with cifar of 32 (default 128 up to 16, 64 at 32, 32 at 64, 16 at 128, 8 "
        "at 256, 4 above; of several processes 256 at 8, and at least 4 for each; StyleGAN2: 32; "
        "small: 16)")
    add("--grad_accum", "compute each batch in N parts one after the other, for the memory of one: "
        "the same training, a little slower", type=int)
    add("--lr", "Adam's learning rate: one number, or by size such as 8:0.001,128:0.0015, "
        "others as by default (default 0.001, 0.0015 at 128, 0.002 at 256, 0.003 from 512, with "
        "wgan-gp 0.002; small: 0.006; StyleGAN2: 0.002, StyleGAN2's small: 0.005)")
    add("--dlr", "the discriminator's, as --lr (default: the same)")
    add("--loss", "logistic with R1; relativistic, where each generated picture is scored beside a "
        "real one, with R1 on both; or, for StyleGAN1, WGAN-GP. The --gamma and --r1_interval of "
        "small were found for the relativistic one",
        choices=["logistic", "relativistic", "wgan-gp"])
    add("--gamma", "weight of the gradient penalty", type=float)
    add("--gamma_scale", "official: the penalty is that of the picture enlarged to --max_size, for "
        "which R1 is (size / max_size)² of port's, that of the picture as it is",
        choices=["official", "port"])
    add("--r1_interval", "the penalty at every Nth step only, N times as strong, with the "
        "discriminator's rates corrected for it as in StyleGAN2; quicker, not the paper's recipe",
        type=int)
    add("--pl_weight", "StyleGAN2: weight of the path length penalty, 0 for none", type=float)
    add("--pl_interval", "StyleGAN2: that penalty at every Nth step only, N times as strong",
        type=int)
    add("--share_fakes", "the generator learns from the pictures that the discriminator has just "
        "seen (with --grad_accum, from their latents), not from new ones; quicker, not the paper's "
        "recipe (default off; small: on)", action="store_true")
    parser.add_argument("--no_share_fakes", dest="share_fakes", action="store_false",
                        help="from new ones, where a preset shares them")
    add("--mixing", "probability of mixing two styles, 0 to 1", type=float)
    add("--mirror", "also show the pictures mirrored (not for letters)", action="store_true")
    add("--augment", "for few pictures. ada: D sees all of them at random turned, moved, stretched "
        "and recoloured, as often as it takes for it not to know them by heart; diff: all of them "
        "recoloured, moved and with a hole (small: ada, where there are fewer than "
        f"{FEW:,} pictures)", choices=["none", "ada", "diff"])
    add("--augment_p", "each transform with this probability, 0 to 1, instead of as often as it "
        "takes; from 0.8 on generated pictures may be turned too", type=float)
    add("--augment_target", "the mean sign of D's scores of real pictures, with --loss "
        "relativistic less those of generated ones, that p is steered to, -1 to 1", type=float)
    add("--augment_kimg", "thousands of images in which p can rise by 1", type=float)
    add("--holdout", "about this share of the pictures is kept back, 0 to 1; their scores by D "
        "are in stats.csv beside those of the others: where they part, D knows the others by heart",
        type=float)
    add("--ema_kimg", "half-life of the averaged generator in thousands of images. Several, such "
        "as 4,12, keep as many averages; the first is in NAME_<images>.model, the others are in "
        "files of their own, such as NAME_<images>_ema12.model", type=half_lives)
    add("--ema_rampup", "but at most this share of the images seen so far, so that the average "
        "follows closely at first; 0: always --ema_kimg", type=float)
    add("--channels", "3 for colour, 1 for grey, 4 for colour and transparency, of pictures that "
        "resize.py --alpha made", type=int, choices=[1, 3, 4])
    add("--latent", "length of the latent and of the style", type=int)
    add("--mapping_layers", "layers from the latent to the style", type=int)
    add("--fmap_base", "width of the layers: at most 2 · fmap_base / size feature maps", type=int)
    add("--fmap_max", "and at most this many", type=int)
    add("--conv", "3×3 convolutions on a CPU: winograd, with few multiplications, or direct, "
        "slower and a little more exact", choices=["winograd", "direct"])
    add("--amp", "mixed precision: on a GPU convolutions multiply in TF32, 10 bits instead of 23; "
        "on a CPU with AMX their gradients in bfloat16, 8 bits, and forward passes in 16. Sums and "
        "all else stay float32. Quicker, not the paper's recipe",
        action="store_true")
    add("--labels", "train a network with labels, which paints the class that it is told to; "
        "needs a dataset.json in DATA, as resize.py makes it of sub-folders", action="store_true")
    add("--seed", "decides weights, order of pictures, latents and noise", type=int)
    add("--save_kimg", "thousands of images between two files in checkpoint/", type=float)
    add("--sample_kimg", "thousands of images between two grids in sample/NAME/", type=float)
    add("--keep", "number of checkpoint/NAME_<images>.model files to keep, 0 for all", type=int)
    add("--metrics", "measure now and then, into stats.csv: of " + ",".join(evaluate.METRICS) +
        " as metrics.py does, such as swd,ms_ssim; what is learned stays the same",
        type=evaluate.metrics_argument, metavar="LIST")
    add("--metric_kimg", "thousands of images between two measurements", type=float)
    add("--metric_images", "pictures of each; compare only equal numbers", type=int)
    add("--metric_share", "leave measurements out that would take more than this share of the time",
        type=float)
    add("--inception", "weights that fid, kid and pr need: see metrics.py --help", metavar="FILE")
    add("--features", "network that parts needs: see attributes.py --help", metavar="FILE")
    add("--lpips", "weights that ppl needs: see metrics.py --help", metavar="FILE")
    add("--tensorboard", "also write stats.csv's numbers for TensorBoard, into sample/NAME/events; "
        "needs the package tensorboardX or tensorboard", action="store_true")
    add("--max_minutes", "stop after so many minutes as on Ctrl-C, for queues with a time limit",
        type=float)
    add("--workers", "processes that load pictures, 0 for none (default: half the cores)", type=int)
    add_device_arguments(parser)
    return parser


def half_lives(text):
    """argparse type: "4,12" → [4.0, 12.0]."""
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = []
    if not found or len({*map(shown, found)}) < len(found) or not all(
            0 <= kimg < math.inf for kimg in found):
        raise argparse.ArgumentTypeError(
            f"found {text!r}, wanted thousands of images, 0 or more, each once: 4, or 4,12")
    return found


def shown(value):
    if isinstance(value, list):
        return ",".join(map(shown, value))
    return f"{value:g}" if isinstance(value, float) else str(value) or "none"


def parse(argv=None):
    """Only what was typed: {flag: value}, with "data" and "name" always there."""
    typed = vars(make_parser().parse_args(argv))
    folder = os.path.basename(os.path.abspath(typed["data"]))
    typed.setdefault("name", folder[:-4] if folder.lower().endswith(".zip") else folder)
    if "init" in typed and "resume" in typed:
        raise UserError("--init begins a new run and --resume goes on with one: leave one out")
    if not typed["name"] or os.sep in typed["name"] or typed["name"].startswith("."):
        raise UserError(f"--name: found {typed['name'] or 'nothing'}, wanted a plain name, which "
                        "becomes part of file names")
    return typed
