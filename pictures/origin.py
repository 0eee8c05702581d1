"""How a file was made, written in it: what was made otherwise is never replaced unasked.

It is JSON: the comment of a PNG, a GIF or an MP4, the array "made" of a .npz.
"""
import contextlib
import json
import os
import shlex
import zlib

import numpy as np
from PIL import Image, PngImagePlugin

from backend.errors import UserError
from dataset import PICTURES
from networks.config import power_of_two


def text(made):
    return json.dumps(made)


def check(path, made, advice="type --out OTHER to keep it, or --overwrite"):
    """Raise UserError where a file is at `path` that was not made like this.

    made: {flag or argument: value}, all that decides what the file looks like. advice: the end of
    the line.
    """
    if not os.path.lexists(path) or (there := read(path)) == json.loads(text(made)):
        return
    if there is None and path.lower().endswith(PICTURES) and is_damaged(path):
        raise UserError(f"{path}: not a picture, or a damaged one: delete it, and type the same "
                        "again")
    if there:
        others = [f"with {name} {value}" for name, value in there.items()
                  if made.get(name) != value]
        others += [f"without {name}" for name in made if name not in there]
        raise UserError(f"{path} exists, made {', '.join(others)}: {advice}")
    raise UserError(f"{path} exists, and does not say how it was made: {advice}")


def check_folder(out, made):
    """The names of the pictures in `out`.

    Raises UserError for those that this command with these flags did not make.
    """
    folder, name = os.path.split(os.path.abspath(out).removesuffix("_masks"))
    other = os.path.join(f"{folder}_2", name) if power_of_two(name) else f"{folder}/{name}_2"
    found = sorted(name for name in os.listdir(out)
                   if name.lower().endswith(PICTURES) and not name.startswith("."))
    for name in found:
        check(os.path.join(out, name), made, "type another folder, such as "
                     f"{shlex.quote(os.path.relpath(other))}")
    return found


def is_damaged(path):
    try:
        with opened(path) as picture:
            picture.verify()
    except Exception:                       # Pillow raises many kinds
        return True
    return False


def opened(path):
    """A picture, of which only what is written beside its pixels will be read: a PNG may be larger
    than Image.open takes."""
    with open(path, "rb") as file:
        is_png = file.read(8) == b"\x89PNG\r\n\x1a\n"
    return PngImagePlugin.PngImageFile(path) if is_png else Image.open(path)


def read(path):
    """How a file says that it was made, or None."""
    with contextlib.suppress(Exception):    # it may be anything
        found = json.loads(find_text(path))
        return found if isinstance(found, dict) else None


def find_text(path):
    with open(path, "rb") as file:
        start = file.read(8)
        if start[4:] == b"ftyp":
            rest = file.read()
            found = rest[rest.index(b'{"checkpoint": '):][:1 << 20].decode(errors="replace")
            return found[:json.JSONDecoder().raw_decode(found)[1]]
    if start[:2] == b"PK":
        with np.load(path, allow_pickle=False) as arrays:
            return str(arrays["made"])
    with opened(path) as picture:
        return picture.info.get("Comment") or picture.info["comment"]


def settings(args, flags):
    """{--flag: value} of those that were typed or have a default."""
    found = {f"--{flag}": getattr(args, flag) for flag in flags}
    return {flag: spans(value) if isinstance(value, list) else value
            for flag, value in found.items() if value is not None}


def spans(numbers):
    """[0, 1, 2, 85] → "0-2,85"."""
    ends = []
    for number in numbers:
        if ends and number == ends[-1][1] + 1:
            ends[-1][1] = number
        else:
            ends.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ends)


def identity(path, *contents):
    """A file's name and a checksum of what is in it (bytes or arrays)."""
    checksum = 0
    for content in contents:
        if isinstance(content, np.ndarray):             # of what is repeated, once is enough
            once = tuple(slice(None) if step else slice(1) for step in content.strides)
            content = np.ascontiguousarray(content[once]).data
        checksum = zlib.crc32(content, checksum)
    return f"{os.path.basename(path)} ({checksum:08x})"


def weights(path, arrays):
    """The identity of the generator in a file that snapshot.load_any read."""
    return identity(path, *(array for name, array in sorted(arrays.items())
                            if name.startswith(("ema/", "noise/"))))
