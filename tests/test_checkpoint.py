"""Checkpoints: whole or refused, never half, never unpickled."""

from __future__ import annotations

import io
import os
import pickle

import mxnet as mx
import numpy as np
import pytest
import small

from gluon_confseg import checkpoint, engine, files, losses, network
from gluon_confseg.errors import CheckpointError
from gluon_confseg.run_folder import Position, RunFolder


@pytest.fixture
def arrays() -> dict:
    draws = np.random.RandomState(0)
    return {
        "parameter:weight": draws.normal(size=(3, 4)).astype(np.float32),
        "momentum:weight": draws.normal(size=(3, 4)),
        "counts": np.array([[2**60, 1], [0, -5]]),
        "empty": np.zeros((0, 2), np.float32),
        "scalar": np.array(np.nan, np.float16),
    }


META = {"phase": "base", "epoch": 3, "sums": {"subnet0": 0.1}, "names": ["ä", "b"]}


@pytest.fixture
def file(tmp_path, arrays):
    checkpoint.save(tmp_path / "state.npz", arrays, META)
    return tmp_path / "state.npz"


def test_what_is_loaded_is_what_was_saved(file, arrays):
    loaded, meta = checkpoint.load(file)
    assert small.same_bits(loaded, arrays)
    assert meta == META


def test_equal_contents_are_equal_bytes(tmp_path, file, arrays):
    checkpoint.save(tmp_path / "again.npz", arrays, dict(reversed(META.items())))
    assert (tmp_path / "again.npz").read_bytes() == file.read_bytes()


def test_a_checkpoint_is_an_ordinary_npz(file, arrays):
    with np.load(file, allow_pickle=False) as archive:
        assert small.same_bits({k: archive[k] for k in arrays}, arrays)
    assert checkpoint.is_checkpoint(file)


# ---- damage


def test_any_flipped_bit_is_an_error(tmp_path, file):
    content, draws = file.read_bytes(), np.random.RandomState(0)
    places = {0, 1, len(content) - 1, len(content) - 2, len(content) - 64, len(content) - 65}
    places |= set(draws.randint(0, len(content), 54).tolist())
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(draws.randint(8))
        target = tmp_path / "damaged.npz"
        target.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="damaged.npz"):
            checkpoint.load(target)


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
def test_a_file_cut_short_is_an_error(file, share):
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CheckpointError, match="state.npz"):
        checkpoint.load(file)


@pytest.mark.parametrize("change", [lambda c: c[:-1], lambda c: c[1:], lambda c: c + b"\0", lambda c: c + c])
def test_a_byte_too_few_or_too_many_is_an_error(file, change):
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(CheckpointError):
        checkpoint.load(file)


def test_foreign_files_are_told_from_damaged_ones(tmp_path):
    np.savez(tmp_path / "plain.npz", a=np.zeros(3))
    (tmp_path / "text").write_text("no checkpoint at all " * 10)
    mx.nd.save(str(tmp_path / "net.params"), {"a": mx.nd.zeros(3)})
    for name in ("text", "net.params"):
        with pytest.raises(CheckpointError, match=f"{name}: is no gluon-confseg checkpoint"):
            checkpoint.load(tmp_path / name)
        assert not checkpoint.is_checkpoint(tmp_path / name)
    with pytest.raises(CheckpointError, match="plain.npz"):
        checkpoint.load(tmp_path / "plain.npz")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="nowhere.npz: can't be read"):
        checkpoint.load(tmp_path / "nowhere.npz")
    with pytest.raises(CheckpointError, match="can't be read"):
        checkpoint.load(tmp_path)
    assert not checkpoint.is_checkpoint(tmp_path / "nowhere.npz")


class Bomb:
    """What would say so if it were unpickled."""

    exploded = False

    def __reduce__(self):
        return setattr, (Bomb, "exploded", True)


def test_a_pickle_is_refused_even_under_a_right_checksum(tmp_path):
    pickle.loads(pickle.dumps(Bomb()))
    assert Bomb.exploded  # the bomb works
    Bomb.exploded = False
    content = io.BytesIO()
    meta = np.frombuffer(b"{}", np.uint8)
    np.savez(content, **{"meta.json": meta, "weight": np.array([Bomb()], dtype=object)})
    (tmp_path / "crafted.npz").write_bytes(checkpoint._sealed(content.getvalue()))
    with pytest.raises(CheckpointError, match="crafted.npz"):
        checkpoint.load(tmp_path / "crafted.npz")
    assert not Bomb.exploded


def test_an_npz_without_description_is_refused(tmp_path):
    content = io.BytesIO()
    np.savez(content, weight=np.zeros(3))
    (tmp_path / "bare.npz").write_bytes(checkpoint._sealed(content.getvalue()))
    with pytest.raises(CheckpointError, match="bare.npz"):
        checkpoint.load(tmp_path / "bare.npz")


# ---- saving


@pytest.mark.parametrize("moment", ["replace", "fsync", "write"])
def test_a_crash_while_saving_leaves_the_old_file(monkeypatch, file, arrays, moment):
    def crash(*_):
        raise KeyboardInterrupt

    if moment == "write":
        monkeypatch.setattr("builtins.open", crash)
    else:
        monkeypatch.setattr(os, moment, crash)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(file, {"other": np.ones(3)}, {})
    monkeypatch.undo()
    loaded, meta = checkpoint.load(file)
    assert small.same_bits(loaded, arrays) and meta == META


def test_content_is_on_disk_before_it_has_the_name(monkeypatch, tmp_path):
    calls = []
    for name in ("fsync", "replace"):
        own = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, own=own, name=name: (calls.append(name), own(*a))[1])
    files.write_bytes(tmp_path / "file", b"content")
    assert calls == [
        "fsync",
        "replace",
        "fsync",
    ]  # the file, then its name, then the folder that holds the name
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_crash_between_two_saves_leaves_one_state(monkeypatch, tmp_path, capsys):
    run, built = RunFolder(tmp_path / "run", {}), small.build()
    trainer = engine.sgd(built._collect_params_with_prefix())
    run.save("base", Position(epoch=1), built, trainer)
    monkeypatch.setattr(checkpoint, "save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run.save("base", Position(epoch=2), built, trainer)
    assert run.resume("base", built, trainer) == Position(epoch=1) and not capsys.readouterr().err


def test_a_damaged_state_gives_way_to_the_one_before_with_a_warning(tmp_path, capsys):
    run, built = RunFolder(tmp_path / "run", {}), small.build()
    trainer = engine.sgd(built._collect_params_with_prefix())
    assert run.resume("base", built, trainer) == Position()
    for epoch in (1, 2):
        run.save("base", Position(epoch=epoch), built, trainer)
    latest = tmp_path / "run" / "checkpoints" / "base.progress-2.npz"
    latest.write_bytes(latest.read_bytes()[:-3])
    assert run.resume("base", built, trainer) == Position(epoch=1)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and "base.progress-2.npz" in said[0]


# ---- networks and optimisers


def test_a_network_gets_its_own_values_back(tmp_path):
    built, other = small.shaken(seed=1), small.build(seed=2)
    checkpoint.save(tmp_path / "net.npz", checkpoint.network_arrays(built), {})
    checkpoint.restore_network(other, checkpoint.load(tmp_path / "net.npz")[0], "net.npz")
    assert small.same_bits(small.values(other), small.values(built))
    for found, wanted in zip(other(small.images()), built(small.images())):
        np.testing.assert_array_equal(found.asnumpy(), wanted.asnumpy())


def test_values_are_read_whole_even_while_a_network_runs():
    """An inference convolution rearranges its weights in place, later."""
    wanted = checkpoint.network_arrays(small.build())
    for _ in range(5):
        built = small.build()
        built(small.images())  # not waited for
        assert small.same_bits(checkpoint.network_arrays(built), wanted)


@pytest.mark.parametrize(
    "settings, named",
    [
        ({"groups": ()}, "holds .* that it has not"),
        ({"groups": (*small.GROUPS, (0, 3))}, "lacks .*subnets.2."),
        ({"groups": ((0, 1), (4, 2, 3))}, "subnets.1.output.* has shape"),
        ({"subnets": "plain"}, "checkpoint of another network"),
    ],
)
def test_another_networks_checkpoint_is_named_and_changes_nothing(settings, named):
    arrays, other = checkpoint.network_arrays(small.build()), small.build(**settings, seed=1)
    before = small.values(other)
    with pytest.raises(CheckpointError, match=f"some.npz.*{named}") as caught:
        checkpoint.restore_network(other, arrays, "some.npz")
    assert "\n" not in str(caught.value)
    assert small.same_bits(small.values(other), before)


def test_a_smaller_networks_checkpoint_fills_encoder_and_subnet_0():
    first, larger = small.shaken(groups=(), seed=1), small.build(seed=2)
    before = small.values(larger)
    checkpoint.restore_part(larger, checkpoint.network_arrays(first), "base.npz")
    after, wanted = small.values(larger), small.values(first)
    assert small.same_bits({k: after[k] for k in wanted}, wanted)
    rest = [k for k in after if k not in wanted]
    assert rest and small.same_bits({k: after[k] for k in rest}, {k: before[k] for k in rest})


def optimised(built):
    step = engine.SubnetStep(built, [losses.CrossEntropyLoss(3)] * 2)
    return step, engine.sgd(step.parameters())


def one_step(step, trainer, seed: int) -> None:
    step(small.images(seed), small.labels(seed))
    trainer.set_learning_rate(0.1)
    trainer.step(2)


def test_momentum_goes_on_by_name_bit_for_bit(tmp_path):
    built = small.build()
    step, trainer = optimised(built)
    one_step(step, trainer, 0)
    arrays = checkpoint.network_arrays(built)
    arrays.update(checkpoint.trainer_arrays(trainer, trainer.names))
    checkpoint.save(tmp_path / "state.npz", arrays, {})
    loaded, _ = checkpoint.load(tmp_path / "state.npz")
    assert any(name.startswith("momentum:subnets.1.output") for name in loaded)
    one_step(step, trainer, 1)

    again = small.build(seed=9)
    other_step, other = optimised(again)
    checkpoint.restore_network(again, loaded, "state.npz")
    checkpoint.restore_trainer(other, other.names, loaded)
    one_step(other_step, other, 1)
    assert small.same_bits(small.values(again), small.values(built))
    assert small.same_bits(
        checkpoint.trainer_arrays(other, other.names),
        checkpoint.trainer_arrays(trainer, trainer.names),
    )


def test_without_momentum_the_next_step_differs():
    """What the law above would not notice if momentum were lost."""
    outcomes = []
    for kept in (True, False):
        built = small.build()
        step, trainer = optimised(built)
        one_step(step, trainer, 0)
        if not kept:
            trainer = engine.sgd(step.parameters())
        one_step(step, trainer, 1)
        outcomes.append(small.values(built))
    assert not small.same_bits(*outcomes)


# ---- finished checkpoints build their network


def test_a_finished_checkpoint_says_how_its_network_is_built(tmp_path):
    built = small.build(seed=3)
    about = {"network": built.settings, "rule": "product", "labels": "cityscapes"}
    checkpoint.save(tmp_path / "ce.npz", checkpoint.network_arrays(built), about)
    loaded = network.load(tmp_path / "ce.npz")
    assert (loaded.rule, loaded.labels.name) == ("product", "cityscapes")
    assert small.same_bits(small.values(loaded.network), small.values(built))


@pytest.mark.parametrize("about, named", [({}, "unfinished"), ({"labels": "ade20k"}, "ade20k.*camvid")])
def test_a_state_that_is_no_network_yet_is_said_so(tmp_path, about, named):
    built = small.build()
    meta = {**about, "network": built.settings, "rule": "sum"} if about else {}
    checkpoint.save(tmp_path / "state.npz", checkpoint.network_arrays(built), meta)
    with pytest.raises(CheckpointError, match=named):
        network.load(tmp_path / "state.npz")


@pytest.mark.parametrize(
    "changed, named",
    [
        ({"head": {"channels": 8, "attention": True}}, "attention"),  # a setting of some later version
        ({"encoder": "resnet9000"}, "resnet9000"),
    ],
)
def test_a_network_that_this_version_cannot_build_is_one_sentence(tmp_path, changed, named):
    built = small.build()
    about = {"network": {**built.settings, **changed}, "rule": "sum", "labels": "cityscapes"}
    checkpoint.save(tmp_path / "ce.npz", checkpoint.network_arrays(built), about)
    with pytest.raises(
        CheckpointError, match=f"ce.npz: describes a network that .*{named}.*take the version"
    ):
        network.load(tmp_path / "ce.npz")


def test_loading_draws_no_random_values(tmp_path):
    built = small.shaken(learned_fusion=True)
    meta = {"labels": "camvid", "rule": "sum", "network": built.settings}
    checkpoint.save(tmp_path / "net.npz", checkpoint.network_arrays(built), meta)
    drawn = []
    for load in (lambda: None, lambda: network.load(tmp_path / "net.npz")):
        mx.random.seed(3)
        load()
        drawn.append(mx.nd.random.normal(shape=(5,)).asnumpy())
    assert np.array_equal(*drawn)


def test_arrays_that_do_not_fit_each_other_are_another_networks(tmp_path):
    built = small.build()
    arrays = checkpoint.network_arrays(built)
    name = "parameter:encoder.layer2.0.conv1.weight"
    arrays[name] = arrays[name][:, :32]
    checkpoint.save(
        tmp_path / "net.npz", arrays, {"labels": "camvid", "rule": "sum", "network": built.settings}
    )
    with pytest.raises(CheckpointError, match=r"layer2\.0\.conv1\.weight has shape \(128, 32, 3, 3\)"):
        network.load(tmp_path / "net.npz")
