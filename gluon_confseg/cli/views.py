"""The options of how a network looks at an image, `--flip` to `--crf`, for the verbs that run one."""

from __future__ import annotations

import dataclasses

from gluon_confseg.crf import DenseCRF
from gluon_confseg.errors import RunError
from gluon_confseg.inference import Inference


def inference(arguments) -> Inference:
    """What the command line asks for; RunError for what can't be, and for a library that is not installed."""
    if arguments.overlap is not None and not arguments.window:
        raise RunError("--overlap is of windows: give --window H W as well")
    overlap = {} if arguments.overlap is None else {"overlap": arguments.overlap}
    chosen = Inference(
        scales=tuple(arguments.scales or (1.0,)),
        flip=arguments.flip,
        window=tuple(arguments.window) if arguments.window else None,
        bicubic=arguments.bicubic,
        crf=DenseCRF() if arguments.crf else None,
        **overlap,
    )
    chosen.check()
    return chosen


def record(chosen: Inference) -> dict:
    """The same for programs."""
    about = dataclasses.asdict(chosen)
    return {**about, "scales": list(chosen.scales), "window": list(chosen.window) if chosen.window else None}
