"""`python -m gluon_confseg.compiled`: build the compiled operators for this Python environment."""

import argparse
import sys
import time

from . import BuildError, build

parser = argparse.ArgumentParser(prog="python -m gluon_confseg.compiled", description=__doc__)
parser.add_argument("--anew", action="store_true", help="build them even if they are there")
anew = parser.parse_args().anew
began = time.monotonic()
try:
    target = build(anew)
except BuildError as error:
    sys.exit(f"confseg: {error}. Everything works without the compiled operators; on CPUs it is slower.")
print(f"compiled operators: {target} ({time.monotonic() - began:.0f} s)")
