"""A seeded generator of damaged, odd and hostile files: checkpoints, weights and matrices, one for each seed."""

from __future__ import annotations

import copy
import io
import json
import pickle
import struct
import zipfile

import numpy as np
import torch_writer
from torch_writer import Opcodes

from gluon_confseg import checkpoint

HUGE = (10**6, 10**9, 2**31, 2**63, 10**30, -1, 0, 1.5, float("nan"), float("inf"), True, None, "x", "é" * 50)
NESTED = (b"[" * 100_000, b"\x80\x02" + b"(" * 50_000, b"{" * 3000)


class Draws(np.random.RandomState):
    """Draws that can pick from any sequence."""

    def one_of(self, options):
        """One of them."""
        return options[self.randint(len(options))]


def checkpoints(folder, seed: int, whole: bytes, arrays: dict, meta: dict):
    """A file made of a good checkpoint: its bytes, and what it holds."""
    draws, file = Draws(seed), folder / f"{seed}.npz"
    odd = draws.one_of((damaged, odd_description, odd_description, odd_arrays, odd_archive))
    file.write_bytes(odd(draws, whole, dict(arrays), copy.deepcopy(meta)))
    return file


def weights(folder, seed: int, whole: dict, arrays: dict):
    """A file made of good weights, or of nothing. whole: name -> bytes of one in each format."""
    draws = Draws(seed)
    name = draws.one_of(sorted(whole))
    file = folder / f"{seed}-{name}"
    made = draws.randint(6)
    if made <= 1:
        file.write_bytes(damaged(draws, whole[name]))
    elif made == 2:
        torch_writer.write_zip(file, {"model": arrays, "beside": odd_pickle(draws)})
    elif made == 3:
        torch_writer.write_legacy(file, {"model": arrays, "beside": odd_pickle(draws)})
    elif made == 4:
        start = draws.one_of(
            (
                b"\x80\x02",
                b"PK\x03\x04",
                torch_writer.LEGACY,
                b"\x89HDF",
                b"",
                b"\x08\x07\x12",
                b"<",
                b"\x81\xa6p",
            )
        )
        file.write_bytes(start + draws.bytes(draws.randint(3000)))
    else:
        other = {f"{draws.one_of(('a.', 'teacher.', 'x.y.', ''))}{k}": v for k, v in arrays.items()}
        for called in [draws.one_of(sorted(other)) for _ in range(draws.randint(1, 4))]:
            other[called] = odd_array(draws)
        torch_writer.write_zip(
            file, {k: v for k, v in other.items() if v.dtype.str[1:] in torch_writer.STORAGES}
        )
    return file


def matrices(folder, seed: int):
    """(file, arrays): an .npz of odd arrays; the arrays are None where the file is damaged besides."""
    draws, file = Draws(seed), folder / f"{seed}.npz"
    arrays = {
        draws.one_of(("counts", "train", "classes", "misses", "data", "../up", "a\x1b[2J")): odd_array(draws)
        for _ in range(draws.randint(1, 4))
    }
    content = io.BytesIO()
    draws.one_of((np.savez, np.savez_compressed))(content, **arrays)
    made, content = draws.randint(4), content.getvalue()
    if made == 0:
        content, arrays = damaged(draws, content), None
    elif made == 1:
        content, arrays = odd_archive(draws, content, arrays, {}, sealed=False), None
    file.write_bytes(content)
    return file, arrays


# ---- pieces


def damaged(draws, content: bytes, *_) -> bytes:
    """Cut, flipped, doubled, or with a piece of something else."""
    content, made = bytearray(content), draws.randint(5)
    if made == 0:
        return bytes(content[: draws.randint(len(content))])
    if made == 1:
        return bytes(content) + draws.bytes(draws.randint(1, 100))
    if made == 2:
        return bytes(content * 2)
    near_end = draws.randint(2)
    for _ in range(draws.randint(1, 9)):
        at = (
            len(content) - 1 - draws.randint(min(len(content), 600))
            if near_end
            else draws.randint(len(content))
        )
        content[at] = draws.randint(256)
    if made == 3:
        at = draws.randint(len(content))
        content[at : at + 8] = struct.pack("<Q", draws.one_of((2**62, 2**31, 2**40, 0)))
    return bytes(content)


def odd_description(draws, whole, arrays, meta) -> bytes:
    """A right seal around a description that is none, or of a network of other sizes."""
    value = draws.one_of((*HUGE, [], {}, [[]] * 100, list(range(2000)), {"a": 1}))
    places = [meta, meta["network"], meta["network"]["head"], *meta["network"]["subnet_heads"]]
    inside = draws.one_of(places)
    made = draws.randint(5)
    if made == 0:
        return sealed({**arrays, "meta.json": np.frombuffer(draws.one_of(NESTED), np.uint8)})
    if made == 1:
        del inside[draws.one_of(sorted(inside))]
    elif made == 2:
        inside[draws.one_of(("pretrained", "device", "more", "initial_values"))] = value
    else:
        inside[draws.one_of(sorted(inside))] = value
    return sealed({"meta.json": np.frombuffer(json.dumps(meta).encode(), np.uint8), **arrays})


def odd_arrays(draws, whole, arrays, meta) -> bytes:
    """A right seal around arrays of other shapes, types or names."""
    name = draws.one_of(sorted(arrays))
    made = draws.randint(5)
    if made == 0:
        arrays[name] = arrays[name].astype(draws.one_of(("f2", "f8", ">f4", "i8", "U3", "c8")))
    elif made == 1:
        arrays[name] = np.full_like(arrays[name], draws.one_of((np.nan, np.inf, 1e38)))
    elif made == 2:
        arrays[name] = np.asfortranarray(arrays[name]) if draws.randint(2) else odd_array(draws)
    elif made == 3:
        arrays["parameter:" + draws.one_of(("x", "", "é", "n" * 600))] = arrays.pop(name)
    else:
        arrays = dict(list(arrays.items())[: draws.randint(len(arrays))])
    return sealed({"meta.json": np.frombuffer(json.dumps(meta).encode(), np.uint8), **arrays})


def odd_archive(draws, whole, arrays, meta, sealed: bool = True) -> bytes:
    """A zip archive as NumPy does not write it, or with headers that declare more than there is."""
    content, made = io.BytesIO(), draws.randint(7)
    kind = draws.one_of((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    with zipfile.ZipFile(content, "w", kind if made == 0 else zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            record = io.BytesIO()
            np.lib.format.write_array(record, array, allow_pickle=True)
            archive.writestr(f"{name}.npy", record.getvalue())
        if made == 1:
            archive.writestr(
                "bomb.npy", npy((draws.one_of((2**20, 2**40, 2**62)), 2), "<i8"), zipfile.ZIP_DEFLATED
            )
        elif made == 2:
            archive.writestr("odd.npy", draws.one_of(headers()))
        elif made == 3:
            pickled = io.BytesIO()
            np.lib.format.write_array(pickled, np.array([[{}, 1]], object), allow_pickle=True)
            archive.writestr("pickled.npy", pickled.getvalue())
        elif made == 4:
            archive.writestr(draws.one_of(("readme.txt", "../../x.npy", "a/", "b")), b"text")
        elif made == 5:  # unpacks to a hundred times its size
            archive.writestr("zeros.npy", npy((4_000_000,), "<i8") + bytes(32_000_000), zipfile.ZIP_DEFLATED)
    found = content.getvalue()
    if made == 6:  # the directory says that records are encrypted, or larger
        at, field, value = (
            found.rindex(b"PK\x01\x02"),
            *draws.one_of(((8, b"\x01\0"), (24, b"\xff\xff\xff\x7f"))),
        )
        found = found[: at + field] + value + found[at + field + len(value) :]
    return checkpoint._sealed(found) if sealed else found


def headers() -> tuple:
    """.npy records whose headers are odd."""
    return (
        npy((-1, -1), "<i8"),
        npy((3, 3), "<i8") + bytes(71),
        npy((2,) * 40, "|u1"),
        npy((10**12,), "|S0"),
        npy((1,), "|O"),
        npy((1,), "(1000000,1000000)f8"),
        b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 9000,
        b"\x93NUMPY\x01\x00\x50\x00" + b"-" * 80,
        b"\x93NUMPY\x02\x00\xff\xff\xff\x7f{",
        b"\x93NUMPY\x09\x00",
        b"\x93NUM",
        b"",
    )


def npy(shape: tuple, descr: str) -> bytes:
    """The beginning of a .npy record, which may declare anything."""
    header = str({"descr": descr, "fortran_order": False, "shape": shape}).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header


def odd_array(draws) -> np.ndarray:
    """Counts, shares, text, of any type and shape."""
    shape = draws.one_of(((3, 3), (3, 3), (5, 5), (3, 4), (), (0, 0), (1, 1), (2, 2, 2), (7,), (300, 300)))
    kind = draws.one_of(("i8", "u8", ">i4", "f8", "f4", "f2", "u1", "bool", "U4", "S2", "c16", "m8"))
    array = draws.randint(0, 100, shape).astype(kind) if kind != "m8" else np.zeros(shape, "m8[s]")
    if kind in ("i8", "u8", "f8", "f4", "f2") and array.size and draws.randint(2):
        odd = {"i8": (-1, 2**62, 2**63 - 1), "u8": (2**63, 2**64 - 1)}.get(
            kind, (np.nan, np.inf, -1, 0.5, 3000, 2**25)
        )
        with np.errstate(over="ignore"):
            array[(0,) * array.ndim] = draws.one_of(odd)
    return np.asfortranarray(array) if draws.randint(2) else array


class Thing:
    """A class that no reader knows."""

    def __init__(self, inside):
        self.inside = inside


def odd_pickle(draws) -> Opcodes:
    """Any object, or opcodes in any order."""
    made = draws.randint(4)
    if made == 0:
        return Opcodes(
            pickle.dumps(Thing([draws.rand(3), {1: Thing({2, 3})}, "x" * draws.randint(2000)]), 2)[2:-1]
        )
    if made == 1:
        canary, named = torch_writer.payloads("canary").values(), draws.randint(19)
        return Opcodes(list(canary)[named][0])
    if made == 2:
        return Opcodes(draws.bytes(draws.randint(1, 60)))
    known = (
        b"()]}N\x85\x86\x87\x880de.0Q\x81Rbsuath\x00q\x00ctorch._utils\n_rebuild_tensor_v2\nK\x05X\x01\0\0\0a"
    )
    return Opcodes(bytes(draws.one_of(known) for _ in range(draws.randint(1, 40))))


def sealed(arrays: dict) -> bytes:
    """An .npz under the seal of our checkpoints."""
    content = io.BytesIO()
    np.savez(content, **arrays)
    return checkpoint._sealed(content.getvalue())
