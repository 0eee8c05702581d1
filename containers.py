"""The containers that weights of other projects come in, told apart by content, never by name.

Pickles as they are, Jittor's pickle with a checksum, PyTorch's three containers: zip (since 1.6),
stream (0.1.10 to 1.5) and tar (before); and the two flat ones, .npz and .safetensors.
"""
import hashlib
import io
import json
import os
import struct
import tarfile
import zipfile
import zlib

import numpy as np

from unpickle import Refused, Storage, Tensor, load, sizes

JITTOR_MARK = b"HCAJSLHD"
TORCH_MAGIC = 0x1950a86a20f9469cfc6c


def read(path):
    """(container, content) of a file whose name may be anything.

    container: "pickle", "Jittor", "PyTorch zip", "PyTorch stream", "PyTorch tar", "npz" or
    "safetensors"; content: what was saved, its arrays as `unpickle.values` takes them. Raises
    Refused, OSError.
    """
    with open(path, "rb") as file:
        start = file.read(512)
        if not start:
            raise Refused("an empty file")
        file.seek(0)
        if start[:2] == b"PK":
            return read_zip(file)
        if start[257:262] == b"ustar":
            return "PyTorch tar", read_torch_tar(file)
        if is_safetensors(start, os.path.getsize(path)):
            return "safetensors", read_safetensors(file)
        if ends_with(file, JITTOR_MARK):
            check_sha1(file)
            return "Jittor", load(file)
        first = load(file)
        if type(first) is int and first == TORCH_MAGIC:
            return "PyTorch stream", read_torch_stream(file)
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
        if not isinstance(identifier, tuple) or identifier[0] != "storage":
            raise Refused(f"refused: the file asks for {ascii(identifier)[:60]}, wanted storages")
        return make(identifier[1], str(identifier[2]), identifier[4])
    return find


def read_zip(file):
    try:
        with zipfile.ZipFile(file) as archive:
            if all(name.endswith(".npy") for name in archive.namelist()):
                file.seek(0)
                with np.load(file, allow_pickle=False) as arrays:
                    return "npz", nested({name: arrays[name] for name in arrays.files})
            return "PyTorch zip", torch_zip_content(archive)
    except Refused:
        raise
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, ValueError, EOFError,
            zlib.error) as error:
        raise Refused(f"a zip archive that is damaged ({error})") from None


def torch_zip_content(archive):
    pickles = [n for n in archive.namelist() if n.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise Refused("a zip archive that PyTorch did not write (no data.pkl)")
    if any(i.compress_type != zipfile.ZIP_STORED for i in archive.infolist()):
        raise Refused("a compressed zip archive, which PyTorch does not write")
    folder = pickles[0][:-len("data.pkl")]
    big = folder + "byteorder" in archive.namelist() and \
        archive.read(folder + "byteorder") == b"big"
    storages = {}

    def make(kind, key, count):
        if key not in storages:
            name = f"{folder}data/{key}"
            if name not in archive.namelist():
                raise Refused(f"damaged: {ascii(name)[:60]} is missing in it")
            storages[key] = Storage(kind, count, archive.read(name), ">" if big else "<")
        return storages[key]

    return load(io.BytesIO(archive.read(pickles[0])), torch_storage(make))


def read_torch_stream(file):
    load(file)                                          # version of the container, 1001
    system = load(file)
    little = not isinstance(system, dict) or system.get("little_endian", True)
    storages = {}

    def make(kind, key, count):
        if key not in storages:
            storages[key] = Storage(kind, count, order="<" if little else ">")
        return storages[key]

    content = load(file, torch_storage(make))
    for key in load(file):
        storage = storages.get(str(key))
        if storage is None or file.read(8) != struct.pack("<q", storage.count):
            raise Refused("damaged: a storage is not the one that was announced")
        storage.raw = file.read(storage.nbytes)
    return content


def read_torch_tar(file):
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            parts = [io.BytesIO(archive.extractfile(name).read())
                     for name in ("storages", "tensors", "pickle")]
        return torch_tar_content(*parts)
    except Refused:
        raise
    except (tarfile.TarError, struct.error, AttributeError, TypeError, ValueError,
            KeyError) as error:
        raise Refused(f"a tar archive that PyTorch did not write, or damaged ({error})") from None


def torch_tar_content(storages, tensors, names):
    """Three files: flat storages, tensors that look into them, the object that names tensors."""
    known = {}
    for _ in range(load(storages)):
        key, _location, kind = load(storages)
        count, = struct.unpack("<q", storages.read(8))
        known[key] = Storage(kind, count)
        known[key].raw = storages.read(known[key].nbytes)
    for view, root, offset, count in load(storages):
        size = known[root].kind.dtype.itemsize
        known[view] = Storage(known[root].kind, count,
                              known[root].raw[offset * size:(offset + count) * size])
    for _ in range(load(tensors)):
        key, storage, _kind = load(tensors)
        dimensions, _ = struct.unpack("<ii", tensors.read(8))
        layout = np.frombuffer(tensors.read(16 * dimensions + 8), "<i8").tolist()
        known[key] = Tensor(known[storage], layout[-1], layout[:dimensions],
                            layout[dimensions:-1])
    return load(names, lambda identifier: known[int(identifier)])


# Flat containers: what is nested elsewhere has names such as g_running/style.1.linear.bias --------

SAFETENSORS = {"F16": "<f2", "F32": "<f4", "F64": "<f8", "I64": "<i8", "I32": "<i4", "U8": "u1"}


def is_safetensors(start, size):
    length, = struct.unpack("<Q", start[:8].ljust(8, b"\xff"))
    return start[8:9] == b"{" and length <= size - 8


def read_safetensors(file):
    """Length of a JSON header, the header, then all arrays one after the other."""
    try:
        length, = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        data, arrays = file.read(), {}
        for name, entry in header.items():
            start, end = entry["data_offsets"]
            array = np.frombuffer(data[start:end], SAFETENSORS[entry["dtype"]])
            arrays[name] = array.reshape(sizes(entry["shape"]))
        return nested(arrays)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Refused(f"a damaged .safetensors file ({ascii(error)[:100]})") from None


def nested(arrays):
    """{"g_running/a": …, "b": …} → {"g_running": {"a": …}, "b": …}."""
    content = {}
    for name, array in arrays.items():
        network, _, inner = name.rpartition("/")
        target = content.setdefault(network, {}) if network else content
        if not isinstance(target, dict):
            raise Refused(f"{ascii(network)[:40]} is an array and a network")
        target[inner] = array
    return content
