"""The group-conditional rule and the learned one: laws, and where its parameters live."""

from __future__ import annotations

import mxnet as mx
import numpy as np
import pytest

from gluon_confseg import (
    checkpoint,
    complexity,
    engine,
    export,
    fusion,
    labels,
    losses,
    network,
    weights,
)
from gluon_confseg.datasets.batches import Batch
from gluon_confseg.run_folder import RunFolder
from tests import small

K = 6
DISJOINT = ((0, 1, 4), (5, 2))
OVERLAPPING = ((0, 1, 4), (4, 2), (4, 0, 5))
EVERY = tuple(range(K))
RULES = (*fusion.RULES, fusion.LEARNED)


def logits(groups, scale: float = 3.0, seed: int = 0) -> list:
    draws = np.random.RandomState(seed)
    channels = [K] + [min(len(group) + 1, K) for group in groups]
    return [mx.nd.array(draws.uniform(-scale, scale, (2, c, 3, 4))) for c in channels]


def softmax(array) -> np.ndarray:
    array = np.asarray(array if isinstance(array, np.ndarray) else array.asnumpy(), np.float64)
    powers = np.exp(array - array.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def learned(groups, scale: float = 0.0, seed: int = 0) -> fusion.LearnedFusion:
    """A learned fusion with drawn parameters; of scale 0 as it starts."""
    block, draws = fusion.LearnedFusion(groups, K), np.random.RandomState(seed)
    block.initialize()
    for parameter in block.collect_params().values():
        parameter.set_data(mx.nd.array(scale * draws.normal(size=parameter.shape)))
    return block


def fuse(rule: str, each, groups, block=None) -> np.ndarray:
    block = block or (learned(groups, 0.1) if rule == fusion.LEARNED else None)
    return fusion.Fusion(groups, K, rule, block)(*each).asnumpy()


# ---- the conditional rule


def conditional_by_hand(each, groups) -> np.ndarray:
    first, fused = softmax(each[0]), np.zeros((2, K, 3, 4))
    for k in range(K):
        said = []
        for scores, group in zip(each[1:], groups):
            if k in group:
                shares = softmax(scores.asnumpy()[:, -len(group) :])
                said.append(first[:, list(group)].sum(1) * shares[:, group.index(k)])
        fused[:, k] = np.mean(said, 0) if said else first[:, k]
    return fused / fused.sum(1, keepdims=True)


@pytest.mark.parametrize("groups", [DISJOINT, OVERLAPPING, (EVERY,), (EVERY, (1, 3)), ((5, 3, 1, 0, 2, 4),)])
def test_the_conditional_rule_shares_out_subnet_0s_mass_inside_each_group(groups):
    each = logits(groups)
    found = np.exp(fuse("conditional", each, groups))
    np.testing.assert_allclose(found, conditional_by_hand(each, groups), rtol=1e-4)


def test_the_conditional_rule_leaves_every_groups_mass_and_every_lone_class_to_subnet_0():
    each = logits(DISJOINT)
    first, fused = softmax(each[0]), np.exp(fuse("conditional", each, DISJOINT))
    for group in (*DISJOINT, (3,)):
        np.testing.assert_allclose(fused[:, list(group)].sum(1), first[:, list(group)].sum(1), rtol=1e-5)


def test_the_conditional_rule_does_not_hear_others():
    each = logits(DISJOINT)
    louder = [each[0], *(mx.nd.concat(x[:, :1] + 5, x[:, 1:], dim=1) for x in each[1:])]
    np.testing.assert_array_equal(fuse("conditional", each, DISJOINT), fuse("conditional", louder, DISJOINT))


# ---- the learned rule


@pytest.mark.parametrize("groups", [DISJOINT, OVERLAPPING, (EVERY, (1, 3))])
def test_the_learned_rule_starts_as_the_residual_product_exactly(groups):
    each = logits(groups)
    found = fuse(fusion.LEARNED, each, groups, learned(groups))
    np.testing.assert_array_equal(found, fuse("residual_product", each, groups))


def test_the_learned_rule_is_a_linear_map_of_log_probabilities_and_corrections():
    each, block = logits(DISJOINT), learned(DISJOINT, 0.3)
    weight, bias = (p.data().asnumpy().astype(np.float64) for p in block.correction.collect_params().values())
    views = [softmax(fusion.view(each[0], g, K)) for g in DISJOINT]
    changes = [np.log(softmax(x)) - np.log(seen) for x, seen in zip(each[1:], views)]
    read = np.concatenate([np.log(softmax(each[0])), *changes], 1)
    total = fuse("residual_product", each, DISJOINT) + bias[:, None, None]
    total = total + np.einsum("kc,nchw->nkhw", weight[:, :, 0, 0], read)
    np.testing.assert_allclose(np.exp(fuse(fusion.LEARNED, each, DISJOINT, block)), softmax(total), rtol=1e-4)


def test_the_learned_rule_without_parameters_says_how_to_get_them():
    with pytest.raises(ValueError, match="learned_fusion=True"):
        fusion.Fusion(DISJOINT, K, fusion.LEARNED)
    built = small.build()
    for needs_it in (
        lambda: network.FusedNetwork(built, fusion.LEARNED),
        lambda: engine.FusionStep(built, [losses.CrossEntropyLoss(small.CLASSES)]),
        lambda: list(engine.evaluate(built, [], [fusion.LEARNED], small.CLASSES)),
    ):
        with pytest.raises(ValueError, match="learned_fusion=True"):
            needs_it()
    with pytest.raises(ValueError, match="nothing to fuse"):
        small.build(groups=(), learned_fusion=True)


# ---- laws of all rules


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule != "sum"])  # which copies "others"
@pytest.mark.parametrize("groups", [DISJOINT, OVERLAPPING, (EVERY, (1, 3))])
@pytest.mark.parametrize("scale", [1.0, 50.0, 1e4])
def test_scores_of_the_classes_sum_to_1(rule, groups, scale):
    fused = fuse(rule, logits(groups, scale), groups)
    assert np.isfinite(fused).all()
    # the sum of rounded logs of 1e4 is as exact as they are
    np.testing.assert_allclose(np.exp(fused.astype(np.float64)).sum(1), 1, rtol=1e-5 * max(1, scale / 50))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("groups", [DISJOINT, OVERLAPPING, (EVERY, (1, 3))])
def test_renaming_the_classes_renames_the_scores(rule, groups):
    """Class k becomes names[k], in subnet 0's logits, in the groups and in the learned parameters."""
    names = np.array([3, 5, 0, 1, 4, 2])
    old = np.argsort(names)  # the old name of each new class
    moved = [tuple(int(names[k]) for k in group) for group in groups]
    each, block, renamed = logits(groups), learned(groups, 0.1), learned(moved)
    wanted = fuse(rule, each, groups, block if rule == fusion.LEARNED else None)[:, old]
    weight, bias = (p.data().asnumpy() for p in block.correction.collect_params().values())
    columns = [*old, *range(K, weight.shape[1])]
    for parameter, values in zip(
        renamed.correction.collect_params().values(), (weight[old][:, columns], bias[old])
    ):
        parameter.set_data(mx.nd.array(values))
    each[0] = mx.nd.take(each[0], mx.nd.array(old), axis=1)
    found = fuse(rule, each, moved, renamed if rule == fusion.LEARNED else None)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    "classes, groups",
    [
        (11, ((0, 2, 5, 6, 7, 8), (3, 4, 9, 10, 1))),
        (11, (tuple(range(11)), (1, 2))),
        (19, ((2, 3, 4, 5, 6, 7), (13, 14, 15, 16), (11, 12, 17, 18))),
        (21, ((0, 9, 11, 16, 18),)),
    ],
)
def test_hybridized_behind_convolutions_every_rule_is_the_live_one_and_can_be_recorded(rule, classes, groups):
    """MXNet refuses some graphs with gradients of more than eight slices."""
    block = fusion.LearnedFusion(groups, classes) if rule == fusion.LEARNED else None
    net = Behind(fusion.Fusion(groups, classes, rule, block), groups, classes)
    net.initialize(mx.init.Normal(1))
    images = mx.nd.array(np.random.RandomState(0).normal(size=(2, 3, 3, 4)))
    live = net(images).asnumpy()
    net.hybridize()
    with mx.autograd.record():
        found = net(images)
        loss = (found * found).sum()
    loss.backward()
    np.testing.assert_allclose(found.asnumpy(), live, rtol=1e-4, atol=1e-5)


class Behind(mx.gluon.HybridBlock):
    """A fusion whose logits are no inputs of the graph, as in a network."""

    def __init__(self, fuse, groups, classes: int):
        super().__init__()
        self.fuse, self.heads = fuse, mx.gluon.nn.HybridSequential()
        for channels in (classes, *(min(len(group) + 1, classes) for group in groups)):
            self.heads.add(mx.gluon.nn.Conv2D(channels, 1, in_channels=3))

    def hybrid_forward(self, F, images):
        return self.fuse(*(head(images) for head in self.heads))


# ---- the network that holds its parameters


def trained_a_little(kind: str = "residual", groups=small.GROUPS):
    """A network with a learned fusion that is no longer the residual product."""
    built = small.shaken(kind, groups, learned_fusion=True)
    for parameter in built.learned_fusion.collect_params().values():
        parameter.set_data(0.1 * parameter.data())
    return built


@pytest.mark.parametrize("kind", network.SUBNETS)
@pytest.mark.parametrize("groups", [small.GROUPS, ((0, 1), (1, 2, 4), (3, 2, 1, 0, 4))])
def test_the_learned_rule_exports(kind, groups, tmp_path):
    built = trained_a_little(kind, groups)
    written = export.write(built, fusion.LEARNED, labels.CAMVID, tmp_path / "net")
    assert written.difference <= export.TOLERANCE
    graph = mx.gluon.SymbolBlock.imports(str(written.symbol), ["data"], str(written.parameters))
    classical = network.FusedNetwork(built, "residual_product")(small.images())
    assert (graph(small.images()) - classical).abs().max().asscalar() > 1e-3


def test_parameters_of_the_learned_rule_are_in_checkpoints(tmp_path):
    built, file = trained_a_little(), tmp_path / "phase.npz"
    space = labels.LabelSpace("own", "Own", tuple("abcde"), np.zeros((5, 3), np.uint8))
    about = {"rule": "learned", "labels": space.record(), "network": built.settings}
    checkpoint.save(file, checkpoint.network_arrays(built), about)
    loaded = network.load(file)
    assert loaded.rule == "learned" and small.same_bits(small.values(loaded.network), small.values(built))
    wanted = network.FusedNetwork(built, "learned")(small.images()).asnumpy()
    found = network.FusedNetwork(loaded.network, "learned")(small.images()).asnumpy()
    np.testing.assert_array_equal(found, wanted)
    other = small.build(seed=3, learned_fusion=True)
    assert weights.load(other, file).left == []
    assert small.same_bits(small.values(other), small.values(built))


def test_a_checkpoint_without_the_learned_rule_is_a_network_without_it(tmp_path):
    built, file = small.shaken(), tmp_path / "phase.npz"
    older = {name: value for name, value in built.settings.items() if name != "learned_fusion"}
    checkpoint.save(file, checkpoint.network_arrays(built), {"network": older})
    arrays, meta = checkpoint.load(file)
    again = network.from_settings(meta["network"])
    checkpoint.restore_network(again, arrays, file)
    assert again.learned_fusion is None and small.same_bits(small.values(again), small.values(built))


def test_a_network_with_the_learned_rule_starts_from_a_checkpoint_without_it(tmp_path):
    built, file = small.shaken(), tmp_path / "phase.npz"
    checkpoint.save(file, checkpoint.network_arrays(built), {"network": built.settings})
    for fill in (
        lambda target: checkpoint.restore_part(target, checkpoint.load(file)[0], file),
        lambda target: weights.load(target, file),
    ):
        target = small.build(seed=7, learned_fusion=True)
        fill(target)
        fused = [network.FusedNetwork(n, r) for n, r in ((built, "residual_product"), (target, "learned"))]
        scores = [block(small.images()).asnumpy() for block in fused]
        np.testing.assert_array_equal(*scores)


def test_a_learned_rule_leaves_all_other_initial_values_alone():
    with_it, without = (small.values(small.build(learned_fusion=flag)) for flag in (True, False))
    assert small.same_bits({name: with_it[name] for name in without}, without)
    assert {name.split(".")[0] for name in set(with_it) - set(without)} == {"learned_fusion"}


def test_the_learned_rules_cost_is_counted():
    without, with_it = small.build(), small.build(learned_fusion=True)
    read, cells = small.CLASSES + 3 + 3, 2 * 4
    extra = complexity.parameters(with_it) - complexity.parameters(without)
    assert extra == small.CLASSES * (read + 1)
    shape = (1, 3, 32, 64)
    costs = [
        complexity.multiply_adds(network.FusedNetwork(with_it, rule), shape)
        for rule in ("residual_product", "learned")
    ]
    assert costs[1] - costs[0] == small.CLASSES * read * cells


# ---- its training step


def batches(count: int = 3) -> list:
    return [Batch(small.images(n).asnumpy(), small.labels(n), (f"{n}", "other")) for n in range(count)]


@pytest.mark.parametrize("hybrid", [False, True])
@pytest.mark.parametrize("kind", network.SUBNETS)
def test_while_the_fusion_trains_nothing_else_changes_by_a_bit(kind, hybrid):
    built = small.build(kind, learned_fusion=True)
    if hybrid:
        engine.hybridize_parts(built)
    before, step = small.values(built), engine.FusionStep(built, [losses.CrossEntropyLoss(small.CLASSES)])
    assert set(step.parameters()) == {"learned_fusion.correction.weight", "learned_fusion.correction.bias"}
    small.train(step, batches(), rate=0.01)
    after = small.values(built)
    moved = {name for name in before if not np.array_equal(before[name], after[name])}
    assert moved == set(step.parameters())


@pytest.mark.parametrize("parameters_of", [engine.Subnet0Step, engine.SubnetStep])
def test_other_steps_leave_the_learned_fusion_alone(parameters_of):
    built = small.build(learned_fusion=True)
    trained = parameters_of(built, [None]).parameters()
    assert trained and not any(name.startswith("learned_fusion") for name in trained)


def test_the_fusion_lowers_its_loss_with_any_criterion():
    built = small.shaken("plain", learned_fusion=True)
    for parameter in built.learned_fusion.collect_params().values():
        parameter.set_data(mx.nd.zeros(parameter.shape))
    batch = batches(1)[0]
    wanted = np.where(batch.labels == 255, 255, (batch.labels > 2)).astype(np.uint8)
    confusion = losses.ConfusionCELoss(np.full((small.CLASSES, small.CLASSES), 0.1) + np.eye(small.CLASSES))
    for criterion in (losses.CrossEntropyLoss(small.CLASSES), confusion):
        step = engine.FusionStep(built, [criterion])
        trainer, found = engine.sgd(step.parameters()), []
        trainer.set_learning_rate(0.01)
        for _ in range(6):
            found.append(float(step(mx.nd.array(batch.images), wanted)["fusion"].mean().asscalar()))
            trainer.step(len(wanted))
        assert found[-1] < found[0] and np.isfinite(found).all()


def test_a_phase_trains_the_fusion_and_evaluation_reads_it(tmp_path):
    built = small.build(learned_fusion=True)
    engine.hybridize_parts(built)
    step = engine.FusionStep(built, [losses.CrossEntropyLoss(small.CLASSES)])
    small.train(step, batches(2) * 2)
    run = RunFolder(tmp_path / "run", {})
    run.finish("fusion", built, {"rule": "learned"})
    arrays, meta = checkpoint.load(run.checkpoint("fusion"))
    assert meta["network"]["learned_fusion"] and meta["rule"] == "learned"
    again = network.from_settings(meta["network"])
    checkpoint.restore_network(again, arrays, run.checkpoint("fusion"))
    assert small.values(again)["learned_fusion.correction.weight"].any()
    rules = ["subnet0", "residual_product", "learned"]
    _, first, _ = next(iter(engine.evaluate(built, batches(1), rules, small.CLASSES)))
    _, other, _ = next(iter(engine.evaluate(again, batches(1), rules, small.CLASSES)))
    for rule in rules:
        np.testing.assert_array_equal(first[rule], other[rule])
    assert (first["learned"] != first["residual_product"]).any()
