"""python bombs.py [READER …]: small files that are built to waste time or memory, in any container.

Each has a megabyte at most, and claims, repeats, nests or unpacks a multiple of that. Prints a line
for each that took more than two seconds or 300 MB, or did not end as it should, then [tried, lost];
with --all a line for each.
"""
import hashlib
import io
import json
import os
import pickle
import resource
import signal
import struct
import sys
import tarfile
import tempfile
import time
import zipfile

os.environ["OPENBLAS_NUM_THREADS"] = "1"       # each of its threads claims 134 MB, unused

import numpy as np  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(os.path.dirname(HERE)), os.path.dirname(HERE)]

from weights import (  # noqa: E402
    Network,
    official_networks,
    official_pickle,
    random_arrays,
)

import foreign  # noqa: E402
import port  # noqa: E402
import snapshot  # noqa: E402
import styles_file  # noqa: E402
import weights_file  # noqa: E402
from cli import UserError  # noqa: E402
from config import PORT, ModelConfig, generator_shapes  # noqa: E402

LONGEST, SECONDS, MORE = 1_000_000, 2, 300_000_000
CONFIG = ModelConfig(size=8, latent=8, mapping_layers=2, fmap_base=64, fmap_max=8)
HEADER = {"images_seen": 5, "size": 8, "alpha": 1.0, "model": vars(CONFIG), "format": 1}


# Pickles, by opcode: none of these a library would write ------------------------------------------

START = b"\x80\x04"
SHARED = b"h\x1e"              # after shared(): what it made


def shared(kind, levels=30, fan=10):
    """`levels` containers, each with `fan` references to the one before; the last is SHARED."""
    level = {"tuple": lambda one: b"(" + one * fan + b"t",
             "list": lambda one: b"](" + one * fan + b"e",
             "dict": lambda one: b"}(" + b"".join(b"K%c" % i + one for i in range(fan)) + b"u",
             "set": lambda one: b"\x8f(" + one * fan + b"\x90"}[kind]
    return b"N\x94" + b"".join(b"0" + level(b"h%c" % i) + b"\x94" for i in range(levels))


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value


def called(name, *arguments):
    module, name = name.rsplit(".", 1)
    return f"c{module}\n{name}\n".encode() + b"(" + b"".join(arguments) + b"tR"


def entries(*pairs):
    return b"}(" + b"".join(text(name) + value for name, value in pairs) + b"u"


def named(count, value, name="%d"):
    """A dict of `count` names for the same object."""
    return value + b"\x94" + b"0}(" + b"".join(
        text((name % i).encode()) + b"h\0" for i in range(count)) + b"u"


def array(count, code=b"u1"):
    """A NumPy array of protocol 5's kind, over `count` bytes."""
    dtype = called("numpy.dtype", text(code), b"\x89\x88")
    return called("numpy.core.numeric._frombuffer", b"B" + struct.pack("<I", count) + bytes(count),
                  dtype, b"(J" + struct.pack("<i", count // int(code[1:])) + b"t", text(b"C"))


def network(state):
    return b"cdnnlib.tflib.network\nNetwork\n)\x81" + state + b"b"


def three(state):
    """(G, D, Gs) whose options are `state`, opcodes that make one object."""
    return b"".join(network(entries((b"build_func_name", text(function)), (b"variables", b"]"),
                                    (b"static_kwargs", state)))
                    for function in (b"G_style", b"D_basic", b"G_style")) + b"\x87"


def official_with(**options):
    networks = official_networks(CONFIG)
    for part in networks:
        part.state["static_kwargs"] = part.state["static_kwargs"] | options
    return official_pickle(networks)


def doubled(levels=30, fan=10, seed=()):
    for _ in range(levels):
        seed = (seed,) * fan
    return seed


def pickles():
    """{name: opcodes with STOP}; none can be read, whatever container they are in."""
    found = {f"shared references in {kind}s": START + shared(kind) + b"."
             for kind in ("tuple", "list", "dict", "set")}
    found["a long chain of tuples"] = START + b")" + b"\x85" * 900_000 + b"."
    found["a long chain of lists"] = START + b"]" * 450_000 + b"a" * 449_999 + b"."
    found["a long chain of dicts"] = START + b"}K\0" * 200_000 + b"}" + b"s" * 200_000 + b"."
    found["empty dicts, all remembered"] = START + b"}\x94" * 450_000 + b"."
    found["marks"] = START + b"(" * 900_000 + b"."
    found["ordered dicts"] = \
        START + b"ccollections\nOrderedDict\n\x94" + b"h\0)\x81" * 200_000 + b"."
    found["an ordered dict of one list, again and again"] = START + (
        b"ccollections\nOrderedDict\n\x940](" + b"".join(
            b"K" + bytes([i % 256]) + b"N\x86" for i in range(10_000)) + b"e\x85\x94(" +
        b"h\0h\1R" * 10_000 + b"t.")
    found["long arguments, again and again"] = START + (
        b"cnumpy\ndtype\n\x940(" + text(b"f4") + b"N" * 20_000 + b"t\x94(" +
        b"h\0h\1R" * 20_000 + b"t.")
    found["one text encoded again and again"] = START + (
        text(b"x" * 400_000) + b"\x940" + text(b"latin1") + b"\x940c_codecs\nencode\n\x94(" +
        b"h\2h\0h\1\x86R" * 10_000 + b"t.")
    found["one long name in many pairs"] = START + (
        text(b"x" * 400_000) + b"\x940](" + b"h\0N\x86" * 10_000 + b"e\x940" + network(entries(
            (b"build_func_name", text(b"G_style")), (b"variables", b"h\1"))) + b"\x94h\2h\2\x87.")
    found["one array under many names"] = START + named(5000, array(400_000)) + b"."
    found["one half-precision array under many names"] = \
        START + named(5000, array(400_000, b"f2")) + b"."
    found["a shape of many numbers"] = START + called(
        "numpy.core.numeric._frombuffer", b"C\1x", called("numpy.dtype", text(b"u1")),
        b"(" + b"K\1" * 50_000 + b"t", text(b"C")) + b"."
    found["a shape of large numbers"] = START + called(
        "numpy.core.numeric._frombuffer", b"C\1x", called("numpy.dtype", text(b"u1")),
        b"\x8b" + struct.pack("<i", 900_000) + b"\x7f" * 900_000 + b"\x940(" + b"h\0" * 30 + b"t",
        text(b"C")) + b"."
    found["a number of many digits"] = b"L" + b"9" * 900_000 + b"L\n."
    found["a hexadecimal number of many digits"] = b"I0x" + b"9" * 900_000 + b"\n."
    found["a type that is shared tuples"] = START + shared("tuple") + \
        b"\x94" + called("numpy.dtype", SHARED) + b"."
    found["an encoding that is shared tuples"] = START + shared("tuple") + \
        b"\x94" + called("_codecs.encode", text(b"x"), SHARED) + b"."
    found["a key that is shared tuples"] = START + b"}" + shared("tuple") + b"Ns."
    found["a persistent id that is shared tuples"] = START + shared("tuple") + b"Q."
    found["a storage named by shared tuples"] = START + shared("tuple") + (
        b"\x940(" + text(b"storage") + b"ctorch\nFloatStorage\n" + SHARED + text(b"cpu") +
        b"K\1tQ.")
    for name, code in (("BINBYTES8", b"\x8e"), ("BINUNICODE8", b"\x8d"), ("FRAME", b"\x95"),
                       ("BYTEARRAY8", b"\x96")):
        found[f"a claim of 8 GB by {name}"] = START + code + struct.pack("<Q", 8 << 30) + b"x."
    found["a claim of 2 GB by BINSTRING"] = b"T" + struct.pack("<i", 2 ** 31 - 1) + b"x."
    found["a memo of a giant number"] = START + b"Nr\xff\xff\xff\xff0" * 100_000 + b"."
    return found


def official():
    """{name: pickle} of the official layout whose options are not what they should be."""
    found = {f"{option} is shared tuples": official_with(**{option: doubled()}) for option in
             ("label_size", "blur_filter", "fused_scale", "fmap_decay", "fmap_base", "dtype")}
    found["the function's name is shared tuples"] = START + shared("tuple") + b"\x940" + network(
        entries((b"build_func_name", SHARED))) + b"."
    found["options of shared dicts"] = START + shared("dict") + b"0" + three(SHARED) + b"."
    networks = official_networks(CONFIG)
    for part in networks:
        part.state["variables"] = [(doubled(), 1)]
    found["names that are shared tuples"] = official_pickle(networks)
    networks = official_networks(CONFIG)
    part = Network("G_mapping", {f"Dense{i}/weight": np.zeros(8, "f4") for i in range(500)}, {})
    networks[0].state["components"] = {str(i): part for i in range(5000)}
    found["one component under many names"] = official_pickle(networks)
    return found


# Archives -----------------------------------------------------------------------------------------


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


def styles():
    found = npz_bombs([], "w.npy", (1, 4, 8))
    found["many pictures of one style each"] = zipped([("w.npy", npy((4_000_000, 8)))])
    found["some pictures of one style each"] = zipped([("w.npy", npy((450_000, 8)))])
    found["many pictures of bytes"] = zipped([("w.npy", npy((700_000, 4, 8), descr="|u1"))])
    found["noise"] = zipped([("w.npy", npy((1, 4, 8))),
                             *((f"noise{i}.npy", npy((1, 1, 4096, 4096))) for i in range(3))])
    return found


def jittor(data):
    return data + hashlib.sha1(data).digest() + b"HCAJSLHD"


READERS = {
    "pickle": (foreign.read, lambda: pickles() | official()),
    "jittor": (foreign.read, lambda: {n: jittor(data) for n, data in pickles().items()}),
    "torch_zip": (foreign.read, torch_zips),
    "torch_stream": (foreign.read, torch_streams),
    "tar": (foreign.read, tars),
    "npz": (foreign.read, lambda: npz_bombs([], "g_running/style.1.linear.bias.npy", (8,)) |
            {"a slow mean of the styles": slow_styles()}),
    "safetensors": (foreign.read, safetensors),
    "model": (snapshot.load_any, own),
    "styles": (lambda path: styles_file.load(path, HEADER), styles),
    "weights": (lambda path: weights_file.read_state(path, {"a": (1,)}, "weights"),
                lambda: torch_zips() | pickles()),
}


def main(arguments):
    every = "--all" in arguments
    lost = tried = 0
    for reader in [a for a in arguments if a != "--all"] or READERS:
        read, bombs = READERS[reader]
        for name, data in bombs().items():
            tried += 1
            assert len(data) <= LONGEST, f"{reader}, {name}: {len(data):,} bytes"
            seconds, more, end = outcome(read, data)
            right = end.startswith(("read", "refused")) and "\n" not in end and len(end) < 500 \
                and seconds < SECONDS and more < MORE
            lost += not right
            if every or not right:
                print(f"{reader}, {name}: {seconds:.2f} s, {more / 1e6:.0f} MB, {end[:200]}",
                      flush=True)
    print(json.dumps([tried, lost]))


def outcome(read, data):
    """(seconds, bytes more at the peak, how it ended) of reading a file in its own process."""
    with tempfile.TemporaryDirectory(prefix="bomb_") as folder:
        path, (here, there) = os.path.join(folder, "file"), os.pipe()
        with open(path, "wb") as file:
            file.write(data)
        child = os.fork()
        if not child:
            os.close(here)
            answer = attempt(read, path, folder)
            os.write(there, json.dumps(answer).encode())
            os._exit(0)
        os.close(there)
        with open(here, "rb") as pipe:
            answer = pipe.read()
        _, status = os.waitpid(child, 0)
    return json.loads(answer) if answer else (4 * SECONDS, 0, f"killed, status {status}")


def attempt(read, path, folder):
    # The limits only keep the machine alive where the promise does not hold.
    resource.setrlimit(resource.RLIMIT_AS, (memory("VmSize") + (4 << 30),) * 2)
    signal.setitimer(signal.ITIMER_PROF, 4 * SECONDS)
    # The processor's seconds where they are fewer: the machine may be doing something else.
    before, clocks = memory("VmSize"), (time.monotonic, time.process_time)
    starts = [clock() for clock in clocks]
    try:
        read(path)
        end = "read"
    except UserError as error:
        end = f"refused: {error}".replace(folder, "")
    except BaseException as error:
        end = f"{type(error).__name__}: {str(error)[:200]}"
    seconds = min(clock() - start for clock, start in zip(clocks, starts))
    return seconds, memory("VmPeak") - before, end[:1000]


def memory(name):
    """Bytes of this process, claimed but untouched ones included."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith(name + ":"))


if __name__ == "__main__":
    main(sys.argv[1:])
