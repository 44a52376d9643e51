"""`python -m experiments.study`, the command of `make study-camvid` and `make study-drawn`."""

from __future__ import annotations

import sys

from .command import main

if __name__ == "__main__":
    sys.exit(main())
