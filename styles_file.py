"""Styles as a file: .npz with w [N, layers, dlatent], and noise maps where they belong to it."""
import zipfile

import numpy as np

import origin
from cli import UserError, naming, replacing
from config import num_layers


def save(path, painter, seeds, made, at_once=1024):
    """The styles of `seeds`, as painted (truncated), with their seeds. made: see origin.py."""
    styles = [painter.styles(seeds[first:first + at_once])
              for first in range(0, len(seeds), at_once)]
    write(path, made, w=np.concatenate(styles), seeds=np.array(seeds))


def write(path, made, **arrays):
    with naming(path), replacing(path) as file:
        np.savez(file, made=origin.text(made), **arrays)


def load(path, header):
    """{"w": [N, layers, dlatent], "noise": list of maps or None} for the network of `header`.

    A w of [N, dlatent] or [dlatent] is every layer's; without noise, the picture's own is painted.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            if "w" not in file.files:
                raise UserError(f"{path}: found {', '.join(file.files)[:80]}, wanted an array w")
            w = file["w"].astype("float32")
            noise = [file[f"noise{i}"].astype("float32")
                     for i in range(len(file.files)) if f"noise{i}" in file.files]
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or 'cannot be read'}") from None
    except (zipfile.BadZipFile, ValueError, KeyError, EOFError, AttributeError) as error:
        raise UserError(f"{path}: damaged, or not a .npz of styles ({error})") from None
    layers, length = num_layers(header["size"]), header["model"]["dlatent"]
    if w.ndim < 3 and w.shape[-1:] == (length,):
        w = np.repeat(w.reshape(-1, 1, length), layers, 1)
    if w.ndim != 3 or w.shape[1:] != (layers, length) or not len(w):
        raise UserError(f"{path}: its w has shape {w.shape}, wanted (pictures, {layers}, {length}) "
                        f"for a network of size {header['size']}")
    maps = [(1, 1, 4 << i // 2, 4 << i // 2) for i in range(layers)]
    if noise and [n.shape for n in noise] != maps:
        raise UserError(f"{path}: its noise does not fit a network of size {header['size']}")
    return {"w": w, "noise": noise or None}
