"""The pickle inside PyTorch's files, read as data: nothing in it is imported, called or run.

`pickle` itself is not used, as it can be made to crash or to fill the memory before any class is asked for. This walks
over the opcodes and builds lists, tuples, mappings and descriptions of tensors. Everything else is refused by name.
"""

from __future__ import annotations

import pickletools
import struct
from typing import NamedTuple

from ..errors import WeightsError
from .stored import BFLOAT16, checked_shape, plain, span

_MOST_STEPS = 1_000_000  # a ResNet-152 with its optimizer takes 60,000
_STORAGES = {
    "torch.FloatStorage": "<f4",
    "torch.DoubleStorage": "<f8",
    "torch.HalfStorage": "<f2",
    "torch.BFloat16Storage": BFLOAT16,
    "torch.LongStorage": "<i8",
    "torch.IntStorage": "<i4",
    "torch.ShortStorage": "<i2",
    "torch.CharStorage": "|i1",
    "torch.ByteStorage": "|u1",
    "torch.BoolStorage": "|b1",
    "torch.ComplexFloatStorage": "<c8",
    "torch.ComplexDoubleStorage": "<c16",
}
_DTYPES = ("float16", "bfloat16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64", "bool")


class Storage(NamedTuple):
    """A run of numbers that tensors are cut from.

    key      its name in the file
    total    elements that the file holds under that name
    first, numel   the part of them that is meant
    """

    key: str
    dtype: str
    total: int
    first: int
    numel: int


class Tensor(NamedTuple):
    """A tensor: offset and strides in elements of its storage, within which it lies."""

    storage: Storage
    offset: int
    shape: tuple
    strides: tuple


class Mapping(list):
    """A dict as its (key, value) pairs: a file's keys are never hashed."""


class Name(NamedTuple):
    """A class or function that the file names. It is a name and nothing else."""

    path: str


def load(stream, file):
    """The value of the pickle at the stream's position -> (value, key -> Storage of all storages it names).

    Values are None, numbers, text, bytes, lists (sets too), tuples, `Mapping`, `Tensor` and `Name`.
    Raises WeightsError for anything that is no tensor or plain container, and for a damaged pickle.
    """
    machine = _Machine(file)
    try:
        return machine.run(stream), machine.storages
    except (ValueError, IndexError, KeyError, TypeError, struct.error, OverflowError, MemoryError) as error:
        raise WeightsError(
            f"{file}: its pickle is damaged ({plain(error)}); get another copy of it"
        ) from error


class _Machine:
    """The pickle machine's stack, marks and memo. A method per opcode; an opcode without one is refused."""

    def __init__(self, file):
        self.file = file
        self.stack, self.marks, self.memo, self.storages = [], [], {}, {}
        self.steps = 0

    def run(self, stream):
        for opcode, argument, _ in pickletools.genops(stream):
            self.spend(1)
            name = opcode.name
            if name == "STOP":
                return self.stack.pop()
            if name in _CONSTANTS:
                self.stack.append(argument)
            else:
                _OPCODES.get(name, _Machine.unknown)(self, argument if name in _WITH_ARGUMENT else name)

    def spend(self, steps: int) -> None:
        """Time and memory are bounded: an opcode takes a step, and so does each item that is copied."""
        self.steps += steps
        if self.steps > _MOST_STEPS:
            raise WeightsError(
                f"{self.file}: its pickle is too long for weights; save the state_dict() alone"
            )

    def refuse(self, what: str) -> WeightsError:
        return WeightsError(
            f"{self.file}: holds {what}, which is no tensor and no plain container: nothing of it was run; "
            "if you trust the file, load it where it was written and save its state_dict() alone"
        )

    def unknown(self, name):
        raise self.refuse(f"the opcode {name}")

    # ---- names, and what is made of them

    def named(self, path: str) -> None:
        if path not in _MAKERS and path not in _STORAGES and path not in _INERT:
            raise self.refuse(plain(path))
        self.stack.append(Name(path))

    def global_(self, argument):
        self.named(argument.replace(" ", "."))

    def stack_global(self, _):
        name, module = self.stack.pop(), self.stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise ValueError("a name that is no text")
        self.named(f"{module}.{name}")

    def reduce(self, opcode):
        arguments, called = self.stack.pop(), self.stack.pop()
        path = called.path if isinstance(called, Name) else f"a call of {type(called).__name__}"
        if path not in _MAKERS or not isinstance(arguments, tuple):
            raise self.refuse(f"{path} ({opcode})")
        self.spend(len(arguments) + sum(len(a) for a in arguments if isinstance(a, (list, tuple))))
        self.stack.append(_MAKERS[path](*arguments))

    def build(self, _):
        # PyTorch gives a state_dict's OrderedDict an attribute, the modules' versions
        self.stack.pop()
        target = self.stack[-1]
        if not isinstance(target, Mapping):
            raise self.refuse(f"a state set on {getattr(target, 'path', type(target).__name__)} (BUILD)")

    def binpersid(self, _):
        identity = self.stack.pop()
        kind, storage_type, key, _, total = identity[:5]
        view = identity[5] if len(identity) > 5 else None
        if kind != "storage" or not isinstance(storage_type, Name) or not isinstance(key, str):
            raise ValueError("a storage that is none")
        if storage_type.path not in _STORAGES:
            raise self.refuse(f"a storage of {storage_type.path}")
        (total,) = checked_shape([total], "a storage")
        first, numel = checked_shape(view[1:3], "a storage") if view is not None else (0, total)
        if first + numel > total:
            raise ValueError(f"a part of storage {plain(key)} reaches beyond it")
        storage = Storage(key, _STORAGES[storage_type.path], total, first, numel)
        before = self.storages.setdefault(key, storage)
        if (before.dtype, before.total) != (storage.dtype, total):
            raise ValueError(f"storage {plain(key)} has two types or lengths")
        self.stack.append(storage)

    # ---- containers

    def empty(self, opcode):
        self.stack.append({"EMPTY_DICT": Mapping, "EMPTY_TUPLE": tuple}.get(opcode, list)())

    def dict_(self, _):
        self.stack.append(_pairs(self.marked()))

    def list_(self, _):
        self.stack.append(self.marked())

    def tuple_(self, _):
        self.stack.append(tuple(self.marked()))

    def short_tuple(self, opcode):
        length = int(opcode[-1])
        items = tuple(self.stack[-length:])
        if len(items) < length:
            raise IndexError("a tuple of more than there is")
        self.stack[-length:] = [items]

    def append(self, _):
        self.extend([self.stack.pop()], list)

    def appends(self, _):
        self.extend(self.marked(), list)

    def setitem(self, _):
        value, key = self.stack.pop(), self.stack.pop()
        self.extend([(key, value)], Mapping)

    def setitems(self, _):
        self.extend(_pairs(self.marked()), Mapping)

    def extend(self, items: list, kind: type):
        if type(self.stack[-1]) is not kind:
            raise ValueError(f"items added to a {type(self.stack[-1]).__name__}")
        self.stack[-1].extend(items)

    # ---- stack and memo

    def mark(self, _):
        self.marks.append(len(self.stack))

    def marked(self) -> list:
        start = self.marks.pop()
        if start > len(self.stack):
            raise ValueError("a mark above the stack")
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def pop(self, _):
        self.stack.pop()

    def duplicate(self, _):
        self.stack.append(self.stack[-1])

    def put(self, index):
        if index >= 2**32:
            raise ValueError("a memo of more than there is")
        self.memo[index] = self.stack[-1]

    def memoize(self, _):
        self.memo[len(self.memo)] = self.stack[-1]

    def get(self, index):
        self.stack.append(self.memo[index])

    def nothing(self, _):
        pass


def _pairs(items: list) -> Mapping:
    if len(items) % 2:
        raise ValueError("a key without a value")
    return Mapping(zip(items[::2], items[1::2]))


def _tensor(storage, offset, shape, strides, *_) -> Tensor:
    if not isinstance(storage, Storage) or not isinstance(shape, tuple) or not isinstance(strides, tuple):
        raise ValueError("a tensor without a storage or a shape")
    shape, strides = checked_shape(shape, "a tensor"), checked_shape(strides, "a tensor")
    (offset,) = checked_shape([offset], "a tensor")
    if len(shape) != len(strides) or offset + span(shape, strides) > storage.numel:
        raise ValueError(f"a tensor of shape {shape} reaches beyond its storage {plain(storage.key)}")
    return Tensor(storage, offset, shape, strides)


def _parameter(tensor, *_) -> Tensor:
    if not isinstance(tensor, Tensor):
        raise ValueError("a parameter that is no tensor")
    return tensor


def _ordered_dict(items=()) -> Mapping:
    if isinstance(items, Mapping):
        return Mapping(items)
    return Mapping((key, value) for key, value in items)


def _sequence(items=()) -> list:
    if not isinstance(items, (list, tuple)):
        raise ValueError("a container of what is no list")
    return list(items)


_MAKERS = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch.Size": lambda sizes=(): tuple(_sequence(sizes)),
    "torch.device": lambda *place: "device",
    "collections.OrderedDict": _ordered_dict,
    "collections.Counter": _ordered_dict,  # in the state of a learning-rate schedule
    **{
        f"{module}.{kind}": maker
        for module in ("builtins", "__builtin__")
        for kind, maker in {
            "dict": _ordered_dict,
            "list": _sequence,
            "set": _sequence,
            "frozenset": _sequence,
            "tuple": lambda items=(): tuple(_sequence(items)),
        }.items()
    },
}
_INERT = {f"torch.{dtype}" for dtype in _DTYPES}
_CONSTANTS = {
    *("NONE", "NEWTRUE", "NEWFALSE", "INT", "LONG", "LONG1", "LONG4", "BININT", "BININT1", "BININT2"),
    *("FLOAT", "BINFLOAT", "STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES"),
    *("BINBYTES8", "BYTEARRAY8", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
}
_WITH_ARGUMENT = {"GLOBAL", "PUT", "BINPUT", "LONG_BINPUT", "GET", "BINGET", "LONG_BINGET"}
_OPCODES = {
    **dict.fromkeys(("PROTO", "FRAME"), _Machine.nothing),
    **dict.fromkeys(("EMPTY_DICT", "EMPTY_LIST", "EMPTY_SET", "EMPTY_TUPLE"), _Machine.empty),
    **dict.fromkeys(("TUPLE1", "TUPLE2", "TUPLE3"), _Machine.short_tuple),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Machine.put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine.get),
    **dict.fromkeys(("REDUCE", "NEWOBJ"), _Machine.reduce),
    **dict.fromkeys(("APPENDS", "ADDITEMS"), _Machine.appends),
    **dict.fromkeys(("LIST", "FROZENSET"), _Machine.list_),
    "GLOBAL": _Machine.global_,
    "STACK_GLOBAL": _Machine.stack_global,
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.binpersid,
    "DICT": _Machine.dict_,
    "TUPLE": _Machine.tuple_,
    "APPEND": _Machine.append,
    "SETITEM": _Machine.setitem,
    "SETITEMS": _Machine.setitems,
    "MARK": _Machine.mark,
    "POP": _Machine.pop,
    "POP_MARK": lambda machine, _: machine.marked(),
    "DUP": _Machine.duplicate,
    "MEMOIZE": _Machine.memoize,
}
