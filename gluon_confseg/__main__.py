"""`python -m gluon_confseg` runs the command `confseg`."""

from __future__ import annotations

import sys

from gluon_confseg.cli import main

if __name__ == "__main__":
    sys.exit(main())
