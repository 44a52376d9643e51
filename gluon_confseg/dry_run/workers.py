"""What a training will need that is shared by several workers: computed from what a dry run of one device measured.

A worker is a process on a machine of its own, with one device or several. It computes its share of every batch, and
then the gradients are summed over all workers. In `trainee.Trainee.step` the one begins when the other has ended, so
their times add up: nothing overlaps.
"""

from __future__ import annotations

import dataclasses

from gluon_confseg.distributed import Communicator, cost
from gluon_confseg.errors import RunError
from gluon_confseg.parallel import Parallel
from gluon_confseg.report.grid import Grid

from . import memory
from .figures import as_seconds, as_size, as_time

COPIES = 2  # of the gradients: the flat array that is summed, and what it is made from or becomes


@dataclasses.dataclass(frozen=True)
class Workers:
    """How a training would be shared.

    count       worker processes, each on a machine like the one that was measured
    devices     of each process, each like the one that was measured
    accumulate  shares of a batch that a device computes one after the other
    kind        how the workers communicate, of `cost.KINDS`
    network     between them; None where there is one worker
    between_devices   bytes in a second between two devices of a machine, or a device and the memory of its machine;
                None where there is one device, whose copies then do not count
    """

    count: int = 1
    devices: int = 1
    accumulate: int = 1
    kind: str = "horovod"
    network: cost.Network | None = None
    between_devices: float | None = None

    @property
    def shares(self) -> int:
        """Into how many shares a batch is cut."""
        return self.count * self.devices * self.accumulate

    def parallel(self) -> Parallel:
        """The same as `Parallel`, of rank 0."""
        communicator = Communicator()
        communicator.size = self.count
        return Parallel((None,) * self.devices, self.accumulate, communicator)

    def check(self) -> None:
        """Raise RunError where something is not said that the plan needs."""
        if self.count > 1 and self.network is None:
            raise RunError(
                f"what {self.count} workers say to each other takes time that nobody measured: give --bandwidth and "
                "--latency, such as 10Gbit and 50us, or --network FILE"
            )
        if self.devices > 1 and self.between_devices is None:
            raise RunError(
                f"what {self.devices} devices of a worker say to each other takes time that nobody measured: give "
                "--device-bandwidth, such as 12GB"
            )


def share(batch_size: int, shares: int) -> int:
    """Images of the largest share of a batch."""
    return -(-batch_size // shares)


def fits(found: dict, workers: Workers) -> bool:
    """Whether steps with a share's images fit into the memory that this machine has left, as far as that is known.

    found   the record of a dry run whose steps had one image
    """
    if found["machine"]["device"].startswith("gpu"):
        return True  # what does not fit there ends in a sentence that says what does
    needed = [
        p["memory"]["base"]
        + p["memory"]["momentum"]
        + p["memory"]["image"] * share(p["batch_size"], workers.shares)
        for p in found["phases"]
    ]
    return max(needed) < memory.left()


def plan(found: dict, workers: Workers) -> dict:
    """What the whole needs with these workers, for JSON; bytes, seconds and hours.

    found   the record of a dry run: `estimate.record`
    """
    workers.check()
    phases = [_phase(phase, workers) for phase in found["phases"]]
    images = found["data"]["images"]
    hours = {
        "computing": sum(phase["computing_hours"] for phase in phases),
        "exchange": sum(phase["exchange_hours"] for phase in phases),
        "matrices": sum(_part(m["hours"], m["images"], [m["images"]], workers) for m in found["matrices"]),
        "evaluation": sum(_evaluation(e, images["val"], workers) for e in found["evaluations"]),
    }
    whole = sum(hours.values())
    network = workers.network if workers.count > 1 else None
    return {
        "workers": workers.count,
        "devices_per_worker": workers.devices,
        "accumulate": workers.accumulate,
        "kvstore": workers.kind if workers.count > 1 else None,
        "network": network._asdict() if network else None,
        "device_bandwidth": workers.between_devices,
        "phases": phases,
        "hours": {**hours, "all": whole},
        "hours_of_one_device": found["whole"]["hours"]["all"],
        "speed_up": found["whole"]["hours"]["all"] / whole if whole else None,
        "efficiency": (whole - hours["exchange"]) / whole if whole else None,
        "memory_of_device": max(
            [phase["memory_of_device"] for phase in phases]
            + [part["peak"] for part in (*found["matrices"], *found["evaluations"])]
        ),
        "run_folder": found["whole"]["run_folder"],
        "run_folder_at_most": found["whole"]["run_folder_at_most"],
        "data": found["whole"]["data"],
    }


def _phase(phase: dict, workers: Workers) -> dict:
    """A phase's step: what it computes, what it exchanges, and what a device holds."""
    images = share(phase["batch_size"], workers.shares)
    bytes_of_step = sum(phase["exchanged"].values()) if phase["steps"] else 0
    between = cost.exchange(workers.kind, bytes_of_step, workers.count)
    # the first device gets the gradients of the others, one after the other, and gives them the sum; of several
    # workers it also copies them to its machine's memory and back
    moved = 2 * (workers.devices - 1 + (workers.count > 1)) * bytes_of_step
    within = moved / workers.between_devices if workers.between_devices else 0.0
    computing = workers.accumulate * images * phase["fastest_step"] / phase["images_per_step"]
    exchanging = between.seconds(workers.network) + within
    taken, step = phase["memory"], computing + exchanging
    held = taken["base"] + taken["momentum"] + taken["image"] * images
    held += phase["exchanged"]["gradients"] * (workers.accumulate > 1)
    held += COPIES * bytes_of_step * (workers.count > 1)
    return {
        "name": phase["name"],
        "steps": phase["steps"],
        "images_of_share": images,
        "measured_with_images": phase["images_per_step"],
        "seconds_computing": computing,
        "seconds_exchanging": exchanging,
        "gradient_bytes": bytes_of_step,
        "sent_by_worker": round(between.sent),
        "efficiency": computing / step if step else None,
        "memory_of_device": round(max(held, taken["peak"])),
        "computing_hours": phase["steps"] * computing / 3600,
        "exchange_hours": phase["steps"] * exchanging / 3600,
    }


def _part(hours: float, images: int, lots: list, workers: Workers) -> float:
    """Hours of rank 0's part of these lots of images, which the first device of each worker evaluates."""
    return hours / images * sum(-(-lot // workers.count) for lot in lots) if images else 0.0


def _evaluation(evaluation: dict, val: int, workers: Workers) -> float:
    times = max(evaluation["validations"], 1)
    sample = evaluation["images"] - times * val
    return _part(evaluation["hours"], evaluation["images"], [val] * times + [sample], workers)


# ---- text


def head(found: dict) -> list:
    """For people: which workers a dry run's record plans with, as paragraphs, like `sums`."""
    planned, network = found["workers"], found["workers"]["network"]
    one = planned["devices_per_worker"] == 1
    devices = "one device" if one else f"{planned['devices_per_worker']} devices"
    said = f"With {planned['workers']} {'worker' if planned['workers'] == 1 else 'workers'} of {devices}"
    if planned["accumulate"] > 1:
        said += f", which compute their part of a batch in {planned['accumulate']} shares"
    if network:
        other = (
            " (--kvstore dist_sync plans with MXNet's parameter servers)"
            if planned["kvstore"] == "horovod"
            else ""
        )
        said += f", by {planned['kvstore']}{other}: {network['source']}"
    return [f"{said}."]


def _beside_one_device(planned: dict) -> str:
    if planned["speed_up"] is None:  # there is nothing to train or to evaluate
        return ""
    return (
        f" One device would take {as_time(planned['hours_of_one_device'])}, {planned['speed_up']:.1f} times as long; "
        f"{100 * planned['efficiency']:.0f} % of the time computes."
    )


def table(found: dict) -> Grid:
    """A row for each phase: its step with these workers, and what it needs."""
    names = ["phase", "images of a share", "measured with", "s computing", "s exchanging", "computes"]
    names += ["gradients", "sent by a worker", "memory of a device", "time"]
    return Grid(names, [_row(phase) for phase in found["workers"]["phases"]])


def _row(phase: dict) -> list:
    row = [phase["name"], str(phase["images_of_share"]), str(phase["measured_with_images"])]
    row += [as_seconds(phase["seconds_computing"]), as_seconds(phase["seconds_exchanging"])]
    row += ["-" if phase["efficiency"] is None else f"{100 * phase['efficiency']:.0f} %"]
    row += [as_size(phase[name]) for name in ("gradient_bytes", "sent_by_worker", "memory_of_device")]
    return [*row, as_time(phase["computing_hours"] + phase["exchange_hours"])]


def sums(found: dict) -> list:
    """The whole, and the assumptions."""
    planned, hours = found["workers"], found["workers"]["hours"]
    days = f" ({hours['all'] / 24:,.0f} days)" if hours["all"] >= 48 else ""
    said = [
        f"All of it with these workers: {as_time(hours['all'])}{days}: computing steps {as_time(hours['computing'])}, "
        f"exchanging gradients {as_time(hours['exchange'])}, training matrices {as_time(hours['matrices'])}, "
        f"validation and test {as_time(hours['evaluation'])}.{_beside_one_device(planned)}",
        f"Memory of a device: {as_size(planned['memory_of_device'])} at most. Disk: rank 0 alone writes the run "
        f"folder, {as_size(planned['run_folder_at_most'])} at most; every machine needs the data, "
        f"{as_size(planned['data'])}.",
        "Assumed: every worker is on a machine of its own like this one, as fast and connected alike; and computing "
        "and exchanging follow each other, as they do in this package, so that their times add up. Left out: starting, "
        "waiting for the slowest worker, saving, and the confusion matrices that workers send each other.",
    ]
    said += [f"Phase {name}: {caution}." for name, caution in planned.get("cautions", {}).items()]
    phases = planned["phases"]
    other = [p for p in phases if p["steps"] and p["images_of_share"] != p["measured_with_images"]]
    if other:
        said.append(
            f"The steps of {', '.join(p['name'] for p in other)} were not measured with as many images as a share has; "
            "their time is in proportion to the images."
        )
    if (
        planned["network"]
        and planned["device_bandwidth"] is None
        and found["machine"]["device"].startswith("gpu")
    ):
        said.append("Copying gradients from the GPU and back is left out: --device-bandwidth counts it.")
    return said
