"""What is odd about pictures of a data set: not square, transparent, there twice, showing next to
nothing."""
import csv
import hashlib
import io
import os
from typing import NamedTuple

import numpy as np
from PIL import Image

from backend.files import naming, replacing

EMPTY = 2.0                     # standard deviation, of 255, of a picture that shows nothing
HEADER = ["file", "found", "detail"]


class Traits(NamedTuple):
    extent: tuple               # (width, height) as it lies there
    of_bytes: bytes             # digests
    of_pixels: bytes
    spread: float               # standard deviation of what is used
    transparent: bool


def traits(data, extent, picture, square, transparent):
    """Traits. data: the bytes of a file; picture, square: RGB or RGBA, whole and as it is used;
    transparent: whether something in it is, or was."""
    seen = np.asarray(square.resize((32, 32), Image.BOX), "float32")
    if square.mode == "RGBA":
        seen = seen * seen[..., 3:] / 255                       # what is transparent shows nothing
    spread = float(seen.std((0, 1)).max())
    return Traits(extent, digest(data), digest(str(picture.size).encode(), picture.tobytes()),
                  spread, transparent)


def digest(*parts):
    whole = hashlib.blake2b(digest_size=16)
    for part in parts:
        whole.update(part)
    return whole.digest()


def find(traits_by_name, alpha, fit, size):
    """[(name, what was found, more of it)], in the order of {name: Traits}. alpha: whether what is
    transparent was kept; fit: how they became square; size: the largest that was made."""
    used = {"crop": min, "pad": max}[fit]
    odd, by_bytes, by_pixels = [], {}, {}
    for name, (extent, of_bytes, of_pixels, spread, transparent) in traits_by_name.items():
        if extent[0] != extent[1]:
            odd.append((name, "not square", "{}x{}".format(*extent)))
        if used(extent) < size:
            odd.append((name, "small", "{}x{}".format(*extent)))
        if transparent and not alpha:
            odd.append((name, "transparent", "over the background"))
        same_pixels = by_pixels.setdefault(of_pixels, name)
        if by_bytes.setdefault(of_bytes, name) != name:
            odd.append((name, "same bytes", by_bytes[of_bytes]))
        elif same_pixels != name:
            odd.append((name, "same pixels", same_pixels))
        if spread < EMPTY:
            odd.append((name, "nearly empty", f"standard deviation {spread:.1f} of 255"))
    return odd


def lines(odd, fit, size):
    """Yields what a person should know of [(name, found, detail)]; fit, size: see `find`."""
    cut = {"crop": "the middle is cut out", "pad": "padded"}[fit]
    for found, meaning in (("not square", cut),
                           ("small", f"enlarged to {size}"),
                           ("transparent", "over the background; --alpha keeps that"),
                           ("same bytes", "copies of others"),
                           ("same pixels", "in other files, copies of others"),
                           ("nearly empty", "of one colour, or almost")):
        names = [name for name, kind, _ in odd if kind == found]
        if names:
            yield f"{len(names):,} {found} ({meaning}), such as {names[0]}"


def is_report(path):
    with naming(path), open(path, encoding="utf-8", errors="replace") as file:
        return file.readline(100).strip() == ",".join(HEADER)


def write(path, odd):
    text = io.StringIO()
    csv.writer(text).writerows([HEADER, *odd])
    with replacing(os.path.realpath(path)) as file:
        file.write(text.getvalue().encode(errors="backslashreplace"))
