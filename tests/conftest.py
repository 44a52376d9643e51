"""The package is imported before MXNet is: it sets the number of threads."""

from __future__ import annotations

import gluon_confseg  # noqa: F401
