"""The containers that weights of other projects come in, told apart by content, never by name.

Pickles as they are, Jittor's pickle with a checksum, PyTorch's three containers: zip (since 1.6),
stream (0.1.10 to 1.5) and tar (before); and the two flat ones, .npz and .safetensors.
"""
import hashlib
import io
import json
import os
import struct
import zipfile

import numpy as np

from weights import npz
from weights.bounds import DIMENSIONS, WEIGHTS, Budget, File, Refused, short, sizes
from weights.stand_ins import Storage, Tensor, from_bfloat16, plain_key
from weights.unpickle import load, weigh

JITTOR_MARK = b"HCAJSLHD"
TORCH_MAGIC = 0x1950a86a20f9469cfc6c


def read(path):
    """(container, content) of a file whose name may be anything.

    container: "pickle", "Jittor", "PyTorch zip", "PyTorch stream", "PyTorch tar", "npz" or
    "safetensors"; content: what was saved, its arrays as `unpickle.values` takes them. Raises
    Refused, also where that would cost more than the length of the file justifies; OSError.
    """
    with File(path) as file:
        budget = Budget(file.length)
        start = file.read(512)
        if not start:
            raise Refused(f"an empty file, wanted {WEIGHTS}")
        file.seek(0)
        if start[:2] == b"PK":
            return read_zip(file, budget)
        if start[257:262] == b"ustar":
            return "PyTorch tar", read_torch_tar(file, budget)
        if is_safetensors(start, file.length):
            return "safetensors", read_safetensors(file, budget)
        if ends_with(file, JITTOR_MARK):
            check_sha1(file)
            return "Jittor", load(file, budget)
        first = load(file, budget, nested=lambda raw: read_stream_in_pickle(raw, budget))
        if type(first) is int and first == TORCH_MAGIC:
            return "PyTorch stream", read_torch_stream(file, budget)
        return "pickle", first


def ends_with(file, mark):
    file.seek(max(0, file.seek(0, os.SEEK_END) - len(mark)))
    found = file.read() == mark
    file.seek(0)
    return found


def check_sha1(file):
    length = file.seek(0, os.SEEK_END) - len(JITTOR_MARK) - 20
    if length < 0:
        raise Refused("damaged: shorter than its checksum")
    file.seek(0)
    digest = hashlib.sha1()
    left = length
    while left:
        piece = file.read(min(left, 1 << 20))
        digest.update(piece)
        left -= len(piece)
    if digest.digest() != file.read(20):
        raise Refused("damaged: its checksum does not fit")
    file.seek(0)


def torch_storage(make):
    """persistent_load for ("storage", type, key, location, count, …); `make(type, key, count)`."""
    def find(identifier):
        name = identifier[0] if isinstance(identifier, tuple) and identifier else identifier
        if name != "storage":
            raise Refused(f"refused: the file asks for {short(name, 60)}, wanted storages")
        if not isinstance(identifier[2], (str, int)):
            raise Refused("damaged: a storage without a name")
        return make(identifier[1], str(identifier[2]), identifier[4])
    return find


def read_zip(file, budget):
    with npz.opened(file, budget) as archive:
        if not all(name.endswith(".npy") for name in archive.namelist()):
            return "PyTorch zip", torch_zip_content(archive, budget)
        found = {name: npz.describe(archive, info) for name, info in npz.members(archive).items()}
        content = nested({name: npz.read(archive, member) for name, member in found.items()})
    weigh(content, budget)
    return "npz", content


def torch_zip_content(archive, budget):
    names = set(archive.namelist())
    pickles = [n for n in names if n.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise Refused("a zip archive that PyTorch did not write (no data.pkl)")
    if any(i.compress_type != zipfile.ZIP_STORED for i in archive.infolist()):
        raise Refused("a compressed zip archive, which PyTorch does not write")
    folder = pickles[0][:-len("data.pkl")]
    big = folder + "byteorder" in names and archive.read(folder + "byteorder") == b"big"
    storages = {}

    def make(kind, key, count):
        if key not in storages:
            name = f"{folder}data/{key}"
            if name not in names:
                raise Refused(f"damaged: {short(name, 60)} is missing in it")
            storages[key] = Storage(kind, count, archive.read(name), ">" if big else "<")
        return storages[key]

    return load(io.BytesIO(archive.read(pickles[0])), budget, torch_storage(make))


def read_torch_stream(file, budget):
    load(file, budget)                                  # version of the container, 1001
    system = load(file, budget)
    little = not isinstance(system, dict) or system.get("little_endian", True)
    storages = {}

    def make(kind, key, count):
        if key not in storages:
            storages[key] = Storage(kind, count, order="<" if little else ">")
        return storages[key]

    content = load(file, budget, torch_storage(make))
    for key in load(file, budget):
        storage = storages.get(str(key))
        if storage is None or file.read(8) != struct.pack("<q", storage.count):
            raise Refused("damaged: a storage is not the one that was announced")
        storage.raw = file.read(storage.nbytes)
    return content


def read_stream_in_pickle(raw, budget):
    """The storage in the bytes that PyTorch makes of one where a tensor is pickled by itself."""
    file = io.BytesIO(raw) if isinstance(raw, (bytes, bytearray)) else io.BytesIO()
    if load(file, budget) != TORCH_MAGIC:
        raise Refused("damaged: a storage that PyTorch did not write")
    return read_torch_stream(file, budget)


def read_torch_tar(file, budget):
    try:
        parts = tar_members(file)
        return torch_tar_content(*(io.BytesIO(parts[name])
                                   for name in ("storages", "tensors", "pickle")), budget)
    except Refused:
        raise
    except (struct.error, AttributeError, TypeError, ValueError, KeyError) as error:
        raise Refused("a tar archive that PyTorch did not write, or damaged "
                      f"({short(error)})") from None


def tar_members(file):
    """{name: content} of the plain files in a tar archive.

    Not by `tarfile`: a sparse file of a few bytes unpacks to any number of zeros there, and what
    is written beside a name is searched in quadratic time. PyTorch needs neither.
    """
    found = {}
    while (block := file.read(512)).strip(b"\0"):
        name, size, checksum = (block[start:end].strip(b" \0") for start, end in
                                ((0, 100), (124, 136), (148, 156)))
        if int(checksum, 8) != sum(block[:148]) + 8 * ord(" ") + sum(block[156:]):
            raise Refused("damaged: a wrong checksum in a tar archive")
        content = file.read(int(size, 8))
        if block[156:157] in (b"0", b"\0"):
            found[name.decode("latin1")] = content
        file.seek(-len(content) % 512, os.SEEK_CUR)
    return found


def torch_tar_content(storages, tensors, names, budget):
    """Three files: flat storages, tensors that look into them, the object that names tensors."""
    known = {}
    for _ in range(load(storages, budget)):
        key, _location, kind = load(storages, budget)
        count, = struct.unpack("<q", storages.read(8))
        known[plain_key(key)] = Storage(kind, count)
        known[key].raw = memoryview(storages.read(known[key].nbytes))
    for view, root, offset, count in load(storages, budget):
        size = known[root].kind.dtype.itemsize
        known[plain_key(view)] = Storage(known[root].kind, count,
                              known[root].raw[offset * size:(offset + count) * size])
    for _ in range(load(tensors, budget)):
        key, storage, _kind = load(tensors, budget)
        dimensions, _ = struct.unpack("<ii", tensors.read(8))
        if not 0 <= dimensions <= DIMENSIONS:
            raise Refused("damaged: an array of impossible shape")
        layout = np.frombuffer(tensors.read(16 * dimensions + 8), "<i8").tolist()
        known[plain_key(key)] = Tensor(known[storage], layout[-1], layout[:dimensions],
                            layout[dimensions:-1])
    return load(names, budget, lambda identifier: known[int(identifier)])


# Flat containers: what is nested elsewhere has names such as g_running/style.1.linear.bias --------

SAFETENSORS = {"F16": "<f2", "BF16": "<u2", "F32": "<f4", "F64": "<f8", "I64": "<i8", "I32": "<i4",
               "U8": "u1"}


def is_safetensors(start, size):
    length, = struct.unpack("<Q", start[:8].ljust(8, b"\xff"))
    return start[8:9] == b"{" and length <= size - 8


def read_safetensors(file, budget):
    """Length of a JSON header, the header, then all arrays one after the other."""
    try:
        length, = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        data, arrays = memoryview(file.read()), {}
        for name, entry in header.items():
            start, end = entry["data_offsets"]
            if entry["dtype"] not in SAFETENSORS:
                raise Refused(f"{short(name, 60)} is of type {short(entry['dtype'], 20)}, wanted "
                              f"one of {', '.join(SAFETENSORS)}")
            array = np.frombuffer(data[start:end], SAFETENSORS[entry["dtype"]])
            if entry["dtype"] == "BF16":
                array = from_bfloat16(array)
            arrays[name] = array.reshape(sizes(entry["shape"]))
        content = nested(arrays)
    except Refused:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Refused(f"a damaged .safetensors file ({short(error)})") from None
    weigh(content, budget)
    return content


def nested(arrays):
    """{"g_running/a": …, "b": …} → {"g_running": {"a": …}, "b": …}."""
    content = {}
    for name, array in arrays.items():
        network, _, inner = name.rpartition("/")
        target = content.setdefault(network, {}) if network else content
        if not isinstance(target, dict):
            raise Refused(f"{short(network, 40)} is an array and a network")
        target[inner] = array
    return content
