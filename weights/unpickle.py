"""Reads pickled weights without running what is in them, and without the libraries that wrote them.

A pickle is a small program that may call anything. This reader knows a short list of names
(stand_ins.GLOBALS), each of which can only describe an array; whatever else a file asks for is
refused by name. All protocols are read, those of Python 2 included.
"""
import dataclasses
import pickle
import re
import struct

import numpy as np

from weights.bounds import ITEM, WEIGHTS, Refused, short
from weights.stand_ins import (
    GLOBALS,
    Array,
    Dtype,
    Namespace,
    Network,
    Ordered,
    Persistent,
    StandIn,
    Tensor,
    load_from_bytes,
    plain_key,
    reconstruct_object,
)

DEEPEST = 50        # real files nest six levels
DIGITS = 700        # of a number that is written as text; quadratic work would begin with a million


# What may stand in a file. Left out: frozen sets, extension codes, old-style instances, outside
# buffers, numbers of more than 255 bytes.
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
    `nested`: function from the bytes of a file in PyTorch's stream container to what is in it.
    """

    def __init__(self, file, budget, storage=None, nested=None):
        super().__init__(file, encoding="latin1")
        self.budget, self.storage, self.nested = budget, storage, nested
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
        if function is load_from_bytes and self.nested:
            function = self.nested
        self.append(function(*arguments))

    def pay_for(self, arguments):
        """A call takes as long as its arguments are, and others may be called with the same."""
        if not isinstance(arguments, tuple):
            raise Refused("damaged: a call without arguments")
        self.budget.spend(sum(map(own_weight, arguments), own_weight(arguments)))

    def load_newobj(self):
        arguments, cls = self.stack.pop(), self.stack.pop()
        self.pay_for(arguments)
        plain = cls is Ordered or cls is Namespace
        self.append(cls() if plain else reconstruct_object(cls, *arguments))

    def load_build(self):
        state, target = self.stack.pop(), self.stack[-1]
        if not isinstance(target, StandIn):
            raise Refused("damaged: a state for something that has none")
        if isinstance(target, (Array, Dtype)):
            self.pay_for(state)
        target.build(state)

    def load_empty_set(self):
        self.append([])

    def load_additems(self):
        items = self.pop_mark()
        if not isinstance(self.stack[-1], list):
            raise Refused("damaged: an item for something that has none")
        self.stack[-1].extend(items)

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

    def load_put(self):
        self.memo[place(self.readline()[:-1])] = self.stack[-1]

    def load_get(self):
        self.append(self.memo[place(self.readline()[:-1])])

    def load_int(self):
        text = self.readline()[:-1]
        self.append(text == b"01" if text in (b"00", b"01") else number(text))

    def load_long(self):
        self.append(number(self.readline()[:-1].rstrip(b"L")))

    dispatch = {getattr(pickle, name)[0]: pickle._Unpickler.dispatch[getattr(pickle, name)[0]]
                for name in OPCODES}
    dispatch |= {pickle.REDUCE[0]: load_reduce, pickle.NEWOBJ[0]: load_newobj,
                 pickle.BUILD[0]: load_build, pickle.DICT[0]: load_dict,
                 pickle.EMPTY_SET[0]: load_empty_set, pickle.ADDITEMS[0]: load_additems,
                 pickle.SETITEM[0]: load_setitem, pickle.SETITEMS[0]: load_setitems,
                 pickle.BYTEARRAY8[0]: load_bytearray8,
                 pickle.PUT[0]: load_put, pickle.GET[0]: load_get,
                 pickle.INT[0]: load_int, pickle.LONG[0]: load_long}


def number(text):
    if len(text) > DIGITS:
        raise Refused(f"damaged: a number of {len(text):,} digits")
    return int(text, 0)


def place(text):
    """The number of an entry of the memo."""
    if not text.isdigit() or len(text) > 10:            # no two of those have the same hash
        raise Refused("damaged: a note that is out of reach")
    return int(text)


def load(file, budget, storage=None, nested=None):
    """One pickled object from a binary file, of bounded depth and weight. Raises Refused."""
    try:
        content = Unpickler(file, budget, storage, nested).load()
    except Refused:
        raise
    except KeyError:                # of the table of opcodes
        raise Refused(f"no weights of a kind that is known, or damaged; wanted {WEIGHTS}") from None
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
    if isinstance(item, (Network, Persistent)):
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


def renamed(name, patterns):
    """Our name of a parameter in the words of another project: (pattern, replacement) in turn."""
    for pattern, replacement in patterns:
        name = re.sub(pattern, replacement, name)
    return name


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
