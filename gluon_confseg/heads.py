"""The earlier name of `gluon_confseg.subnets`, which outside code imports; `build` is `subnets.build_head`."""

from __future__ import annotations

from .subnets import *  # noqa: F403 - all of it: this module is another name of that one
from .subnets import __all__ as __all__
from .subnets import build_head as build  # noqa: F401 - what outside code calls it
