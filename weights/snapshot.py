"""Reads and writes .model files: a NumPy .npz archive with a JSON header, whatever its name.

Reading never unpickles, so a file from a stranger cannot run code, and every array carries a
checksum. A file is written beside its name, flushed, then renamed.
"""
import contextlib
import dataclasses
import json
import math
import os
import re
import shlex
import sys

import numpy as np

from backend.errors import UserError, counted
from backend.files import replacing, sync_folder
from networks.config import ModelConfig, size_of
from networks.shapes import discriminator_shapes, generator_shapes
from weights import foreign, npz
from weights.bounds import LARGEST, Budget, File, Refused, short

FORMAT = 1
LARGEST_HEADER = 1 << 20
SUFFIXES = ".model", ".pkl", ".pt", ".npz", ".safetensors"     # how files of weights end


def save(path, header, arrays):
    """Write `arrays` ({name: NumPy array}) and the JSON-able `header` to `path`, atomically."""
    text = json.dumps(header | {"format": FORMAT, "arrays": len(arrays)}).encode()
    entries = {"header": np.frombuffer(text, np.uint8)} | arrays
    with replacing(path) as file:
        npz.write(file, entries)
    sync_folder(os.path.dirname(os.path.abspath(path)))


def load_any(path, size=None):
    """(header, arrays) of a .model file or of another project's weights (see foreign.py).

    `size`: at which the weights of another project were trained, where they do not say it.
    """
    path = os.fspath(path)
    try:
        header, arrays = load(path) if is_own(path) else foreign.read(path)
    except UserError:
        foreign.check_kind(path)
        raise
    config = model_config(header, path)
    check_arrays(arrays, config, path, needed=["ema"])
    header["model"] = dataclasses.asdict(config)        # with all fields, also of an older file
    if header["size"] not in config.sizes or not 0 <= header["alpha"] <= 1:
        raise UserError(f"{path}: says size {header['size']} and alpha {header['alpha']}, wanted "
                        f"a size up to {config.size} and an alpha from 0 to 1")
    if size and "source" not in header:
        raise UserError(f"--size {size}: {path} says itself that its size is {header['size']}: "
                        "leave --size out")
    if size:
        if size > config.size:
            raise UserError(f"--size {size}: {path} has layers up to {config.size}")
        if size < config.size and config.arch == "stylegan2":
            raise UserError(f"--size {size}: {path} is a StyleGAN2, which paints size "
                            f"{config.size} only: leave --size out")
        header |= {"size": size, "alpha": 1.0, "size_guessed": False}
    return header, arrays


def say_guess(header, path):
    """A note where a file does not say its size."""
    if header.get("size_guessed"):
        print(f"note: {path} does not say to which size it was trained; painting {header['size']}, "
              "the largest it has layers for. If that is noise, type --size 128 or less",
              file=sys.stderr)


def check_channels(header, path):
    """Raise UserError for pictures that no file can hold."""
    channels = header["model"]["channels"]
    if channels not in (1, 3, 4):
        raise UserError(f"{path}: its pictures have {channels} channels, only 1, 3 and 4 can be "
                        "written")


def label_of(text, header, path):
    """The number of a label, typed as such or as the name of a class. Raises UserError."""
    count, names = header["model"]["labels"], header.get("classes", [])
    if not count:
        raise UserError(f"--label {shlex.quote(text)}: {path} is a network without labels: leave "
                        "--label out")
    if text in names:
        return names.index(text)
    named_by_number = bool(names) and all(map(str.isdecimal, names))    # then 2 is only ever a name
    if not named_by_number and text.isascii() and text.isdecimal() and len(text) < 10 and \
            int(text) < count:
        return int(text)
    wanted = [] if named_by_number else [f"a number from 0 to {count - 1}"]
    wanted += [f"one of {', '.join(map(printable, names))}"[:300]] if names else []
    raise UserError(f"--label {shlex.quote(text)}: wanted {', or '.join(wanted)}" +
                    f": {path} does not name its classes" * (not names))


def labels_of(text, header, path):
    """The numbers of one label or of several, typed "cats,dogs". Raises UserError."""
    if text in header.get("classes", []):
        return [label_of(text, header, path)]
    return [label_of(one.strip(), header, path) for one in text.split(",")]


def class_name(number, header):
    """"dogs (number 1)", or "1"."""
    names = header.get("classes", [])
    return f"{printable(names[number])} (number {number})" if names else str(number)


def printable(name, most=40):
    """What a stranger called something, for a message and a shell."""
    return shlex.quote("".join(c if c.isprintable() else "?" for c in name[:most]))


def check_arrays(arrays, config, path, needed=()):
    """Raise UserError where networks, noise or Adam's moments are not those of the ModelConfig.

    arrays: {name: array, or npz.Member that was not read yet}. Other names are let through.
    needed: the networks that must be among them.
    """
    noise = {f"{i}": (1, 1, s, s) for i, s in enumerate(config.noise_sides)}
    if found := network_part(arrays, "noise"):
        check_shapes(found, noise, "noise", path)
    for prefix in ("ema", "generator", "discriminator"):
        found = network_part(arrays, prefix)
        shapes = discriminator_shapes(config) if prefix == "discriminator" else \
            generator_shapes(config)
        if found or prefix in needed:
            check_shapes(found, shapes, prefix, path)
        for name, moment in network_part(arrays, f"adam_{prefix}/v").items():
            if name not in shapes or math.prod(moment.shape) != math.prod(shapes[name]):
                raise UserError(f"{path}: adam_{prefix}: {short(name)} is not as large as the "
                                "array that it belongs to")


def is_own(path):
    """Whether the file at `path` begins like one that `save` wrote."""
    if os.path.isdir(path):
        raise UserError(f"{path}: a folder, wanted a file of weights, such as "
                        f"{os.path.join(path, 'NAME.model')}")
    if os.path.exists(path) and not os.path.isfile(path):
        raise UserError(f"{path}: not a file on a disk, wanted one of weights")
    try:
        with open(path, "rb") as file:
            start = file.read(64)
    except FileNotFoundError as error:
        raise UserError(f"{path}: {error.strerror}{those_beside(path)}") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    return start[:2] == b"PK" and b"header.npy" in start


def those_beside(path):
    """Which files of weights lie in the folder where `path` is not, as the end of a message about
    it; first those whose names begin most like its own. Of a name alone, which may be a run's, the
    last of this run."""
    folder, name = os.path.split(path)
    try:
        names = [n for n in os.listdir(folder or ".") if n.endswith(SUFFIXES) and n[0] != "."]
    except OSError:
        return ""
    if not folder:
        with contextlib.suppress(OSError):
            of_run = [os.path.join("checkpoint", n) for n in sorted(os.listdir("checkpoint"))
                      if re.fullmatch(rf"{re.escape(name)}_\d+\.model", n)]
            if of_run:
                return f"; the last of the run {printable(name)} is {of_run[-1]}"
    names.sort(key=lambda n: (-len(os.path.commonprefix([n.lower(), name.lower()])), n))
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return f"; there are {', '.join(printable(n, 255) for n in names[:3])}{more}" if names else ""


def load(path):
    """(header, arrays) of a .model file. Raises UserError, one line that names it, for others."""
    try:
        with File(path) as file:
            if file.read(2) != b"PK":
                raise UserError(f"{path}: not a .model file that train.py wrote")
            file.seek(0)
            with npz.opened(file, Budget(file.length)) as archive:
                found = {name: npz.describe(archive, info)
                         for name, info in npz.members(archive).items()}
                header = read_header(archive, found.pop("header"))
                check_header(header, len(found), path)
                check_arrays(found, model_config(header, path), path)
                return header, widened({name: npz.read(archive, member)
                                        for name, member in found.items()})
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except Refused as error:
        raise UserError(f"{path}: damaged, or not a file of this project: {error}") from None


def widened(arrays):
    """Those of a file of float16 (convert.py --half) as float32, in which everything computes."""
    return {name: array.astype(np.float32) if array.dtype == np.float16 else array
            for name, array in arrays.items()}


def read_header(archive, member):
    if member.info.file_size > LARGEST_HEADER:
        raise Refused(f"a header of {member.info.file_size:,} bytes")
    header = json.loads(npz.read(archive, member).tobytes())
    if not isinstance(header, dict):
        raise Refused("a header that is no dict")
    return header


def check_header(header, count, path):
    """Raise UserError where something is missing in a header; count: the arrays beside it."""
    if header.get("format") != FORMAT:
        raise UserError(f"{path}: has format {ascii(header.get('format'))[:40]}, this version "
                        f"reads {FORMAT}")
    if header.pop("arrays", count) != count:            # a damaged directory can hide some
        raise UserError(f"{path}: damaged: arrays are missing in it")
    missing = {"images_seen", "size", "alpha", "model"} - header.keys()
    if missing:
        raise UserError(f"{path}: its header lacks {', '.join(sorted(missing))}")
    if not all(type(header[n]) in kinds and 0 <= header[n] < LARGEST
               for n, kinds in (("images_seen", (int,)), ("size", (int,)),
                                ("alpha", (int, float)))):
        raise UserError(f"{path}: images_seen, size or alpha in its header is not a number")
    if not isinstance(header["model"], dict) or not all(
            isinstance(header.get(name, {}), dict) for name in ("settings", "pictures")) or \
            not isinstance(header.get("source", ""), str):
        raise UserError(f"{path}: model, settings, pictures or source in its header is none")
    names = header.get("classes", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or \
            "classes" in header and len(names) != header["model"].get("labels", 0):
        raise UserError(f"{path}: the names of its classes are no names, one for each label")


def network_arrays(network, prefix):
    """{prefix/name: NumPy array} of all parameters."""
    return {f"{prefix}/{name}": p.numpy() for name, p in network.named_parameters()}


def load_network(network, arrays, prefix, path, largest=None):
    """Fill `network` from `arrays`. Raises UserError for missing, unknown or misshapen arrays.

    largest: fill only the layers of sizes up to it; the others stay as they are.
    """
    parameters = {name: p for name, p in network.named_parameters()
                  if largest is None or (size_of(name) or 4) <= largest}
    found = {name: a for name, a in network_part(arrays, prefix).items()
             if largest is None or (size_of(name) or 4) <= largest}
    check_shapes(found, {name: tuple(p.shape) for name, p in parameters.items()}, prefix, path)
    for name, p in parameters.items():
        p.assign(found[name])


def network_part(arrays, prefix):
    """{name: array} of the network `prefix`."""
    return {name[len(prefix) + 1:]: a for name, a in arrays.items()
            if name.startswith(prefix + "/")}


def check_shapes(found, shapes, prefix, path):
    """Raise UserError for missing, unknown or misshapen arrays."""
    wrong = [f"{name} is missing" for name in shapes.keys() - found.keys()]
    wrong += [f"{short(name)[1:-1]} is unknown" for name in found.keys() - shapes.keys()]
    wrong += [f"{name} has shape {found[name].shape}, wanted {shape}"
              for name, shape in shapes.items()
              if name in found and found[name].shape != shape]
    if wrong:
        raise UserError(f"{path}: {prefix}: {counted(len(wrong), 'array')} not as wanted: "
                        f"{'; '.join(sorted(wrong)[:5])}")


def model_config(header, path):
    """The ModelConfig in a header."""
    try:
        return ModelConfig(**header["model"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: its description of the network is wrong "
                        f"({short(error)})") from None


def make_generator(header, arrays, path, prefix="ema"):
    """The averaged StyledGenerator, or another, in what `load` or `load_any` gave for `path`."""
    from networks.generator import StyledGenerator
    generator = StyledGenerator(model_config(header, path))
    load_network(generator, arrays, prefix, path)
    return generator


def make_discriminator(header, arrays, path):
    from networks.generator import Discriminator
    discriminator = Discriminator(model_config(header, path))
    load_network(discriminator, arrays, "discriminator", path)
    return discriminator


def source(header):
    """What a file is and how far it is trained, in words."""
    if "source" not in header:
        return f"{header['images_seen']:,} images seen"
    return "weights of " + "".join(c if c.isprintable() else "?" for c in header["source"][:200])
