"""Workers on Horovod: started by `horovodrun`."""

from __future__ import annotations

import os

import numpy as np

from .. import runtime
from ..errors import RunError
from .communicator import Together

INSTALL = "`make setup-distributed` in a checkout of gluon-confseg installs it"
# Where a worker is more than 30 s late, Gloo aborts the others (exit status 134); on a busy machine the import of MXNet
# alone can take that long
TIMEOUT, PATIENCE = "HOROVOD_GLOO_TIMEOUT_SECONDS", 600
START = "start it by `horovodrun -np 2 -H first:1,second:1 confseg train ... --kvstore horovod`"


def import_horovod():
    """The module horovod.mxnet; RunError with what to do where it is missing, or was built without MXNet."""
    runtime.check()
    if runtime.version_of("horovod") is None:
        raise RunError(f"--kvstore horovod needs Horovod, which is not installed; {INSTALL}")
    try:
        import horovod.mxnet as module

        built = module.gloo_built() or module.mpi_built()
    except Exception as error:  # a library that is missing, or one of another MXNet
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise RunError(
            f"Horovod is installed without support for this MXNet ({reason}); {INSTALL}"
        ) from error
    if not built:
        raise RunError(f"Horovod is installed with neither Gloo nor MPI; {INSTALL}")
    return module


class Horovod(Together):
    """`allreduce` is one ring operation of the whole flat array; of several at a time, timing decides the order."""

    name = "horovod"

    def __init__(self):
        self._hvd = import_horovod()
        variables = ("HOROVOD_RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK")
        if not any(name in os.environ for name in variables):
            raise RunError(
                f"--kvstore horovod wants to be started once for each worker by Horovod's launcher; {START}"
            )
        os.environ.setdefault(TIMEOUT, str(PATIENCE))
        self._hvd.init()
        self._count = 0
        root = os.environ.get("HOROVOD_GLOO_RENDEZVOUS_ADDR", "127.0.0.1")
        super().__init__(self._hvd.rank(), self._hvd.size(), root)

    def _sum(self, flat):
        import mxnet as mx

        if flat.context.device_type == "gpu" and not self._hvd.nccl_built():
            flat = flat.as_in_context(mx.cpu())
        # the same name at every rank and in every step: Horovod then remembers what was agreed on
        self._hvd.allreduce_(flat, op=self._hvd.Sum, name=f"sum.{flat.dtype.__name__}.{flat.size}")
        flat.wait_to_read()
        return flat

    def _spread(self, array: np.ndarray) -> np.ndarray:
        data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        if data.size == 0:
            return array
        found = self._array(data)
        self._hvd.broadcast_(found, root_rank=0, name=f"spread.{data.size}")
        return found.asnumpy().view(array.dtype).reshape(array.shape)

    def _gather(self, data: np.ndarray, lengths: list | None) -> list:
        lengths, self._count = lengths or [data.size] * self.size, self._count + 1
        found = self._hvd.allgather(self._array(data), name=f"gather.{self._count}").asnumpy()
        return np.split(found, np.cumsum(lengths)[:-1])

    @staticmethod
    def _array(data: np.ndarray):
        import mxnet as mx

        return mx.nd.array(data, dtype="uint8", ctx=mx.cpu())

    def _finalize(self) -> None:
        self._hvd.shutdown()
