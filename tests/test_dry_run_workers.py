"""What a training needs that several workers share, from a dry run's record: `dry_run.workers`, `distributed.cost`."""

from __future__ import annotations

import dataclasses
import json

import pytest
import small
import test_dry_run
import test_parallel

from gluon_confseg import cli, dry_run
from gluon_confseg.build import Data, build
from gluon_confseg.cli import options
from gluon_confseg.datasets import Augment, Batches
from gluon_confseg.distributed import Communicator, cost, dist_sync, probe
from gluon_confseg.dry_run import folder as dry_run_folder
from gluon_confseg.dry_run import memory, workers
from gluon_confseg.dry_run.workers import Workers, plan
from gluon_confseg.errors import RunError
from gluon_confseg.parallel import Parallel

MB = 1e6
NETWORK = cost.Network(100 * MB, 0.001, "given")


def record(**phase) -> dict:
    """A dry run's record as `estimate.record` makes it: one phase of 100 steps, 16 images each, and one network."""
    hours = 100 * 0.5 * 16 / 3600
    of_phase = {
        "name": "ce",
        "steps": 100,
        "batch_size": 16,
        "images_per_step": 1,
        "fastest_step": 0.5,
        "memory": {"base": 1000, "momentum": 400, "image": 100, "peak": 1500},
        "exchanged": {"gradients": 400 * MB, "statistics": 0},
        "memory_of_batch": 1000 + 400 + 1600,
        "hours": hours,
        **phase,
    }
    evaluation = {"phase": "ce", "validations": 2, "images": 2 * 50 + 30, "hours": 1.3, "peak": 1200}
    matrix = {"phase": "ce", "images": 200, "hours": 2.0, "peak": 1100}
    whole = {"hours": {"all": of_phase["hours"] + 3.3}, "run_folder": 7, "run_folder_at_most": 9, "data": 11}
    return {
        "data": {"images": {"train": 200, "val": 50}},
        "machine": {"device": "cpu(0)"},
        "phases": [of_phase],
        "matrices": [matrix],
        "evaluations": [evaluation],
        "whole": whole,
    }


# ---- the cost of a sum


def test_a_ring_sends_two_parts_less_one_of_all_in_as_many_messages():
    """By hand: 4 workers, 400 MB: each sends 2 * 3 / 4 of it, 600 MB; at 100 MB/s that is 6 s, and 6 ms of latency."""
    found = cost.exchange("horovod", 400 * MB, 4)
    assert found == (600 * MB, 6)
    assert found.seconds(NETWORK) == pytest.approx(6.006)


def test_the_server_of_two_workers_gets_a_sum_and_of_more_the_numbers_of_all():
    """By hand: a half of 400 MB goes out and comes back over the network, of 4 workers four times 3 / 4 of it."""
    pieces = 96  # 400 MB in pieces of 4 * 2^20 bytes
    assert cost.exchange("dist_sync", 400 * MB, 2) == (400 * MB, 2 * pieces)
    assert cost.exchange("dist_sync", 400 * MB, 4) == (2400 * MB, 2 * pieces)


@pytest.mark.parametrize("kind", cost.KINDS)
def test_one_worker_exchanges_nothing_and_more_take_longer(kind):
    assert cost.exchange(kind, 400 * MB, 1).seconds(None) == 0
    taken = [cost.exchange(kind, 400 * MB, n).seconds(NETWORK) for n in range(1, 20)]
    assert taken == sorted(taken) and taken[0] < taken[1]


def test_pieces_are_those_of_the_parameter_server():
    assert cost.PIECE == dist_sync.PIECE


@pytest.mark.parametrize("kind", cost.KINDS)
@pytest.mark.parametrize("size", (2, 3))
def test_a_measured_network_gives_what_was_measured(kind, size):
    network = cost.measured(kind, size, 0.002, {1: 0.01, 64: 0.7}, "here")
    assert cost.exchange(kind, 64 * MB, size).seconds(network) == pytest.approx(0.7)
    assert cost.exchange(kind, 4, size).seconds(network) == pytest.approx(0.002, rel=1e-3)


def test_a_disturbed_latency_leaves_a_bandwidth():
    network = cost.measured("dist_sync", 2, 5.0, {64: 0.7}, "here")
    assert network.bandwidth > 0
    assert cost.exchange("dist_sync", 64 * MB, 2).seconds(network) == pytest.approx(0.7)


def network_file(folder, **changes):
    measured = cost.record("dist_sync", probe.Probe(2, 0.002, {1: 0.01, 64: 0.7}), 1)
    file = folder / "network.json"
    file.write_text(json.dumps({"usable": True, "network": {**measured, **changes}}))
    return file


def test_what_the_doctor_prints_is_read_again(tmp_path):
    kind, network = cost.read(network_file(tmp_path))
    assert (
        kind == "dist_sync"
        and network.source == "measured between 2 workers on 1 machine, not over a network"
    )
    assert cost.exchange(kind, 64 * MB, 2).seconds(network) == pytest.approx(0.7)


@pytest.mark.parametrize(
    "changes",
    (
        {"kvstore": "local"},
        {"latency": 0},
        {"latency": None},
        {"seconds_by_megabytes": {}},
        {"workers": "two"},
    ),
)
def test_a_file_without_a_measured_network_is_one_sentence(tmp_path, changes):
    with pytest.raises(RunError, match="network.json: holds no measured network; make it by `confseg doctor"):
        cost.read(network_file(tmp_path, **changes))


def test_files_that_say_nothing_are_one_sentence_each(tmp_path):
    with pytest.raises(
        RunError, match="measured with one worker, which says nothing of a network; make it by"
    ):
        cost.read(network_file(tmp_path, workers=1))
    with pytest.raises(
        RunError, match=r"missing.json: can't be read \(No such file or directory\); make it by"
    ):
        cost.read(tmp_path / "missing.json")
    (tmp_path / "text.json").write_text("ok: MXNet 1.9.1\n")
    with pytest.raises(RunError, match="holds no measured network"):
        cost.read(tmp_path / "text.json")


# ---- the plan


def test_one_worker_needs_what_the_plain_estimate_says():
    found = record()
    planned = plan(found, Workers())
    assert planned["hours"]["all"] == pytest.approx(found["whole"]["hours"]["all"])
    assert planned["phases"][0]["memory_of_device"] == found["phases"][0]["memory_of_batch"]
    assert planned["efficiency"] == planned["speed_up"] / 1 == pytest.approx(1)
    assert planned["hours"]["exchange"] == planned["phases"][0]["sent_by_worker"] == 0


def test_a_step_of_four_workers_by_hand():
    """4 of 16 images at 0.5 s, and 400 MB around a ring of 100 MB/s: 2 s and 6.006 s."""
    planned = plan(record(), Workers(4, network=NETWORK))
    (phase,) = planned["phases"]
    assert phase["images_of_share"] == 4 and phase["seconds_computing"] == pytest.approx(2.0)
    assert phase["seconds_exchanging"] == pytest.approx(6.006)
    assert phase["efficiency"] == pytest.approx(2 / 8.006)
    assert phase["computing_hours"] + phase["exchange_hours"] == pytest.approx(100 * 8.006 / 3600)
    assert planned["kvstore"] == "horovod" and planned["network"]["source"] == "given"


def test_every_lot_of_images_is_dealt_out_whole():
    """200 training images, two validations of 50, and 30 training images: of 4 workers rank 0 gets 50, 13, 13 and 8."""
    planned = plan(record(), Workers(4, network=NETWORK))
    assert planned["hours"]["matrices"] == pytest.approx(2.0 * 50 / 200)
    assert planned["hours"]["evaluation"] == pytest.approx(1.3 * (13 + 13 + 8) / 130)


def test_evaluation_is_done_by_the_first_device_of_each_worker():
    alone = plan(record(), Workers())
    four = plan(record(), Workers(devices=4, between_devices=1e10))
    assert four["hours"]["evaluation"] == alone["hours"]["evaluation"]
    assert four["hours"]["computing"] == pytest.approx(alone["hours"]["computing"] / 4)


def test_devices_of_a_worker_exchange_through_the_first():
    """3 others give 400 MB each and get it back at 1 GB/s: 2.4 s; of 2 workers it is also copied out and in: 0.8 s."""
    (phase,) = plan(record(), Workers(devices=4, between_devices=1e9))["phases"]
    assert phase["seconds_exchanging"] == pytest.approx(2.4) and phase["sent_by_worker"] == 0
    (phase,) = plan(record(), Workers(2, 4, network=NETWORK, between_devices=1e9))["phases"]
    assert phase["seconds_exchanging"] == pytest.approx(3.2 + 4.0 + 0.002)


@pytest.mark.parametrize("kind", cost.KINDS)
def test_more_workers_compute_no_longer_and_exchange_no_less(kind):
    planned = [plan(record(), Workers(n, kind=kind, network=NETWORK)) for n in range(1, 17)]
    computing, exchanging, efficiency = (
        [each["hours"][name] if name in each["hours"] else each[name] for each in planned]
        for name in ("computing", "exchange", "efficiency")
    )
    assert computing == sorted(computing, reverse=True)
    assert exchanging == sorted(exchanging)
    assert efficiency == sorted(efficiency, reverse=True)
    held = [each["phases"][0]["images_of_share"] for each in planned]
    assert held == sorted(held, reverse=True) and held[-1] == 1


def test_shares_one_after_the_other_take_memory_for_one_and_time_for_all():
    found = record()
    whole, cut = plan(found, Workers()), plan(found, Workers(accumulate=4))
    assert cut["hours"]["all"] == pytest.approx(whole["hours"]["all"])
    assert cut["phases"][0]["memory_of_device"] == 1000 + 400 + 4 * 100 + 400 * MB


def test_what_nobody_measured_must_be_given():
    with pytest.raises(
        RunError, match="what 2 workers say to each other takes time that nobody measured: give --band"
    ):
        plan(record(), Workers(2))
    with pytest.raises(
        RunError, match="what 4 devices of a worker say to each other takes .* give --device-bandwidth"
    ):
        plan(record(), Workers(devices=4))


def test_batches_that_can_not_be_cut_are_said_before_anything_runs(monkeypatch):
    monkeypatch.setattr(dry_run, "run", None)
    asked = Workers(5, network=NETWORK)
    with pytest.raises(RunError, match="batches of 4 can't be cut into 5 shares"):
        dry_run.run_for_workers(test_dry_run.TINY, asked)


def test_images_of_a_share_are_measured_where_they_fit(monkeypatch):
    runs = []

    def run(recipe, root, out, cells, images=1, *, shares=None):
        runs.append(shares or f"{images} image")
        return record()

    monkeypatch.setattr(dry_run, "run", run)
    asked, recipe = Workers(2, network=NETWORK), test_dry_run.TINY
    monkeypatch.setattr(memory, "left", lambda: 1e15)
    assert dry_run.run_for_workers(recipe, asked)["workers"]["workers"] == 2
    monkeypatch.setattr(memory, "left", lambda: 1)
    dry_run.run_for_workers(recipe, asked)
    dry_run.run_for_workers(recipe, asked, images=3)
    dry_run.run_for_workers(recipe, Workers(4, network=NETWORK))  # one image each
    assert runs == ["1 image", 2, "1 image", "3 image", "1 image"]


def test_a_share_has_the_images_of_its_phase():
    short = dry_run.shortened(test_dry_run.TINY, test_dry_run.TINY.cells, 1, shares=3)
    assert {phase.batch_size for phase in short.phases} == {2}


@pytest.mark.slow
def test_two_workers_of_a_real_recipe_from_the_command_line(tmp_path, capsys):
    command = "train table3 --dry-run --profile smoke --workers 2 --cell subnets_ce --json".split()
    for setting in (*test_dry_run.NARROW, "head.dilation=1", "draw.size=128,64"):
        command += ["--set", setting]
    assert cli.main([*command, "--network", str(network_file(tmp_path))]) == 0
    found = json.loads(capsys.readouterr().out)
    planned = found["workers"]
    assert (planned["workers"], planned["kvstore"]) == (2, "dist_sync")
    assert {(p["images_of_share"], p["measured_with_images"]) for p in planned["phases"]} == {(2, 2)}
    assert 0 < planned["efficiency"] < 1 and planned["hours"]["exchange"] > 0
    assert "workers" in found and json.loads(json.dumps(found)) == found
    text = " ".join(dry_run.text(found).split())
    assert "With 2 workers of one device, by dist_sync: measured between 2 workers on 1 machine" in text
    assert "their times add up" in text and "rank 0 alone writes" in text


class Counted(Communicator):
    """Two ranks, of which only this one is there; `bytes` of the last sum."""

    size = 2

    def allreduce(self, arrays):
        self.bytes = sum(array.size * 4 for array in arrays)


@pytest.mark.slow
@pytest.mark.parametrize("number", (0, 1))
def test_the_bytes_of_a_plan_are_those_that_a_step_sums(number, tmp_path):
    """But for the losses and signals, which are a few numbers."""
    recipe = test_parallel.recipe()
    data = Data(small.Images(count=4), small.Images("val", 2))
    folder = dry_run.DryFolder(tmp_path / "run", recipe, recipe.cells, data)
    counted, phase = Counted(), dataclasses.replace(recipe.phases[number], start=None)
    trainee, _ = build(
        phase,
        data,
        seed=0,
        matrix=dry_run_folder.neighbours(small.CLASSES),
        parallel=Parallel((None,), 1, counted),
    )
    folder.finished(phase.name)
    folder.resume(phase.name, trainee.network, trainee.trainer)
    batches = Batches(data.train, Augment((32, 32)), 4, part=trainee.parallel.part)
    with batches:
        trainee.step(next(iter(batches.epoch(0))), lambda share: 1)
    figures = folder.phases[phase.name]
    few = counted.bytes - figures.momentum - figures.statistics
    assert 0 < few < 200 and (figures.statistics > 0) == (number == 0)


# ---- the command line


def test_rates_and_times_are_read_with_their_units():
    assert (
        options.bandwidth("10Gbit") == options.bandwidth("10 Gbit/s") == options.bandwidth("1.25GB") == 1.25e9
    )
    assert options.bandwidth("500MB/s") == 5e8 and options.bandwidth("8bit") == 1
    assert (
        options.duration("50us") == 50e-6
        and options.duration("0.1 ms") == 1e-4
        and options.duration("1s") == 1
    )


RUN = "train table3 --dry-run --workers 2"


@pytest.mark.parametrize(
    ("given", "said"),
    (
        (f"{RUN} --bandwidth fast --latency 1ms", "'fast' is no bandwidth; write 10Gbit, or 1.2GB for bytes"),
        (f"{RUN} --bandwidth 0GB --latency 1ms", "'0GB' is no bandwidth"),
        (f"{RUN} --bandwidth 1GB --latency 50", "'50' is no time; write it with its unit, as in 50us"),
        (f"{RUN} --bandwidth 1GB", "--bandwidth needs --latency beside it"),
        (f"{RUN} --latency 1ms", "--latency needs --bandwidth beside it"),
        (
            f"{RUN} --network x.json --bandwidth 1GB --latency 1ms",
            "--network says what was measured, and --bandwidth",
        ),
        (f"{RUN} --devices gpu:0-1", "give --devices-per-worker N"),
        (f"{RUN} --workers 0", "'0' is not a whole number from 1 on"),
        ("train table3 --dry-run --workers 1 --bandwidth 1GB --latency 1ms", "one worker exchanges nothing"),
        ("train table3 --workers 2", "--workers plans in a dry run"),
        ("train table3 --dry-run --latency 1ms", "--latency does nothing without --dry-run --workers N"),
        (
            "train table3 --dry-run --devices-per-worker 2",
            "--devices-per-worker does nothing without --dry-run",
        ),
        ("train table3 --dry-run --kvstore horovod", "--workers N plans for several"),
    ),
)
def test_what_can_not_be_meant_is_an_error_of_use(given, said, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(given.split())
    assert ended.value.code == 2 and said in capsys.readouterr().err


def test_without_a_network_the_command_says_how_to_give_one(capsys):
    assert cli.main(RUN.split()) == 1
    assert (
        "give --bandwidth and --latency, such as 10Gbit and 50us, or --network FILE"
        in capsys.readouterr().err
    )


def test_a_network_of_the_other_kind_is_not_taken(tmp_path, capsys):
    assert cli.main([*RUN.split(), "--kvstore", "horovod", "--network", str(network_file(tmp_path))]) == 1
    assert "was measured with --kvstore dist_sync, and the plan is for horovod" in capsys.readouterr().err


def test_a_plan_of_nothing_says_no_proportions():
    found = record(steps=0, hours=0.0)
    found["evaluations"], found["matrices"], found["whole"]["hours"]["all"] = [], [], 0.0
    found["workers"] = plan(found, Workers(4, network=NETWORK))
    (whole, *_) = workers.sums(found)
    assert whole.startswith("All of it with these workers: 0 ") and "times as long" not in whole


def test_cautions_and_extrapolated_shares_are_said():
    found = record()
    found["workers"] = {**plan(found, Workers(4, network=NETWORK)), "cautions": {"ce": "batch norms differ"}}
    said = " ".join(workers.sums(found))
    assert (
        "Phase ce: batch norms differ." in said and "not measured with as many images as a share has" in said
    )
    assert workers.head(found) == [
        "With 4 workers of one device, by horovod (--kvstore dist_sync plans with MXNet's parameter servers): given."
    ]
