"""Archives of NumPy arrays, .npz: described before they are read, so that no claim is paid for."""
import contextlib
import dataclasses
import io
import math
import struct
import zipfile
import zlib

import numpy as np

from weights.bounds import MEMBER, Refused, short, sizes

HEADER = 1024           # bytes; NumPy writes 128 for an array of plain numbers


@dataclasses.dataclass
class Member:
    """An array in an archive that was not read yet."""

    info: zipfile.ZipInfo
    shape: tuple
    dtype: np.dtype


@contextlib.contextmanager
def opened(file, budget):
    """Yields the ZipFile in `file`, after the budget has paid for all that is in it.

    Whatever is wrong with it becomes Refused, also while it is used.
    """
    begins_like_one = file.read(2) == b"PK"
    file.seek(0)
    try:
        with zipfile.ZipFile(file) as archive:
            for info in archive.infolist():
                budget.spend(MEMBER + info.file_size)
                if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise Refused("compressed in a way that NumPy and PyTorch do not use")
                if info.compress_size > budget.length:
                    raise Refused("damaged: a part of it is longer than the whole")
            yield archive
    except Refused:
        raise
    except (zipfile.BadZipFile, zlib.error, struct.error, ValueError, LookupError, EOFError,
            TypeError, AttributeError, SyntaxError, RuntimeError, MemoryError,
            OverflowError) as error:                    # what hostile bytes make libraries raise
        if not begins_like_one:
            raise Refused("no zip archive") from None
        if "not a zip file" in str(error):
            raise Refused("a zip archive without its end, as where a copy broke off") from None
        raise Refused(f"a zip archive that is damaged: {short(error)}") from None


def write(file, arrays):
    """{name: NumPy array} to a binary file, as np.savez does; but that leaves a traceback on the
    terminal when the disk is full."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.asanyarray(array), allow_pickle=False)


def members(archive):
    """{array name: ZipInfo}. Raises Refused where there is anything but arrays."""
    found = {}
    for info in archive.infolist():
        if not info.filename.endswith(".npy"):
            raise Refused(f"{short(info.filename)} in it is no array")
        found[info.filename[:-len(".npy")]] = info
    return found


def describe(archive, info):
    """The Member: its shape is what its header says, and fits its length. Nothing else is read."""
    with archive.open(info) as entry:
        start = io.BytesIO(entry.read(HEADER))
    version = np.lib.format.read_magic(start)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else \
        np.lib.format.read_array_header_2_0
    shape, _, dtype = read_header(start)
    if dtype.kind not in "fiub":
        raise Refused(f"{short(info.filename)} in it is no array of plain numbers")
    if math.prod(sizes(shape)) * dtype.itemsize != info.file_size - start.tell():
        raise Refused(f"damaged: {short(info.filename)} is not as long as it says")
    return Member(info, shape, dtype)


def read(archive, member):
    with archive.open(member.info) as entry:
        return np.lib.format.read_array(entry, allow_pickle=False)
