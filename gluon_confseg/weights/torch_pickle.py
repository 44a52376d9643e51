"""The pickle inside PyTorch's files, read as data: nothing that it names is imported, called or run.

Tensors become descriptions of where their numbers lie. Every class and function but the few that make tensors becomes
a stand-in, which keeps what is done with it as data: what a program has beside its weights is read past, and weights
inside an object (a whole module, a defaultdict, a namespace) are found in it.
"""

from __future__ import annotations

import contextlib
import pickle
import pickletools
from typing import NamedTuple

from ..errors import WeightsError, plain
from .stored import BFLOAT16, DAMAGE, checked_shape, span

_MOST_STEPS = 1_000_000  # opcodes; a ResNet-152 with its optimizer takes 60,000
_MOST_NAMED = 20
_MOST_BITS = 1024  # of a number; a UUID has 128
# opcodes that need something outside of the file, and are in none by torch.save
_REFUSED = "PERSID NEXT_BUFFER READONLY_BUFFER".split()
STATE = object()  # the key of what an object is given besides items: its arguments, its attributes


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


class Mapping:
    """A dict as its (key, value) pairs: a file's keys are never hashed, which nested tuples could make endless."""

    __slots__ = ("pairs",)

    def __init__(self, pairs=()):
        self.pairs = list(pairs)

    def __setitem__(self, key, value):
        self.pairs.append((key, value))


class StandIn(Mapping):
    """What stands for a class or function that is not known here, for all that it makes, and for sets."""

    __slots__ = ()

    def append(self, value):
        """Keep an item of a list or a set."""
        self.pairs.append((len(self.pairs), value))

    add = append

    def extend(self, values):
        """Keep several."""
        for value in values:
            self.append(value)


class Known(NamedTuple):
    """A name that is known: of `_MAKERS` or `_STORAGES`."""

    path: str


def names_in(content: bytes) -> tuple:
    """(texts, names of what is not known here) in a pickle, as far as it can be read; nothing is made of them."""
    texts, named = [], []
    with contextlib.suppress(*DAMAGE):
        for _, (opcode, argument, _) in zip(range(_MOST_STEPS), pickletools.genops(content)):
            if opcode.name in ("GLOBAL", "INST"):
                named.append(argument.replace(" ", "."))
            elif opcode.name == "STACK_GLOBAL":
                named.append(".".join(texts[-2:]))
            elif isinstance(argument, str):
                texts.append(argument)
    return texts, [name for name in dict.fromkeys(named) if name not in _MAKERS and name not in _STORAGES]


def load(content, file, strangers: list):
    """The value of the pickle at the stream's position -> (value, key -> Storage of all storages it names).

    content     a stream in memory, which gives what there is where a pickle declares more
    strangers   gets the names of the first classes and functions that the pickle names and that are not known here

    Values are None, numbers, text, bytes, lists, tuples, `Mapping`, `Tensor`, `Storage`, `Known` and `StandIn`.
    Raises WeightsError for a damaged pickle, and one that makes a tensor of what is none.
    """
    start = content.tell()
    try:
        # bounds what a pickle may do: each opcode makes one small thing, and what it declares has to be there
        for step, (opcode, argument, _) in enumerate(pickletools.genops(content)):
            if step >= _MOST_STEPS:
                raise WeightsError(f"{file}: its pickle is too long for weights; save the state_dict() alone")
            if opcode.name.endswith("PUT") and argument > step:
                raise ValueError("a memo of more than there is")
            if type(argument) is int and argument.bit_length() > _MOST_BITS:
                raise ValueError(f"a number of {argument.bit_length()} bits")
        content.seek(start)
        unpickler = _Unpickler(content, file, strangers)
        return unpickler.load(), unpickler.storages
    except (pickle.UnpicklingError, TypeError, AttributeError, MemoryError, *DAMAGE) as error:
        raise WeightsError(
            f"{file}: its pickle is damaged ({plain(error)}); get another copy of it"
        ) from error


class _Unpickler(pickle._Unpickler):
    """Python's own, less all calls but those of `_MAKERS`.

    Of its two versions the one in Python: in that in C, opcodes can't be replaced, and nested tuples as a key crash it.
    """

    dispatch = dict(pickle._Unpickler.dispatch)

    def __init__(self, content, file, strangers: list):
        super().__init__(content, encoding="latin-1")
        self.file, self.strangers, self.storages = file, strangers, {}

    def find_class(self, module, name):
        path = f"{module}.{name}"
        if path in _STORAGES or path in _MAKERS:
            return Known(path)
        if len(self.strangers) < _MOST_NAMED and path not in self.strangers:
            self.strangers.append(path)
        return StandIn()

    def persistent_load(self, identity):
        if identity[0] == "module":  # the older format says so of a module's class, with its source text
            return StandIn()
        kind, storage_type, key, _, total = identity[:5]
        view = identity[5] if len(identity) > 5 else None
        if kind == "storage" and isinstance(storage_type, StandIn):
            return storage_type  # of numbers that are no weights: quantised ones, say
        if kind != "storage" or not isinstance(storage_type, Known) or not isinstance(key, str):
            raise ValueError("a storage that is none")
        if storage_type.path not in _STORAGES:
            raise ValueError(f"a storage of {storage_type.path}")
        (total,) = checked_shape([total], "a storage")
        first, numel = checked_shape(view[1:3], "a storage") if view is not None else (0, total)
        if first + numel > total:
            raise ValueError(f"a part of storage {plain(key)} reaches beyond it")
        storage = Storage(key, _STORAGES[storage_type.path], total, first, numel)
        before = self.storages.setdefault(key, storage)
        if (before.dtype, before.total) != (storage.dtype, total):
            raise ValueError(f"storage {plain(key)} has two types or lengths")
        return storage

    def get_extension(self, code):
        self.append(self.find_class("copyreg's extension", code))

    def load_reduce(self):
        arguments, called = self.stack.pop(), self.stack.pop()
        self.append(_made(called, arguments))

    def load_newobj_ex(self):
        self.stack.pop()  # arguments by name
        self.load_reduce()

    def load_obj(self):
        called, *arguments = self.pop_mark()
        self.append(_made(called, tuple(arguments)))

    def load_inst(self):
        module, name = (self.readline()[:-1].decode("ascii") for _ in range(2))
        self.append(_made(self.find_class(module, name), tuple(self.pop_mark())))

    def load_build(self):
        # PyTorch gives a state_dict's OrderedDict an attribute, the modules' versions, and its first versions
        # a parameter some flags
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, StandIn):
            target[STATE] = state
        elif not isinstance(target, (Mapping, Tensor)):
            raise ValueError(f"a state set on {_called(target)} (BUILD)")

    def load_empty_dictionary(self):
        self.append(Mapping())

    def load_dict(self):
        items = self.pop_mark()
        if len(items) % 2:
            raise ValueError("a key without a value")
        self.append(Mapping(zip(items[::2], items[1::2])))

    def load_empty_set(self):
        self.append(StandIn())

    def load_frozenset(self):
        self.pop_mark()
        self.append(StandIn())

    dispatch.update(
        {
            pickle.REDUCE[0]: load_reduce,
            pickle.NEWOBJ[0]: load_reduce,
            pickle.NEWOBJ_EX[0]: load_newobj_ex,
            pickle.OBJ[0]: load_obj,
            pickle.INST[0]: load_inst,
            pickle.BUILD[0]: load_build,
            pickle.EMPTY_DICT[0]: load_empty_dictionary,
            pickle.DICT[0]: load_dict,
            pickle.EMPTY_SET[0]: load_empty_set,
            pickle.FROZENSET[0]: load_frozenset,
        }
    )


def _made(called, arguments):
    if isinstance(called, StandIn):
        return StandIn([(STATE, arguments)])
    if isinstance(called, Known) and called.path in _MAKERS and isinstance(arguments, tuple):
        return _MAKERS[called.path](*arguments)
    raise ValueError(f"a call of {_called(called)}")


def _called(value) -> str:
    return value.path if isinstance(value, Known) else type(value).__name__


def _refusal(name: str):
    def refuse(unpickler):
        raise WeightsError(
            f"{unpickler.file}: holds the opcode {name}, which does more than hold tensors and plain containers: "
            "nothing of it was run; if you trust the file, load it where it was written and save its state_dict() alone"
        )

    return refuse


_Unpickler.dispatch.update({getattr(pickle, name)[0]: _refusal(name) for name in _REFUSED})


# ---- what the names that are known make. No argument is copied: a file could name one many times


def _tensor(storage, offset, shape, strides, requires_grad=False, hooks=None, metadata=None):
    if isinstance(storage, StandIn):
        return storage
    if not isinstance(storage, Storage) or not isinstance(shape, tuple) or not isinstance(strides, tuple):
        raise ValueError("a tensor without a storage or a shape")
    shape, strides = checked_shape(shape, "a tensor"), checked_shape(strides, "a tensor")
    (offset,) = checked_shape([offset], "a tensor")
    if len(shape) != len(strides) or offset + span(shape, strides) > storage.numel:
        raise ValueError(f"a tensor of shape {shape} reaches beyond its storage {plain(storage.key)}")
    return Tensor(storage, offset, shape, strides)


def _parameter(tensor, requires_grad=False, hooks=None, state=None):
    if not isinstance(tensor, (Tensor, StandIn)):
        raise ValueError("a parameter that is no tensor")
    return tensor


def _of_a_subclass(made_by, kind, arguments, state=None):
    """A tensor of a class of its own, or with attributes: what makes it, without these, is among its arguments."""
    makers = {"torch._utils._rebuild_tensor_v2": _tensor, "torch._utils._rebuild_parameter": _parameter}
    if isinstance(made_by, Known) and made_by.path in makers and isinstance(arguments, tuple):
        return makers[made_by.path](*arguments)
    return StandIn()


def _ordered_dict(items=None) -> Mapping:
    if items is None:
        return Mapping()
    if not isinstance(items, list):
        raise ValueError("an OrderedDict of what is no list")
    made = Mapping((key, value) for key, value in items)  # written so by Python 2
    items.clear()
    return made


_MAKERS = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch.nn.parameter.Parameter": _parameter,  # as PyTorch before 0.4 wrote it
    "torch.autograd.variable.Variable": _parameter,
    "torch.tensor._rebuild_from_type": _of_a_subclass,
    "torch._tensor._rebuild_from_type": _of_a_subclass,
    "torch._tensor._rebuild_from_type_v2": _of_a_subclass,
    "collections.OrderedDict": _ordered_dict,
}
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
    # of these no weights are made, but their sizes count where storages follow one another
    "torch.QUInt8Storage": "|u1",
    "torch.QInt8Storage": "|i1",
    "torch.QInt32Storage": "<i4",
    "torch.UntypedStorage": "|u1",
    "torch.storage.UntypedStorage": "|u1",
    "torch.ComplexFloatStorage": "<c8",
    "torch.ComplexDoubleStorage": "<c16",
}
