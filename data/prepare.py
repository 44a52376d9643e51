"""Check a data set, and pack it if asked: `python data/prepare.py DATASET ROOT`, --help for more.

Exit status 0 only where nothing must be mended. The work is done by `gluon_confseg.datasets.checks`.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from gluon_confseg.cli.prepare import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
