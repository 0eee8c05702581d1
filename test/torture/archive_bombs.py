"""Archives that waste time or memory: .npz, .model and style files, tar, PyTorch's, safetensors."""
import io
import json
import pickle
import struct
import tarfile
import zipfile

import numpy as np
from pickle_bombs import CONFIG, START, called, pickles, text
from weight_files import random_arrays

from networks.config import PORT, ModelConfig
from networks.shapes import generator_shapes
from weights import port

HEADER = {"images_seen": 5, "size": 8, "alpha": 1.0, "model": vars(CONFIG), "format": 1}


def zipped(files, compress=zipfile.ZIP_DEFLATED):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", compress) as archive:
        for name, content in files:
            with archive.open(name, "w", force_zip64=True) as entry:
                for piece in [content] if isinstance(content, bytes) else content:
                    entry.write(piece)
    return data.getvalue()


def npy(shape, data=None, descr="<f4"):
    """The bytes of an array of zeros, as pieces; or its header with other data."""
    start = io.BytesIO()
    np.lib.format.write_array_header_1_0(start, {"descr": descr, "fortran_order": False,
                                                 "shape": shape})
    yield start.getvalue()
    length = int(np.prod(shape, dtype=object)) * int(descr[2:]) if data is None else 0
    for first in range(0, length, 1 << 20):
        yield bytes(min(1 << 20, length - first))
    yield data or b""


def overlapping(count, name, body):
    """Stored files, each of which holds all that follow: one megabyte that is hundreds."""
    data, directory, places = bytearray(), b"", []
    for i in range(count):
        places.append(len(data))
        data += local_header(name % i, 0)
    data += body
    for i, place in enumerate(places):
        own = len(local_header(name % i, 0))
        size = len(data) - place - own
        struct.pack_into("<II", data, place + 18, size, size)
        directory += struct.pack("<IHHHHHHIIIHHHHHII", 0x02014b50, 20, 20, 0, 0, 0, 33, 0, size,
                                 size, len(name % i), 0, 0, 0, 0, 0, place) + (name % i).encode()
    return bytes(data) + directory + struct.pack("<IHHHHIIH", 0x06054b50, 0, 0, count, count,
                                                 len(directory), len(data), 0)


def local_header(name, size):
    return struct.pack("<IHHHHHIIIHH", 0x04034b50, 20, 0, 0, 0, 33, 0, size, size, len(name),
                       0) + name.encode()


def claimed(data, size=8 << 30):
    """The archive whose directory says of its last file that it has 8 GB, stored."""
    data = bytearray(data)
    place = data.rindex(b"PK\x01\x02")
    struct.pack_into("<II", data, place + 20, min(size, 0xfffffffe), min(size, 0xfffffffe))
    return bytes(data)


def own_header(**more):
    return ("header.npy", b"".join(npy((len(t := json.dumps(HEADER | more).encode()),), t, "|u1")))


def npz_bombs(first, name, shape):
    """Of one kind of .npz: the files before, the name of an array, and the shape that it may have.
    """
    def of(*files, **options):
        return zipped([*first, *files], **options)

    deep = b"(" * 490 + b")" * 490
    return {
        "a deflate bomb": of((name, npy((100_000_000,)))),
        "a deflate bomb behind the right shape": of((name, [*npy(shape), *npy((20_000_000,))])),
        "deflate bombs beside it": of(*((f"other{i}.npy", npy((1000, 1000))) for i in range(100))),
        "a length claim": of((name, npy((1 << 33,), b"x"))),
        "a shape claim": of((name, npy((1 << 40, 1 << 40), b"x"))),
        "a length claim of the archive": claimed(of((name, npy(shape)), compress=0)),
        "a claim of no elements": of((name, npy((0, 1 << 70), b""))),
        "a header of 400 MB": of((name, [b"\x93NUMPY\2\0" + struct.pack("<I", 400 << 20),
                                         *[b" " * (1 << 20)] * 400])),
        "a nested header": of((name, b"\x93NUMPY\1\0" + struct.pack("<H", len(deep)) + deep)),
        "a type of 1 GB": of((name, npy((1,), b"x", "|V1000000000"))),
        "seven thousand arrays": of(*((f"{i}.npy", b"") for i in range(7000)), compress=0),
        "overlapping files": overlapping(1000, "%d.npy", bytes(600_000)),
    }


def slow_styles():
    """A port's file whose mean style, that of 10,000 latents, takes long to compute."""
    config = ModelConfig(size=8, latent=512, mapping_layers=11, fmap_base=64, fmap_max=8, **PORT)
    state = port.to_port(config, random_arrays(config, ["ema"]))["g_running"]
    data = io.BytesIO()
    np.savez_compressed(data, **{f"g_running/{n}": np.zeros_like(a) if "style" in n else a
                                 for n, a in state.items()})
    return data.getvalue()


def tar(*members):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:", format=tarfile.PAX_FORMAT) as archive:
        for name, content, more in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            for key, value in more.items():
                setattr(entry, key, value)
            archive.addfile(entry, io.BytesIO(content))
    return data.getvalue()


def tar_of(storages=b"", tensors=b"", names=b""):
    return tar(("storages", storages, {}), ("tensors", tensors, {}), ("pickle", names, {}))


def sparse_tar():
    """The sparse file of GNU tar: 8 GB of zeros in no bytes."""
    data = bytearray(tar_of())
    place = data.index(b"storages")
    data[place + 156:place + 157] = b"S"
    data[place + 257:place + 265] = b"ustar  \0"
    data[place + 386:place + 398] = b"00000000000\0"
    data[place + 398:place + 410] = b"00000000000\0"
    data[place + 483:place + 495] = b"%011o\0" % (8 << 30 if (8 << 30) < 8 ** 11 else 8 ** 11 - 1)
    return summed(data, place)


def summed(data, place):
    block = data[place:place + 512]
    total = sum(block[:148]) + 8 * 32 + sum(block[156:])
    data[place + 148:place + 156] = b"%06o\0 " % total
    return bytes(data)


def tars():
    numbers = pickle.dumps(0, 2)
    storage = pickle.dumps(1, 2) + b"\x80\x02(K\0U\3cpuctorch\nFloatStorage\nt." + \
        struct.pack("<q", 100_000) + bytes(400_000)
    views = b"\x80\x02](" + b"".join(b"(M" + struct.pack("<H", i) + b"K\0K\1J" +
                                     struct.pack("<i", 99_999) + b"t"
                                     for i in range(1, 20_000)) + b"e."
    tensors = pickle.dumps(5000, 2) + b"".join(
        b"\x80\x02(J" + struct.pack("<i", 100_000 + i) + b"K\0Nt." + struct.pack(
            "<iiqqq", 1, 0, 100_000, 1, 0) for i in range(5000))
    names = START + b"}(" + b"".join(text(b"%d" % i) + b"P%d\n" % (100_000 + i)
                                     for i in range(5000)) + b"u."
    big = bytearray(tar(("x" * 90, b"", {})))
    big[124:136] = b"77777777777\0"
    return {
        "a sparse file of 8 GB": sparse_tar(),
        "a claim of 8 GB": summed(big, 0),
        "an extension of digits alone": tar(("x", b"7" * 900_000, {"type": b"x"})),
        "views without end": tar_of(storage + views, numbers, names),
        "tensors of one storage": tar_of(storage + pickle.dumps([], 2), tensors, names),
        "numbers of pickles": tar_of(pickle.dumps(10 ** 9, 2) + (
            b"\x80\x02(K\0Nctorch\nFloatStorage\nt." + bytes(8)) * 20_000, numbers, names),
        "negative dimensions": tar_of(storage + pickle.dumps([], 2), pickle.dumps(1, 2) +
                                      pickle.dumps((0, 0, 0), 2) + struct.pack("<ii", -1, 0)),
    }


def torch_tensor(key, count, elements, stride, kind=b"Float"):
    storage = b"(" + text(b"storage") + b"ctorch\n" + kind + b"Storage\n" + text(key) + \
        text(b"cpu") + b"J" + struct.pack("<i", count) + b"tQ"
    return called("torch._utils._rebuild_tensor_v2", storage, b"K\0", b"J" + struct.pack(
        "<i", elements) + b"\x85", b"K" + bytes([stride]) + b"\x85", b"\x89", b"N")


def tensors(count, kind=b"Float", elements=100_000, stride=1):
    return START + b"}(" + b"".join(
        text(b"%d" % i) + torch_tensor(b"0", 400_000 // (2 if kind == b"BFloat16" else 4), elements,
                                       stride, kind)
        for i in range(count)) + b"u."


def torch_zips():
    def of(data, *storages):
        return zipped([("archive/data.pkl", data), ("archive/data/0", bytes(400_000)), *storages],
                      compress=zipfile.ZIP_STORED)

    found = {name: of(data) for name, data in pickles().items() if len(data) < 500_000}
    found["many views of one storage"] = of(tensors(3000))
    found["a storage of bfloat16, small views"] = of(tensors(1000, b"BFloat16", 1))
    found["a tensor of stride 0"] = of(tensors(1, elements=2 ** 31 - 1, stride=0))
    found["a compressed archive"] = zipped([("archive/data.pkl", START + b"N."),
                                            ("archive/data/0", npy((100_000_000,)))])
    found["many files"] = zipped([("a/data.pkl", b"N."), *((f"a/{i}", b"") for i in range(7000))],
                                 compress=zipfile.ZIP_STORED)
    found["a length claim of the archive"] = claimed(of(tensors(1)))
    found["overlapping files"] = overlapping(1000, "archive/data/%d", bytes(600_000))
    return found


def torch_streams():
    start = b"".join(pickle.dumps(part, 2) for part in (
        0x1950a86a20f9469cfc6c, 1001, {"little_endian": True}))
    keys, raw = pickle.dumps(["0"], 2), struct.pack("<q", 100_000) + bytes(400_000)
    large = torch_tensor(b"0", 2 ** 31 - 1, 1, 1, b"Double")
    found = {name: start + data for name, data in pickles().items()}
    found["many views of one storage"] = start + tensors(3000) + keys + raw
    found["a storage of 16 GB"] = start + START + large + b"." + keys + \
        struct.pack("<q", 2 ** 31 - 1) + b"x"
    return found


def safetensors():
    def of(header, data=b""):
        header = header if isinstance(header, bytes) else json.dumps(header).encode()
        return struct.pack("<Q", len(header)) + header + data

    entry = {"dtype": "U8", "shape": [400_000], "data_offsets": [0, 400_000]}
    return {
        "overlapping arrays": of({f"{i}": entry for i in range(7000)}, bytes(400_000)),
        "nested lists": of(b'{"a":' + b"[" * 900_000),
        "nested dicts": of(b'{"a":' * 180_000),
        "a number of many digits": of(b'{"a":' + b"9" * 900_000 + b"}"),
        "many empty arrays": of({f"{i}": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}
                                 for i in range(14_000)}),
        "a shape of many numbers": of({"a": {"dtype": "U8", "shape": [1] * 300_000,
                                             "data_offsets": [0, 1]}}, b"x"),
        "a length claim": of({"a": {"dtype": "F64", "shape": [1 << 40],
                                    "data_offsets": [0, 1 << 43]}}, b"x"),
        "many entries that are no arrays": of(b"{" + b",".join(
            b'"%d":{}' % i for i in range(70_000)) + b"}"),
    }


def own():
    """.model files."""
    shape = generator_shapes(CONFIG)["w_avg"]
    found = npz_bombs([own_header()], "ema/w_avg.npy", shape)
    huge = dict(size=4096, fmap_base=10 ** 6, fmap_max=10 ** 6, latent=10 ** 6)
    found["a network of a million mapping layers"] = zipped([own_header(
        model=vars(CONFIG) | {"mapping_layers": 10 ** 6})])
    found["a huge network"] = zipped([own_header(model=vars(CONFIG) | huge)])
    found["a large network of zeros"] = zipped([own_header(model={"size": 256})] + [
        (f"ema/{name}.npy", npy(shape)) for name, shape in
        generator_shapes(ModelConfig(size=256)).items()])
    moments = [(f"adam_generator/v/{i}.npy", npy((100_000,))) for i in range(300)]
    found["moments of nothing"] = zipped([own_header(), *moments])
    for name, header in (("a JSON header of 400 MB", npy((400_000_000,), descr="|u1")),
                         ("a nested JSON header", npy((900_000,), b"[" * 900_000, "|u1")),
                         ("a header of many digits", npy((900_000,), b"9" * 900_000, "|u1"))):
        found[name] = zipped([("header.npy", header)])
    found["a header of long names"] = zipped([own_header(model={"x" * 900_000: 1})])
    found["a format of long text"] = zipped([own_header(format="x" * 900_000)])
    return found


def attributes():
    """Files of attributes.py."""
    def header(**more):
        text = json.dumps({"size": 16, "channels": 3, "attributes": {"a": ["0", "1"]},
                           "whole": 0.0} | more).encode()
        return ("header.npy", b"".join(npy((len(text),), text, "|u1")))

    found = npz_bombs([header()], "first.weight.npy", (32, 3, 3, 3))
    many = {str(i): [str(j) for j in range(1000)] for i in range(150)}
    found["many attributes"] = zipped([header(attributes=many)])
    found["a large network"] = zipped([header(size=1024)])
    found["a header of digits"] = zipped([("header.npy", npy((900_000,), b"9" * 900_000, "|u1"))])
    return found


def styles():
    found = npz_bombs([], "w.npy", (1, 4, 8))
    found["many pictures of one style each"] = zipped([("w.npy", npy((4_000_000, 8)))])
    found["some pictures of one style each"] = zipped([("w.npy", npy((450_000, 8)))])
    found["many pictures of bytes"] = zipped([("w.npy", npy((700_000, 4, 8), descr="|u1"))])
    found["noise"] = zipped([("w.npy", npy((1, 4, 8))),
                             *((f"noise{i}.npy", npy((1, 1, 4096, 4096))) for i in range(3))])
    return found
