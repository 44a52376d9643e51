"""Worker processes that train together: their numbers, their sums, and what happens when one of them dies.

`open_communicator(name)` gives the `Communicator` of a process. The words are MPI's: each of the `size` processes has a
rank, and a collective operation (a sum, a broadcast) is called by all of them in the same order.
"""

from __future__ import annotations

from .communicator import Communicator, same_parameters

KINDS = ("alone", "horovod", "dist_sync")

__all__ = ["KINDS", "Communicator", "open_communicator", "same_parameters"]


def open_communicator(name: str | None) -> Communicator:
    """The communicator of this process, to be used in a `with` statement.

    name    None or "alone": no other process; "horovod": Horovod, started by horovodrun; "dist_sync": MXNet's parameter
            server, started by `confseg launch`
    RunError where the process was not started so, or where Horovod is not installed.
    """
    if name in (None, "alone"):
        return Communicator()
    # these import MXNet, which `confseg --help` must not
    if name == "horovod":
        from .horovod import Horovod

        return Horovod()
    if name == "dist_sync":
        from .dist_sync import DistSync

        return DistSync()
    from ..errors import RunError, did_you_mean

    instead = did_you_mean(name, KINDS) or f"; choose one of {', '.join(KINDS)}"
    raise RunError(f"there is no communication between workers called {name!r}{instead}")
