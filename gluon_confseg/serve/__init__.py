"""`confseg serve`: a trained network behind HTTP. A picture is posted, its classes, an overlay or figures come back.

`server` starts and stops it, `protocol` guards connections, `app` has the addresses, `upload` reads a request's
picture, `queue` runs the network, `answers` makes what is sent back, `limits` says how much a request may take. The
libraries are the extra `serve`; beside the command line, nothing of the package imports this one.
"""

from __future__ import annotations

from gluon_confseg.errors import RunError


def need_libraries() -> None:
    """Raises RunError where the extra is not installed."""
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise RunError(
            f"a service needs the extra serve, and {error.name or 'a part of it'} is not installed: "
            "`pip install 'gluon-confseg[serve]'` (in a checkout: make setup-serve)"
        ) from error
