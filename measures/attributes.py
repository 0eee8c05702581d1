"""A small network that sees which parts a picture has: how many of them a generator has learned.

It is trained by attributes.py on pictures whose attributes are known, such as avatars.py's, and on
damaged ones, which it learns to tell from whole ones. Its features serve as Inception's do, for
pictures that no photograph resembles.
"""
import csv
import json
import math
import os

import numpy as np

from backend.errors import UserError, counted
from backend.files import naming, replacing
from backend.labels import NAME, of_pictures
from dataset import available_sizes, read_labels, to_float
from networks.config import power_of_two
from pictures.painter import in_chunks
from weights import npz
from weights.bounds import Budget, File, Refused

FEATURES, WIDEST, CHUNK, SMALLEST = 128, 128, 32, 16
WHERE = "a file that python attributes.py data/64 wrote"
FEWEST, MOST_VALUES, LARGEST_HEADER = 200, 1000, 1 << 20
LABEL = "label"                 # the attribute that the classes of dataset.json are
LITTLE = 0.5                    # of the damaged pictures found


def read_table(folder):
    """(names, {attribute: [values]}, int64 [pictures, attributes]) of those that are in a folder or
    an archive, and what was found where: the first attributes.csv in the folder, above it, or in
    the sizes beside it, that tells of enough of its pictures; where there is none, the labels of
    dataset.json are the attribute LABEL.

    Raises UserError.
    """
    above, there = os.path.dirname(os.path.abspath(folder.path)), set(folder.names)
    sizes = (os.path.join(above, str(size)) for size in available_sizes(above))
    wanting = (f"{folder.path}: no attributes.csv in it, above or beside it, with file,ATTRIBUTE,… "
               "as avatars.py writes it")
    for place in (folder.path, above, *sizes):
        path = os.path.join(place, "attributes.csv")
        if not os.path.isfile(path):
            continue
        header, *lines = read_csv(path) or [[]]
        rows = [*{row[0]: row for row in lines if row and row[0] in there}.values()]
        if len(rows) >= FEWEST:
            return of_rows(path, header, rows), (f"{path}, {len(lines):,} lines for "
                                                 f"{len(rows):,} of {len(there):,} pictures")
        wanting = (f"{path}: tells of {counted(len(rows), 'picture')} in {folder.path}, wanted "
                   f"file,ATTRIBUTE,… of {FEWEST} or more")
    try:
        labels = read_labels(above)
    except UserError as error:
        raise UserError(f"{wanting}, and {error}") from None
    return of_labels(folder, labels, os.path.join(above, NAME))


def read_csv(path):
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:      # as Excel writes it
            return [*csv.reader(file)]
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None


def of_rows(path, header, rows):
    """The table of rows of fields, of which `header` has the names."""
    if header[:1] != ["file"] or any(len(row) != len(header) for row in rows):
        raise UserError(f"{path}: wanted a first line file,ATTRIBUTE,… and as many fields in each")
    if len(set(header)) < len(header):
        raise UserError(f"{path}: wanted a name of its own for each column")
    attributes, columns = {}, []
    for name, column in zip(header[1:], list(zip(*rows))[1:]):
        values = sorted(set(column))
        if len(values) > MOST_VALUES:
            raise UserError(f"{path}: {name} has {len(values):,} values, wanted up to "
                            f"{MOST_VALUES:,}")
        if len(values) > 1:
            attributes[name] = values
            columns.append([values.index(value) for value in column])
    if not attributes:
        raise UserError(f"{path}: wanted an attribute with two values or more")
    return [row[0] for row in rows], attributes, np.array(columns, "int64").T


def of_labels(folder, labels, path):
    """What `read_table` gives, of Labels. A class without pictures is a value, too."""
    classes, numbers = labels.names(), of_pictures(labels, folder.names, folder.path)
    if len(numbers) < FEWEST:
        raise UserError(f"{path}: tells of {counted(len(numbers), 'picture')}, wanted {FEWEST} or "
                        "more")
    if len(set(numbers)) < 2 or len(classes) > MOST_VALUES:
        raise UserError(f"{path}: {len(set(numbers)):,} of {len(classes):,} classes have pictures, "
                        f"wanted 2 to {MOST_VALUES:,}")
    return (folder.names, {LABEL: classes}, numbers.astype("int64")[:, None]), \
        f"{path}, {len(classes):,} classes of {len(numbers):,} pictures"


def widths(size):
    """Feature maps at `size`, size / 2 … 4."""
    return [min(32 << i, WIDEST) for i in range(int(math.log2(size)) - 1)]


def shapes(size, channels, attributes):
    """{name: shape} of the network's parameters. attributes: {name: [values]}."""
    chain = widths(size)
    found = {"first.weight": (chain[0], channels, 3, 3), "first.bias": (chain[0],)}
    for i, (fan_in, fan_out) in enumerate(zip(chain, chain[1:])):
        found |= {f"downs.{i}.weight": (fan_out, fan_in, 3, 3), f"downs.{i}.bias": (fan_out,)}
    found |= {"dense.weight": (FEATURES, 16 * chain[-1]), "dense.bias": (FEATURES,)}
    heads = sum(map(len, attributes.values())) + 1
    return found | {"heads.weight": (heads, FEATURES), "heads.bias": (heads,)}


def make_network(size, channels, attributes):
    """Pictures [N, channels, size, size] in [-1, 1] → features [N, FEATURES], scores [N, heads].

    The scores are those of every value of every attribute, one after the other, then one that is
    above 0 for whole pictures.
    """
    from backend import jt
    from networks.layers import DownConv2d, EqualConv2d, EqualLinear

    class Network(jt.nn.Module):
        def __init__(self):
            chain = widths(size)
            self.first = EqualConv2d(channels, chain[0], 3, activate=True)
            self.downs = jt.nn.ModuleList([DownConv2d(fan_in, fan_out, 3, activate=True)
                                           for fan_in, fan_out in zip(chain, chain[1:])])
            self.dense = EqualLinear(16 * chain[-1], FEATURES, activate=True)
            heads = sum(map(len, attributes.values())) + 1
            self.heads = EqualLinear(FEATURES, heads, gain=1.0)

        def execute(self, pictures):
            x = self.first(pictures)
            for down in self.downs:
                x = down(x)
            features = self.dense(x.reshape(x.shape[0], -1))
            return features, self.heads(features)
    return Network()


class Attributes:
    """The network of a file. Raises UserError, one line that names the file.

    attributes: {name: [values]}; whole: the score from which a picture counts as whole.
    """

    def __init__(self, path):
        header, arrays = load(path)
        self.path = path
        self.size, self.channels = header["size"], header["channels"]
        self.attributes, self.whole = header["attributes"], header["whole"]
        self.damaged_found = header["damaged found"]
        self.network = make_network(self.size, self.channels, self.attributes)
        self.network.load_state_dict(arrays)

    def doubts(self):
        """Why what it says means little, one line, or None."""
        found = np.mean([*self.damaged_found.values()] or [1])
        if found < LITTLE:
            return (f"note: {self.path} finds {found:.0%} of damaged pictures, so what it says of "
                    "a generator means little: train it with more --epochs, or on more pictures")
        return None

    def check(self, channels):
        """Raise UserError where it does not know pictures of so many channels; to one that knows
        colours, grey ones are of three equal channels."""
        if channels not in (1, self.channels):
            raise UserError(f"{self.path}: is for pictures of {self.channels} channels, found "
                            f"{channels}")

    def look(self, pixels):
        """uint8 [N, channels, s, s] → (features [N, FEATURES], values [N, attributes] as their
        numbers, [N] whether whole)."""
        from backend import jt
        self.check(pixels.shape[1])
        pictures = scaled(to_float(pixels), self.size)
        if pictures.shape[1] < self.channels:
            pictures = pictures.repeat(self.channels, 1)
        with jt.no_grad():
            both = np.concatenate(list(in_chunks(
                lambda some: np.concatenate([v.numpy() for v in self.network(jt.array(some))], 1),
                pictures, CHUNK)))
        features, scores = both[:, :FEATURES], both[:, FEATURES:]
        return features, np.stack(chosen(scores, self.attributes), 1), scores[:, -1] >= self.whole


def chosen(scores, attributes):
    """[numbers of the values with the highest score, for each attribute]."""
    ends = np.cumsum([len(values) for values in attributes.values()])
    return [part.argmax(1) for part in np.split(scores[:, :ends[-1]], ends[:-1], 1)]


def scaled(pictures, size):
    """[N, C, s, s] → [N, C, size, size]: means of blocks, or pixels repeated."""
    n, c, s, _ = pictures.shape
    if s > size:
        return pictures.reshape(n, c, size, s // size, size, s // size).mean((3, 5))
    return pictures.repeat(size // s, 2).repeat(size // s, 3)


def coverage(real, fake, attributes):
    """(share of the values that appear, distance of their frequencies) of two `look`s' values.

    A value appears where the generated pictures have it a quarter as often as the real ones at
    least. The distance is the total variation, half the sum of the differences, from 0 to 1, in the
    mean over the attributes.
    """
    there, apart = [], []
    for i, values in enumerate(attributes.values()):
        p, q = (np.bincount(one[:, i], minlength=len(values)) / len(one) for one in (real, fake))
        there += list(q[p > 0] >= p[p > 0] / 4)
        apart.append(np.abs(p - q).sum() / 2)
    return float(np.mean(there)), float(np.mean(apart))


def save(path, header, arrays):
    """header: size, channels, attributes, whole, and what may be said of its making."""
    text = np.frombuffer(json.dumps(header).encode(), "uint8")
    with naming(path), replacing(path) as file:
        npz.write(file, {"header": text} | arrays)


def load(path):
    """(header, {name: array}) of a file that `save` wrote."""
    try:
        with File(path) as file, npz.opened(file, Budget(file.length)) as archive:
            found = {name: npz.describe(archive, info)
                     for name, info in npz.members(archive).items()}
            if "header" not in found or found["header"].info.file_size > LARGEST_HEADER:
                raise Refused("no header")
            header = json.loads(npz.read(archive, found.pop("header")).tobytes())
            wanted = shapes(*checked(header))
            if {name: member.shape for name, member in found.items()} != wanted:
                raise Refused("its arrays are not those of its header")
            return header, {name: npz.read(archive, member).astype("float32")
                            for name, member in found.items()}
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or 'cannot be read'}") from None
    except (Refused, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not {WHERE} ({str(error)[:80]})") from None


def checked(header):
    """(size, channels, attributes) of a header. Raises Refused for what no file of ours says."""
    if not isinstance(header, dict):
        raise Refused("a header that is no dict")
    size, channels, attributes, whole = (header.get(name) for name in
                                         ("size", "channels", "attributes", "whole"))
    if type(size) is not int or not power_of_two(str(size)) or not SMALLEST <= size <= 1024 or \
            channels not in (1, 3) or not isinstance(whole, float) or not math.isfinite(whole):
        raise Refused("a header with other numbers")
    if not isinstance(attributes, dict) or not attributes or not all(
            isinstance(values, list) and 1 < len(values) <= MOST_VALUES
            and all(isinstance(value, str) for value in values) for values in attributes.values()):
        raise Refused("a header with other attributes")
    found = header.get("damaged found")
    if not isinstance(found, dict) or not all(isinstance(n, float) for n in found.values()):
        raise Refused("a header that does not say which damage it finds")
    return size, channels, attributes
