"""A training stage: epochs of one step on one network, which a kill at any moment interrupts without a trace."""

from __future__ import annotations

import dataclasses
import time
import zlib

import mxnet as mx

from . import checkpoint, engine
from .progress import Progress
from .runs import RunFolder


@dataclasses.dataclass
class Stage:
    """What is trained, on what, for how long.

    step    one of `steps`: a BaselineStep, SubnetStep or FusionStep; epochs may be 0
    about   what the finished checkpoint says of itself besides: the label space and the rule, say
    """

    name: str
    step: object
    batches: object
    epochs: int
    learning_rate: float
    prefix: str = ""
    warm_up: int = 0
    about: dict = dataclasses.field(default_factory=dict)

    @property
    def total_steps(self) -> int:
        """SGD steps from the first to the last."""
        return self.epochs * len(self.batches)

    def rate(self, step: int) -> float:
        """Learning rate of a step: linear decay to 0 (Section 4), after a linear warm-up of `warm_up` steps."""
        decayed = self.learning_rate * (1 - step / self.total_steps)
        return decayed * min(1.0, (step + 1) / self.warm_up) if self.warm_up else decayed

    def draws(self, step: int) -> int:
        """Seed of what a step draws inside the network (dropout): the same however often the run was interrupted."""
        return zlib.crc32(f"{getattr(self.batches, 'seed', 0)} {self.name} {step}".encode()) >> 1


def train(run: RunFolder, stage: Stage, network, context=None, save_every: float = 30.0, warn=print) -> None:
    """Train a stage, or load its result where it is finished, or go on where it was interrupted.

    save_every: seconds between checkpoints inside an epoch; one more is written at every epoch's end. The result
    is bit-identical however often the run was interrupted (CPU, same number of threads).
    """
    context = context or mx.cpu()
    if run.finished(stage.name).exists():
        arrays, _ = checkpoint.load(run.finished(stage.name))
        checkpoint.restore_network(network, arrays, run.finished(stage.name))
        run.drop_progress(stage.name)  # a kill right after the result was written leaves them
        return
    session = _Session(run, stage, network, save_every, warn)
    with Progress(stage.name, stage.total_steps, prefix=stage.prefix, initial=session.done) as bar:
        while session.epoch < stage.epochs:
            session.train_one_epoch(context, bar)
    meta = {"stage": stage.name, "epoch": stage.epochs, "steps": stage.total_steps, **stage.about}
    meta["network"] = network.settings
    run.finish(stage.name, checkpoint.network_arrays(network), meta)


class _Session:
    """The moving state of a stage: network, momentum, epoch, and how far into it."""

    def __init__(self, run, stage, network, save_every, warn):
        self.run, self.stage, self.network, self.save_every = run, stage, network, save_every
        self.optimiser = engine.Optimiser.of(stage.step.parameters())
        self.epoch, self.state, self.seconds = 0, engine.EpochState(), 0.0
        found = run.load_progress(stage.name, warn)
        if found is not None:
            self._restore(*found)
        self._saved = time.monotonic()

    @property
    def done(self) -> int:
        """SGD steps done."""
        return self.epoch * len(self.stage.batches) + self.state.batch

    def _restore(self, arrays: dict, meta: dict) -> None:
        path = self.run.finished(self.stage.name)
        checkpoint.restore_network(self.network, arrays, path)
        checkpoint.restore_trainer(self.optimiser.trainer, self.optimiser.names, arrays)
        self.epoch, self.seconds = meta["epoch"], meta["seconds"]
        self.state = engine.EpochState(meta["batch"], meta["images"], meta["sums"])

    def save(self) -> None:
        """Write everything that the rest of the stage depends on."""
        arrays = checkpoint.network_arrays(self.network)
        arrays.update(checkpoint.trainer_arrays(self.optimiser.trainer, self.optimiser.names))
        meta = {"stage": self.stage.name, "epoch": self.epoch, "seconds": self.seconds}
        self.run.save_progress(self.stage.name, arrays, {**meta, **dataclasses.asdict(self.state)})
        self._saved = time.monotonic()

    def train_one_epoch(self, context, bar: Progress) -> None:
        """Train (the rest of) the current epoch, log it, save."""
        began, before = time.monotonic(), self.seconds
        first = self.epoch * len(self.stage.batches)

        def after_batch(loss: float) -> None:
            bar.update(1, loss=loss)
            self.seconds = before + time.monotonic() - began
            if time.monotonic() - self._saved >= self.save_every:
                self.save()

        engine.train_epoch(
            self.stage.step,
            self.optimiser,
            self.stage.batches.epoch(self.epoch, self.state.batch),
            self.state,
            lambda batch: self.stage.rate(first + batch),
            context,
            after_batch,
            lambda batch: self.stage.draws(first + batch),
        )
        self.run.log(self._record())
        self.epoch, self.state, self.seconds = self.epoch + 1, engine.EpochState(), 0.0
        self.save()

    def _record(self) -> dict:
        return {
            "stage": self.stage.name,
            "epoch": self.epoch + 1,
            "epochs": self.stage.epochs,
            "loss": self.state.means(),
            "learning_rate": self.stage.rate(self.done - 1),
            "seconds": round(self.seconds, 2),
            "images": self.state.images,
        }
