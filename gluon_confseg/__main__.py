"""`python -m gluon_confseg` runs the command `confseg`."""

from __future__ import annotations

import sys
from pathlib import Path

# `python -m` looks for modules in the current folder first, where a user's `yaml.py` would stand for the library.
# A checkout stays first: its package must not be mixed with one that is installed besides.
if sys.path and sys.path[0] not in ("", str(Path(__file__).resolve().parent.parent)):
    first = Path(sys.path[0])
    if first.is_dir() and first.samefile("."):
        sys.path.append(sys.path.pop(0))

from gluon_confseg.cli import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
