"""What the layers of a generator hold for its pictures: features, to make labels of.

As Zhang et al. 2021, "DatasetGAN", reads them: of each size the output of the second convolution,
before noise and normalisation, and what it is after its style. Kept at their own sizes in float16;
the picture, its style and its noise come from the same pass.

    features = Features("features")
    features.at("seed000003", rows, columns)        # [pixels, channels], float32
"""
import contextlib
import functools
import json
import os

import numpy as np

from backend.errors import UserError
from backend.files import naming, replacing
from networks.config import size_of
from pictures.grid import save_png, single
from pictures.painter import at_once
from weights import npz
from weights.bounds import Budget, File, Refused

MANIFEST = "manifest.json"
KINDS = {"stylegan1": ("conv1", "epilogue1", "epilogue0"), "stylegan2": ("conv1", "conv0")}
DEFAULT = {"stylegan1": "conv1,epilogue1", "stylegan2": "conv1"}


def chosen_layers(text, config, size):
    """Names such as "block8.conv1" of what `text` lists: such names, or their ends, which are all
    sizes'. Raises UserError."""
    kinds = KINDS[config.arch]
    names = [f"block{s}.{kind}" for s in config.sizes if s <= size for kind in sorted(kinds)
             if s > 4 or kind != "conv0"]
    wanted = text.split(",")
    for part in wanted:
        if part not in kinds and part not in names:
            raise UserError(f"--feature_layers: found {part or 'nothing'}, wanted some of "
                            f"{', '.join(kinds)}, or of one size, such as {names[-1]}")
    return [name for name in names if name in wanted or name.partition(".")[2] in wanted]


def keep(found, name, _module, _inputs, output, _keywords=None):
    found[name] = output.numpy()


@contextlib.contextmanager
def listening(generator, names):
    """Yields a dictionary that holds what those layers gave last, NumPy [N, C, h, w]."""
    found, modules = {}, {}
    for name in names:
        block, _, part = name.partition(".")
        modules[name] = getattr(getattr(generator.synthesis, block), part)
        modules[name].register_forward_hook(functools.partial(keep, found, name))
    try:
        yield found
    finally:
        for module in modules.values():
            module.remove_forward_hook()


def write(folder, painter, names, pictures, styles_of, made):
    """A PNG and a .npz for each of `pictures`, {name: the seed of its noise}, and a manifest. Those
    that are there from an earlier start stay.

    names: of layers; styles_of: gives the styles [n, layers, dlatent] of some of these seeds; made:
    how they are, see origin.py. Raises UserError for a folder of others.
    """
    start(folder, painter, made)
    waiting = [name for name in pictures
               if not os.path.exists(os.path.join(folder, f"{name}.npz"))]
    chunk = at_once(painter.size)
    for first in range(0, len(waiting), chunk):
        some = waiting[first:first + chunk]
        seeds = [pictures[name] for name in some]
        styles = styles_of(seeds)
        with listening(painter.generator, names) as found:
            images = painter.paint(styles, seeds)
        for i, name in enumerate(some):
            arrays = {layer: halved(layer, values[i]) for layer, values in found.items()}
            arrays |= {"w": styles[i]} | {f"noise{n}": values for n, values in enumerate(
                painter.noise_of(seeds[i]))}
            with naming(folder):
                save_png(single(images[i]), os.path.join(folder, f"{name}.png"), made=made)
            path = os.path.join(folder, f"{name}.npz")
            with naming(path), replacing(path) as file:
                npz.write(file, arrays)


def start(folder, painter, made):
    """Make the folder, or go on in one of the same kind."""
    there = os.path.exists(os.path.join(folder, MANIFEST))
    if there and manifest(folder).get("made") != json.loads(json.dumps(made)):
        raise UserError(f"--features {folder}: holds features of other weights or settings: name "
                        "another folder")
    if not there and any(not name.startswith(".") for name in os.listdir(folder)):
        raise UserError(f"--features {folder}: holds other files: name another folder")
    if not there:
        sides = {name: size_of(name) for name in made["layers"]}
        layers = {name: [painter.generator.config.width(side), side, side]
                  for name, side in sides.items()}
        save_manifest(folder, {"made": made, "size": painter.size, "layers": layers})


def save_manifest(folder, content):
    path = os.path.join(folder, MANIFEST)
    with naming(path), replacing(path) as file:
        file.write(json.dumps(content, indent=1).encode())


def manifest(folder):
    path = os.path.join(folder, MANIFEST)
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read ({getattr(error, 'strerror', 0) or error})") \
            from None
    if not isinstance(found, dict):
        raise UserError(f"{path}: not a manifest of features")
    return found


def halved(layer, values):
    """float16. Raises UserError for what it cannot hold."""
    if not np.abs(values).max() <= np.finfo(np.float16).max:
        raise UserError(f"--features: {layer} has values beyond float16's 65,504: leave it out of "
                        "--feature_layers")
    return values.astype(np.float16)


class Features:
    """A folder that `write` filled. `names`: of its pictures; `layers`: {name: [C, h, w]};
    `channels`: of all layers together; `size`: of the pictures, in pixels."""

    def __init__(self, folder):
        self.folder, found = folder, manifest(folder)
        if not isinstance(found.get("layers"), dict) or not isinstance(found.get("size"), int):
            raise UserError(f"{folder}: its {MANIFEST} is none that generate.py --features wrote")
        self.layers, self.size = found["layers"], found["size"]
        self.channels = sum(shape[0] for shape in self.layers.values())
        self.names = sorted(name[:-4] for name in os.listdir(folder) if name.endswith(".npz"))

    def at(self, name, rows, columns):
        """float32 [pixels, channels] of these pixels of a picture, int [pixels] each.

        Bilinear between the places of a layer, as if it were enlarged to the picture (pixels as
        areas, borders repeated), of which never more than one layer is read at a time.
        """
        path = os.path.join(self.folder, f"{name}.npz")
        if name not in self.names:
            raise UserError(f"{self.folder}: has no picture {name}, wanted one of "
                            f"{', '.join(self.names[:5])}" + " …" * (len(self.names) > 5))
        rows, columns = (np.atleast_1d(np.asarray(place, "float64")) for place in (rows, columns))
        for place in rows, columns:
            if place.shape != rows.shape or not ((place >= 0) & (place < self.size)).all():
                raise UserError(f"rows and columns: wanted as many of both, from 0 to "
                                f"{self.size - 1}")
        result = []
        try:
            with File(path) as file, npz.opened(file, Budget(file.length)) as archive:
                members = npz.members(archive)
                for layer in self.layers:
                    if layer not in members:
                        raise Refused(f"it lacks {layer}")
                    values = npz.read(archive, npz.describe(archive, members[layer]))
                    result.append(gather(values.astype("float32"), rows, columns, self.size))
        except OSError as error:
            raise UserError(f"{path}: {error.strerror or 'cannot be read'}") from None
        except Refused as error:
            raise UserError(f"{path}: damaged, or no file of features ({error})") from None
        return np.concatenate(result, 1)


def gather(values, rows, columns, size):
    """[C, h, w], places in a picture of `size` → [places, C]."""
    side = values.shape[-1]
    result = 0
    places = [np.clip((place + 0.5) * side / size - 0.5, 0, side - 1) for place in (rows, columns)]
    low = [np.floor(place).astype(int) for place in places]
    share = [(place - first).astype("float32") for place, first in zip(places, low)]
    for down in 0, 1:
        for right in 0, 1:
            at = [np.minimum(first + step, side - 1) for first, step in zip(low, (down, right))]
            weight = (share[0] if down else 1 - share[0]) * (share[1] if right else 1 - share[1])
            result = result + values[:, at[0], at[1]].T * weight[:, None]
    return result
