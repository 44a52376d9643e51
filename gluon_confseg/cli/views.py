"""The options of how a network looks at an image, `--flip --scales --window`, for the verbs that run one."""

from __future__ import annotations

import dataclasses

from gluon_confseg.inference import Inference


def inference(arguments) -> Inference:
    """What the command line asks for; RunError for what can't be."""
    return Inference(
        scales=tuple(arguments.scales or (1.0,)),
        flip=arguments.flip,
        window=tuple(arguments.window) if arguments.window else None,
        bicubic=arguments.bicubic,
    )


def record(chosen: Inference) -> dict:
    """The same for programs."""
    about = dataclasses.asdict(chosen)
    return {**about, "scales": list(chosen.scales), "window": list(chosen.window) if chosen.window else None}
