"""What is known about one confusion, or about one class, in sentences and as numbers."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

import numpy as np

from gluon_confseg import metrics
from gluon_confseg.errors import class_of
from gluon_confseg.report.comparison import NO_CLASS, Arm, Comparison
from gluon_confseg.report.folder import phase_of
from gluon_confseg.report.grid import Grid
from gluon_confseg.report.tables import cell_name, percent

NOTICED, MOSTLY = 0.1, 0.5  # relative changes that are called a change, and "mostly mended"
FEW_IMAGES, RARE = 3, 0.005  # images, and share of all labelled pixels, by which a class is called rare
LOPSIDED = 4
LISTED = 5  # images, and pairs of a class


def find(classes: Sequence[str], name: str) -> int:
    """The class of this name, or K for no class; `errors.class_of` says of which names."""
    return len(classes) if name == NO_CLASS else class_of(name, classes)


def pair(compared: Comparison, truth: int, prediction: int) -> dict:
    """What is known about pixels of class `truth` that were taken for `prediction` (K: for no class).

    returns  {"truth", "prediction": names; "arms": [numbers of each arm, among them "images": how many have this
             confusion]; "reverse": [the same the other way round]; "group": names or None; "weights": [{"arm",
             "weight", "penalty", "rank"}]; "images": [{"name", "pixels": [of each arm]}], those with most of it;
             "sections": [{"title", "text": [sentences]}]}
    """
    return _Pair(compared, truth, prediction).record()


def mended(compared: Comparison, truth: int, prediction: int) -> list:
    """Whether other arms confuse them less than the first: the best arm, the one that mends most, and its price."""
    return _Pair(compared, truth, prediction).mended()


class _Pair:
    """One confusion. i, j: the names of its classes; first: the arm that the others are compared with."""

    def __init__(self, compared: Comparison, truth: int, prediction: int):
        self.compared, self.truth, self.prediction = compared, truth, prediction
        self.i, self.j = compared.named(truth), compared.named(prediction)
        self.first, self.others = compared.arms[0], compared.arms[1:]
        self.of_no_class = prediction == len(compared.classes)
        self.number = None if self.of_no_class else compared.group_of(truth, prediction)
        self.images = self._images()

    def record(self) -> dict:
        compared, weights = self.compared, self._weights()
        sections = {
            "How much": self._how_much(),
            "Where": self._where(),
            "From arm to arm": self._changes(),
            "What the method did" if compared.runs else "Groups": self._method(weights),
            "What to try next": self._next(),
        }
        reverse = [] if self.of_no_class else [self._numbers(arm, reverse=True) for arm in compared.arms]
        return {
            "truth": self.i,
            "prediction": self.j,
            "arms": [self._numbers(arm) for arm in compared.arms],
            "reverse": reverse,
            "group": self.number and [compared.classes[k] for k in compared.groups[self.number - 1]],
            "weights": weights,
            "images": self.images[:LISTED],
            "sections": [{"title": title, "text": text} for title, text in sections.items() if text],
        }

    def share(self, arm: Arm) -> float:
        return float(arm.shares[self.truth, self.prediction])

    def _numbers(self, arm: Arm, reverse: bool = False) -> dict:
        at = (self.prediction, self.truth) if reverse else (self.truth, self.prediction)
        column = arm.full[:, at[1]].sum()
        images = None if arm.per_image is None else int(np.count_nonzero(arm.per_image.pixels(*at)))
        return {
            "arm": arm.name,
            "pixels": int(arm.full[at]),
            "share": float(arm.shares[at]),
            "share_of_prediction": float(arm.full[at] / column) if column else 0.0,
            "cost": float(arm.costs[at]),
            "images": images,
        }

    def _images(self) -> list:
        """The images with this confusion in the first arm, most first."""
        known = [arm.per_image for arm in self.compared.arms]
        if known[0] is None:
            return []
        pixels = [None if one is None else one.pixels(self.truth, self.prediction) for one in known]
        ranked = [place for place in np.argsort(-pixels[0], kind="stable").tolist() if pixels[0][place]]
        return [
            {
                "name": self.compared.names[place],
                "pixels": [None if of_arm is None else int(of_arm[place]) for of_arm in pixels],
            }
            for place in ranked
        ]

    # ---- how much, and where

    def _how_much(self) -> list:
        there, first = int(self.first.full[self.truth].sum()), self._numbers(self.first)
        by = self.first.name if self.others else "the network"
        if not there:
            return [f"The labels of these images hold no pixel of {self.i}, so nothing can be told."]
        if first["pixels"]:
            ranked = self.first.ranked
            place = ranked.index((self.truth, self.prediction)) + 1
            order = "the costliest" if place == 1 else f"number {place} in order of cost"
            said = [
                f"{percent(first['share'])} % of the pixels of {self.i} were taken for {self.j} by {by}: "
                f"{first['pixels']:,} pixels. They are {percent(first['share_of_prediction'])} % of all that was "
                f"predicted {self.j}.",
                f"They cost {percent(first['cost'])} points of mIoU: so much would be gained if all were right. That "
                f"is {order} of {len(ranked)} confusions{f' of {by}' if self.others else ''}.",
            ]
            if not self.of_no_class and not self.first.full[self.prediction].sum():
                said.append(
                    f"No pixel of these labels is {self.j}: it counts in the mean of the classes, with an IoU of 0, "
                    "only because it is predicted somewhere. So a few pixels can cost much."
                )
        else:
            said = [f"Of the {there:,} pixels of {self.i}, {by} took none for {self.j}."]
        if not self.of_no_class:
            back = self._numbers(self.first, reverse=True)
            said.append(
                f"The other way round, {percent(back['share'])} % of {self.j} were taken for {self.i} "
                f"({back['pixels']:,} pixels, {percent(back['cost'])} points)."
            )
        return said

    def _where(self) -> list:
        if not self.compared.names:
            return list(self.compared.notes[:1])
        if self.first.per_image is None:
            return []
        first, best, of = self.first, self.compared.best, f"{len(self.compared.names)} images"
        said = f"This confusion is in {len(self.images)} of {of}"
        if self.others:
            said += f" with {first.name}"
            if best.per_image is not None:
                said += f", and in {self._numbers(best)['images']} with {best.name}"
        if not self.images:
            return [f"{said}."] if any(map(self.share, self.compared.arms)) else []
        named = [f"{image['name']} ({image['pixels'][0]:,})" for image in self.images]
        if len(named) == 1:
            return [f"{said}. All of it{f' with {first.name}' if self.others else ''} is in {named[0]}."]
        half = half_in(self.images)
        more = f", and {half - 3} more" if half > 3 else ""
        listed = ", ".join(named[: min(half, 3)])
        begin = f"With {first.name}, half" if self.others else "Half"
        return [f"{said}. {begin} of its pixels or more are in {half} images: {listed}{more}."]

    # ---- from arm to arm

    def mended(self) -> list:
        if not self.others:
            return []
        best, least = self.compared.best, min(self.others, key=self.share)
        by_what = ", the best of the others by mIoU," if len(self.others) > 1 else ""
        said = [f"With {best.name}{by_what} {self._change(best)}."]
        if least is not best and self.share(least) < min(
            (1 - NOTICED) * self.share(self.first), self.share(best)
        ):
            said.append(f"With {least.name}, which has least of it, {self._change(least)}.")
        if not self.of_no_class and self._helped(least):
            before, after = (arm.shares[self.prediction, self.truth] for arm in (self.first, least))
            if after - before > NOTICED * (self.share(self.first) - self.share(least)):
                said.append(
                    f"But there {self.j} is taken for {self.i} more than before: from {percent(before)} % to "
                    f"{percent(after)} % of {self.j}."
                )
        return said

    def _change(self, arm: Arm) -> str:
        """ "it is partly mended, 40 % of it: from 20.00 % to 12.00 % of bus" """
        before, after = self.share(self.first), self.share(arm)
        shares = f"from {percent(before)} % to {percent(after)} % of {self.i}"
        if before == after:
            return "it is the same"
        if not before:
            return f"it is new: {shares}"
        change = (after - before) / before
        if change > NOTICED:
            return f"it became worse: {shares}"
        if change >= -NOTICED:
            return f"it hardly changed: {shares}"
        if not self._recognised(arm):
            return (
                f"there is less of it, {shares}, but that is not mended, as other confusions took its place: "
                f"{percent(arm.recall[self.truth])} % of {self.i} are right, and "
                f"{percent(self.first.recall[self.truth])} % were"
            )
        return f"it is {'mostly' if change < -MOSTLY else 'partly'} mended, {-100 * change:.0f} % of it: {shares}"

    def _recognised(self, arm: Arm) -> bool:
        """Whether at least half of what is no longer confused became right."""
        gone = self.share(self.first) - self.share(arm)
        return arm.recall[self.truth] - self.first.recall[self.truth] >= MOSTLY * gone

    def _helped(self, arm: Arm) -> bool:
        return self.share(arm) < (1 - NOTICED) * self.share(self.first) and self._recognised(arm)

    def _changes(self) -> list:
        said = self.mended()
        if len(self.others) > 1:
            before = self.share(self.first)
            changes = [
                f"{arm.name}: {percent(self.share(arm))} % ({percent(self.share(arm) - before, sign=True)})"
                for arm in self.others
            ]
            said.append(f"Shares of {self.i}, with the change from {self.first.name}: {'; '.join(changes)}.")
        best = self.compared.best
        if self.others and self.first.per_image is not None and best.per_image is not None:
            before, after = (arm.per_image.pixels(self.truth, self.prediction) for arm in (self.first, best))
            less, more = int((after < before).sum()), int((after > before).sum())
            if less or more:
                said.append(
                    f"With {best.name}, {less} images have less of it than before, and {more} have more."
                )
        return said

    # ---- what the groups, C and the subnets did

    def _weights(self) -> list:
        """c_ij and lambda of each arm that was trained by the paper's loss."""
        found = []
        for arm in () if self.of_no_class else self.compared.arms:
            settings = settings_of(arm)
            if settings.get("loss") != "confusion_ce" or not {"scheme", "penalty"} <= settings.keys():
                continue
            matrix = arm.run.train_of.get(settings.get("matrix"), arm.run.train)
            if matrix is None:
                continue
            # MXNet comes with it, which no other part of a report needs
            from gluon_confseg.build import confusion_weights

            weights = confusion_weights(metrics.normalize(matrix), settings["scheme"])
            weight = weights[self.truth, self.prediction]
            found.append(
                {
                    "arm": arm.name,
                    "weight": float(weight),
                    "penalty": float(settings["penalty"]),
                    "rank": int((np.delete(weights[self.truth], self.truth) > weight).sum()) + 1,
                }
            )
        return found

    def _method(self, weights: list) -> list:
        compared, i, j = self.compared, self.i, self.j
        if self.of_no_class:
            return [
                "These pixels were predicted as 255, which is no class, so no group and no weight is about them."
            ]
        said, trained = [], any(map(has_subnets, compared.arms))
        if self.number:
            members = ", ".join(compared.classes[k] for k in compared.groups[self.number - 1])
            said.append(f"Both are in group {self.number} ({members}).")
            if trained:
                said[-1] += f" Subnet {self.number} tells them apart in the arms that have subnets."
            elif not compared.runs:
                said[-1] += f" These groups were {compared.source}, for this report."
        elif compared.groups:
            said.append(f"{i} and {j} are not in one group.")
            if trained:
                said[-1] += (
                    ' No subnet compares them: where one is in a group, the other is among its "others".'
                )
        if compared.train is not None:
            shares = metrics.normalize(compared.train)
            said.append(
                "On training images, where groups and weights come from, "
                f"{percent(shares[self.truth, self.prediction])} % of {i} were taken for {j}, and "
                f"{percent(shares[self.prediction, self.truth])} % of {j} for {i}."
            )
        for weight in weights[:1]:
            order = "largest" if weight["rank"] == 1 else f"{weight['rank']}. in size"
            said.append(
                f"In the paper's loss, the weight c({i}, {j}) is {weight['weight']:.4g}, the {order} of those of {i}, "
                f"and lambda is {weight['penalty']:g}. So a pixel of {i} adds "
                f"{weight['penalty'] * weight['weight']:.4g} times -log(1 - q) to the loss, where q is the probability "
                f"that the network gives to {j}."
            )
        return said + [sentence for run in compared.runs for sentence in self._effects(run)]

    def _effects(self, run) -> list:
        """What the loss alone and the subnets alone changed, from the first arm of a run."""
        first, *others = (arm for arm in self.compared.arms if arm.run is run)
        of_run, said = f" of {run.folder.name}" if len(self.compared.runs) > 1 else "", []
        for arm in others:
            same_loss = arm.cell["loss"] == first.cell["loss"]
            if same_loss != (str(arm.cell["subnets"]) == str(first.cell["subnets"])):
                what = "The subnets" if same_loss else f"The loss ({arm.cell['loss']})"
                change = percent(self.share(arm) - self.share(first), sign=True)
                said.append(
                    f"{what} alone{of_run} changed the share by {change} points ({cell_name(arm.cell)})."
                )
        return said

    # ---- what to try next

    def _next(self) -> list:
        full = self.first.full
        if not full[self.truth].sum() or not any(map(self.share, self.compared.arms)):
            return []
        said = [*self._of_labels(), *self._of_arms()]
        if self.of_no_class:
            return said
        said += self._of_method() if self.compared.runs else self._of_training()
        rare, frequent = int(full[self.truth].sum()), int(full[self.prediction].sum())
        back = float(self.first.shares[self.prediction, self.truth])
        if self.share(self.first) > LOPSIDED * back and frequent > LOPSIDED * rare:
            said.append(
                f"It goes one way, towards the class with more pixels ({self.j} has {frequent / rare:.0f} times those "
                f"of {self.i}): a loss that weighs classes by how often they occur can help (docs/peers.md)."
            )
        return said

    def _of_labels(self) -> list:
        full, said = self.first.full, []
        if len(self.images) >= 2 * FEW_IMAGES and half_in(self.images) <= 2:
            said.append(
                f"Look at the label of {self.images[0]['name']} first: a few images hold half of this confusion, and "
                "a wrong label costs more than a setting can mend."
            )
        share, of_image = full[self.truth].sum() / full.sum(), self.first.per_image
        seen = None if of_image is None else int(np.count_nonzero(of_image.truth(self.truth)))
        if share < RARE or (seen is not None and seen <= FEW_IMAGES):
            where = "these images" if seen is None else f"{seen} of these images"
            said.append(
                f"{self.i} has {percent(share)} % of the labelled pixels, in {where}: such numbers change much from "
                f"one set of images to another. More images of {self.i} tell more, and help more, than a setting."
            )
        return said

    def _of_arms(self) -> list:
        least = min(self.compared.arms, key=self.share)
        if not self._helped(least):
            return []
        file = least.cell.get("checkpoint")
        where = f" ({file})" if file else ""
        return [
            f"Of the arms compared, {least.name} confuses them least, {percent(self.share(least))} % of {self.i}. "
            f"Go on with that network{where} rather than with that of {self.first.name}."
        ]

    def _of_training(self) -> list:
        return [
            "Train against it: `confseg train own --root DATA` finds the groups, gives each a subnet (a small head of "
            f"the network that tells its classes apart), and weighs {self.i} taken for {self.j} in the loss."
        ]

    def _of_method(self) -> list:
        """What of the method was not tried on this pair, or did not help."""
        said = []
        if self.number is None:
            threshold = self.compared.discoveries[0].joining(self.truth, self.prediction)
            if threshold is not None:
                said.append(
                    f"Give both a subnet: at a threshold of {percent(threshold)} % the discovery puts them in one "
                    "group. `--set groups=...` takes groups by the names of their classes."
                )
        subnets = [arm for arm in self.others if has_subnets(arm)]
        if self.number and subnets and not any(map(self._helped, subnets)):
            said.append(
                f"Subnet {self.number} did not mend it: try crops in which both classes meet (`--set crops=meeting`), "
                "or another fusion rule."
            )
        losses = [arm for arm in self.others if settings_of(arm).get("loss") == "confusion_ce"]
        if losses and not any(map(self._helped, losses)):
            penalty = settings_of(losses[0]).get("penalty")
            said.append(
                f"The paper's loss did not mend it at lambda = {penalty}: try another (`--set penalty=...`)."
            )
        return said


def half_in(images: Sequence[dict]) -> int:
    """In how many of the images, those with most first, half of the first arm's pixels are."""
    pixels = np.cumsum([image["pixels"][0] for image in images])
    return int(np.searchsorted(pixels, pixels[-1] / 2) + 1)


def has_subnets(arm: Arm) -> bool:
    """Whether an arm's network has subnets beside subnet 0."""
    return str(arm.cell.get("subnets", "0")) != "0"


def settings_of(arm: Arm) -> dict:
    """The settings of the training of a run's arm: those that all phases share, and its own phase's."""
    training = (arm.run.results.get("training") or {}) if arm.run else {}
    shared = {name: value for name, value in training.items() if name != "phases"}
    own = [phase for phase in training.get("phases", ()) if phase.get("name") == phase_of(arm.cell)]
    return {**shared, **(own[0] if own else {})}


# ---- a class


def klass(compared: Comparison, index: int) -> dict:
    """What is known about one class: its scores in each arm, and the confusions and images that cost it most.

    returns  {"class"; "arms": [{"arm", "iou", "recall", "precision", "pixels"}]; "taken_for" and "taken_from":
             [{"class", "pixels", "share", "cost", "best_cost": that in the best of the other arms}], of the first arm;
             "images": [{"name", "loss" of IoU}], likewise; "sections"}
    """
    first, name = compared.arms[0], compared.classes[index]
    arms = [
        {
            "arm": arm.name,
            **{part: _defined(getattr(arm, part)[index]) for part in ("iou", "recall", "precision")},
            "pixels": int(arm.full[index].sum()),
        }
        for arm in compared.arms
    ]
    pairs = [at for at in first.ranked if index in at]
    taken_for = [_of_class(compared, at, at[1]) for at in pairs if at[0] == index][:LISTED]
    taken_from = [_of_class(compared, at, at[0]) for at in pairs if at[1] == index][:LISTED]
    images = []
    if first.per_image is not None:
        lost = np.nan_to_num(first.per_image.losses[:, index])
        ranked = [place for place in np.argsort(-lost, kind="stable").tolist() if lost[place] > 0]
        images = [{"name": compared.names[place], "loss": float(lost[place])} for place in ranked[:LISTED]]
    sections = {
        "How well it is found": _scores(compared, index, arms),
        "What it is taken for": _listed(compared, taken_for, f"{name} is taken for"),
        "What is taken for it": _listed(compared, taken_from, f"Taken for {name} are"),
        "Where it loses most": _of_images(compared, images),
    }
    return {
        "class": name,
        "arms": arms,
        "taken_for": taken_for,
        "taken_from": taken_from,
        "images": images,
        "sections": [{"title": title, "text": text} for title, text in sections.items() if text],
    }


def _of_class(compared: Comparison, at: tuple, other: int) -> dict:
    arm = compared.arms[0]
    numbers = {"pixels": int(arm.full[at]), "share": float(arm.shares[at]), "cost": float(arm.costs[at])}
    numbers["best_cost"] = float(compared.best.costs[at])
    return {"class": compared.named(other), **numbers}


def _scores(compared: Comparison, index: int, arms: list) -> list:
    first, name = arms[0], compared.classes[index]
    if not first["pixels"]:
        return [f"The labels of these images hold no pixel of {name}."]
    said = [
        f"IoU {percent(first['iou'])} %: of its {first['pixels']:,} pixels {percent(first['recall'])} % were found, "
        f"and {percent(first['precision'])} % of the pixels predicted {name} are {name}."
    ]
    if len(arms) > 1:
        said[0] = f"{first['arm']}: {said[0]}"
        changes = [f"{arm['arm']} {percent(arm['iou'] - first['iou'], sign=True)}" for arm in arms[1:]]
        said.append(f"Change of IoU, in points: {'; '.join(changes)}.")
    number = compared.group_of(index)
    if number:
        said.append(f"Group {number}: {', '.join(compared.classes[k] for k in compared.groups[number - 1])}.")
    return said


def _listed(compared: Comparison, pairs: list, begin: str) -> list:
    if not pairs:
        return ["Nothing."]
    first, *others = compared.arms
    by, best = (f"With {first.name}: ", f"; with {compared.best.name} ") if others else ("", None)
    said = [
        f"{p['class']} ({p['pixels']:,} pixels, {percent(p['cost'])} points of mIoU"
        f"{best + percent(p['best_cost']) if best else ''})"
        for p in pairs
    ]
    return [f"{by}{begin} {'; '.join(said)}."]


def _of_images(compared: Comparison, images: list) -> list:
    if not images:
        return []
    by = f" with {compared.arms[0].name}" if len(compared.arms) > 1 else ""
    said = [f"{image['name']} ({percent(image['loss'])})" for image in images]
    return [f"IoU that it would gain{by} if one image alone had no mistake, in points: {'; '.join(said)}."]


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


# ---- for a terminal


def text(record: dict, width: int = 100) -> str:
    """A record of `pair` or `klass` as plain text."""
    lines = [record.get("class") or f"{record['truth']} taken for {record['prediction']}", ""]
    for section in record["sections"]:
        lines.append(f"{section['title']}:")
        for sentence in section["text"]:
            wrapped = textwrap.wrap(sentence, width - 4, break_long_words=False, break_on_hyphens=False)
            lines += [f"  {'-' if place == 0 else ' '} {line}" for place, line in enumerate(wrapped)]
        lines.append("")
    return "\n".join([*lines, _table(record).text()])


def _table(record: dict) -> Grid:
    if "class" in record:
        head, parts = ["arm", "IoU, %", "recall, %", "precision, %"], ("iou", "recall", "precision")
        return Grid(head, [[arm["arm"], *(percent(arm[part]) for part in parts)] for arm in record["arms"]])
    head = [
        "arm",
        "costs, mIoU points",
        "pixels",
        f"% of {record['truth']}",
        f"% of all predicted {record['prediction']}",
    ]
    rows = [
        [
            arm["arm"],
            percent(arm["cost"]),
            f"{arm['pixels']:,}",
            percent(arm["share"]),
            percent(arm["share_of_prediction"]),
        ]
        for arm in record["arms"]
    ]
    return Grid(head, rows)
