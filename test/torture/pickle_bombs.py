"""Pickles that waste time or memory, opcode by opcode: none of these a library would write."""
import struct

import numpy as np
import stylegan2_files
from weight_files import Network, official_networks, official_pickle

from networks.config import ModelConfig

CONFIG = ModelConfig(size=8, latent=8, mapping_layers=2, fmap_base=64, fmap_max=8)
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
    storage = stylegan2_files.storage_bytes(np.zeros(100_000, "float32"))
    load_from_bytes = b"ctorch.storage\n_load_from_bytes\n"
    found["one storage read again and again"] = START + load_from_bytes + b"\x940(" + (
        b"B" + struct.pack("<I", len(storage)) + storage + b"t\x94(" + b"h\0h\1R" * 10_000 + b"t.")
    found["sets that add each other"] = START + b"\x8f\x94" + b"(" + b"h\0" * 400_000 + b"\x90."
    for name, code in (("BINBYTES8", b"\x8e"), ("BINUNICODE8", b"\x8d"), ("FRAME", b"\x95"),
                       ("BYTEARRAY8", b"\x96")):
        found[f"a claim of 8 GB by {name}"] = START + code + struct.pack("<Q", 8 << 30) + b"x."
    found["a claim of 2 GB by BINSTRING"] = b"T" + struct.pack("<i", 2 ** 31 - 1) + b"x."
    found["a list as the state of arrays, again and again"] = START + (
        called("numpy.dtype", text(b"f4")) + b"\x940](K\1" + b"J" + struct.pack("<i", 100_000) +
        b"\x85h\0\x89" + text(b"x" * 400_000) + b"e\x940" +
        b"cnumpy.core.multiarray\n_reconstruct\n\x940(" + b"h\2)Rh\1b" * 20_000 + b"l.")
    of_one_hash = [k * (2 ** 61 - 1) for k in range(1, 30_000)]
    found["a memo whose numbers have one hash"] = \
        START + b"N" + b"".join(b"p%d\n" % number for number in of_one_hash) + b"."
    found["keys that have one hash"] = \
        START + b"}(" + b"".join(b"I%d\nN" % number for number in of_one_hash) + b"u."
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
    networks = official_networks(CONFIG)
    part = Network("G_mapping", {f"{i}": np.zeros(1, "f4") for i in range(5000)}, {})
    networks[0].state["components"] = {"m" * 40_000: part}
    found["a component with a long name"] = official_pickle(networks)
    return found


def persistent():
    """{name: pickle} of PyTorch modules that are not what they should be."""
    module = stylegan2_files.module
    one = stylegan2_files.tensor(np.zeros(1, "float32"))
    state = {"_parameters": {f"{i}": one for i in range(5000)}, "_buffers": {}, "_modules": {}}
    part = stylegan2_files.persistent("Module", state)
    found = {"a module with a long name": {"_modules": {"m" * 40_000: part}},
             "one module under many names": {"_modules": {f"{i}": part for i in range(5000)}},
             "modules in modules": {"_modules": {"m": module({".".join("m" * 60): np.zeros(1)},
                                                             {})}},
             "parameters of shared tuples": {"_parameters": {"m": doubled()}},
             "an option of shared tuples": {"_modules": {"synthesis": stylegan2_files.persistent(
                 "SynthesisNetwork", {"b4": doubled(), "img_resolution": doubled()})}}}
    return {name: stylegan2_files.torch_pickle({
        "G_ema": stylegan2_files.persistent("Generator", wrong)}) for name, wrong in found.items()}
