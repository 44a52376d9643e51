"""What a worker process of tests/test_distributed.py does: `python ranks_task.py KIND TASK FOLDER`.

It writes FOLDER/RANK.json, and ends as `confseg` does.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from gluon_confseg import compiled, distributed
from gluon_confseg.cli import frame
from gluon_confseg.errors import DatasetError, RunError, Stopped


def digest(*arrays) -> str:
    found = hashlib.sha256()
    for array in arrays:
        found.update(array.asnumpy().tobytes())
    return found.hexdigest()


def caught(task) -> list:
    try:
        task()
    except (RunError, DatasetError, Stopped, OSError, ValueError) as error:
        return [type(error).__name__, str(error), getattr(error, "filename", None)]
    return []


def operations(together) -> dict:
    """Every operation once, with what can be compared between ranks and runs."""
    import mxnet as mx
    import numpy as np

    rank, size = together.rank, together.size
    shapes = ((3, 5), (70001,), (2, 1, 2), (9,), (9,))
    kinds = ("float32", "float32", "float32", "float64", "float16")

    def drawn(number: int) -> list:
        draws = np.random.RandomState(number)
        return [draws.normal(size=shape).astype(kind) for shape, kind in zip(shapes, kinds)]

    arrays = [mx.nd.array(values, dtype=values.dtype) for values in drawn(rank)]
    together.allreduce(arrays)
    totals = [sum(each.astype(np.float64) for each in place) for place in zip(*map(drawn, range(size)))]
    found = {"sums": digest(*arrays)}
    found["errors_of_sums"] = [float(abs(a.asnumpy() - t).max()) for a, t in zip(arrays, totals)]
    # of two, the exact sum rounded once
    found["rounded"] = [bool((a.asnumpy() == t.astype(a.dtype)).all()) for a, t in zip(arrays, totals)]
    kinds = ("float16", "float32", "float64", "int32", "int64")
    parts = [mx.nd.array(np.arange(6).reshape(2, 3) + 10 * rank, dtype=kind) for kind in kinds]
    together.broadcast(parts)
    found["broadcast"] = [part.asnumpy().tolist() for part in parts]
    big = {"rank": rank, "matrix": np.full((3, 3), 2**40 + rank), "bytes": bytes([rank]) * (3_000_000 + rank)}
    every = together.allgather(big)
    found["gathered"] = [[each["rank"], int(each["matrix"].sum()), len(each["bytes"])] for each in every]
    found["whole"] = all(set(each["bytes"]) == {number} for number, each in enumerate(every))
    made = []
    found["from_root"] = together.from_root(lambda: made.append(1) or {"answer": 42})
    found["made"] = len(made)

    def fail(error):
        raise error

    errors = (DatasetError("a.png: damaged"), Stopped(15), OSError(28, "No space", "file"), ValueError("odd"))
    found["errors"] = [caught(lambda e=e: together.from_root(lambda: fail(e))) for e in errors]
    same = [mx.nd.ones(3), mx.nd.ones(2)]
    found["same"] = caught(lambda: distributed.same_parameters(together, same, ["first", "second"]))
    same[1][1] = 1 + rank
    found["other"] = caught(lambda: distributed.same_parameters(together, same, ["first", "second"]))
    found["compiled"] = compiled.state()  # loads them
    found["local"] = [together.local_rank, together.local_size]
    return found


def steps(together, folder: Path) -> None:
    """Sums without end."""
    import mxnet as mx

    for _ in range(10**6):
        together.allreduce([mx.nd.ones(1000)])
        (folder / f"{together.rank}.pid").write_text(str(os.getpid()))
        if (folder / "fail").exists() and together.rank == 1:
            raise DatasetError("b.png: damaged")
        time.sleep(0.02)


def training(together, folder: Path) -> None:
    """The run of test_parallel, in FOLDER/run."""
    from test_parallel import trained

    from gluon_confseg.parallel import Parallel

    trained(folder / "run", Parallel(communicator=together))


def main(kind: str, task: str, folder: Path) -> int:
    with distributed.open_communicator(kind) as together:
        if task == "steps":
            steps(together, folder)
        elif task == "training":
            training(together, folder)
        else:
            record = {"rank": together.rank, "size": together.size, **operations(together)}
            (folder / f"{together.rank}.json").write_text(json.dumps(record))
    return 0


if __name__ == "__main__":
    sys.exit(frame.run(lambda: main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))))
