"""Styles as a file: .npz with w [N, layers, dlatent], and noise maps where they belong to it."""
import numpy as np

from backend.errors import UserError
from backend.files import naming, replacing
from networks.config import noise_sides, num_layers
from pictures import origin
from weights import npz
from weights.bounds import Budget, File, Refused, short


def save(path, painter, seeds, made, at_once=1024):
    """The styles of `seeds`, as painted (truncated), with their seeds. made: see origin.py."""
    styles = [painter.styles(seeds[first:first + at_once])
              for first in range(0, len(seeds), at_once)]
    write(path, made, w=np.concatenate(styles), seeds=np.array(seeds))


def write(path, made, **arrays):
    with naming(path), replacing(path) as file:
        npz.write(file, {"made": origin.text(made)} | arrays)


def load(path, header):
    """{"w": [N, layers, dlatent], "noise": list of maps or None} for the network of `header`.

    A w of [N, dlatent] or [dlatent] is every layer's; without noise, the picture's own is painted.
    """
    layers, length = num_layers(header["size"]), header["model"]["dlatent"]
    maps = [(1, 1, s, s) for s in noise_sides(header["size"], header["model"]["arch"])]
    try:
        with File(path) as file, npz.opened(file, Budget(file.length)) as archive:
            found = npz.members(archive)
            if "w" not in found:
                raise UserError(f"{path}: found {short(', '.join(found), 80)[1:-1]}, wanted an "
                                "array w")
            w = npz.describe(archive, found["w"])
            every = w.shape[-1:] == (length,) and len(w.shape) < 3      # one style for all layers
            if not every and w.shape[1:] != (layers, length) or 0 in w.shape:
                raise UserError(f"{path}: its w has shape {w.shape}, wanted (pictures, {layers}, "
                                f"{length}) for a network of size {header['size']}")
            noise = [npz.describe(archive, found[f"noise{i}"])
                     for i in range(len(found)) if f"noise{i}" in found]
            if noise and [n.shape for n in noise] != maps:
                raise UserError(f"{path}: its noise does not fit a network of size "
                                f"{header['size']}")
            w, *noise = (npz.read(archive, a).astype("float32", copy=False) for a in [w, *noise])
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or 'cannot be read'}") from None
    except Refused as error:
        raise UserError(f"{path}: damaged, or not a .npz of styles: {error}") from None
    if not all(np.isfinite(array).all() for array in [w, *noise]):
        raise UserError(f"{path}: has numbers that are not finite")
    if every:
        w = np.broadcast_to(w.reshape(-1, 1, length), (w.size // length, layers, length))
    return {"w": w, "noise": noise or None}
