"""What stands in for the names in pickled weights: it describes arrays, and can do nothing else.

GLOBALS is all that a file may ask for.
"""
import collections
import math

import numpy as np

from weights.bounds import LARGEST, Refused, short, sizes

MOST_KEY = 2 ** 61 - 1          # by which Python divides to hash a number
NUMBERS = {"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"}


class StandIn:
    """Only these can be given a state by a file."""

    def build(self, state):
        raise Refused("damaged: a state where none belongs")


class Network(StandIn):
    """dnnlib.tflib.network.Network of the official code: {"variables": …, "components": …, …}."""

    state = None

    def build(self, state):
        self.state = state


class Persistent(StandIn):
    """An object of torch_utils.persistence: a PyTorch module of NVIDIA's code, with its source.

    state: the module's __dict__. The source text is never looked at.
    """

    def __init__(self, meta):
        if not isinstance(meta, dict) or not isinstance(meta.get("state"), dict):
            raise Refused("damaged: a persistent object without a state")
        self.state = meta["state"]


class Namespace(StandIn):
    """argparse.Namespace: flags of a trainer, of no use here."""

    def build(self, state):
        pass


class Dtype(StandIn):
    """numpy.dtype of plain numbers."""

    def __init__(self, code, *_align_and_copy):
        code = code.lstrip("<>|=") if isinstance(code, str) else code
        if not isinstance(code, str) or code not in NUMBERS:
            raise Refused(f"an array of type {short(code, 40)}, wanted plain numbers")
        self.dtype = np.dtype(code)

    def build(self, state):
        if state[1] == ">":
            self.dtype = self.dtype.newbyteorder(">")


class Array(StandIn):
    """numpy.ndarray."""

    value = None

    def build(self, state):
        _version, shape, dtype, fortran, raw = state
        self.value = array_from(raw, dtype, shape, "F" if fortran else "C")


def array_from(raw, dtype, shape, order="C", *_axes):
    if isinstance(raw, str):                            # bytes that Python 2 wrote
        raw = raw.encode("latin1")
    return np.frombuffer(raw, dtype.dtype).reshape(sizes(shape), order=order)


def scalar(dtype, raw):
    return array_from(raw, dtype, ())


def reconstruct_array(*_type_shape_code):
    return Array()


def jittor_var(array):
    return array


def reconstruct_object(cls, *_base_and_state):
    if cls is not Network:
        raise Refused("damaged: an object of an unknown kind")
    return Network()


def latin1_bytes(text="", encoding="latin1"):
    if encoding != "latin1":
        raise Refused(f"text in {short(encoding, 40)}, wanted latin1")
    return text.encode("latin1")


def plain_key(key):
    """Hashing a deeply nested tuple would end the process, so keys are names or numbers; and of
    numbers, those of which no two have the same hash, for many that have take hours. Fractions,
    which no weights go by, become text."""
    if isinstance(key, float):
        return repr(key)
    if not isinstance(key, (str, int, bytes)) or isinstance(key, int) and abs(key) >= MOST_KEY:
        raise Refused("damaged: a key that is neither a name nor a number in reach")
    return key


class Ordered(collections.OrderedDict, StandIn):
    """collections.OrderedDict; PyTorch gives it metadata, which is of no use here."""

    def __init__(self, pairs=()):
        super().__init__()
        if not isinstance(pairs, (list, tuple)):
            raise Refused("damaged: an ordered dict of something else than pairs")
        for name, value in pairs:
            self[plain_key(name)] = value

    def build(self, state):
        pass


def as_list(items=()):
    """A set, of which nothing needs more than that it is one."""
    if not isinstance(items, (list, tuple)):
        raise Refused("damaged: a set of something that cannot be listed")
    return list(items)


def load_from_bytes(_raw):
    """torch.storage: a file in PyTorch's stream container, which Unpickler.load_reduce reads."""
    raise Refused("damaged: a storage where none belongs")


class StorageType(StandIn):
    """torch.FloatStorage and its like."""

    def __init__(self, code):
        self.code = code
        self.dtype = np.dtype("u2" if code == "bfloat16" else code)


class Storage:
    """A flat piece of memory that tensors look into; `raw` comes last in the stream container."""

    def __init__(self, kind, count, raw=None, order="<"):
        if not isinstance(kind, StorageType) or not isinstance(count, int) or \
                not 0 <= count < LARGEST:
            raise Refused("damaged: a storage without type or length")
        self.kind, self.count, self.raw, self.order = kind, count, raw, order

    @property
    def nbytes(self):
        return self.count * self.kind.dtype.itemsize

    def array(self):
        if self.raw is None or len(self.raw) != self.nbytes:
            raise Refused("damaged: a storage is shorter than it says")
        return np.frombuffer(self.raw, self.kind.dtype.newbyteorder(self.order))


class Tensor(StandIn):
    """torch.Tensor: a view into a Storage."""

    def __init__(self, storage, offset, shape, stride, *_gradient_and_hooks):
        if not isinstance(storage, Storage):
            raise Refused("damaged: a tensor without a storage")
        self.storage, self.offset = storage, offset
        self.shape, self.stride = sizes(shape), sizes(stride)
        self.size, self.itemsize = math.prod(self.shape), storage.kind.dtype.itemsize

    @property
    def value(self):
        values = self.storage.array()
        last = self.offset + sum((n - 1) * s for n, s in zip(self.shape, self.stride))
        if len(self.shape) != len(self.stride) or self.offset < 0 or \
                self.size > values.size:
            raise Refused("damaged: a tensor is larger than its storage")
        if self.size == 0:
            return np.zeros(self.shape, values.dtype)
        if last >= values.size:
            raise Refused("damaged: a tensor is larger than its storage")
        values = np.lib.stride_tricks.as_strided(
            values[self.offset:], self.shape, [s * values.itemsize for s in self.stride]).copy()
        return from_bfloat16(values) if self.storage.kind.code == "bfloat16" else values


def from_bfloat16(bits):
    """uint16 → float32, of which they are the upper half."""
    return (bits.astype("u4") << 16).view("f4")


def rebuild_parameter(tensor, *_gradient_and_hooks):
    return tensor


TORCH_TYPES = {"Float": "f4", "Double": "f8", "Half": "f2", "BFloat16": "bfloat16", "Long": "i8",
               "Int": "i4", "Short": "i2", "Char": "i1", "Byte": "u1", "Bool": "b1"}

GLOBALS = {
    "dnnlib.tflib.network.Network": Network,
    "numpy.ndarray": Array,
    "numpy.dtype": Dtype,
    "collections.OrderedDict": Ordered,
    "torch._utils._rebuild_tensor": Tensor,
    "torch._utils._rebuild_tensor_v2": Tensor,
    "torch._utils._rebuild_parameter": rebuild_parameter,
    "torch.storage._load_from_bytes": load_from_bytes,
    "torch_utils.persistence._reconstruct_persistent_obj": Persistent,
    "dnnlib.util.EasyDict": Ordered,
    "_codecs.encode": latin1_bytes,
    "argparse.Namespace": Namespace,
}
for _module in ("numpy.core", "numpy._core"):
    GLOBALS |= {f"{_module}.multiarray._reconstruct": reconstruct_array,
                f"{_module}.multiarray.scalar": scalar,
                f"{_module}.numeric._frombuffer": array_from}
for _module in ("builtins", "__builtin__"):
    GLOBALS |= {f"{_module}.object": StandIn, f"{_module}.bytes": latin1_bytes,
                f"{_module}.set": as_list}
for _module in ("copyreg", "copy_reg"):
    GLOBALS[f"{_module}._reconstructor"] = reconstruct_object
for _module in ("jittor", "jittor_core", "jittor.jittor_core"):
    GLOBALS |= {f"{_module}.Var": jittor_var, f"{_module}.jittor_core.Var": jittor_var}
for _name, _code in TORCH_TYPES.items():
    for _kind in ("Storage", "Tensor"):
        for _module in ("torch", "torch.cuda"):
            GLOBALS[f"{_module}.{_name}{_kind}"] = StorageType(_code)
