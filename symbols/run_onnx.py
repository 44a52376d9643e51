#!/usr/bin/env python3
"""Segment a picture, a folder of them or a camera with an ONNX file, by onnxruntime, numpy and opencv-python alone.

    python symbols/run_onnx.py mynet.onnx picture.png --out labels.png
    python symbols/run_onnx.py mynet.onnx pictures/ --out labels/
    python symbols/run_onnx.py mynet.onnx camera:0 --out labels/

mynet.onnx is what `confseg export --format onnx` writes, with or without --pictures; it holds its classes and colours.
labels.png gets each pixel's class id; labels-colour.png the classes' colours over the picture.
"""

import argparse
import json
import os
import sys
from pathlib import Path

try:
    import cv2
    import numpy as np
    import onnxruntime
except (AttributeError, ImportError, OSError) as error:
    sys.exit(
        f"{sys.executable} can't import what this needs ({error}); "
        "pip install onnxruntime numpy opencv-python-headless"
    )

JPEG = (b"\xff\xd8", b"\xff\xd9")
KINDS = {".png": (b"\x89PNG", b"IEND"), ".jpg": JPEG, ".jpeg": JPEG}


def main(argv=None):
    """Parse, segment, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("network", help="the .onnx file")
    parser.add_argument("pictures", help="a PNG or JPEG file, a folder of them, or camera:0")
    parser.add_argument("--out", help="PNG of class ids; else a folder of them (default: labels.png, labels)")
    parser.add_argument("--frames", type=int, metavar="N", help="of a camera (default: until Ctrl-C)")
    parser.add_argument("--gpu", action="store_true", help="run on the first GPU, with onnxruntime-gpu")
    parser.add_argument(
        "--tf32", action="store_true", help="with --gpu: convolutions in TF32, faster and less exact"
    )
    arguments = parser.parse_args(argv)
    session, about = load(arguments.network, arguments.gpu, arguments.tf32)
    if arguments.pictures.startswith("camera:"):
        name = arguments.pictures[len("camera:") :]
        segment_camera(session, about, name, Path(arguments.out or "labels"), arguments.frames)
    elif Path(arguments.pictures).is_dir():
        segment_folder(session, about, Path(arguments.pictures), Path(arguments.out or "labels"))
    else:
        segment_file(session, about, Path(arguments.pictures), Path(arguments.out or "labels.png"))


def load(path, gpu, tf32=False):
    """The .onnx file -> onnxruntime's session, and what the file says of itself."""
    if not Path(path).is_file():
        sys.exit(f"{path}: no such file; write it with: confseg export CHECKPOINT --format onnx --out {path}")
    providers = ["CPUExecutionProvider"]
    if gpu and "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        no_gpu("this onnxruntime is for CPUs")
    if gpu:
        if hasattr(onnxruntime, "preload_dlls"):
            onnxruntime.preload_dlls()  # CUDA's libraries, where they are Python packages
        # without this, onnxruntime computes in TF32, and one pixel in a thousand gets another class
        providers.insert(0, ("CUDAExecutionProvider", {"use_tf32": str(int(tf32))}))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        about = json.loads(session.get_modelmeta().custom_metadata_map["confseg"])
    except KeyError:
        sys.exit(f"{path}: says nothing of its classes; give a file that `confseg export` wrote")
    except Exception as error:  # onnxruntime has an exception for each kind of damage
        reason = str(error).strip().split("\n")[0][:150]
        sys.exit(f"{path}: can't be loaded ({reason}); export it again with: confseg export")
    if gpu and session.get_providers()[0] != "CUDAExecutionProvider":
        no_gpu("it finds no NVIDIA GPU, or not the CUDA and cuDNN that it was made for")
    return session, about


def no_gpu(reason):
    """End with what to do."""
    sys.exit(
        f"--gpu: onnxruntime can't compute on a GPU here ({reason}); leave --gpu out, or where there is one: "
        "pip uninstall onnxruntime, then pip install 'onnxruntime-gpu[cuda,cudnn]'"
    )


def segment_folder(session, about, source, folder):
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
            segment_file(session, about, file, folder / f"{file.stem}.png")
        except SystemExit as error:  # the others are segmented all the same
            failed.append(str(error))
    if failed:
        sys.exit("\n".join([f"{len(failed)} of {len(found)} files were left out:", *failed]))


def segment_camera(session, about, name, folder, most):
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
        classes = segment(session, cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), about)
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


def segment_file(session, about, file, out):
    """Segment one file and write its labels."""
    picture = read(file)
    classes = segment(session, cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), about)
    write(out, picture, classes, about)
    shares = np.bincount(classes.ravel(), minlength=len(about["classes"])) / classes.size
    for k in np.argsort(-shares):
        if shares[k] >= 0.001:
            print(f"{100 * shares[k]:5.1f} %  {about['classes'][k]}")


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


def segment(session, picture, about):
    """(H, W, 3) uint8 RGB -> (H, W) uint8 class ids."""
    name = session.get_inputs()[0].name
    if name == "pictures":  # normalisation and arg-max are in the graph
        return session.run(None, {name: picture[None]})[0][0]
    pixels = (picture.astype(np.float32) / 255 - np.float32(about["mean"])) / np.float32(about["std"])
    scores = session.run(None, {name: pixels.transpose(2, 0, 1)[None]})[0]
    return scores[0].argmax(0).astype(np.uint8)


def write(path, picture, classes, about):
    """Write the ids, and the colours blended over the picture."""
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
        sys.stdout.flush()
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # `| head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
