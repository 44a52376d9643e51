"""Settings by name: each reaches what it is about, and what can't be meant is one sentence."""

from __future__ import annotations

import mxnet as mx
import numpy as np
import pytest

from gluon_confseg import checkpoint, compiled, encoders, engine, scenes, settings, train
from gluon_confseg.cli import train as command
from gluon_confseg.errors import RunError
from gluon_confseg.labels import CAMVID
from gluon_confseg.recipe import Cell, declare, phase
from gluon_confseg.run_folder import RunFolder
from gluon_confseg.settings import SETTINGS
from gluon_confseg.subnets import HeadSettings

SIZE = (48, 64)
RECIPE = declare(
    name="tiny",
    title="Tiny",
    data="camvid",
    profile="smoke",
    encoder="resnet18",
    output_stride=16,
    last_stage=3,
    pretrained=False,
    groups="discover",
    subnets="residual",
    rule="residual_product",
    head=HeadSettings(channels=8, stages=(3,)),
    subnet_head=HeadSettings(channels=8, dilation=1, stages=(2, 3)),
    crop=(32, 32),
    batch_size=2,
    matrix_images=2,
    draw={"train": 4, "val": 2, "size": (64, 48)},
    phases=(
        phase("base", epochs=1, learning_rate=0.1),
        phase("more", "base", loss="confusion_ce", epochs=2, learning_rate=0.1),
        phase("heads", "more", "subnets", loss="confusion_ce", epochs=1, learning_rate=0.1),
    ),
    cells=(
        Cell("base", "0", "CE", "base"),
        Cell("more", "0", "confusion CE", "more"),
        Cell("heads", "all", "confusion CE", "heads"),
    ),
    matrix_phase="base",
)
# another value of each setting, and what has to be set beside it so that it can have an effect
OTHER = {
    "encoder": "resnet34",
    "output_stride": "8",
    "last_stage": "4",
    "norm": "frozen",
    "pretrained": "yes",
    "weights": "WEIGHTS",
    "groups": "Car,Tree,Fence",
    "max_groups": "1",
    "subnets": "plain",
    "rule": "sum",
    "loss": "ohem",
    "scheme": "uniform",
    "penalty": "2",
    "average": "batch",
    "others_weight": "0.5",
    "phases.heads.matrix": "more",
    "epochs": "3",
    "learning_rate": "0.01",
    "warm_up": "3",
    "schedule": "poly",
    "power": "0.5",
    "momentum": "0.5",
    "weight_decay": "0.1",
    "biases": "twice",
    "crop": "48,32",
    "scale": "0.5,0.6",
    "max_share": "0.2",
    "crops": "meeting",
    "jitter": "yes",
    "batch_size": "1",
    "precision": "bfloat16",
    "head.channels": "16",
    "head.depth": "3",
    "head.dilation": "3",
    "head.stages": "2,3",
    "head.kind": "gcn",
    "head.context": "aspp",
    "head.rates": "1,2",
    "head.kernel": "5",
    "subnet_head.channels": "16",
    "subnet_head.depth": "3",
    "subnet_head.dilation": "3",
    "subnet_head.stages": "1,3",
    "subnet_head.kind": "gcn",
    "subnet_head.context": "aspp",
    "subnet_head.rates": "1,2",
    "subnet_head.kernel": "5",
    "subnet_head.output_stride": "8",
    "subnet_head.detail": "1",
    "subnet_head.2.channels": "16",
    "seed": "3",
    "train_split": "train_extra",
    "matrix_images": "3",
    "validate_every": "1",
    "other_rules": "sum",
    "evaluation.flip": "yes",
    "evaluation.scales": "0.5,1",
    "evaluation.window": "32,32",
    "evaluation.overlap": "0.5",
    "draw.train": "6",
    "draw.val": "3",
    "draw.size": "80,48",
}
BESIDE = {
    "power": ["schedule=poly"],
    "head.rates": ["head.kind=aspp_v2"],
    "head.kernel": ["head.kind=gcn"],
    "subnet_head.kind": ["subnets=plain"],
    "subnet_head.rates": ["subnet_head.context=aspp"],
    "subnet_head.kernel": ["subnet_head.context=gcn"],
    "evaluation.overlap": ["evaluation.window=32,32"],
}


LATER = ("validate_every", "other_rules")  # which a phase of one epoch, without subnets, does not show


class Memory:
    """A split of made-up images in memory: classes in stripes, the first one over most of the image."""

    labels, classes, drawn = CAMVID, CAMVID.classes, True

    def __init__(self, split: str, count: int):
        self.split, self.names = split, [f"{split}{k}" for k in range(count)]
        self.description = f"{split}: {count} images."

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int):
        draws = np.random.RandomState(index)
        mask = np.zeros(SIZE, np.uint8)
        mask[:12] = draws.randint(0, 11, 64)
        return draws.randint(0, 255, (*SIZE, 3)).astype(np.uint8), mask


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory):
    """A file of weights that fits the base network."""
    made = mx.random.seed(77) or _base_network()
    path = tmp_path_factory.mktemp("weights") / "base.npz"
    checkpoint.save(path, checkpoint.network_arrays(made), {})
    return path


def _base_network():
    from gluon_confseg import network

    base = RECIPE.phase("base")
    return network.build(
        base.encoder, 11, output_stride=base.output_stride, last_stage=base.last_stage, head=base.head
    )


def events(recipe, folder, monkeypatch, cells=None) -> list:
    """All that a training does with its settings where they are used: every step, update, and evaluation."""
    seen, hashed = [], set()

    def step(self, images, labels):
        criteria = getattr(self, "criteria", None) or [self.criterion]
        seen.append(("criteria", [(type(c).__name__, _values(c)) for c in criteria]))
        if self not in hashed:  # nothing is updated here: its values stay as they are
            hashed.add(self)
            seen.append(("network", str(self.network.settings), _hash(self.network)))
        seen.append(("batch", images.shape, images.asnumpy().tobytes(), np.asarray(labels).tobytes()))
        return {"loss": mx.nd.ones(len(images))}

    def update(self, batch_size):
        rates = {p.name: (p.lr_mult, p.wd_mult) for p in self._params}
        seen.append(
            (
                "update",
                self.learning_rate,
                self.optimizer.momentum,
                self.optimizer.wd,
                str(sorted(rates.values())),
            )
        )

    def evaluate(network, dataset, indices, rules, *, device=None, inference=None):
        seen.append(("evaluate", dataset.split, list(indices), list(rules), inference))
        for _ in indices:
            counts = np.eye(11, dtype=np.int64) * 9
            counts[:10, 1:] += np.eye(10, dtype=np.int64) * np.arange(1, 11)
            yield {rule: counts for rule in rules}, {rule: np.zeros((4, 4), np.uint8) for rule in rules}

    def encoder(name, output_stride, pretrained, last_stage):
        seen.append(("pretrained", pretrained))
        return own(name, output_stride, False, last_stage)

    def lowered(function, block, precision, inputs=1):
        seen.append(("precision", precision))
        return function

    own = encoders.build
    monkeypatch.setattr(engine, "lowered", lowered)
    monkeypatch.setattr(compiled, "has_avx512", lambda: True)
    for kind in engine.STEPS.values():
        monkeypatch.setattr(kind, "__call__", step)
    monkeypatch.setattr(mx.gluon.Trainer, "step", update)
    monkeypatch.setattr(engine, "evaluate_images", evaluate)
    monkeypatch.setattr(encoders, "build", encoder)
    monkeypatch.setattr(
        scenes, "draw", lambda root, progress=None, **given: seen.append(("draw", str(given)))
    )
    monkeypatch.setattr(
        "gluon_confseg.datasets.open_dataset",
        lambda data, root, split: (
            seen.append(("split", split)) or Memory(split, recipe.draw["val" if split == "val" else "train"])
        ),
    )
    monkeypatch.setattr("gluon_confseg.train.keep_examples", lambda *_: None)
    for written in ("save", "save_best"):  # nothing here goes on from them
        monkeypatch.setattr(RunFolder, written, lambda *_, **__: None)
    data = command.open_data(recipe, folder)
    train.run(recipe, data, RunFolder(folder, recipe.config()), cells=cells)
    monkeypatch.undo()
    return seen


def _values(criterion) -> str:
    plain = {k: v for k, v in vars(criterion).items() if isinstance(v, (int, float, str, np.ndarray))}
    return str(
        {
            k: v.tolist() if isinstance(v, np.ndarray) else v
            for k, v in sorted(plain.items())
            if k not in ("_name", "_prefix")
        }
    )


def _hash(network) -> int:
    return hash(b"".join(a.tobytes() for a in checkpoint.network_arrays(network).values()))


def test_every_setting_has_another_value_here():
    names = {name.rpartition("phases.heads.")[2].replace("subnet_head.2.", "subnet_head.") for name in OTHER}
    assert names == set(SETTINGS)


_usual = {}
LONG = ("subnet_head.kernel", "phases.heads.matrix")  # of the fifth that is quick to test, these are not


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if place % 5 or name in LONG else ())
        for place, name in enumerate(OTHER)
    ],
)
def test_a_setting_reaches_what_it_is_about(name, tmp_path, monkeypatch, weights_file):
    beside = BESIDE.get(name, [])
    changed = RECIPE.override([*beside, f"{name}={OTHER[name].replace('WEIGHTS', str(weights_file))}"])
    setting = SETTINGS.get(name)
    shows = (
        setting and name not in LATER and (setting.of == "recipe" or not setting.idle(changed.phase("base")))
    )
    cells = ("base",) if shows else None  # where the first phase shows it, the others only take time
    if (*beside, cells) not in _usual:
        _usual[(*beside, cells)] = events(RECIPE.override(beside), tmp_path / "usual", monkeypatch, cells)
    assert events(changed, tmp_path / "changed", monkeypatch, cells) != _usual[(*beside, cells)]


def test_the_same_settings_do_the_same(tmp_path, monkeypatch):
    first = events(RECIPE, tmp_path / "a", monkeypatch)
    assert events(RECIPE.override([]), tmp_path / "b", monkeypatch) == first


@pytest.mark.parametrize(
    "given, wanted",
    [
        ("penaly=2", "did you mean penalty.; .confseg train RECIPE --show. lists"),
        ("phases.heads.penaly=2", "there is no setting 'penaly'; did you mean penalty."),
        (
            "phases.head.penalty=2",
            "tiny has no phase 'head'; did you mean heads.; its phases are base, more, heads",
        ),
        ("penalty", "a setting is given as NAME=VALUE"),
        ("penalty=high", "penalty is a number from 0, not 'high'"),
        ("penalty=-1", "penalty is a number from 0, not '-1'"),
        ("penalty=nan", "penalty is a number from 0, not 'nan'"),
        ("epochs=1.5", "epochs is a whole number from 0, not '1.5'"),
        ("crop=32", "crop is height,width in pixels from 1, not '32'"),
        ("loss=hinge", "loss is one of ce, confusion_ce"),
        ("jitter=perhaps", "jitter is yes or no, not 'perhaps'"),
        ("scale=2,1", "scale is two numbers above 0, the smaller first"),
        ("power=2", r"would do nothing in any phase \(base: its schedule is linear\)"),
        ("phases.base.penalty=2", r"would do nothing in phase base \(base: its loss is ce"),
        ("phases.more.encoder=resnet50", "it goes on with the network of phase base"),
        ("phases.base.rule=sum", "it trains subnet0, not subnets"),
        ("evaluation.overlap=0.5", "would do nothing: evaluation has no window"),
        ("phases.base.seed=1", "is a setting of the whole training"),
        ("head.kernel=3", "a plain head has no kernel"),
        ("subnet_head.0.channels=3", "there is no setting"),
        ("phases.more.matrix=heads", "reads the matrix of heads, which is no earlier phase"),
    ],
)
def test_what_can_not_be_meant_is_one_sentence(given, wanted):
    with pytest.raises(RunError, match=wanted):
        RECIPE.override([given])


def test_subnets_of_another_kind_take_the_settings_of_that_kind():
    """Or the profile of the paper's settings would build plain subnets of the residual kind's shape, as it did."""
    plain = RECIPE.override(["subnets=plain"]).phase("heads")
    assert plain.subnet_head == plain.head
    own = RECIPE.override(["subnets=plain", "subnet_head.channels=24"]).phase("heads")
    assert own.subnet_head.channels == 24 and own.subnet_head.stages == own.head.stages


def test_a_setting_of_one_phase_goes_before_one_of_all():
    recipe = RECIPE.override(["phases.more.learning_rate=0.3", "learning_rate=0.2"])
    assert [p.learning_rate for p in recipe.phases] == [0.2, 0.3, 0.2]


def test_every_value_is_shown_with_where_it_comes_from():
    from gluon_confseg.recipe import settings_in_use

    rows = settings_in_use(RECIPE.override(["penalty=2", "phases.base.crop=16,16"]))
    assert ("more, heads", "penalty", "2", "--set penalty=2") in rows
    assert ("base", "crop", "16,16", "--set phases.base.crop=16,16") in rows
    assert ("more, heads", "crop", "32,32", "recipe") in rows
    assert ("all", "momentum", "0.9", "default") in rows
    assert {row[1] for row in rows} >= {
        "encoder",
        "head.channels",
        "subnet_head.stages",
        "evaluation.flip",
        "draw.size",
    }


def test_the_rate_falls_linearly_or_by_a_power_after_the_warm_up():
    found = RECIPE.override(["learning_rate=0.6", "warm_up=3"]).phase("base")
    rates = [found.rate_at(step, 12) for step in range(12)]
    assert rates[3:] == pytest.approx([0.6 * (1 - step / 12) for step in range(3, 12)])
    assert rates[:3] == pytest.approx([0.6 * (1 - step / 12) * (step + 1) / 3 for step in range(3)])
    poly = RECIPE.override(["learning_rate=0.6", "schedule=poly", "power=0.9"]).phase("base")
    assert poly.rate_at(6, 12) == pytest.approx(0.6 * 0.5**0.9) and poly.rate_at(12, 12) == 0


def test_twice_is_for_biases_and_beta_alone():
    parameters = _base_network()._collect_params_with_prefix()
    engine.sgd(parameters, biases="twice")
    for name, p in parameters.items():
        if p.grad_req != "null":
            assert (p.lr_mult, p.wd_mult) == ((2, 0) if name.endswith(("bias", "beta")) else (1, 1))


def test_choices_of_settings_are_those_of_the_code():
    assert set(settings.BIASES) == set(engine.BIAS_RULES)


@pytest.mark.parametrize(
    "own, wanted",
    [
        ({"schedule": "cosine"}, "phase base: schedule is linear or poly, not 'cosine'"),
        ({"loss": "foccal"}, "phase base: loss is one of ce"),
        ({"epochs": 2.5}, "phase base: epochs is a whole number from 0, not 2.5"),
        ({"max_groups": 0}, "phase base: max_groups is a whole number from 1"),
        ({"penaly": 2}, "phase base: there is no setting 'penaly'; did you mean penalty."),
    ],
)
def test_a_recipes_file_is_checked_as_the_command_line_is(own, wanted):
    with pytest.raises(RunError, match=wanted):
        phase("base", **own)


def test_words_of_a_recipes_file_mean_what_they_mean_on_the_command_line():
    assert phase("base", jitter="no")["own"]["jitter"] is False


@pytest.mark.parametrize(
    "phases, cells, wanted",
    [
        (["base", "base"], ["a"], "phase 'base' is there twice"),
        (["base", "ce.best"], ["a"], "phase 'ce.best': a name is made of letters"),
        (["base"], ["a", "a"], "cell 'a' is there twice"),
        (["base"], ["train"], "cell 'train': that name is a training matrix's"),
        (["base"], ["train_ce"], "that name is a training matrix's"),
        (["base"], ["my cell"], "a name is made of letters"),
    ],
)
def test_names_are_names_of_files_and_each_is_there_once(phases, cells, wanted):
    with pytest.raises(RunError, match=wanted):
        declare(
            name="x",
            title="x",
            data="camvid",
            phases=[phase(name, epochs=1) for name in phases],
            cells=[Cell(key, "0", "CE", "base") for key in cells],
            matrix_phase="base",
        )


def test_a_cell_of_an_unknown_rule_is_said_at_once():
    with pytest.raises(RunError, match="cell a: no fusion rule 'summ'; did you mean sum"):
        declare(
            name="x",
            title="x",
            data="camvid",
            phases=[phase("base", epochs=1)],
            cells=[Cell("a", "all", "CE", "base", rule="summ")],
            matrix_phase="base",
        )


def test_a_fusion_has_the_groups_of_its_subnets_whatever_is_given_for_all_phases():
    recipe = declare(
        name="x",
        title="x",
        data="camvid",
        phases=[
            phase("base", epochs=1),
            phase("heads", "base", "subnets", epochs=1, groups="discover"),
            phase("fused", "heads", "fusion", epochs=1),
        ],
        cells=[Cell("a", "all", "CE", "fused")],
        matrix_phase="base",
    ).override(["groups=Car,Tree", "phases.heads.groups=Car,Fence", "subnets=residual"])
    heads, fused = recipe.phase("heads"), recipe.phase("fused")
    assert heads.groups == fused.groups == "Car,Fence"
    assert (heads.subnets, heads.subnet_head) == (fused.subnets, fused.subnet_head)


def test_a_wrong_field_of_a_head_is_named_as_it_was_typed():
    with pytest.raises(RunError, match=r"--set subnet_head\.kernel: a plain head has no kernel"):
        RECIPE.override(["subnet_head.kernel=3"])


def test_the_record_says_each_setting_once_or_by_phase():
    from gluon_confseg import results

    found = results.training_record(RECIPE.override(["phases.more.crop=16,16", "phases.heads.penalty=2"]))
    more = {p["name"]: p for p in found["phases"]}
    assert "crop" not in found and (more["base"]["crop"], more["more"]["crop"]) == ((32, 32), (16, 16))
    assert (more["more"]["penalty"], more["heads"]["penalty"]) == (5.0, 2.0) and "penalty" not in more["base"]
    assert found["momentum"] == 0.9 and found["batch_size"] == 2


def test_the_record_says_threads_and_compiled_operators_once_or_by_phase():
    from gluon_confseg import results

    made_with = {"base": {"threads": 2, "compiled": True}, "more": {"threads": 1, "compiled": True}}
    found = results.training_record(RECIPE, made_with)
    said = {p["name"]: p.get("threads") for p in found["phases"]}
    assert said == {**dict.fromkeys(said), "base": 2, "more": 1}
    assert found["compiled_operators"] is True and "threads" not in found


def test_what_is_printed_after_a_training_looks_at_images_as_it_did():
    from gluon_confseg.cli import views
    from gluon_confseg.inference import Inference

    looked = Inference(scales=(0.5, 1), flip=True, window=(32, 48), overlap=0.5)
    assert views.words(looked) == " --scales 0.5 1 --window 32 48 --overlap 0.5 --flip"
    assert views.words(Inference()) == ""
