"""Reads pickled weights without running what is in them, and without the libraries that wrote them.

A pickle is a small program that may call anything. This reader knows a short list of names
(GLOBALS), each a stand-in written here that can only describe an array; whatever else a file asks
for is refused by name. All protocols are read, those of Python 2 included.
"""
import collections
import dataclasses
import math
import pickle
import struct

import numpy as np

from bounds import ITEM, LARGEST, Refused, short, sizes

DEEPEST = 50        # real files nest six levels
DIGITS = 700        # of a number that is written as text; quadratic work would begin with a million
NUMBERS = {"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"}


# Stand-ins for what the files name ----------------------------------------------------------------


class StandIn:
    """Only these can be given a state by a file."""

    def build(self, state):
        raise Refused("damaged: a state where none belongs")


class Network(StandIn):
    """dnnlib.tflib.network.Network of the official code: {"variables": …, "components": …, …}."""

    state = None

    def build(self, state):
        self.state = state


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
        if self.storage.kind.code == "bfloat16":        # the upper half of a float32
            values = (values.astype("u4") << 16).view("f4")
        return values


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
    "_codecs.encode": latin1_bytes,
}
for _module in ("numpy.core", "numpy._core"):
    GLOBALS |= {f"{_module}.multiarray._reconstruct": reconstruct_array,
                f"{_module}.multiarray.scalar": scalar,
                f"{_module}.numeric._frombuffer": array_from}
for _module in ("builtins", "__builtin__"):
    GLOBALS |= {f"{_module}.object": StandIn, f"{_module}.bytes": latin1_bytes}
for _module in ("copyreg", "copy_reg"):
    GLOBALS[f"{_module}._reconstructor"] = reconstruct_object
for _module in ("jittor", "jittor_core", "jittor.jittor_core"):
    GLOBALS |= {f"{_module}.Var": jittor_var, f"{_module}.jittor_core.Var": jittor_var}
for _name, _code in TORCH_TYPES.items():
    for _kind in ("Storage", "Tensor"):
        for _module in ("torch", "torch.cuda"):
            GLOBALS[f"{_module}.{_name}{_kind}"] = StorageType(_code)


# The reader ---------------------------------------------------------------------------------------

# What may stand in a file. Left out: sets, extension codes, old-style instances, outside buffers,
# numbers of more than 255 bytes.
OPCODES = (
    "PROTO FRAME STOP MARK POP POP_MARK DUP NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 "
    "LONG1 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 "
    "UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 "
    "EMPTY_LIST LIST APPEND APPENDS EMPTY_DICT DICT SETITEM SETITEMS GET BINGET LONG_BINGET PUT "
    "BINPUT LONG_BINPUT MEMOIZE GLOBAL STACK_GLOBAL BINPERSID PERSID").split()


class Paid(dict):
    """The table of opcodes: whoever looks one up pays for it."""

    def __init__(self, table, budget):
        super().__init__(table)
        self.budget = budget

    def __getitem__(self, code):
        self.budget.spend(ITEM)
        return super().__getitem__(code)


class Unpickler(pickle._Unpickler):
    """Python's own unpickler, in Python, with the opcodes and the names that are listed above.

    `storage`: function from PyTorch's persistent identifiers to what they stand for.
    """

    def __init__(self, file, budget, storage=None):
        super().__init__(file, encoding="latin1")
        self.budget, self.storage = budget, storage
        self.dispatch = Paid(self.dispatch, budget)

    def find_class(self, module, name):
        try:
            return GLOBALS[f"{module}.{name}"]
        except KeyError:
            raise Refused(f"refused: the file asks for {short(f'{module}.{name}')[1:-1]}, "
                          "which no weights need") from None

    def persistent_load(self, identifier):
        if self.storage is None:
            raise Refused("damaged: it points outside of itself")
        return self.storage(identifier)

    def load_reduce(self):
        arguments, function = self.stack.pop(), self.stack.pop()
        if not any(function is known for known in GLOBALS.values()):
            raise Refused("damaged: a call of something that is no function")
        self.pay_for(arguments)
        self.append(function(*arguments))

    def pay_for(self, arguments):
        """A call takes as long as its arguments are, and others may be called with the same."""
        if not isinstance(arguments, tuple):
            raise Refused("damaged: a call without arguments")
        self.budget.spend(sum(map(own_weight, arguments), own_weight(arguments)))

    def load_newobj(self):
        arguments, cls = self.stack.pop(), self.stack.pop()
        self.pay_for(arguments)
        self.append(Ordered() if cls is Ordered else reconstruct_object(cls, *arguments))

    def load_build(self):
        state, target = self.stack.pop(), self.stack[-1]
        if not isinstance(target, StandIn):
            raise Refused("damaged: a state for something that has none")
        if isinstance(state, tuple):                    # of an array
            self.pay_for(state)
        target.build(state)

    def load_dict(self):
        items = self.pop_mark()
        self.append({plain_key(k): v for k, v in zip(items[::2], items[1::2])})

    def load_setitem(self):
        value, key = self.stack.pop(), self.stack.pop()
        self.put_items([key, value])

    def load_setitems(self):
        self.put_items(self.pop_mark())

    def put_items(self, items):
        if not isinstance(self.stack[-1], dict):
            raise Refused("damaged: an entry in something that has none")
        for key, value in zip(items[::2], items[1::2]):
            self.stack[-1][plain_key(key)] = value

    def load_bytearray8(self):
        length, = struct.unpack("<Q", self.read(8))
        self.append(self.read(length))          # reads what is there, allocates nothing before

    def load_int(self):
        text = self.readline()[:-1]
        self.append(text == b"01" if text in (b"00", b"01") else number(text))

    def load_long(self):
        self.append(number(self.readline()[:-1].rstrip(b"L")))

    dispatch = {getattr(pickle, name)[0]: pickle._Unpickler.dispatch[getattr(pickle, name)[0]]
                for name in OPCODES}
    dispatch |= {pickle.REDUCE[0]: load_reduce, pickle.NEWOBJ[0]: load_newobj,
                 pickle.BUILD[0]: load_build, pickle.DICT[0]: load_dict,
                 pickle.SETITEM[0]: load_setitem, pickle.SETITEMS[0]: load_setitems,
                 pickle.BYTEARRAY8[0]: load_bytearray8,
                 pickle.INT[0]: load_int, pickle.LONG[0]: load_long}


def number(text):
    if len(text) > DIGITS:
        raise Refused(f"damaged: a number of {len(text):,} digits")
    return int(text, 0)


def plain_key(key):
    """Hashing a deeply nested tuple would end the process, so keys are names or numbers."""
    if not isinstance(key, (str, int, float, bytes)):
        raise Refused("damaged: a key that is neither a name nor a number")
    return key


def load(file, budget, storage=None):
    """One pickled object from a binary file, of bounded depth and weight. Raises Refused."""
    try:
        content = Unpickler(file, budget, storage).load()
    except Refused:
        raise
    except KeyError:                # of the table of opcodes
        raise Refused("no weights of a kind that is known, or damaged") from None
    except Exception as error:      # hostile bytes can fail in any way; none of them is a bug here
        raise Refused(f"damaged, or no weights ({short(error)})") from None
    weigh(content, budget)
    return content


def weigh(content, budget):
    """Pay for all that is in `content`, and bound its depth. Raises Refused.

    Each object is visited once, but paid for wherever it is referred to: whoever walks, prints,
    compares or converts what was read does so each time. So afterwards all that is safe.
    """
    measured = {}                   # id: (weight, depth); what is in `content` lives, so ids stay

    def measure(item, level):
        if level > DEEPEST:
            raise Refused(f"refused: nested more than {DEEPEST} deep")
        if id(item) not in measured:
            below = [measure(child, level + 1) for child in children(item)]
            measured[id(item)] = (own_weight(item) + sum(weight for weight, _ in below),
                                  1 + max((depth for _, depth in below), default=0))
        return measured[id(item)]

    weight, depth = measure(content, 1)
    budget.spend(weight)
    if depth > DEEPEST:
        raise Refused(f"refused: nested more than {DEEPEST} deep")


def own_weight(item):
    """Bytes of an object without what it refers to; of an array as float32, which it becomes."""
    item = item.value if isinstance(item, Array) else item
    if isinstance(item, (np.ndarray, Tensor)):
        return ITEM + item.size * max(4, item.itemsize)
    if isinstance(item, (str, bytes, bytearray)):
        return ITEM + len(item)
    return ITEM + ITEM * len(item) if isinstance(item, (dict, list, tuple)) else ITEM


def children(item):
    if isinstance(item, dict):
        return [*item.keys(), *item.values()]
    if isinstance(item, Network):
        return [item.state]
    return item if isinstance(item, (list, tuple)) else []


def values(content):
    """{name: float32 or other NumPy array} of a dict of arrays; other entries are left out."""
    arrays = {}
    for name, item in content.items():
        item = item.value if isinstance(item, (Array, Tensor)) else item
        if isinstance(item, np.ndarray):
            arrays[str(name)] = item
    return arrays


@dataclasses.dataclass
class Weights:
    """What official.py and port.py find in a file, in the names and layouts of its project."""

    config: object              # ModelConfig
    networks: dict              # {"ema" | "generator" | "discriminator": {their name: array}}
    forms: object               # (our name, our shape) → [(their name, their shape, change)]
    source: str                 # what the file is, in words
    size: int
    alpha: float = 1.0
    size_guessed: bool = False  # whether there may be untrained layers up to `size`
    has_w_avg: bool = False     # whether it is among the arrays of `networks`
    more: dict = dataclasses.field(default_factory=dict)    # {our name: array}
