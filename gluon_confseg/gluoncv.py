"""GluonCV's definitions of networks, without what else its package imports.

`import gluoncv.model_zoo.resnetv1b` runs the package, which imports all detectors, data sets and Matplotlib, and
takes whatever is called `torch` in the current folder for PyTorch. The files that are read here import MXNet alone.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from types import ModuleType


@lru_cache(maxsize=None)
def network_file(name: str) -> ModuleType:
    """GluonCV's module `model_zoo/NAME.py`, run by itself; its classes are not those of `gluoncv.model_zoo.NAME`.

    Raises ModuleNotFoundError where GluonCV is not installed.
    """
    package = importlib.util.find_spec("gluoncv")
    for folder in (package.submodule_search_locations or ()) if package else ():
        path = Path(folder, "model_zoo", f"{name}.py")
        if path.is_file():
            spec = importlib.util.spec_from_file_location(f"{__name__}.{name}", path)
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    raise ModuleNotFoundError(f"No module named 'gluoncv.model_zoo.{name}'")


@contextlib.contextmanager
def without_torch() -> Iterator[None]:
    """`import torch` fails in here, unless PyTorch was imported before: GluonCV then goes on with MXNet alone.

    GluonCV asks for the version of anything called `torch`, be it a folder of files in the current folder.
    """
    if "torch" in sys.modules:
        yield
        return
    sys.modules["torch"] = None  # Python's own way to say that a module can't be imported
    try:
        yield
    finally:
        # GluonCV has a module `torch` of its own, but under its own name
        sys.modules.pop("torch", None)
