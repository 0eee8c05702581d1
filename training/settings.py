"""The flags of train.py: their defaults, the presets, and what is checked before Jittor starts."""
import argparse
import math
import os

import dataset
from backend import mpi
from backend.errors import UserError
from backend.threads import cores
from cli import Parser, add_device_arguments, size_argument
from measures import evaluate
from networks.config import ARCHITECTURES, ModelConfig
from networks.shapes import picture_layers
from training import schedule
from training.recipes import OFFICIAL, OFFICIAL2, PRESETS, SMALL, SMALL2, recipe

# What may be another on --resume: none of it changes what is learned.
MAY_CHANGE = {"kimg", "save_kimg", "sample_kimg", "keep", "workers", "device", "cuda_home",
              "max_minutes", "metrics", "metric_kimg", "metric_images", "metric_share",
              "inception", "lpips", "features", "tensorboard", "grad_accum"}
# Files of earlier versions lack these.
LATER = ("conv", "r1_interval", "share_fakes", "metrics", "metric_kimg", "metric_images",
         "metric_share", "inception", "lpips", "features", "tensorboard", "amp", "grad_accum",
         "init_alpha", "dlr", "arch", "stddev_group", "d_residual", "ema_rampup", "pl_weight",
         "pl_interval", "freeze_d")
# What only one architecture knows.
ONLY = {"stylegan1": ("init_size", "phase_kimg", "fade_kimg", "loss", "gamma_scale", "share_fakes"),
        "stylegan2": ("pl_weight", "pl_interval", "freeze_d")}
NOT_SAVED = {"data", "name", "resume", "dry_run", "workers", "device", "cuda_home",
             "max_minutes"}


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
            others = [("small", SMALL), ("StyleGAN2", OFFICIAL2), ("its small", SMALL2)]
            others = [f"; {kind}: {shown(recipe[name])}" for kind, recipe in others
                      if name in recipe and name != "arch"]
            text += f" (default {shown(official)}{''.join(others)})"
        parser.add_argument(flag, help=text, **options)

    parser.add_argument("data", help="folder that holds 8/, 16/, 32/ …")
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
    add("--max_size", "size in pixels to grow to (default: the largest folder in DATA)",
        type=size_argument)
    add("--kimg", "length of the run in thousands of images", type=float)
    add("--phase_kimg", "thousands of images at each size after its fade", type=float)
    add("--fade_kimg", "thousands of images over which a new size fades in", type=float)
    add("--batch", "images per step, of all processes together: one number, or by size such as "
        "8:128,16:64; multiples of 4 for each process (default 128 up to 16, 64 at 32, 32 at 64, "
        "16 at 128, 8 at 256, 4 above; of several processes 256 at 8, and at least 4 for each; "
        "StyleGAN2: 32; small: 16)")
    add("--grad_accum", "compute each batch in N parts one after the other, for the memory of one: "
        "the same training, a little slower", type=int)
    add("--lr", "Adam's learning rate: one number, or by size such as 8:0.001,128:0.0015 "
        "(default 0.001, 0.0015 at 128, 0.002 at 256, 0.003 from 512, with wgan-gp 0.002; small: "
        "0.006; StyleGAN2: 0.002, its small: 0.003)")
    add("--dlr", "the discriminator's, as --lr (default: the same)")
    add("--loss", "logistic with R1; relativistic, where each generated picture is scored beside a "
        "real one, with R1 on both; or WGAN-GP", choices=["logistic", "relativistic", "wgan-gp"])
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
        "seen, not from new ones; quicker, not the paper's recipe", action="store_true")
    add("--mixing", "probability of mixing two styles, 0 to 1", type=float)
    add("--mirror", "also show the pictures mirrored (not for letters)", action="store_true")
    add("--ema_kimg", "half-life of the averaged generator in thousands of images. Several, such "
        "as 4,12, keep as many averages; the first is in NAME_<images>.model, the others are in "
        "files of their own, such as NAME_<images>_ema12.model", type=half_lives)
    add("--ema_rampup", "but at most this share of the images seen so far, so that the average "
        "follows closely at first; 0: always --ema_kimg", type=float)
    add("--channels", "3 for colour, 1 for grey", type=int, choices=[1, 3])
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
    typed.setdefault("name", folder)
    if "init" in typed and "resume" in typed:
        raise UserError("--init begins a new run and --resume goes on with one: leave one out")
    if not typed["name"] or os.sep in typed["name"] or typed["name"].startswith("."):
        raise UserError(f"--name: found {typed['name'] or 'nothing'}, wanted a plain name, which "
                        "becomes part of file names")
    return typed


def new_run(typed, init=None):
    """All settings of a run that begins: preset, then what was typed, then checked.

    init: header of the weights that it begins with, which decides the network and the first size.
    """
    dataset.check_root(typed["data"], "python train.py")
    arch = init["model"]["arch"] if init else typed.get("arch", "stylegan1")
    check_arch(typed, arch)
    largest = max(dataset.available_sizes(typed["data"]))
    size = typed.get("max_size") or (init["size"] if init and arch == "stylegan2" else largest)
    settings = recipe(arch, typed.get("preset", "official"), size) | typed
    if init:
        settings |= from_weights(typed, init)
    for flag in ("max_size", "init_size"):
        if (typed.get(flag) or 0) > largest:
            raise UserError(f"--{flag} {typed[flag]}: the largest pictures in {settings['data']} "
                            f"are of {largest}: leave --{flag} out, or make larger ones from the "
                            f"pictures as they were: python resize.py FOLDER --max_size "
                            f"{typed[flag]}")
    if arch == "stylegan2":
        if init and (size != init["size"] or size > largest):
            raise UserError(f"{typed['init']} is a StyleGAN2 of size {init['size']}, which does "
                            f"not grow: found {min(size, largest)} to train at, wanted pictures of "
                            f"{init['size']}")
        settings["max_size"] = settings["init_size"] = size
    elif settings["max_size"] is None:
        settings["max_size"] = largest
    elif init and "init_size" not in typed and settings["max_size"] < settings["init_size"]:
        raise UserError(too_small(typed, init, settings["max_size"]))
    # In full, for another number of processes goes on with the same batches.
    settings["batch"] = table_text(batches(settings, schedule.default_batch(mpi.SIZE)))
    check_features(typed, settings)
    check(settings)
    return settings


def from_weights(typed, init):
    """The settings that the weights of --init decide."""
    decided = {name: init["model"][name]
               for name in ("arch", "channels", "latent", "mapping_layers", "fmap_base", "fmap_max",
                            "stddev_group", "d_residual")}
    for flag, value in decided.items():
        if typed.get(flag, value) != value:
            raise UserError(f"--{flag} {typed[flag]}, but {typed['init']} has {value}: leave "
                            f"--{flag} out")
    if decided["channels"] not in (1, 3):
        raise UserError(f"--init {typed['init']}: its pictures have {decided['channels']} "
                        "channels, train.py reads pictures of 1 or 3")
    if init["model"]["labels"]:
        raise UserError(f"--init {typed['init']}: a network with labels, which train.py does not "
                        "know yet")
    if decided["arch"] == "stylegan2":                  # it does not grow, nor its average ramp up
        return decided | {"ema_rampup": typed.get("ema_rampup", 0.0)}
    if typed.get("init_size", 8) > init["size"]:
        raise UserError(f"--init_size {typed['init_size']} is above the size of {typed['init']}, "
                        f"{init['size']}: leave --init_size out, and larger sizes fade in")
    largest = max(dataset.available_sizes(typed["data"]), default=0)
    if "init_size" not in typed and largest < init["size"]:
        raise UserError(too_small(typed, init, largest))
    size = typed.get("init_size", init["size"])
    return decided | {"init_size": size,
                      "init_alpha": float(init["alpha"]) if size == init["size"] else 1.0}


def check_arch(typed, arch):
    """Raise UserError for flags that the architecture does not know."""
    if typed.get("arch", arch) != arch:
        raise UserError(f"--arch {typed['arch']}, but {typed['init']} is a {arch}: leave --arch "
                        "out")
    if typed.get("preset", "official") not in PRESETS[arch]:
        raise UserError(f"--preset {typed['preset']} is a recipe of StyleGAN2: type "
                        + ("" if "init" in typed else "--arch stylegan2, or ") +
                        f"a preset of {', '.join(PRESETS[arch])}")
    for other, flags in ONLY.items():
        for flag in flags if other != arch else ():
            if flag in typed:
                raise UserError(f"--{flag} is of --arch {other}, this run's is {arch}: leave it "
                                "out")
    if typed.get("freeze_d") and "init" not in typed:
        raise UserError("--freeze_d keeps layers of the weights of --init FILE: type both")


def too_small(typed, init, largest):
    return (f"{typed['init']} is of size {init['size']}, but the largest to train at is {largest}: "
            f"type --init_size {largest}")


def resumed_run(typed, saved):
    """The saved settings, and of what was typed that which may change. Else a UserError."""
    # Runs of earlier versions have no mapping_layers, one average, and none of LATER.
    saved = {flag: OFFICIAL[flag] for flag in ("mapping_layers", *LATER)
             if flag != "init_alpha"} | saved
    if not isinstance(saved["ema_kimg"], list):
        saved = saved | {"ema_kimg": [saved["ema_kimg"]]}
    for flag, value in typed.items():
        same = value == saved.get(flag, value) or flag in MAY_CHANGE or (
            flag == "batch" and batches(typed, batches(saved)) == batches(saved))
        if not same:
            raise UserError(f"--{flag} {shown(value)}, but the run {typed['name']} was started "
                            f"with --{flag} {shown(saved[flag])}: leave it out, or begin another "
                            "run with --name")
    if "init_alpha" not in saved and saved["loss"] == "wgan-gp":    # of an earlier version
        saved = saved | dict(gamma_scale="port",
                             lr=saved["lr"] or table_text(schedule.LEARNING_RATE))
    settings = saved | typed
    check_features(typed, settings)
    check(settings)
    return settings


def check_features(typed, settings):
    """Raise UserError where --features was typed in vain; a saved one may wait for its use."""
    if typed.get("features") and "parts" not in settings["metrics"].split(","):
        raise UserError("--features: parts is not among --metrics: name it, or leave it out")


def to_save(settings):
    return {k: v for k, v in settings.items() if k not in NOT_SAVED}


def check(s):
    """Raise UserError for values that make no sense; set defaults of what is never saved."""
    s.setdefault("device", "auto")
    s.setdefault("cuda_home", None)
    s.setdefault("workers", default_workers())
    s.setdefault("preset", "official")
    for flag in LATER:
        s.setdefault(flag, OFFICIAL[flag])
    s.setdefault("max_minutes", math.inf)
    for flag in ("kimg", "phase_kimg", "sample_kimg", "save_kimg", "latent", "mapping_layers",
                 "fmap_base", "fmap_max", "r1_interval", "max_minutes", "metric_kimg",
                 "grad_accum", "pl_interval"):
        if not s[flag] > 0:
            raise UserError(f"--{flag}: found {s[flag]:g}, wanted more than 0")
    for flag in ("fade_kimg", "gamma", "keep", "workers", "seed", "ema_rampup", "pl_weight",
                 "freeze_d"):
        if not s[flag] >= 0:
            raise UserError(f"--{flag}: found {s[flag]:g}, wanted 0 or more")
    if s["metric_images"] < 2:
        raise UserError(f"--metric_images: found {s['metric_images']}, wanted 2 or more")
    if not 0 <= s["metric_share"] <= 1:
        raise UserError(f"--metric_share: found {s['metric_share']:g}, wanted a share from 0 to 1")
    evaluate.check_files(set(s["metrics"].split(",")), s["inception"], s["lpips"],
                         s["features"])
    if not 0 <= s["mixing"] <= 1:
        raise UserError(f"--mixing: found {s['mixing']:g}, wanted a probability from 0 to 1")
    for flag in ("max_size", "init_size"):
        if s[flag] < 8:
            raise UserError(f"--{flag}: found {s[flag]}, wanted 8 or more")
    if s["max_size"] < s["init_size"]:
        raise UserError(f"--max_size {s['max_size']} is below --init_size {s['init_size']}: "
                        f"type --init_size {s['max_size']}")
    if s["grad_accum"] > 1 and s["share_fakes"]:
        raise UserError("--share_fakes keeps the pictures of a whole batch, which --grad_accum is "
                        "to spare the memory of: leave one out")
    check_batches(make_schedule(s), s["grad_accum"], schedule.group_unit(s["stddev_group"]))


def check_batches(plan, grad_accum, group):
    """Raise UserError where a batch of the schedule cannot be divided into groups of the minibatch
    stddev."""
    unit = group * mpi.SIZE * grad_accum
    used = {size: plan.batch[size] for size in plan.sizes}
    wrong = {size: batch for size, batch in used.items() if batch % unit}
    if not wrong:
        return
    size, batch = next(iter(wrong.items()))
    of = [f"{mpi.SIZE} processes"] * (mpi.SIZE > 1) + \
        [f"--grad_accum {grad_accum}"] * (grad_accum > 1)
    fits = {s: schedule.multiple(b, unit) for s, b in used.items()}
    raise UserError(
        f"--batch: found {batch} at size {size}, wanted a multiple of {unit}"
        + (f", {group} for each of {' and '.join(of)}" if of else "")
        + f" (the minibatch stddev works on groups of {group}): type --batch "
        + table_text(fits))


def check_division(s, config):
    """Raise UserError for a network whose batches cannot be divided among processes or parts."""
    group = config.stddev_group
    if s["grad_accum"] * mpi.SIZE > 1 and not schedule.can_be_divided(group):
        over = f"groups of {group}" if group else "the whole batch"
        raise UserError(f"the minibatch stddev of this network is over {over}, which cannot be "
                        "divided: leave mpirun and --grad_accum out")


def check_freeze(s, config, init=None):
    """Raise UserError where layers are to be frozen that there are not, or that are new.

    init: (header, arrays, path) of the weights that a run begins with."""
    layers = picture_layers(config)
    if s["freeze_d"] and init and not any(n.startswith("discriminator/") for n in init[1]):
        raise UserError(f"--freeze_d: {init[2]} has no discriminator, so its layers would be new: "
                        "leave --freeze_d out, or begin with a file that has one, such as "
                        "NAME_resume.model")
    if s["freeze_d"] > len(layers):
        raise UserError(f"--freeze_d: found {s['freeze_d']}, the discriminator has {len(layers)} "
                        f"layers above its head, from {layers[0]} to {layers[-1]}")


def batches(s, default=schedule.BATCH):
    """{size: batch} of a run with these settings, or of these flags."""
    return table(s["batch"], "--batch", default)


def table(text, flag, default, number=int):
    try:
        return schedule.parse_table(text, flag, default, number) if text else dict(default)
    except ValueError as error:
        raise UserError(str(error)) from None


def table_text(by_size):
    """{8: 64, 16: 32} → "8:64,16:32", what parse_table reads; one number where all are equal."""
    if len(set(by_size.values())) == 1:
        return str(next(iter(by_size.values())))
    return ",".join(f"{size}:{number}" for size, number in by_size.items())


def make_schedule(s):
    rates = schedule.LEARNING_RATE
    if s["loss"] == "wgan-gp":                          # as in its official configuration
        rates = {size: min(rate, 2e-3) for size, rate in rates.items()}
    rates = table(s["lr"], "--lr", rates, float)
    return schedule.Schedule(
        s["init_size"], s["max_size"], s["kimg"], s["fade_kimg"], s["phase_kimg"], batches(s),
        rates, table(s["dlr"], "--dlr", rates, float), s["init_alpha"])


def model_config(s, init=None):
    """The ModelConfig of a run that begins; `init`: header of the weights that it begins with."""
    try:
        return ModelConfig(**(init["model"] if init else {}) | dict(
            arch=s["arch"], size=s["max_size"], channels=s["channels"], latent=s["latent"],
            mapping_layers=s["mapping_layers"], fmap_base=s["fmap_base"], fmap_max=s["fmap_max"],
            stddev_group=s["stddev_group"], d_residual=s["d_residual"]))
    except ValueError as error:                         # its message begins with the field
        raise UserError(f"--{error}") from None
