"""Files from strangers: whatever is in them, nothing runs, and the answer is one line."""
import hashlib
import io
import os
import pickle
import struct
import subprocess

import numpy as np
import pytest
import weight_files
from conftest import ROOT, command
from weight_files import port_state, read_bytes

from backend.errors import UserError
from weights import foreign, stand_ins, unpickle
from weights.bounds import Refused

GOLDEN = os.path.join(ROOT, "test", "golden")


class Calls:
    """Pickles as a call of `function` with `arguments`."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def nested_tuples(depth):
    """Built from the inside out, so that it needs no stack: ((((…),),),)."""
    return b"\x80\x04)" + b"\x85" * depth


ATTACKS = {
    "posix.system": lambda marker: pickle.dumps(Calls(os.system, f"touch {marker}"), 2),
    "builtins.eval": lambda marker: pickle.dumps(Calls(eval, f"open({str(marker)!r}, 'w')"), 4),
    "__builtin__.exec": lambda marker: pickle.dumps(Calls(exec, f"open({str(marker)!r}, 'w')"), 0),
    "subprocess.Popen": lambda marker: pickle.dumps(Calls(subprocess.Popen, "true")),
    "builtins.getattr": lambda marker: pickle.dumps(Calls(getattr, "os", "system")),
    "unpickle.load": lambda marker: pickle.dumps(unpickle.load),
    "numpy.load": lambda marker: b"\x80\x04\x8c\x05numpy\x8c\x04load\x93.",
    "nested more than 50 deep": lambda marker: nested_tuples(50_000) + b".",
    "key that is neither": lambda marker: b"\x80\x04}" + nested_tuples(50_000)[2:] + b"Ns.",
    "nested more": lambda marker: b"\x80\x04" + b"]" * 30_000 + b"a" * 29_999 + b".",
    "far more than": lambda marker: nested_tuples(1_000_000) + b".",
    "impossible shape|shape": lambda marker: pickle.dumps(Calls(
        np.core.multiarray._reconstruct, np.ndarray, (0,), b"b"), 2)[:-1] +
        b"(K\x01J\xff\xff\xff\xff\x85c" + b"numpy\ndtype\nX\x02\x00\x00\x00f4\x85R\x89C\x00tb.",
    "type 'O8'": lambda marker: pickle.dumps(np.array([Calls(os.system, "true")], dtype=object)),
    "MemoryError|damaged": lambda marker: b"\x80\x04\x8e" + struct.pack("<Q", 1 << 62) + b"x.",
    "damaged.*frame|damaged": lambda marker: b"\x80\x04\x95" + struct.pack("<Q", 1 << 60) + b"N.",
    "no weights|damaged": lambda marker: b"\x80\x04r\xff\xff\xff\xff.",
    "a state for something": lambda marker: b"\x80\x04]}b.",
    "no function": lambda marker: b"\x80\x04\x8c\x01a)R.",
    "object of an unknown kind": lambda marker: b"\x80\x04cnumpy\nndarray\n)\x81.",
    "outside of itself": lambda marker: b"\x80\x04\x8c\x01aQ.",
    "known, or damaged": lambda marker: b"\x80\x04(\x91.",            # a frozen set
    "an item for something": lambda marker: b"\x80\x04}(K\x01\x90.",
}


@pytest.mark.parametrize("name", ATTACKS)
def test_hostile_pickles_are_refused_by_name_and_run_nothing(tmp_path, name):
    marker = tmp_path / "ran"
    with pytest.raises(UserError, match=name):
        read_bytes(tmp_path, ATTACKS[name](marker))
    attack = ATTACKS[name](marker)
    with pytest.raises(UserError, match=name):
        read_bytes(tmp_path, attack + hashlib.sha1(attack).digest() + b"HCAJSLHD")
    assert not marker.exists()


def test_hostile_tensors_are_refused(tmp_path):
    storage = stand_ins.Storage(stand_ins.StorageType("f4"), 4, b"\0" * 16)
    for shape, stride, offset in (((2, 3), (3, 1), 0), ((4,), (1,), 1), ((4,), (1,), -1),
                                  ((10 ** 9, 10 ** 9), (0, 0), 0), ((2,), (1, 1), 0),
                                  ((2,), (-1,), 1)):
        with pytest.raises(Refused):
            stand_ins.Tensor(storage, offset, shape, stride).value    # noqa: B018
    assert stand_ins.Tensor(storage, 1, (3,), (1,)).value.tolist() == [0, 0, 0]


@pytest.mark.parametrize("script", ["generate.py", "convert.py", "train.py"])
def test_commands_refuse_a_hostile_file_in_one_line(tmp_path, script):
    path, marker = tmp_path / "x.model", tmp_path / "ran"
    path.write_bytes(ATTACKS["posix.system"](marker))
    arguments = {"train.py": [".", "--init", path], "convert.py": [path, "y.model"]}
    arguments = arguments.get(script, [path])
    code, output, error = command(script, *arguments, cwd=tmp_path, check=False)
    assert code == 2 and not output and not marker.exists()
    assert error.startswith(f"error: {path}: refused: the file asks for posix.system")
    assert error.count("\n") == 1


def test_safetensors_of_bfloat16_are_read_and_of_other_kinds_named(tmp_path):
    state = port_state()["g_running"]
    upper = {name: (array.view("u4") >> 16 << 16).view("f4") for name, array in state.items()}
    found, wanted = (read_bytes(tmp_path, weight_files.safetensors(*of))[1]
                     for of in ((state, "BF16"), (upper,)))
    weight_files.assert_equal(found, wanted)
    with pytest.raises(UserError, match="is of type .*F8_E.*, wanted one of F16, BF16, F32"):
        read_bytes(tmp_path, weight_files.safetensors(state, "F8_E4M3"))


@pytest.mark.parametrize("name", ["sg1_r32.pkl", "port16_zip.pt", "port16_stream.pt",
                                  "port16_jittor.model", "tar", "safetensors", "npz"])
def test_damaged_files_end_in_one_line(tmp_path, name):
    if name == "tar":
        whole = weight_files.torch_tar(port_state()["g_running"])
    elif name == "safetensors":
        whole = weight_files.safetensors(port_state()["g_running"])
    elif name == "npz":
        file = io.BytesIO()
        np.savez(file, **{f"g_running/{n}": a for n, a in port_state()["g_running"].items()})
        whole = file.getvalue()
    else:
        with open(os.path.join(GOLDEN, name), "rb") as file:
            whole = file.read()
    path, rng, refused = str(tmp_path / "x"), np.random.RandomState(0), 0
    for _ in range(20):
        damaged = bytearray(whole)
        for position in rng.randint(0, min(len(whole), 20_000), 3):
            damaged[position] = rng.randint(256)
        for data in bytes(damaged), whole[:rng.randint(len(whole))]:
            with open(path, "wb") as file:
                file.write(data)
            try:
                foreign.read(path)          # a changed number inside an array cannot be seen
            except UserError as error:
                assert str(error).startswith(path) and "\n" not in str(error)
                refused += 1
    assert refused >= 20                    # every truncation, at the least
