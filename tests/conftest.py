"""The package is imported before MXNet is: it sets the number of threads."""

from __future__ import annotations

import signal

import gluon_confseg  # noqa: F401

# a shell that starts tests in the background, or nohup, tells them and all that they start to ignore these
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
