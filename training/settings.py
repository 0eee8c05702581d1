"""The settings of a run: recipe, what was typed, what is checked before Jittor starts."""
import math

import dataset
from backend import mpi
from backend.errors import UserError
from measures import evaluate
from networks.config import ModelConfig
from networks.shapes import picture_layers
from training import schedule
from training.flags import AUGMENT, MAY_CHANGE, default_workers, shown
from training.recipes import FEW, OFFICIAL, PRESETS, recipe

# Files of earlier versions lack these.
LATER = ("conv", "r1_interval", "share_fakes", "metrics", "metric_kimg", "metric_images",
         "metric_share", "inception", "lpips", "features", "tensorboard", "amp", "grad_accum",
         "init_alpha", "dlr", "arch", "stddev_group", "d_residual", "ema_rampup", "pl_weight",
         "pl_interval", "freeze_d", "augment", "augment_p", "augment_target", "augment_kimg",
         "holdout", "labels")
# What only one architecture knows.
ONLY = {"stylegan1": ("init_size", "phase_kimg", "fade_kimg", "gamma_scale", "share_fakes"),
        "stylegan2": ("pl_weight", "pl_interval", "freeze_d")}
NOT_SAVED = {"data", "name", "resume", "dry_run", "workers", "device", "cuda_home",
             "max_minutes"}


def new_run(typed, init=None):
    """All settings of a run that begins: preset, then what was typed, then checked.

    init: header of the weights that it begins with, which decides the network and the first size.
    """
    dataset.check_root(typed["data"], "python train.py")
    arch = init["model"]["arch"] if init else typed.get("arch", "stylegan1")
    check_arch(typed, arch)
    largest = max(dataset.available_sizes(typed["data"]))
    size = typed.get("max_size") or (init["size"] if init and arch == "stylegan2" else largest)
    usual = recipe(arch, typed.get("preset", "official"), size)
    if augments_by_itself(usual | typed, typed):
        usual = usual | {"augment": "ada"}
    settings = usual | typed
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
            advice = "leave --max_size out" if size != init["size"] else "make some with resize.py"
            raise UserError(f"{typed['init']} is a StyleGAN2 of size {init['size']}, which does "
                            f"not grow: found {min(size, largest)} to train at, wanted pictures of "
                            f"{init['size']}: {advice}")
        settings["max_size"] = settings["init_size"] = size
    elif settings["max_size"] is None:
        settings["max_size"] = largest
    elif init and "init_size" not in typed and settings["max_size"] < settings["init_size"]:
        raise UserError(too_small(typed, init, settings["max_size"]))
    if "pl_interval" in typed and not settings["pl_weight"]:
        raise UserError("--pl_interval is of the path length penalty, which has weight 0 here: "
                        "type --pl_weight 2 too, or leave --pl_interval out")
    # In full, for another number of processes goes on with the same batches; and sizes that were
    # not named have those of the preset.
    settings["batch"] = table_text(batches(settings, batches(
        usual, schedule.default_batch(mpi.SIZE))))
    if typed.get("lr") and usual["lr"]:
        settings["lr"] = table_text(rates(settings, rates(usual)))
    check_features(typed, settings)
    check(settings)
    check_steering(typed, settings)
    return settings


def augments_by_itself(settings, typed):
    """Whether the preset is one that chooses by the number of pictures, and these are few."""
    if (settings["arch"], typed.get("preset")) != ("stylegan1", "small") or \
            settings["loss"] == "wgan-gp" or "augment" in typed:
        return False
    there = dataset.available_sizes(typed["data"])
    size = settings["max_size"] or max(there)
    return size in there and len(dataset.PictureFolder(typed["data"], size)) < FEW


def from_weights(typed, init):
    """The settings that the weights of --init decide."""
    decided = {name: init["model"][name]
               for name in ("arch", "channels", "latent", "mapping_layers", "fmap_base", "fmap_max",
                            "stddev_group", "d_residual")}
    for flag, value in decided.items():
        if typed.get(flag, value) != value:
            raise UserError(f"--{flag} {typed[flag]}, but {typed['init']} has {value}: leave "
                            f"--{flag} out")
    if decided["channels"] not in (1, 3, 4):
        raise UserError(f"--init {typed['init']}: its pictures have {decided['channels']} "
                        "channels, train.py reads pictures of 1, 3 or 4")
    if bool(init["model"]["labels"]) != typed.get("labels", False):
        has = "has labels: type --labels too" if init["model"]["labels"] else \
            "has no labels: leave --labels out"
        raise UserError(f"--init {typed['init']}: a network that {has}")
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
        raise UserError(f"--arch {typed['arch']}, but {typed['init']} is a {arch}, which cannot "
                        "become one: leave --arch out, or --init")
    if typed.get("preset", "official") not in PRESETS[arch]:
        raise UserError(f"--preset {typed['preset']} is a recipe of StyleGAN2: type "
                        + ("" if "init" in typed else "--arch stylegan2, or ") +
                        f"a preset of {', '.join(PRESETS[arch])}")
    check_only(typed, arch)
    if typed.get("freeze_d") and "init" not in typed:
        raise UserError("--freeze_d keeps layers of the weights of --init FILE: type both")


def check_steering(typed, settings):
    """Raise UserError where what steers p was typed in vain."""
    for flag in ("augment_target", "augment_kimg"):
        if flag in typed and (settings["augment"] != "ada" or settings["augment_p"] is not None):
            raise UserError(f"--{flag} says how p is steered, which is of --augment ada without "
                            "--augment_p: leave it out")


def check_only(typed, arch):
    """Raise UserError for flags of another architecture."""
    for other, flags in ONLY.items():
        for flag in flags if other != arch else ():
            if flag in typed:
                name = as_typed(flag, typed[flag] is not False)
                raise UserError(f"{name} is of --arch {other}, this run's is {arch}: leave it out")
    if arch == "stylegan2" and typed.get("loss") == "wgan-gp":
        raise UserError("--loss wgan-gp is of --arch stylegan1, this run's is stylegan2: leave it "
                        "out")


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
    if typed.get("arch", saved["arch"]) == saved["arch"]:
        check_only(typed, saved["arch"])
    if typed.get("augment", saved["augment"]) != saved["augment"]:
        preset = saved["preset"] if saved.get("preset") in PRESETS[saved["arch"]] else "official"
        usual = recipe(saved["arch"], preset, saved["max_size"])
        saved = saved | {flag: usual[flag] for flag in AUGMENT if flag != "augment"}
    elif "augment_p" not in typed and {"augment_target", "augment_kimg"} & typed.keys():
        saved = saved | {"augment_p": None}             # steered from here on
    for flag, value in typed.items():
        same = value == saved.get(flag, value) or flag in MAY_CHANGE or (
            flag == "batch" and batches(typed, batches(saved)) == batches(saved)) or (
            flag == "lr" and saved["lr"] and rates(typed, rates(saved)) == rates(saved))
        if not same:
            was = f"without --{flag}" if saved[flag] is False else \
                f"with {as_typed(flag, saved[flag])}"
            raise UserError(f"{as_typed(flag, value)}, but the run {typed['name']} was started "
                            f"{was}: leave it out, or begin another run with --name")
    if "init_alpha" not in saved and saved["loss"] == "wgan-gp":    # of an earlier version
        saved = saved | dict(gamma_scale="port",
                             lr=saved["lr"] or table_text(schedule.LEARNING_RATE))
    settings = saved | typed | {flag: saved[flag] for flag in ("batch", "lr")}
    check_features(typed, settings)
    check_steering(typed, settings)
    check(settings)
    return settings


def augmentation(s):
    """{flag: value} of all that decides how pictures are augmented; s: of any version."""
    s, flags = OFFICIAL | s, ("augment",)
    if s["augment"] == "ada":
        flags = ("augment", "augment_target", "augment_kimg") if s["augment_p"] is None else \
            ("augment", "augment_p")
    return {flag: s[flag] for flag in flags}


def as_typed(flag, value):
    """A flag and its value, as they are typed."""
    if isinstance(value, bool):
        return f"--{flag}" if value else f"--no_{flag}"
    return f"--{flag} {shown(value)}"


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
                 "grad_accum", "pl_interval", "augment_kimg"):
        if not s[flag] > 0:
            raise UserError(f"--{flag}: found {s[flag]:g}, wanted more than 0")
    for flag in ("fade_kimg", "gamma", "keep", "workers", "seed", "ema_rampup", "pl_weight",
                 "freeze_d"):
        if not s[flag] >= 0:
            raise UserError(f"--{flag}: found {s[flag]:g}, wanted 0 or more")
    for flag in ("kimg", "phase_kimg", "fade_kimg", "gamma", "pl_weight", "ema_rampup",
                 "augment_kimg"):
        if s[flag] == math.inf:
            raise UserError(f"--{flag}: found inf, wanted a number")
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
    if not 0 <= s["holdout"] < 1:
        raise UserError(f"--holdout: found {s['holdout']:g}, wanted a share from 0 to below 1, "
                        "such as 0.05")
    check_augment(s)
    if s["max_size"] < s["init_size"]:
        raise UserError(f"--max_size {s['max_size']} is below --init_size {s['init_size']}: "
                        f"type --init_size {s['max_size']}")
    check_batches(make_schedule(s), s["grad_accum"], schedule.group_unit(s["stddev_group"]))


def check_augment(s):
    """Raise UserError for probabilities that are none, and scores whose sign means nothing."""
    for flag, least in (("augment_p", 0), ("augment_target", -1)):
        if s[flag] is not None and not least <= s[flag] <= 1:
            raise UserError(f"--{flag}: found {s[flag]:g}, wanted a number from {least} to 1")
    if s["augment"] != "ada" and s["augment_p"] is not None:
        raise UserError("--augment_p is of --augment ada: type both")
    if s["augment"] == "ada" and s["augment_p"] is None and s["loss"] == "wgan-gp":
        raise UserError("--augment ada goes by the sign of D's scores, which means nothing with "
                        "--loss wgan-gp: type --augment_p 0.2, or another probability")


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
        raise UserError(f"--freeze_d: found {s['freeze_d']}, wanted 0 to {len(layers)}: the "
                        f"discriminator has {len(layers)} layers above its head, from "
                        f"{layers[0]} to {layers[-1]}")


def batches(s, default=schedule.BATCH):
    """{size: batch} of a run with these settings, or of these flags."""
    return table(s["batch"], "--batch", default)


def rates(s, default=None):
    """{size: Adam's learning rate} of G, of a run with these settings, or of these flags."""
    if default is None:
        default = schedule.LEARNING_RATE
        if s.get("loss") == "wgan-gp":                  # as in its official configuration
            default = {size: min(rate, 2e-3) for size, rate in default.items()}
    return table(s["lr"], "--lr", default, float)


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
    lr = rates(s)
    return schedule.Schedule(
        s["init_size"], s["max_size"], s["kimg"], s["fade_kimg"], s["phase_kimg"], batches(s), lr,
        table(s["dlr"], "--dlr", lr, float), s["init_alpha"])


def model_config(s, init=None, labels=0):
    """The ModelConfig of a run that begins, with so many labels; `init`: header of the weights that
    it begins with."""
    if init and init["model"]["labels"] != labels:
        raise UserError(f"--init {s['init']}: a network with {init['model']['labels']} labels, "
                        f"found {labels} classes in {s['data']}")
    try:
        return ModelConfig(**(init["model"] if init else {}) | dict(
            arch=s["arch"], size=s["max_size"], labels=labels, channels=s["channels"],
            latent=s["latent"], mapping_layers=s["mapping_layers"], fmap_base=s["fmap_base"],
            fmap_max=s["fmap_max"], stddev_group=s["stddev_group"], d_residual=s["d_residual"]))
    except ValueError as error:                         # its message begins with the field
        raise UserError(f"--{error}") from None
