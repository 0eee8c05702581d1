"""Pictures composed of parts that artists drew: cats, people, robots, monsters.

The parts come with pip's robohash, of which nothing but the art is used. Every picture is a pure
function of kind, seed and number, and which part stands where is known.
"""
import dataclasses
import functools
import glob
import importlib.metadata
import importlib.util
import os
import re

import numpy as np
from PIL import Image

from backend import streams
from backend.errors import UserError

PACKAGE = "robohash"
BY, FREE = "CC BY", "free for personal and commercial use"
FINER = 4               # times the size at which parts are put together, where they are that large


@dataclasses.dataclass(frozen=True)
class Kind:
    """layers: {attribute: folder of its parts}, from the ground up. shared: the folders above hold
    one for each value of this attribute, such as the colour of a robot. often: {attribute: value
    that half of the pictures have, beside those to which chance gives it}; all others are alike."""

    folder: str
    layers: dict
    artist: str
    licence: str
    source: str
    shared: str = ""
    often: dict = dataclasses.field(default_factory=dict)


KINDS = {
    "cats": Kind("set4", dict(body="00body", fur="01fur", eyes="02eyes", mouth="03mouth",
                              accessory="04accessories"),
                 "David Revoy", f"{BY} 4.0", "https://www.peppercarrot.com"),
    "people": Kind("set5", dict(skin="Body", eyes="Eye", eyebrows="Eyebrow", mouth="Mouth",
                                cloth="Cloth", face="FacialHair", top="Top", glasses="Accessories"),
                   "Pablo Stanley", FREE, "https://avataaars.com", often={"glasses": "Blank"}),
    "robots": Kind("set1", dict(body="01Body", face="02Face", eyes="Eyes", mouth="Mouth",
                                accessory="Accessory"),
                   "Zikri Kader", f"{BY} 3.0 or 4.0", "https://robohash.org", "colour"),
    "monsters": Kind("set2", dict(face_colour="01FaceColors", body_colour="02BodyColors",
                                  face="03Faces", body="04Body", eyes="Eyes", mouth="Mouth",
                                  nose="Nose"),
                     "Hrvoje Novakovic", f"{BY} 3.0", "https://robohash.org"),
}
MOST_OPEN = 256 << 20   # most pictures are cropped to a fraction of that
SEEN = 40               # of 255: an opacity from which a pixel belongs to a part
# A part of people is called Style-Colour-Print; others have a number at the end.
FIELDS = ("", "_colour", "_print")


class Art:
    """The parts of a kind. Raises UserError where the package is missing.

    attributes: {name: its values, sorted}, of every picture of the kind.
    """

    def __init__(self, kind):
        spec = importlib.util.find_spec(PACKAGE)
        if not spec:
            raise UserError(f"--kind {kind}: its parts are in the package {PACKAGE}, which is "
                            f"missing: type pip install -r requirements-demo.txt")
        self.name, self.kind = kind, KINDS[kind]
        self.version = f"{PACKAGE} {importlib.metadata.version(PACKAGE)}"
        root = os.path.join(spec.submodule_search_locations[0], "sets", self.kind.folder)
        shared = sorted(os.listdir(root)) if self.kind.shared else [""]
        # {value of the shared attribute: {layer: {fields of the name: path}}}
        self.parts = {value: {layer: parts_in(os.path.join(root, value), folder)
                              for layer, folder in self.kind.layers.items()} for value in shared}
        self.columns, self.attributes = {}, {self.kind.shared: shared} if self.kind.shared else {}
        for layer in self.kind.layers:
            names = {fields for parts in self.parts.values() for fields in parts[layer]}
            fields = list(zip(*names))
            self.columns[layer] = [layer + end for end in FIELDS[:len(fields)]]
            self.attributes |= {column: sorted(set(values), key=in_order)
                                for column, values in zip(self.columns[layer], fields)}

    def choose(self, seed, number):
        """{attribute: value} of a picture: a style of each layer, then its colour and print."""
        rng = streams.rng("parts", seed, number)
        shared = pick(rng, self.parts)
        found = {self.kind.shared: shared} if shared else {}
        for layer, left in self.parts[shared].items():
            for i, column in enumerate(self.columns[layer]):
                values = {fields[i] for fields in left}
                often = self.kind.often.get(column)
                found[column] = often if often and rng.integers(2) else pick(rng, values)
                left = [fields for fields in left if fields[i] == found[column]]
        return found

    def draw(self, chosen, size):
        """The RGB picture of {attribute: value}, on white."""
        placed, fine = self.placed(chosen, size)
        picture = Image.new("RGBA", (fine, fine), "white")
        for part, corner in placed:
            picture.alpha_composite(part, corner)
        picture = picture.convert("RGB")
        return picture.resize((size, size), Image.LANCZOS) if fine != size else picture

    def mask(self, chosen, size):
        """What each pixel of it shows, uint8 [size, size]: 0 the ground, n the nth layer."""
        placed, fine = self.placed(chosen, size)
        owner = np.zeros((fine, fine), np.uint8)
        for number, (part, (left, top)) in enumerate(placed, 1):
            here = owner[top:top + part.height, left:left + part.width]
            here[np.asarray(part.getchannel("A")) > SEEN] = number
        return most_frequent(owner, fine // size, len(placed) + 1)

    def placed(self, chosen, size):
        """([(RGBA part, its left upper corner)] from the ground up, size at which they fit)."""
        parts = self.parts[chosen.get(self.kind.shared, "")]
        paths = [parts[layer][tuple(chosen[column] for column in columns)]
                 for layer, columns in self.columns.items()]
        fine = size * max(1, min(FINER, native_size(paths[0]) // size))
        return [opener(fine)(path) for path in paths], fine

    def credits(self):
        """Whose art it is, for people who show the pictures or what a generator makes of them."""
        return (f"The parts of the {self.name} are by {self.kind.artist} ({self.kind.source}), "
                f"{self.kind.licence}, from {self.version}.")


@functools.cache
def art_of(kind):
    return Art(kind)


def parts_in(root, folder):
    """{fields of the name: path} of a layer's parts, all with as many fields."""
    paths = glob.glob(os.path.join(glob.escape(root), f"[0-9][0-9][0-9]#{folder}", "*.png"))
    found = {fields_of(path): path for path in paths}
    most = max(map(len, found))
    return {fields + ("",) * (most - len(fields)): path for fields, path in found.items()}


def fields_of(path):
    """000#body12.png → ("12",); WinterHat1-Red.png → ("WinterHat1", "Red")."""
    name = os.path.splitext(os.path.basename(path))[0]
    if re.match(r"\d+#", name):
        return (str(int(re.search(r"\d+$", name)[0])),)
    return tuple(name.split("-"))


def pick(rng, values):
    values = sorted(values)
    return values[rng.integers(len(values))]


def in_order(value):
    return (0, int(value), "") if value.isdigit() else (1, 0, value)


@functools.cache
def native_size(path):
    with Image.open(path) as picture:
        return min(picture.size)


@functools.cache
def opener(size):
    """`opened` for one size, that remembers MOST_OPEN bytes of pictures at most."""
    return functools.lru_cache(MOST_OPEN // (4 * size * size))(
        functools.partial(opened, size=size))


def opened(path, size):
    """(RGBA picture of what is not transparent, its left upper corner) in a square of `size`."""
    with Image.open(path) as picture:
        picture = picture.convert("RGBA").resize((size, size), Image.LANCZOS)
    left, top, right, bottom = picture.getchannel("A").getbbox() or (0, 0, 1, 1)
    return picture.crop((left, top, right, bottom)), (left, top)


def most_frequent(owner, finer, count):
    """[size · finer, …] numbers below `count` → [size, size]: the one that most of a block have."""
    size = len(owner) // finer
    blocks = owner.reshape(size, finer, size, finer)
    return np.stack([(blocks == i).sum((1, 3)) for i in range(count)]).argmax(0).astype(np.uint8)
