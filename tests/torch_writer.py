"""Writes what `torch.save` writes, opcode by opcode and without PyTorch; and pickles that nobody should run."""

from __future__ import annotations

import struct
import zipfile

import numpy as np

STORAGES = {"f4": "FloatStorage", "f8": "DoubleStorage", "f2": "HalfStorage", "i8": "LongStorage"}
LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}."  # magic, version, system


class Opcodes(bytes):
    """Put into a pickle as they are."""


class View:
    """A tensor cut out of a storage that others may share; offset and strides in elements."""

    def __init__(self, storage: np.ndarray, offset: int, shape: tuple, strides: tuple):
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides


class Object:
    """An instance of a class that is nowhere to be found, with its attributes."""

    def __init__(self, path: str, state):
        self.path, self.state = path, state


class BFloat16(np.ndarray):
    """uint16 that mean the upper halves of float32."""


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value: int) -> bytes:
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    content = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(content)]) + content


def name(module: str, called: str) -> bytes:
    return f"c{module}\n{called}\n".encode()


def row(items) -> bytes:
    return b"(" + b"".join(items) + b"t"


class Writer:
    """A pickle and the storages that it speaks of."""

    def __init__(self, legacy: bool = False):
        self.legacy, self.storages = legacy, []

    def value(self, value) -> bytes:
        if isinstance(value, Opcodes):
            return bytes(value)
        if isinstance(value, Object):
            return name(*value.path.rsplit(".", 1)) + b")\x81" + self.value(value.state) + b"b"
        if isinstance(value, dict):
            inside = b"".join(self.value(k) + self.value(v) for k, v in value.items())
            return name("collections", "OrderedDict") + b")R(" + inside + b"u"
        if isinstance(value, list):
            return b"](" + b"".join(map(self.value, value)) + b"e"
        if isinstance(value, np.ndarray):
            return self.value(View(value, 0, value.shape, _strides(value.shape)))
        if isinstance(value, View):
            return self.tensor(value)
        return text(value) if isinstance(value, str) else number(value)

    def tensor(self, view: View) -> bytes:
        shape, strides = (row(map(number, sizes)) for sizes in (view.shape, view.strides))
        hooks = name("collections", "OrderedDict") + b")R"
        parts = (self.storage(view.storage), number(view.offset), shape, strides, b"\x89", hooks)
        return name("torch._utils", "_rebuild_tensor_v2") + row(parts) + b"R"

    def storage(self, array: np.ndarray) -> bytes:
        known = [i for i, kept in enumerate(self.storages) if kept is array]
        if not known:
            self.storages.append(array)
        key = str(known[0] if known else len(self.storages) - 1)
        kind = "BFloat16Storage" if isinstance(array, BFloat16) else STORAGES[array.dtype.str[1:]]
        parts = [text("storage"), name("torch", kind), text(key), text("cpu"), number(array.size)]
        return row(parts + ([b"N"] if self.legacy else [])) + b"Q"

    def pickle(self, root) -> bytes:
        return b"\x80\x02" + self.value(root) + b"."


def write_zip(file, root, compression=zipfile.ZIP_STORED, more=()) -> None:
    """The format since PyTorch 1.6. more: (name, content) of further records."""
    writer = Writer()
    records = [("archive/data.pkl", writer.pickle(root)), ("archive/version", b"3\n"), *more]
    records += [(f"archive/data/{i}", array.tobytes()) for i, array in enumerate(writer.storages)]
    with zipfile.ZipFile(file, "w", compression) as archive:
        for called, content in records:
            archive.writestr(called, content)


def write_legacy(file, root) -> None:
    """The format before."""
    writer = Writer(legacy=True)
    content = writer.pickle(root)
    keys = Writer().pickle([str(i) for i in range(len(writer.storages))])
    storages = (struct.pack("<q", array.size) + array.tobytes() for array in writer.storages)
    file.write_bytes(LEGACY + content + keys + b"".join(storages))


def write_pickle(file, root) -> None:
    """Nothing but the pickle."""
    file.write_bytes(Writer().pickle(root))


def payloads(canary) -> dict:
    """What it does -> (opcodes that make the file `canary` when run, the name that an error has to give)."""
    touch, code = text(f"touch {canary}"), text(f"open({str(canary)!r}, 'w')")
    line = f"S'touch {canary}'\n".encode()
    system = name("os", "system") + touch + b"\x85R"
    popen = b"]" + text("touch") + b"a" + text(str(canary)) + b"a"
    return {
        "REDUCE": (system, "os.system"),
        "REDUCE of posix": (name("posix", "system") + touch + b"\x85R", "posix.system"),
        "eval": (name("builtins", "eval") + code + b"\x85R", "builtins.eval"),
        "exec": (name("builtins", "exec") + code + b"\x85R", "builtins.exec"),
        "eval of Python 2": (name("__builtin__", "eval") + code + b"\x85R", "__builtin__.eval"),
        "nested": (b"](}" + text("a") + b"](" + system + b"ese", "os.system"),
        "inside a tensor": (name("torch._utils", "_rebuild_tensor_v2") + row([system]) + b"R", "os.system"),
        "inside an OrderedDict": (
            name("collections", "OrderedDict") + b"(](" + text("a") + system + b"\x86etR",
            "os.system",
        ),
        "key of a dict": (b"}" + system + b"Ns", "os.system"),
        "then thrown away": (system + b"0N", "os.system"),
        "as a state (BUILD)": (name("collections", "OrderedDict") + b")R" + system + b"b", "os.system"),
        "of another class (BUILD)": (
            name("collections", "UserDict") + b")R}" + text("data") + system + b"sb",
            "collections.UserDict",
        ),
        "NEWOBJ": (name("subprocess", "Popen") + popen + b"\x85\x81", "subprocess.Popen"),
        "NEWOBJ_EX": (name("subprocess", "Popen") + popen + b"\x85}\x92", "subprocess.Popen"),
        "INST": (b"(" + line + b"ios\nsystem\n", "os.system"),
        "OBJ": (b"(" + name("subprocess", "Popen") + popen + b"o", "subprocess.Popen"),
        "STACK_GLOBAL": (text("os") + text("system") + b"\x93" + touch + b"\x85R", "os.system"),
        "protocol 0": (b"cos\nsystem\n(" + line + b"tR", "os.system"),
        "getattr": (
            name("builtins", "getattr") + name("os", "sys") + text("exit") + b"\x860" + system,
            "builtins.getattr",
        ),
    }


def _strides(shape: tuple) -> tuple:
    steps = [1]
    for size in reversed(shape[1:]):
        steps.insert(0, steps[0] * size)
    return tuple(steps[: len(shape)]) if shape else ()
