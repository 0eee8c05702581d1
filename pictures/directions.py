"""Directions in w along which pictures change in one respect: found, kept in a file, and gone.

pca: principal components of w (Härkönen et al. 2020, "GANSpace"). sefa: what changes the inputs of
chosen layers most (Shen and Zhou 2021, "Closed-Form Factorization of Latent Semantics in GANs").
Between two groups of pictures, such as with and without a hat: a linear discriminant.
"""
import re
from typing import NamedTuple

import numpy as np

from backend.errors import UserError
from backend.files import naming, replacing
from cli import did_you_mean
from networks.config import num_layers
from pictures import origin
from weights import npz
from weights.bounds import Budget, File, Refused, short

NAME = r"[\w=.+-]+"             # of a direction: part of a file's name and of what is typed
PARTS = "vector", "sigma", "layers"
MOST = 500                      # that are read of a file


class Direction(NamedTuple):
    """vector: [dlatent], of length 1; sigma: the standard deviation of all w along it; layers:
    bool [layers], those whose style it moves."""

    name: str
    vector: np.ndarray
    sigma: float
    layers: np.ndarray

    def shift(self, amount):
        """float32 [layers, dlatent]: what is added to the styles to go so many sigma."""
        return (amount * self.sigma * np.outer(self.layers, self.vector)).astype("float32")


def unit(vectors):
    """Rows of length 1; those of length 0 stay."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def towards_more(vectors):
    """Their sign is nobody's; the largest number of each is positive here."""
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(1)[:, None], 1)
    return vectors * np.where(largest < 0, -1, 1)


def principal_components(w):
    """w [N, dlatent] → its principal components [dlatent, dlatent], the widest first."""
    centred = w.astype("float64") - w.mean(0)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    return towards_more(vectors.T[::-1])


def factorised(weights):
    """Weights [out, dlatent] of style layers → directions [dlatent, dlatent] that change what
    they give, the strongest first; each output counts alike."""
    rows = unit(np.concatenate(weights).astype("float64"))
    _, vectors = np.linalg.eigh(rows.T @ rows)
    return towards_more(vectors.T[::-1])


def style_weights(generator):
    """{layer: weight [out, dlatent] of the style of its convolution}."""
    first = generator.config.arch == "stylegan1"
    part = "epilogue" if first else "conv"
    found = {}
    for i, size in enumerate(generator.config.sizes):
        for j in 0, 1:
            block = getattr(generator.synthesis, f"block{size}")
            if hasattr(block, f"{part}{j}"):
                layer = 2 * i + j if first else max(0, 2 * i - 1 + j)
                found[layer] = getattr(block, f"{part}{j}").style.weight.numpy()
    return found


def between_groups(w, has, covariance):
    """A unit vector along which the w [N, dlatent] that have it are apart from those that do not.

    Fisher's linear discriminant. covariance: of many w, [dlatent, dlatent]. The mean variance is
    added to it: without that, more is told apart along directions in which w hardly varies, and to
    go that way changes everything else before it changes what is wanted (docs/pictures.md).
    """
    apart = w[has].mean(0, dtype="float64") - w[~has].mean(0, dtype="float64")
    ridge = np.trace(covariance) / len(covariance)
    return unit(np.linalg.solve(covariance + ridge * np.eye(len(covariance)), apart))


def accuracy(w, has, vector):
    """How well one number tells who has it, 0.5 by chance to 1: whether w is further along the
    vector than the middle between both groups; the mean over both."""
    along = w @ vector
    middle = (along[has].mean() + along[~has].mean()) / 2
    return float(((along[has] > middle).mean() + (along[~has] <= middle).mean()) / 2)


def deviation(w, vector):
    return float((w @ vector).std())


# The file -----------------------------------------------------------------------------------------


def save(path, made, directions):
    """made: see origin.py."""
    arrays = {}
    for one in directions:
        values = (one.vector.astype("float32"), np.float32(one.sigma), np.asarray(one.layers, bool))
        arrays |= {f"{one.name}.{part}": value for part, value in zip(PARTS, values)}
    with naming(path), replacing(path) as file:
        npz.write(file, {"made": origin.text(made)} | arrays)


def load(typed, header):
    """The Direction that FILE.npz:NAME says, for the network of `header`. Raises UserError."""
    path, _, name = typed.rpartition(":")
    if not path or not name:
        raise UserError(f"--direction: found {typed}, wanted FILE.npz:NAME, where directions.py "
                        "wrote FILE.npz and says the names")
    return read(path, header, name)[0]


def load_all(path, header):
    """{name: Direction} of a file that directions.py wrote, for the network of `header`. Raises
    UserError."""
    return {one.name: one for one in read(path, header)}


def read(path, header, name=None):
    """The Directions in a file: that of a name, or all."""
    try:
        with File(path) as file, npz.opened(file, Budget(file.length)) as archive:
            found = npz.members(archive)
            names = [one[:-len(".vector")] for one in found if one.endswith(".vector")]
            if not names:
                raise UserError(f"{path}: no file that directions.py wrote, it has no directions")
            return [read_one(path, header, archive, found, one, names)
                    for one in ([name] if name else names[:MOST])]
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or 'cannot be read'}") from None
    except Refused as error:
        raise UserError(f"{path}: damaged, or not a .npz of directions: {error}") from None


def read_one(path, header, archive, found, name, names):
    if any(f"{name}.{part}" not in found for part in PARTS):
        kinds = dict.fromkeys(re.sub(r"\d+$", "1", short(one)[1:-1]) for one in names)
        raise UserError(f"{path}: has no direction {name}, wanted one of {len(names)} such "
                        f"as {', '.join([*kinds][:12])}" + did_you_mean(name, names))
    members = [npz.describe(archive, found[f"{name}.{part}"]) for part in PARTS]
    wanted = [(header["model"]["dlatent"],), (), (num_layers(header["size"]),)]
    if [one.shape for one in members] != wanted:
        there = ", ".join(f"{part} {one.shape}" for part, one in zip(PARTS, members))
        raise UserError(f"{path}: {name} has {there}; wanted {wanted[0]}, {wanted[1]}, "
                        f"{wanted[2]} for this network: type directions.py with this "
                        "checkpoint")
    vector, sigma, layers = (npz.read(archive, one).astype("float32") for one in members)
    if not np.abs(vector).max() <= 1e6 or not abs(sigma) <= 1e6:
        raise UserError(f"{path}: {name} has numbers that are not finite, or far too large")
    return Direction(name, vector, float(sigma), layers != 0)
