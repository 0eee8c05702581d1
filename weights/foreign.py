"""Reads other projects' weights: (header, arrays) as snapshot.py reads them from a .model file.

Official pickles of StyleGAN1 (official.py) and StyleGAN2 (official2.py, official2_tf.py), and
checkpoints of StyleGAN1's PyTorch port and of the Jittor port made from it (port.py), and of
StyleGAN2's PyTorch port (port2.py). What a port
computes differently is a field of ModelConfig, so no value changes on the way, except that the
kernels of upsampling layers are turned by 180 degrees and, the ports', divided by four, and that
StyleGAN2's scale by the style is 1 + what TensorFlow stores: all exact but that sum's rounding.
"""
import contextlib
import dataclasses
import math
import os
import shlex
import zipfile

import numpy as np

from backend.errors import UserError
from networks.shapes import discriminator_shapes, generator_shapes
from weights import containers, official, official2, official2_tf, port, port2
from weights.bounds import WEIGHTS, Refused, short
from weights.stand_ins import Network

MEAN_STYLE_LATENTS = 10_000


def read(path):
    """(header, arrays) of the file at `path`, told apart by its content.

    arrays: "ema/…", and "generator/…", "discriminator/…", "noise/…" where the file has them. The
    header says what the file is ("source") and whether there may be untrained layers up to its
    size ("size_guessed"). Raises UserError, one line that names the file and what does not fit.
    """
    try:
        container, content = containers.read(path)
        if isinstance(content, (tuple, list, Network)):
            weights = official_weights(content)
        elif official2.is_one(content):
            weights = official2.weights_of(content)
        elif port2.is_one(content):
            weights = port2.weights_of(content)
        elif isinstance(content, dict):
            weights = port.weights_of(container, content)
        else:
            raise Refused(f"found a {type(content).__name__}, wanted {WEIGHTS}")
        arrays = {name: np.ascontiguousarray(a, "float32") for name, a in place(weights).items()}
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except Refused as error:
        raise UserError(f"{path}: {error}") from None
    except ValueError as error:             # a ModelConfig that cannot be, for instance
        raise UserError(f"{path}: {short(error, 200)}") from None
    except (AttributeError, IndexError, KeyError, TypeError, MemoryError, OverflowError) as error:
        # What a stranger wrote can have any layout.
        raise UserError(f"{path}: not laid out as weights are ({short(error)})") from None
    header = {"images_seen": 0, "size": weights.size, "alpha": weights.alpha,
              "model": dataclasses.asdict(weights.config), "source": weights.source,
              "size_guessed": weights.size_guessed}
    return header, arrays


def official_weights(content):
    """Weights of (G, D, Gs), told apart by the functions that built the networks."""
    networks = content if isinstance(content, (tuple, list)) else [content]
    names = [str(n.state.get("build_func_name")) if isinstance(n, Network) and
             isinstance(n.state, dict) else type(n).__name__ for n in networks]
    if names == ["G_style", "D_basic", "G_style"]:
        return official.weights_of(networks)
    if names in (["G_main", "D_stylegan2", "G_main"], ["G_main", "D_main", "G_main"]):
        return official2_tf.weights_of(networks)
    raise Refused(f"found ({ascii(', '.join(names))[1:-1][:100]}), wanted the three networks "
                  "(G, D, Gs) of StyleGAN1: G_style, D_basic, G_style; or of StyleGAN2: G_main, "
                  "D_stylegan2 or D_main, G_main")


def place(weights):
    """{our name: array} of all networks. Raises Refused, which names what does not fit."""
    arrays = dict(weights.more)
    for prefix, found in weights.networks.items():
        if prefix == "discriminator":
            arrays |= place_network(prefix, found, discriminator_shapes(weights.config),
                                    weights.forms)
            continue
        shapes = generator_shapes(weights.config)
        if not weights.has_w_avg:
            shapes.pop("w_avg")
        arrays |= place_network(prefix, found, shapes, weights.forms)
        if f"{prefix}/w_avg" not in arrays:
            arrays[f"{prefix}/w_avg"] = mean_style(arrays, prefix, weights.config)
    return arrays


def place_network(prefix, found, shapes, forms):
    arrays, problems, unknown = {}, [], dict(found)
    for name, shape in shapes.items():
        options = forms(name, shape)
        theirs, their_shape, change = next((o for o in options if o[0] in found), options[0])
        array = unknown.pop(theirs, None)
        if array is None:
            problems.append(f"{theirs} is missing")
        elif array.shape != their_shape:
            problems.append(f"{theirs} has shape {array.shape}, wanted {their_shape}")
        else:
            arrays[f"{prefix}/{name}"] = change(array)
    problems += [f"{short(name, 80)[1:-1]} is unknown" for name in unknown]
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise Refused(f"{prefix}: {'; '.join(problems[:5])}{more}")
    return arrays


def mean_style(arrays, prefix, config):
    """w_avg [dlatent]: the mean style of 10,000 latents of a fixed seed, for files without one."""
    rng, total = np.random.RandomState(0), 0.0
    for _ in range(10):
        x = rng.randn(MEAN_STYLE_LATENTS // 10, config.latent).astype("float32")
        x /= np.sqrt((x ** 2).mean(1, keepdims=True) + 1e-8)
        for i in range(config.mapping_layers):
            weight = arrays[f"{prefix}/mapping.layers.{i}.weight"]
            x = x @ (weight.T * np.float32(math.sqrt(2 / weight.shape[1]) * config.mapping_lrmul))
            gain = math.sqrt(2) if config.arch == "stylegan2" else 1        # see layers.EqualLR
            x += arrays[f"{prefix}/mapping.layers.{i}.bias"] * np.float32(
                config.mapping_lrmul * gain)
            x = np.where(x > 0, x, x * np.float32(0.2))
        total = total + x.sum(0, dtype="float64")
    return (total / MEAN_STYLE_LATENTS).astype("float32")


def check_kind(path):
    """Raise UserError where a file that cannot be read as weights is plainly something else."""
    # What else is wrong with it was said before.
    with contextlib.suppress(OSError, ValueError, zipfile.BadZipFile, RuntimeError), \
            open(path, "rb") as file:
        start = file.read(512)
        if start[:2] == b"PK":
            with zipfile.ZipFile(file) as archive:
                if "w.npy" in archive.namelist():
                    raise UserError(f"{path}: styles, not weights: to paint them, type python "
                                    f"generate.py CHECKPOINT --w {shlex.quote(path)}")
                if {"heads.weight.npy", "header.npy"} <= {*archive.namelist()}:
                    raise UserError(f"{path}: a network that sees parts, not a generator: it is "
                                    f"for --features {shlex.quote(path)}")
        if start.startswith((b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF")):
            raise UserError(f"{path}: a picture, wanted {WEIGHTS}")
        if path.lower().endswith(".onnx"):
            raise UserError(f"{path}: ONNX, which convert.py writes for other programs; wanted the "
                            ".model file that it was made of")
        text = start.decode(errors="ignore")
        is_text = len(start) - len(text.encode()) < 4 and all(
            c.isprintable() or c.isspace() for c in text)
        # A pickle may be text too, and ends with a dot.
        file.seek(-1, os.SEEK_END)
        if text.strip() and is_text and file.read() != b".":
            raise UserError(f"{path}: a text file, wanted {WEIGHTS}; it begins with "
                            f"{ascii(text.strip()[:40])}")
