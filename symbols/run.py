#!/usr/bin/env python3
"""Segment a picture, a folder of them or a camera with an exported network, by mxnet, numpy and opencv-python alone.

    python symbols/run.py PREFIX picture.png --out labels.png
    python symbols/run.py PREFIX pictures/ --out labels/
    python symbols/run.py PREFIX camera:0 --out labels/

PREFIX-symbol.json, PREFIX-0000.params and PREFIX.json are what `confseg export` writes. labels.png gets each pixel's
class id; labels-colour.png the classes' colours over the picture.
"""

import argparse
import json
import sys
import warnings
from pathlib import Path

try:
    import cv2
    import mxnet as mx
    import numpy as np
except (AttributeError, ImportError, OSError) as error:  # MXNet with NumPy 1.24 or newer is an AttributeError
    sys.exit(
        f"{sys.executable} can't import what this needs ({error}); "
        "pip install mxnet==1.9.1 'numpy<1.24' 'opencv-python-headless<4.12'"
    )

JPEG = (b"\xff\xd8", b"\xff\xd9")
KINDS = {".png": (b"\x89PNG", b"IEND"), ".jpg": JPEG, ".jpeg": JPEG}


def main(argv=None):
    """Parse, segment, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("prefix", help="what stands before -symbol.json")
    parser.add_argument("pictures", help="a PNG or JPEG file, a folder of them, or camera:0")
    parser.add_argument("--out", help="PNG of class ids; else a folder of them (default: labels.png, labels)")
    parser.add_argument("--frames", type=int, metavar="N", help="of a camera (default: until Ctrl-C)")
    parser.add_argument("--gpu", action="store_true", help="run on the first GPU")
    arguments = parser.parse_args(argv)
    about, network = load(arguments.prefix, first_gpu() if arguments.gpu else mx.cpu())
    if arguments.pictures.startswith("camera:"):
        name = arguments.pictures[len("camera:") :]
        segment_camera(network, about, name, Path(arguments.out or "labels"), arguments.frames)
    elif Path(arguments.pictures).is_dir():
        segment_folder(network, about, Path(arguments.pictures), Path(arguments.out or "labels"))
    else:
        segment_file(network, about, arguments.pictures, arguments.out or "labels.png")


def segment_folder(network, about, source, folder):
    """Segment all pictures of a folder, and end with a sentence on those that can't be read."""
    found = sorted(file for file in source.iterdir() if file.suffix.lower() in KINDS)
    if not found:
        sys.exit(f"{source}: holds no PNG or JPEG file; give a folder that does")
    taken = {}
    for file in found:
        if file.stem in taken:
            sys.exit(f"{file} and {taken[file.stem]} would give one file of labels; rename one")
        taken[file.stem] = file
    make(folder)
    failed = []
    for number, file in enumerate(found, 1):
        print(f"{file} ({number} of {len(found)})", flush=True)
        try:
            segment_file(network, about, file, folder / f"{file.stem}.png")
        except SystemExit as error:  # the others are segmented all the same
            failed.append(str(error))
    if failed:
        sys.exit("\n".join([f"{len(failed)} of {len(found)} files were left out:", *failed]))


def segment_camera(network, about, name, folder, most):
    """Segment what a camera shows, by its number, or a video's file, until it ends, or Ctrl-C; a PNG for each frame."""
    camera = cv2.VideoCapture(int(name) if name.isdigit() else name)
    if not camera.isOpened():
        sys.exit(f"camera:{name}: can't be opened; give a camera's number, as in camera:0, or a video's file")
    make(folder)
    number = 0
    while most is None or number < most:
        there, picture = camera.read()
        if not there:
            break
        number += 1
        classes = segment(network, cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), about)
        write(folder / f"{number:06d}.png", picture, classes, about)
        print(f"frame {number}: {folder / f'{number:06d}.png'}", flush=True)
    camera.release()
    if number == 0:
        sys.exit(f"camera:{name}: shows no picture; look at whether another program uses it")


def make(folder):
    """Make a folder for results."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        sys.exit(f"{folder}: can't be made ({error.strerror}); give another folder with --out")


def segment_file(network, about, file, out):
    """Segment one file and write its labels."""
    picture = read(file)
    classes = segment(network, cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), about)
    write(out, picture, classes, about)
    shares = np.bincount(classes.ravel(), minlength=len(about["classes"])) / classes.size
    for k in np.argsort(-shares):
        if shares[k] >= 0.001:
            print(f"{100 * shares[k]:5.1f} %  {about['classes'][k]}")


def first_gpu():
    """The first GPU, where there is one and this MXNet can use one."""
    if not mx.runtime.Features().is_enabled("CUDA"):
        sys.exit(
            "--gpu: this is MXNet's CPU wheel; leave --gpu out, or on a machine with an NVIDIA GPU: "
            "pip uninstall mxnet, then pip install mxnet-cu112==1.9.1"
        )
    try:
        mx.nd.ones(1, ctx=mx.gpu()).wait_to_read()
    except mx.MXNetError as error:  # no GPU, no driver, or a GPU that MXNet has no code for
        reason = str(error).strip().split("\n")[-1][:100]
        sys.exit(f"--gpu: MXNet can't compute on a GPU here ({reason}); leave --gpu out")
    return mx.gpu()


def load(prefix, context):
    """PREFIX -> description, network."""
    if prefix.endswith(".npz"):
        sys.exit(
            f"{prefix}: is no exported network; export it first with: confseg export {prefix} --out PREFIX"
        )
    for end in ("-symbol.json", "-0000.params", ".json"):
        prefix = prefix[: -len(end)] if prefix.endswith(end) else prefix
    wanted = [Path(prefix + end) for end in (".json", "-symbol.json", "-0000.params")]
    for file in wanted:
        if not file.exists():
            sys.exit(f"{file}: no such file; write it with: confseg export CHECKPOINT --out {prefix}")
    # MXNet wonders aloud about the type of running statistics that it then reads from the file
    warnings.filterwarnings("ignore", message="Cannot decide type")
    try:
        about = json.loads(wanted[0].read_text())
        return about, mx.gluon.SymbolBlock.imports(str(wanted[1]), ["data"], str(wanted[2]), ctx=context)
    except (ValueError, mx.MXNetError) as error:
        reason = str(error).strip().split("\n")[-1][:100]
        sys.exit(
            f"{prefix}: the three files can't be loaded ({reason}); export them again with: confseg export"
        )


def read(path):
    """A PNG or JPEG file -> (H, W, 3) uint8 BGR, as `confseg predict` reads it: as stored, 16 bits divided by 256."""
    start, end = KINDS.get(Path(path).suffix.lower(), (b"", b""))
    content = Path(path).read_bytes() if start and Path(path).is_file() else b""
    data, picture = np.frombuffer(content, np.uint8), None
    if content and content.startswith(start) and end in content:  # of a cut file, OpenCV makes the rest gray
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if picture is None:
        sys.exit(f"{path}: can't be read as a picture; give a whole PNG or JPEG file")
    if not np.array_equal(picture, cv2.imdecode(data, cv2.IMREAD_COLOR)):
        print(
            "Note: the picture has an EXIF orientation; it is segmented as it is stored, not as viewers turn it."
        )
    return picture


def segment(network, picture, about):
    """(H, W, 3) uint8 RGB -> (H, W) uint8 class ids."""
    pixels = (picture.astype(np.float32) / 255 - np.float32(about["mean"])) / np.float32(about["std"])
    context = next(iter(network.collect_params().values())).list_ctx()[0]
    images = mx.nd.array(pixels.transpose(2, 0, 1)[None], ctx=context)
    return network(images)[0].asnumpy().argmax(0).astype(np.uint8)


def write(path, picture, classes, about):
    """Write the ids, and the colours blended over the picture."""
    path = Path(path)
    colours = np.uint8(about["colors"])[classes][:, :, ::-1]
    blended = cv2.addWeighted(picture, 0.4, np.ascontiguousarray(colours), 0.6, 0)
    for file, content in ((path, classes), (path.with_name(f"{path.stem}-colour.png"), blended)):
        if not is_written(file, content):
            sys.exit(f"{file}: can't be written; give a .png file in a folder that exists with --out")


def is_written(file, content):
    """Whether OpenCV could write it."""
    try:
        return cv2.imwrite(str(file), content)
    except cv2.error:  # an ending that it does not know
        return False


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
