"""Files that are no weights for these networks, named for what they are: by their content, or else by their name."""

from __future__ import annotations

import re

_CONVERT = "give a .pth or .safetensors file of the same network with torchvision's names"
_UNPACK = "unpack it, and give the file in it"

# how a file begins -> what it is, and what to do
_STARTS = {
    b"version https://git-lfs": "a Git LFS pointer and not the file: fetch it with `git lfs pull`",
    b"<": "a web page or XML: download the file itself",
    b"\x89HDF": f"an HDF5 file, such as Keras writes; {_CONVERT}",
    b"\x1f\x8b": f"compressed with gzip: {_UNPACK}",
    b"\xfd7zXZ": f"compressed with xz: {_UNPACK}",
    b"BZh": f"compressed with bzip2: {_UNPACK}",
    b"\x28\xb5\x2f\xfd": f"compressed with zstd: {_UNPACK}",
    b"7z\xbc\xaf\x27\x1c": f"a 7z archive: {_UNPACK}",
    b"Rar!": f"a RAR archive: {_UNPACK}",
    b"\x93NUMPY": "a single NumPy array without a name; save all arrays by name with safetensors.numpy.save_file",
    b"GGUF": f"a GGUF file of a language model; {_CONVERT}",
    b"MATLAB 5.0": f"a MATLAB file; {_CONVERT}",
    b"%PDF": "a PDF document; give a file of weights",
    b"\x89PNG": "a picture; give a file of weights",
    b"\xff\xd8\xff": "a picture; give a file of weights",
}
_TABLE_END = b"\x57\xfb\x80\x8b\x24\x75\x47\xdb"  # of LevelDB's tables, in which TensorFlow keeps names
_ONNX = re.compile(rb"\x08[\x02-\x14]\x12.[A-Za-z]|\x08[\x03-\x14][:B]", re.DOTALL)
_SAVED_MODEL = re.compile(rb"\x08\x01\x12[\x80-\xff]")
_MSGPACK = re.compile(rb"[\x81-\x8f][\xa1-\xbf][\w.]|\xde..[\xa1-\xbf][\w.]", re.DOTALL)
_ENDINGS = {
    ".pb": "a TensorFlow graph",
    ".onnx": "an ONNX graph",
    ".tflite": "a TensorFlow Lite graph",
    ".caffemodel": "a Caffe network",
    ".weights": "a Darknet network",
    ".pdparams": "PaddlePaddle's parameters",
    ".pdiparams": "PaddlePaddle's parameters",
    ".pdmodel": "a PaddlePaddle graph",
    ".mlmodel": "a Core ML network",
    ".engine": "a TensorRT engine",
    ".t7": "a Lua Torch file",
}
_WEIGHTS = re.compile(r"\.(pth|pt|params|safetensors|npz|ckpt|bin|pkl|h5|tar)$", re.IGNORECASE)


def file(start: bytes, end: bytes, name: str) -> str:
    """What a file is: "is a web page; download the file itself"; "" where neither content nor name tells.

    start, end   its first 512 and last 8 bytes
    """
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    for signature, kind in _STARTS.items():
        if text.startswith(signature):
            return f"is {kind}"
    if start[257:262] == b"ustar":
        return f"is a tar archive: {_UNPACK}; if PyTorch before 0.2 wrote it, save it again with a later one"
    if end == _TABLE_END or re.search(r"\.data-\d{5}-of-\d{5}$", name):
        return f"is a part of a TensorFlow checkpoint; {_CONVERT}"
    if start[4:8] == b"TFL3":
        return f"is a TensorFlow Lite graph; {_CONVERT}"
    if _SAVED_MODEL.match(start):
        return f"is a TensorFlow SavedModel; {_CONVERT}"
    if _ONNX.match(start):
        return f"is an ONNX graph; {_CONVERT}"
    if _MSGPACK.match(start):
        return f"is a msgpack file, such as Flax (JAX) writes; {_CONVERT}"
    for ending, kind in _ENDINGS.items():
        if name.lower().endswith(ending):
            return f"seems to be {kind}, by its name; {_CONVERT}"
    words = text.decode("utf-8", "replace").rstrip("\ufffd")
    if words.startswith("{") and '"nodes"' in words:
        return "is the description of an exported graph; give the checkpoint that was exported"
    if words and all(sign.isprintable() or sign.isspace() for sign in words):
        begins = " ".join(words.split())[:60]
        return f"is no file of weights but text, which begins with {begins!r}; was its download refused?"
    return ""


def archive(names: list) -> str:
    """What a zip archive is by its records' names; "" for one that may be `torch.save`'s."""
    files = [name.rpartition("/")[2] for name in names]
    if "constants.pkl" in files or any("/code/" in f"/{name}" for name in names):
        return "is a TorchScript program; save the state_dict() of its model instead"
    if "model.weights.h5" in files:
        return f"is a Keras network; {_CONVERT}"
    if "data.pkl" in files:
        return ""
    if any("exported_program" in name or name == "archive_format" for name in files):
        return "is a program by torch.export; save the state_dict() of its model instead"
    inside = [name for name in names if _WEIGHTS.search(name)]
    if inside:
        return f"is a zip archive that holds {inside[0][:80]!r}: {_UNPACK}"
    if any(name.endswith(".npy") for name in names):
        return (
            "is an .npz file of NumPy arrays, but neither a checkpoint of ours nor one by torch.save (it holds "
            f"{names[0][:80]!r}, ...); {_CONVERT}"
        )
    return ""


def pickle(texts: list, named: list) -> str:
    """What a pickle is that is not `torch.save`'s, by the texts and the names of classes in it."""
    arrays = any(name.startswith("numpy.") for name in named)
    if "matching_heuristics" in texts or any(re.search(r"(^|\.)res2[._]0[._]", text) for text in texts):
        return (
            "is a file of Detectron2's model zoo, a pickle of NumPy arrays, whose networks may want other colours and "
            "have other strides than those here; give torchvision's .pth file of the same network"
        )
    if "StructuredToParameterName@@" in texts:
        return f"is a pickle by PaddlePaddle; {_CONVERT}"
    of = " of NumPy arrays" if arrays else ""
    remedy = (
        "save them by name with safetensors.numpy.save_file"
        if arrays
        else "save a state_dict() with torch.save"
    )
    return f"is a pickle{of}, but not of torch.save's making; {remedy}"
