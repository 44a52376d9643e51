"""`confseg check` from a checkout: check a data set, and pack it if asked; --help for more.

Exit status 0 only where nothing must be mended. The work is done by `gluon_confseg.datasets.checks`.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
NEEDED = ("numpy", "cv2", "PIL", "tqdm")

if __name__ == "__main__":
    lacking = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if lacking:
        sys.exit(
            f"confseg: {sys.executable} has no {' and no '.join(lacking)}; run {PROJECT / '.venv/bin/python'} "
            f"data/prepare.py, or `make check-data ARGS='DATASET ROOT'`, which makes that environment, or "
            "`confseg check` where gluon-confseg is installed"
        )
    sys.path.insert(0, str(PROJECT))
    from gluon_confseg.cli import main

    sys.exit(main(["check", *sys.argv[1:]]))
