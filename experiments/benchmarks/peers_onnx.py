"""onnxruntime's side of inference, on the network that peers_networks exports. Runs in .venv-bench."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import draws
import onnxruntime
from side import Work, serve


def predict(encoder: str, shape, num_classes: int = 19) -> Work:
    """Images to classes, all of it in onnxruntime's graph."""
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/network.onnx"
        facts = _export(
            {"work": "export", "encoder": encoder, "shape": shape, "file": file, "num_classes": num_classes}
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = int(os.environ["OMP_NUM_THREADS"]), 1
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    images = draws.images(shape)
    return Work(lambda: session.run(None, {"images": images})[0], **facts)


def _export(settings: dict) -> dict:
    """The facts of the exported network; another process writes it, so that PyTorch is not in this one."""
    program = Path(__file__).with_name("peers_networks.py")
    command = [sys.executable, str(program), json.dumps(settings)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{done.stderr}the export to ONNX ended with status {done.returncode}")
    return json.loads(done.stdout)["facts"]


WORKS = {"predict": predict}

if __name__ == "__main__":
    serve(WORKS, lambda: {"onnxruntime": onnxruntime.__version__})
