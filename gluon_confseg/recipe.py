"""Recipes: the phases of a training, and the cells of a table that score their networks, with complete values.

A recipe's file calls `declare`, which fills in every default, once. `Recipe.override` changes settings by name and
fills in anew, so that values which depend on a setting follow its new value.
"""

from __future__ import annotations

import dataclasses
import re

from .encoders.dilation import strides
from .engine import MOMENTUM, WEIGHT_DECAY
from .errors import RunError, did_you_mean
from .fusion import LEARNED, RULES
from .inference import PLAIN as WHOLE_IMAGES
from .inference import TTA, Inference
from .phases import PARTS, Cell, Phase
from .settings import SETTINGS, find, value_of
from .subnets import PLAIN, RESIDUAL, HeadSettings


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Everything that decides the outcome of a training. A run folder's config.json holds it.

    train_split     the split to train on
    draw            settings of `scenes.draw` where the data are drawn; None: a data set is read
    matrix_phase    the phase whose confusion matrix on training images gives the weights C of the loss and the groups
    matrix_images   how many training images that matrix counts, evenly spaced; None: all
    other_rules     further fusion rules by which the networks are scored
    validate_every  epochs between validations; 0: only when a phase ends
    evaluation      how images are tested, in validation and in cells of tta "single"
    declared        what the recipe was made from, with the settings that were changed since
    """

    name: str
    title: str
    profile: str
    data: str
    phases: tuple
    cells: tuple
    matrix_phase: str
    matrix_images: int | None
    other_rules: tuple
    validate_every: int
    evaluation: Inference
    train_split: str
    draw: dict | None
    seed: int
    paper_table: str
    paper_encoder: str
    paper_data: str
    declared: Declared = dataclasses.field(repr=False, compare=False)

    def config(self) -> dict:
        """What config.json holds: everything but `declared`."""
        plain = dataclasses.asdict(dataclasses.replace(self, declared=None))
        del plain["declared"]
        return plain

    def phase(self, name: str) -> Phase:
        """The phase with this name."""
        return next(phase for phase in self.phases if phase.name == name)

    def rule_of(self, cell: Cell) -> str:
        """The fusion rule that a cell's network is read by."""
        phase = self.phase(cell.phase)
        return "subnet0" if cell.subnets == "0" else cell.rule or phase.rule

    def rule_at(self, phase: Phase) -> str:
        """The fusion rule that a phase's checkpoint names: that of the first cell that fuses its network."""
        fused = [cell for cell in self.cells if cell.phase == phase.name and cell.subnets != "0"]
        return self.rule_of(fused[0]) if fused else phase.rule

    def rules_at(self, phase: Phase, cells, tta: str = "single") -> list:
        """The rules that a phase's network is evaluated by: its checkpoint's, those of the cells, and `other_rules`."""
        asked = [self.rule_of(cell) for cell in cells if (cell.phase, cell.tta) == (phase.name, tta)]
        if tta == "single":
            asked = [self.rule_at(phase), *asked]
            asked += self.other_rules if phase.part.trains_subnets and len(asked) > 1 else ()
        return list(dict.fromkeys(asked))

    def choose(self, keys=None) -> tuple:
        """The cells with these keys, in the table's order; None: all. Raises RunError for an unknown key."""
        known = [cell.key for cell in self.cells]
        for key in keys or ():
            if key not in known:
                raise RunError(
                    f"{self.name} has no cell {key!r}{did_you_mean(key, known)}; its cells are {', '.join(known)}"
                )
        return tuple(cell for cell in self.cells if not keys or cell.key in keys)

    def needed(self, cells) -> tuple:
        """The phases that these cells depend on, in order, each once."""
        wanted = {self.matrix_phase, *(cell.phase for cell in cells)}
        for phase in reversed(self.phases):  # whatever a phase needs is earlier
            if phase.name in wanted:
                wanted |= {phase.start, phase.matrix}
        return tuple(phase for phase in self.phases if phase.name in wanted)

    def measured(self, phases=None) -> set:
        """The phases whose training matrix others read for weights or groups."""
        return {phase.matrix for phase in phases or self.phases if phase.reads_matrix}

    def override(self, assignments) -> Recipe:
        """The recipe with settings changed by name, in order.

        assignments   "NAME=VALUE"; NAME is a setting, changed in all phases, or "phases.PHASE.SETTING"
        Raises RunError for an unknown name, a value of the wrong kind, and a setting that would do nothing.
        """
        declared = self.declared
        for assignment in assignments:
            declared = declared.given(assignment)
        changed = declared.resolve()
        _check_effects(changed)
        return changed

    def with_data(self, **changes) -> Recipe:
        """The recipe with changed settings of the whole recipe, such as `draw` (drawn data)."""
        settings = {**self.declared.settings, **changes}
        return dataclasses.replace(self.declared, settings=settings).resolve()


# ---- declaring


# settings that a phase takes over from the phase that it starts from: of its network, and of its subnets if it has any
NETWORK = ("encoder", "output_stride", "last_stage", "norm", "head")
OF_SUBNETS = ("groups", "max_groups", "matrix", "subnets", "subnet_head", "subnet_heads")
DEFAULTS = {
    "loss": "ce",
    "scheme": "confusion",
    "penalty": 5.0,
    "average": "image",
    "others_weight": 1.0,
    "matrix": None,
    "learning_rate": 0.002,
    "warm_up": 0,
    "schedule": "linear",
    "power": 0.9,
    "momentum": MOMENTUM,
    "weight_decay": WEIGHT_DECAY,
    "biases": "same",
    "encoder": "resnet101",
    "output_stride": 8,
    "last_stage": 4,
    "norm": "batch",
    "pretrained": True,
    "weights": None,
    "head": PLAIN,
    "groups": "paper",
    "max_groups": None,
    "subnets": "plain",
    "subnet_head": PLAIN,
    "subnet_heads": (),
    "rule": "sum",
    "crop": (500, 500),
    "scale": (0.7, 1.3),
    "max_share": 1.0,
    "crops": "random",
    "jitter": False,
    "batch_size": 16,
    "precision": "float32",
}
OF_RECIPE = {
    "matrix_images": None,
    "other_rules": (),
    "validate_every": 5,
    "evaluation": WHOLE_IMAGES,
    "train_split": "train",
    "draw": None,
    "seed": 0,
    "paper_table": "Table 3",
    "paper_encoder": "ResNet-101",
    "paper_data": "Cityscapes val",
}


GIVEN = 4  # levels from here on: settings changed by name, not given by the recipe's file


def declare(*, name, title, data, phases, cells, matrix_phase, profile="full", **settings) -> Recipe:
    """A recipe: its phases and cells, with the settings that all phases share. A recipe's file assigns it to RECIPE.

    name          part of the run folder's name
    title         the heading of its report
    data          a name of `datasets.DATASETS`
    phases        what `phase` returns, in the order of training
    cells         a list of `Cell`, the entries of the table of results, in the order of its columns
    matrix_phase  the phase whose confusion matrix on the training images gives the loss's weights and the groups
    profile       the size of this recipe, where a file has several
    settings      of all phases (`confseg train RECIPE --show` lists them), and of the whole: `seed`, `draw`,
                  `other_rules`, `validate_every`, `matrix_images`, `evaluation`, `train_split`
    Raises RunError for an unknown setting, a wrong value, and phases or cells that don't fit together.
    """
    fixed = {"name": name, "title": title, "data": data, "profile": profile, "matrix_phase": matrix_phase}
    unknown = sorted(set(settings) - set(DEFAULTS) - set(OF_RECIPE))
    if unknown:
        raise RunError(
            f"recipe {name}: there is no setting {unknown[0]!r}{did_you_mean(unknown[0], DEFAULTS)}"
        )
    return Declared(fixed, _read(settings, f"recipe {name}"), tuple(phases), tuple(cells)).resolve()


def phase(name: str, start: str | None = None, trains: str = "subnet0", **own) -> dict:
    """One phase of training in a recipe's file.

    name    letters, digits, _ and -: its checkpoint is NAME.npz
    start   the phase whose network it goes on with; None: initial values, or a file of weights
    trains  "subnet0", encoder and subnet 0; "subnets", all further subnets on the frozen encoder; "fusion", the learned
            fusion rule
    own     its own settings, such as `epochs`, `learning_rate` and `loss`; all others are the recipe's, or those of the
            phase `start`
    Raises RunError for an unknown setting or a wrong value.
    """
    if trains not in PARTS:
        raise RunError(f"phase {name} trains {trains!r}, which is none of {', '.join(PARTS)}")
    unknown = sorted(set(own) - set(DEFAULTS) - {"epochs"})
    if unknown:
        raise RunError(
            f"phase {name}: there is no setting {unknown[0]!r}{did_you_mean(unknown[0], {*DEFAULTS, 'epochs'})}"
        )
    return {"name": name, "start": start, "trains": trains, "own": _read(own, f"phase {name}")}


def _read(settings: dict, where: str) -> dict:
    """The settings with checked values, as on the command line; HeadSettings have checks of their own."""
    return {k: value_of(SETTINGS[k], v, where) if k in SETTINGS else v for k, v in settings.items()}


@dataclasses.dataclass(frozen=True)
class Declared:
    """What a recipe's file says, and the settings that were changed since.

    fixed      name, title, data, profile, matrix_phase
    settings   those of all phases, and those of the whole recipe
    phases     the values that `phase` returned
    changes    ((phase or None, setting name, group or None, value, what was typed), ...) in order
    """

    fixed: dict
    settings: dict
    phases: tuple
    cells: tuple
    changes: tuple = ()

    def given(self, assignment: str) -> Declared:
        """A copy with the change "NAME=VALUE"."""
        name, equals, value = (part.strip() for part in assignment.partition("="))
        typed = f"--set {assignment}"
        if not equals:
            raise RunError(f"{typed}: a setting is given as NAME=VALUE, such as penalty=2")
        of_phase = None
        if name.startswith("phases."):
            known = [declared["name"] for declared in self.phases]
            of_phase, _, name = name[len("phases.") :].partition(".")
            if of_phase not in known:
                raise RunError(
                    f"{typed}: {self.fixed['name']} has no phase {of_phase!r}{did_you_mean(of_phase, known)}; "
                    f"its phases are {', '.join(known)}"
                )
        setting, group = find(name, typed)
        if of_phase and setting.of == "recipe":
            raise RunError(f"{typed}: {name} is a setting of the whole training; give {name}={value}")
        change = (of_phase, setting.name, group, value_of(setting, value, typed), typed)
        return dataclasses.replace(self, changes=(*self.changes, change))

    def resolve(self) -> Recipe:
        """The complete recipe. Raises RunError for settings that don't fit together."""
        phases = {}
        for declared in self.phases:
            phases[declared["name"]] = self._phase(declared, phases)[0]
        _check_names(self, phases)
        return Recipe(
            **self.fixed, **self._of_recipe(), phases=tuple(phases.values()), cells=self.cells, declared=self
        )

    def sources(self) -> dict:
        """phase -> setting -> where its value comes from, in words."""
        phases, sources = {}, {}
        for declared in self.phases:
            phases[declared["name"]], sources[declared["name"]] = self._phase(declared, phases)
        return sources

    def _phase(self, declared: dict, earlier: dict) -> tuple:
        """(a complete Phase, setting -> where it comes from); the last of several sources of a value counts."""
        name, part = declared["name"], PARTS[declared["trains"]]
        start = earlier.get(declared["start"])
        if declared["start"] is not None and start is None:
            raise RunError(f"phase {name} starts from {declared['start']}, which is no earlier phase")
        levels = [
            ("default", {**DEFAULTS, "epochs": 0, "matrix": self.fixed["matrix_phase"]}),
            ("recipe", {key: value for key, value in self.settings.items() if key in DEFAULTS}),
        ]
        inherited = () if start is None else (*NETWORK, *(OF_SUBNETS if start.part.has_groups else ()))
        if start is not None:
            levels.append((f"phase {start.name}", {key: getattr(start, key) for key in inherited}))
        levels.append(("phase", declared["own"]))
        values, level_of, source = {}, {}, {}
        for level, (words, settings) in enumerate(levels):
            values.update(settings)
            level_of.update(dict.fromkeys(settings, level))
            source.update(dict.fromkeys(settings, words))
        of_heads = {"head": [], "subnet_head": []}
        for of_phase, key, group, value, typed in sorted(
            self.changes, key=lambda change: change[0] is not None
        ):
            base, _, field = key.partition(".")
            if SETTINGS[key].of != "phase" or of_phase not in (None, name):
                continue
            if of_phase is None and base in inherited:
                continue  # it has the value of its start
            if field:
                of_heads[base].append((group, field, value))
                source[key if group is None else f"{base}.{group}.{field}"] = typed
            else:
                level_of[key] = GIVEN if of_phase is None else GIVEN + 1
                values[key], source[key] = value, typed
        if start is not None and values["last_stage"] != {**levels[0][1], **levels[1][1]}["last_stage"]:
            level_of["last_stage"] = GIVEN  # the start's, where it was given
        _resolve_heads(values, level_of, source, of_heads)
        if start is not None and level_of["weights"] in (1, GIVEN):
            values["weights"] = None  # a file for all phases is for those without a start
        follows = start is not None and values["weights"] is None
        values["pretrained"] = values["pretrained"] and not follows and values["weights"] is None
        values["rule"] = part.rule or values["rule"]
        depth = start.depth + 1 if start else 0
        found = Phase(
            **values,
            name=name,
            start=declared["start"] if follows else None,
            trains=declared["trains"],
            path=(*(start.path if follows else ()), name),
            depth=depth,
            draws=part.draws + 10 * depth,
        )
        return found, source

    def _of_recipe(self) -> dict:
        """The settings of the whole recipe."""
        values = {**OF_RECIPE, **{k: v for k, v in self.settings.items() if k in OF_RECIPE}}
        for _, key, _, value, typed in self.changes:
            base, _, field = key.partition(".")
            if base == "evaluation":
                try:
                    values["evaluation"] = dataclasses.replace(values["evaluation"], **{field: value})
                except RunError as error:
                    raise RunError(f"{typed}: {error}") from error
            elif base == "draw" and values["draw"]:
                values["draw"] = {**values["draw"], field: value}
            elif key in OF_RECIPE:
                values[key] = value
        return values


def _resolve_heads(values: dict, level_of: dict, source: dict, changes: dict) -> None:
    """Fill in the settings of subnet 0's head, of the subnets' heads, and of the heads of single groups' subnets.

    If the last stage or the kind of subnets was changed and the head was not, the head becomes one that fits. (With the
    old settings the network could be built, but nobody would have asked for it.) Plain subnets get subnet 0's head.
    """
    last = values["last_stage"]
    if values["head"].stages[-1] != last and (level_of["last_stage"] >= GIVEN or not level_of["head"]):
        values["head"] = dataclasses.replace(values["head"], stages=(last,))
        source["head"] = "follows last_stage"
    values["head"] = _with_fields(values["head"], changes["head"], "head")
    misfit = values["subnet_head"].stages[-1] != last and level_of["last_stage"] >= GIVEN
    if misfit or level_of["subnets"] > level_of["subnet_head"] or not level_of["subnet_head"]:
        residual = dataclasses.replace(RESIDUAL, stages=(last - 2, last - 1, last))
        values["subnet_head"] = values["head"] if values["subnets"] == "plain" else residual
        source["subnet_head"] = "follows subnets"
    values["subnet_head"] = _with_fields(values["subnet_head"], changes["subnet_head"], "subnet_head")
    heads = dict(values["subnet_heads"])
    for group in sorted({group for group, _, _ in changes["subnet_head"] if group is not None}):
        head = heads.get(group, values["subnet_head"])
        heads[group] = _with_fields(head, changes["subnet_head"], "subnet_head", group)
        source["subnet_heads"] = "--set"
    values["subnet_heads"] = tuple(sorted(heads.items()))


def _with_fields(head: HeadSettings, changes: list, base: str, group: int | None = None) -> HeadSettings:
    """A head with fields changed; a new kind or context has its own defaults for the fields that were not given."""
    fields = {field: value for of, field, value in changes if of == group}
    if not fields:
        return head
    if {"kind", "context"} & set(fields):
        kept = {
            name: getattr(head, name) for name in ("kind", "context", "stages", "output_stride", "detail")
        }
        if (
            fields.get("kind", head.kind) != head.kind
        ):  # a context and a branch for detail belong to plain heads
            kept.update({"context": None, "detail": None})
    else:
        kept = dataclasses.asdict(head)
    try:
        return HeadSettings(**{**kept, **fields})
    except ValueError as error:
        name = base if group is None else f"{base}.{group}"
        raise RunError(f"--set {name}.{next(iter(fields))}: {error}") from error


def _check_names(declared: Declared, phases: dict) -> None:
    """Check that phases and cells have unique names that can be file names, and refer to earlier phases."""
    for what, names in (
        ("phase", [phase["name"] for phase in declared.phases]),
        ("cell", [cell.key for cell in declared.cells]),
    ):
        for name in names:
            if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
                raise RunError(f"{what} {name!r}: a name is made of letters, digits, _ and -")
            if names.count(name) > 1:
                raise RunError(f"{what} {name!r} is there twice: give each a name of its own")
            if what == "cell" and (name == "train" or name.startswith("train_")):
                raise RunError(f"cell {name!r}: that name is a training matrix's; give it another")
    order = list(phases)
    for number, (name, found) in enumerate(phases.items()):
        if found.reads_matrix and found.matrix not in order[:number]:
            raise RunError(f"phase {name} reads the matrix of {found.matrix}, which is no earlier phase")
        _check_strides(found)
        if found.start and any(key in declared.phases[number]["own"] for key in NETWORK):
            raise RunError(f"phase {name} goes on with the network of {found.start}: it can't have another")
    named = [(f"cell {cell.key}", cell.phase) for cell in declared.cells]
    for where, name in [*named, ("matrix_phase", declared.fixed["matrix_phase"])]:
        if name not in phases:
            raise RunError(
                f"{where}: there is no phase {name!r}{did_you_mean(str(name), phases)}; the phases are "
                f"{', '.join(phases)}"
            )
    for cell in declared.cells:
        if cell.tta != "single" and cell.tta not in TTA:
            raise RunError(f"cell {cell.key}: no way of testing {cell.tta!r}: choose one of {', '.join(TTA)}")
        if cell.rule not in (None, *RULES, LEARNED):
            raise RunError(f"cell {cell.key}: no fusion rule {cell.rule!r}{did_you_mean(cell.rule, RULES)}")


def _check_strides(found: Phase) -> None:
    """Check that heads work at strides that a stage of the encoder has, and subnet 0 at the network's."""
    if found.head.output_stride is not None:
        raise RunError(
            f"phase {found.name}: subnet 0 works at the network's output stride: set output_stride"
        )
    known = strides(found.output_stride, found.last_stage)
    heads = {"subnet_head": found.subnet_head, **{f"subnet_head.{m}": h for m, h in found.subnet_heads}}
    for name, head in heads.items() if found.part.has_groups else ():
        if head.output_stride not in (None, *known):
            raise RunError(
                f"phase {found.name}: a subnet's output stride is that of a stage of its encoder, "
                f"{' or '.join(map(str, dict.fromkeys(known)))}, not {head.output_stride}"
            )
        _check_detail(found, name, head, known)


def _check_detail(found: Phase, name: str, head: HeadSettings, known: tuple) -> None:
    """Check that a head's branch for detail reads a finer stage, and is one of a residual subnet."""
    if head.detail is None:
        return
    where = f"phase {found.name}: a subnet's detail"
    if found.subnets != "residual":
        raise RunError(
            f"{where} is a branch of residual subnets alone, and these are {found.subnets}: set {name}.detail=none"
        )
    own, grid = known[head.detail - 1 : head.detail], head.output_stride or found.output_stride
    if not own or own[0] >= grid:
        raise RunError(
            f"{where} is a stage with a finer grid than the subnet's: those of stages 1 to {len(known)} have "
            f"{', '.join(map(str, known))} pixels per feature, and the subnet's grid has {grid}; "
            f"{'choose an earlier stage, or set' if known[0] < grid else 'set'} {name}.detail=none"
        )


def _check_effects(recipe: Recipe) -> None:
    """Raise RunError for a changed setting that would do nothing."""
    for of_phase, key, _, _, typed in recipe.declared.changes:
        setting = SETTINGS[key]
        where = (
            [recipe] if setting.of == "recipe" else [p for p in recipe.phases if of_phase in (None, p.name)]
        )
        reasons = [setting.idle(place) for place in where]
        if not all(reasons):
            continue
        if setting.of == "recipe":
            raise RunError(f"{typed} would do nothing: {reasons[0]}")
        told = f"in phase {where[0].name} " if of_phase else "in any phase "
        raise RunError(f"{typed} would do nothing {told}({where[0].name}: {reasons[0]})")


def settings_in_use(recipe: Recipe) -> list:
    """Rows (phases, setting, value, where it comes from) of every setting that has an effect, with a heading row."""
    sources, rows = recipe.declared.sources(), []
    for name, setting in SETTINGS.items():
        base, _, field = name.partition(".")
        if setting.of == "recipe":
            if not setting.idle(recipe):
                value = getattr(recipe, base)
                value = (value[field] if base == "draw" else getattr(value, field)) if field else value
                typed = [c[4] for c in recipe.declared.changes if c[1] == name]
                own = "recipe" if base in recipe.declared.settings else "default"
                rows.append(("all", name, _plain(value), typed[-1] if typed else own))
            continue
        found = {}
        for phase in (p for p in recipe.phases if not setting.idle(p)):
            of_phase = sources[phase.name]
            value = getattr(getattr(phase, base), field) if field else getattr(phase, base)
            source = of_phase.get(name) or of_phase.get(base, "default")
            found.setdefault((_plain(value), source), []).append(phase.name)
        for (value, source), phases in found.items():
            rows.append((", ".join(phases), name, value, source))
    for phase in (p for p in recipe.phases if p.part.trains_subnets):
        for number, head in phase.subnet_heads:
            value = ", ".join(
                f"{k} {_plain(v)}" for k, v in dataclasses.asdict(head).items() if v is not None
            )
            rows.append((phase.name, f"subnet_head.{number}", value, sources[phase.name]["subnet_heads"]))
    every = ", ".join(phase.name for phase in recipe.phases)
    rows = [("all", *row[1:]) if row[0] == every else row for row in rows]
    return [("phases", "setting", "value", "comes from"), *rows]


def _plain(value) -> str:
    if isinstance(value, (list, tuple)):
        return ",".join(map(_plain, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


# ---- what several recipes share


def four_cells(paper=(None, None, None, None), fused: str = "0-3", *, continued: bool = False) -> tuple:
    """The four columns of Table 3: subnet 0 or all subnets, by cross-entropy or by the paper's loss.

    continued   with a control as a fifth, beside the first: subnet 0 by cross-entropy, trained on for as many updates
                as the subnets had; `branching_phases` and `separate_phases` make its phase with the same argument
    """
    control = [Cell("subnet0_ce_continued", "0", "CE, trained on", "ce_continued")] if continued else []
    return (
        Cell("subnet0_ce", "0", "CE", "ce", paper[0]),
        *control,
        Cell("subnets_ce", fused, "CE", "subnets_ce", paper[1]),
        Cell("subnet0_confusion_ce", "0", "confusion CE", "confusion_ce", paper[2]),
        Cell("subnets_confusion_ce", fused, "confusion CE", "subnets_confusion_ce", paper[3]),
    )


def branching_phases(
    *,
    base: int,
    subnet0: int,
    subnets: int,
    rate: float,
    fine_rate: float,
    subnet_rate: float,
    warm_up: int = 0,
    continued: bool = False,
) -> tuple:
    """For short trainings: one base network, from which both losses go on for equally many epochs; then the subnets.

    base, subnet0, subnets          epochs of the base network, of its further training by each loss, and of the subnets
    rate, fine_rate, subnet_rate    the learning rates of the same
    warm_up                         steps in which the base network's rate rises to its full value
    continued                       with a control, subnet 0 trained on for as long as the subnets: see `four_cells`
    """
    fine = {"epochs": subnet0, "learning_rate": fine_rate}
    heads = {"epochs": subnets, "learning_rate": subnet_rate}
    return (
        phase("base", epochs=base, learning_rate=rate, warm_up=warm_up),
        phase("ce", "base", **fine),
        phase("confusion_ce", "base", loss="confusion_ce", **fine),
        *([phase("ce_continued", "ce", **{**fine, "epochs": subnets})] if continued else []),
        phase("subnets_ce", "ce", "subnets", **heads),
        phase("subnets_confusion_ce", "confusion_ce", "subnets", loss="confusion_ce", **heads),
    )


def separate_phases(*, subnet0: int, subnets: int, rate: float, continued: bool = False) -> tuple:
    """As in the paper, Section 4: subnet 0 from ImageNet weights by each loss; then subnets on each, frozen.

    subnet0, subnets   epochs of subnet 0 with its encoder, and of the subnets
    rate               the learning rate of all
    continued          with a control, subnet 0 trained on for as long as the subnets: see `four_cells`
    """
    fine = {"epochs": subnet0, "learning_rate": rate}
    heads = {"epochs": subnets, "learning_rate": rate}
    return (
        phase("ce", **fine),
        phase("confusion_ce", loss="confusion_ce", **fine),
        *([phase("ce_continued", "ce", **heads)] if continued else []),
        phase("subnets_ce", "ce", "subnets", **heads),
        phase("subnets_confusion_ce", "confusion_ce", "subnets", loss="confusion_ce", **heads),
    )


# networks that two cores train in minutes: the paper's structure on the first three stages of a small encoder
SMALL_RESNET = {
    "encoder": "resnet18",
    "output_stride": 16,
    "last_stage": 3,
    "pretrained": False,
    "subnets": "residual",
    "rule": "residual_product",
    "head": HeadSettings(channels=128, depth=2, dilation=2, stages=(3,)),
    "subnet_head": HeadSettings(channels=64, depth=2, dilation=1, stages=(1, 2, 3)),
}
SMALL_EFFICIENTNET = {
    "encoder": "efficientnet_lite0",
    "output_stride": 8,
    "last_stage": 3,
    "subnets": "residual",
    "rule": "residual_product",
    "head": HeadSettings(channels=128, depth=2, dilation=4, stages=(3,)),
    "subnet_head": HeadSettings(channels=64, depth=2, dilation=1, stages=(2, 3), detail=1),
    "batch_size": 4,
}
