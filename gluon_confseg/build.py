"""Makes what a phase of training needs: its network, its losses, its batches, and the groups that get subnets."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import NamedTuple

import numpy as np

from . import checkpoint, engine, groups, losses, metrics, network, precision, runtime, weights
from .datasets import Augment, Batches, Jitter, SegmentationDataset, contents
from .encoders import norms
from .errors import RunError, did_you_mean
from .groups import SubnetSpace
from .parallel import SINGLE, Parallel
from .progress import Progress, say
from .recipe import Phase
from .trainee import Trainee


class Data(NamedTuple):
    """Both splits of a training."""

    train: SegmentationDataset
    val: SegmentationDataset

    @property
    def labels(self):
        """The classes."""
        return self.train.labels

    def check(self) -> None:
        """Read every file once, with progress. Raises DatasetError for the first that is damaged."""
        for dataset in self:
            with Progress(f"checking {dataset.split}", len(dataset), "image") as bar:
                dataset.check(thorough=True, progress=lambda done, bar=bar: bar.update(done - bar.done))

    def fingerprint(self) -> str:
        """Of the classes, and of the images' and labels' names and contents: with other data it is another run.

        Of each file, its last bytes stand for its content: those of a PNG are checksums of its pixels.
        """
        found = hashlib.sha256("\n".join(self.train.classes).encode())
        for split in self:
            for name, *paths in zip(split.names, split.image_paths, split.label_paths):
                found.update(f"\n{name}".encode(errors="surrogateescape"))
                for path in filter(None, paths):
                    found.update(contents.ends(path, 0, 64)[1])
        return found.hexdigest()[:16]


def build(
    phase: Phase,
    data: Data,
    *,
    seed: int,
    matrix=None,
    statistics=None,
    start=None,
    parallel: Parallel = SINGLE,
    list_weights: bool = False,
) -> tuple:
    """A phase's `trainee.Trainee` (its network, training steps and updates) and its batches.

    The network has the values that it starts from, or, of several processes and devices, the first one; the others get
    them by `Trainee.spread`.

    matrix         (K, K) training matrix, the confusion matrix on training images; needed where the phase's loss or
                   groups come from one
    statistics     label statistics of the training split, where its loss needs them
    start          the checkpoint of the phase that it starts from
    parallel       the devices and processes that train it
    list_weights   print the names of the parameters that a file of weights filled, and of those that it did not
    Raises RunError where no groups can be found, and for a file of weights without values for parameters that the
    phase does not train: these would stay random.
    """
    num_classes, networks = data.labels.num_classes, []
    parallel.check(phase, len(data.train))
    for device in parallel.devices:
        precision.check(phase, device or runtime.default_context())
        networks.append(construct(phase, data.labels, matrix, seed=seed, device=device))
    if phase.norm == "sync":  # before a step traces its graph, which would hold the norms of a single device
        norms.synchronise([built.encoder for built in networks], list(parallel.devices))
        for built in networks:
            engine.hybridize_parts(built)
    replicas = []
    for each in networks:
        seen = each.groups if phase.part.trains_subnets else [range(num_classes)]
        criteria = [criterion(phase, group, num_classes, matrix, statistics) for group in seen]
        replicas.append((each, engine.STEPS[phase.trains](each, criteria, phase.precision)))
    network, step = replicas[0]
    if not parallel.is_root:
        pass  # rank 0 has the files
    elif phase.start is not None:
        checkpoint.restore_part(network, checkpoint.load(start)[0], start)
    elif phase.weights is not None:
        loaded = weights.load(network, *weights.split_prefix(phase.weights))
        say(f"{phase.weights}: {loaded}")
        if list_weights:
            say(loaded.listing())
        check_whole(phase, step.parameters(), loaded.left)
    of_sgd = {"momentum": phase.momentum, "weight_decay": phase.weight_decay, "biases": phase.biases}
    of_sgd["precision"] = phase.precision
    met = met_groups(phase, data.labels, matrix)
    return Trainee(replicas, parallel, **of_sgd), batches(phase, data.train, network, seed, parallel, met)


def construct(phase: Phase, labels, matrix=None, *, seed: int, device=None):
    """A phase's network with its initial values, which all phases draw from the same seed."""
    groups = groups_of(phase, labels, matrix)
    width = len(discovered(phase, matrix)) if phase.groups == "one" and groups else 1
    heads = subnet_heads(phase, groups, width)
    runtime.seed(seed)
    built = network.build(
        encoder=phase.encoder,
        num_classes=labels.num_classes,
        groups=groups,
        output_stride=phase.output_stride,
        last_stage=phase.last_stage,
        norm=phase.norm,
        subnets=phase.subnets,
        head=phase.head,
        subnet_heads=heads,
        learned_fusion=phase.part.has_learned_fusion,
        pretrained=phase.pretrained,
        device=device,
    )
    engine.hybridize_parts(built)
    return built


def subnet_heads(phase: Phase, groups: list, width: int = 1) -> list:
    """The head settings of each group's subnet: the group's own, or else the phase's, made `width` times as wide."""
    apart = dict(phase.subnet_heads)
    for number in apart:
        if groups and number > len(groups):
            raise RunError(
                f"phase {phase.name}: subnet_head.{number} is for a group that is not there: there are {len(groups)}"
            )
    head = phase.subnet_head
    if width > 1:
        head = dataclasses.replace(head, channels=head.channels * width)
    return [apart.get(m, head) for m in range(1, len(groups) + 1)]


def load(path, device=None):
    """The network of a finished phase's checkpoint, as trained."""
    trained = network.load(path, device)
    engine.hybridize_parts(trained.network)
    return trained.network


def check_whole(phase: Phase, trained: dict, left: list) -> None:
    """Raises RunError where a file of weights leaves random values, as of a head, that the phase doesn't train."""
    random = [name for name in left if phase.epochs == 0 or name not in trained]
    if random:
        more = f" and {len(random) - 3} more" if len(random) > 3 else ""
        why = "it has no epochs" if phase.epochs == 0 else f"it trains {phase.part.words} alone"
        raise RunError(
            f"{phase.weights}: lacks {', '.join(random[:3])}{more}, which phase {phase.name} would leave at random "
            f"values ({why}); give weights of the whole network"
        )


def batches(phase: Phase, dataset, network, seed: int, parallel: Parallel = SINGLE, met=()) -> Batches:
    """The phase's training batches; phases that are compared draw the same order of images and the same crops.

    met    groups of classes that should meet in a crop: see `met_groups`
    """
    augment = Augment(
        phase.crop,
        phase.scale,
        max_share=phase.max_share,
        groups=met,
        jitter=Jitter() if phase.jitter else None,
        **network.normalisation,
    )
    workers = engine.readers(phase.epochs * len(dataset), parallel.devices[0])
    part = parallel.part if parallel.communicator.size > 1 else None
    return Batches(dataset, augment, phase.batch_size, seed * 1000 + phase.draws, workers=workers, part=part)


def steps_per_epoch(phase: Phase, images: int) -> int:
    """SGD steps in an epoch of so many images; `Batches` leaves out an incomplete batch at the end."""
    return max(1, images // phase.batch_size)


def updates(recipe, phase: Phase, images: int) -> int:
    """SGD steps that the phase's network has had in this and all earlier phases that it went through."""
    return sum(p.epochs * steps_per_epoch(p, images) for p in map(recipe.phase, phase.path))


# ---- losses


def criterion(phase: Phase, group, num_classes: int, matrix=None, statistics=None):
    """The loss of a group's subnet; its weights C come from the matrix of the subnet's channels: Section 3.2."""
    settings = {"average": phase.average} if phase.loss in ("ce", "confusion_ce") else {}
    if phase.loss == "confusion_ce":
        shares = metrics.normalize(metrics.collapse(matrix, group))
        settings.update(weights=confusion_weights(shares, phase.scheme), penalty=phase.penalty)
    elif phase.loss in losses.OTHER_LOSSES:
        settings["statistics"] = statistics
    if phase.weighs_others and phase.loss in ("ce", "confusion_ce"):
        settings["class_weights"] = class_weights(phase, group, num_classes, matrix)
    return losses.build(phase.loss, SubnetSpace(group, num_classes).channels, **settings)


def class_weights(phase: Phase, group, num_classes: int, matrix) -> np.ndarray:
    """What a pixel counts in the loss of a group's subnet, by its channel: (|g| + 1,), from `phase.others_weight`.

    A pixel of "others" has `others_weight` times the weight of one of the group's classes; for "balanced" both kinds
    weigh as much together. All weights are multiplied so that the mean pixel of the training images weighs 1: `matrix`
    holds how many pixels the classes have. So the learning rate keeps its meaning.
    The head of a group of all classes has no "others". Beside subnets of the discovered groups it is their control, so
    each class has the mean of the weights that it has in these: (K,).
    """
    pixels, space = np.asarray(matrix, np.float64).sum(1), SubnetSpace(group, num_classes)
    if space.has_others:
        inside = pixels[list(space.group)].sum()
        outside = pixels.sum() - inside
        if not inside or not outside:
            return np.ones(space.channels)
        ratio = inside / outside if phase.others_weight == "balanced" else phase.others_weight
        weight = pixels.sum() / (inside + ratio * outside)
        return np.array([ratio * weight] + [weight] * len(space.group))
    found = discovered(phase, matrix) if phase.discovers else []
    each = [
        class_weights(phase, g, num_classes, matrix)[SubnetSpace(g, num_classes).channel_of_class()]
        for g in found
    ]
    return np.mean(each, axis=0)[list(space.group)] if each else np.ones(num_classes)


def confusion_weights(shares: np.ndarray, scheme: str) -> np.ndarray:
    """Weights C by a scheme of `losses.SCHEMES`, or those of the default scheme `shuffled` ("shuffled [N]")."""
    kind, _, seed = scheme.partition(" ")
    if kind == "shuffled":
        return shuffled(losses.confusion_weights(shares), int(seed or 0))
    return losses.confusion_weights(shares, scheme)


def shuffled(weights: np.ndarray, seed: int = 0) -> np.ndarray:
    """C with the entries of every row but the diagonal in another order: a control.

    Rows keep their sums, so each class is penalised as much as before, but for classes that it isn't confused with.
    """
    size, result = len(weights), weights.copy()
    draws = np.random.default_rng([seed, size])
    for i in range(size):
        elsewhere = np.delete(np.arange(size), i)
        result[i, elsewhere] = weights[i, draws.permutation(elsewhere)]
    return result


# ---- groups


def groups_of(phase: Phase, labels, matrix=None) -> list:
    """The groups that get a subnet in a phase, as tuples of classes; none where the phase trains subnet 0 alone.

    phase.groups   "paper": Table 1, Section 4.2
                   "discover": from the phase's training matrix
                   "random" or "random N": as many groups as discovered and as large, of classes drawn with seed N
                   "whole": as many groups as discovered, each of all classes: heads of the same size without groups
                   "one": one group of all classes, whose head is as wide as those of the discovered groups together
                   anything else: the classes themselves, by name or id: "car,bus;person,rider"
    """
    if not phase.part.has_groups:
        return []
    kind, _, seed = phase.groups.partition(" ")
    if kind == "paper":
        if labels.name not in groups.PAPER:
            raise RunError(
                f"phase {phase.name}: the paper has no groups for {labels.title}; set groups=discover, or name them"
            )
        return [tuple(group) for group in groups.PAPER[labels.name]]
    if not phase.discovers:
        return named_groups(phase.groups, labels)
    found = discovered(phase, matrix)
    if kind == "random":
        return drawn_anew(found, labels.num_classes, int(seed or 0))
    every = tuple(range(labels.num_classes))
    return {"discover": found, "whole": [every] * len(found), "one": [every] * min(len(found), 1)}[kind]


def met_groups(phase: Phase, labels, matrix=None) -> tuple:
    """The groups of which two classes should meet in a phase's crops; none where its crops lie anywhere.

    The heads for all classes of groups "one" and "whole", which are controls, get the crops of the discovered groups.
    """
    if phase.crops == "random" or not phase.part.trains_subnets:
        return ()
    found = (
        discovered(phase, matrix) if phase.groups in ("one", "whole") else groups_of(phase, labels, matrix)
    )
    return tuple(found)


def discovered(phase: Phase, matrix) -> list:
    """The groups in the phase's training matrix, as tuples of classes."""
    shares = metrics.normalize(matrix)
    return [tuple(group) for group in groups.discover(shares, max_groups=phase.max_groups)]


def named_groups(listed: str, labels) -> list:
    """Groups from the names or ids of their classes: "car,bus;person,rider"."""
    places = {
        **{str(k): k for k in range(labels.num_classes)},
        **{n: k for k, n in enumerate(labels.classes)},
    }
    found = []
    for group in listed.split(";"):
        names = [name.strip() for name in group.split(",")]
        for name in names:
            if name not in places:
                raise RunError(
                    f"groups {listed!r}: there is no class {name!r}{did_you_mean(name, labels.classes)}; the classes "
                    f"are {', '.join(labels.classes)}"
                )
        found.append(tuple(places[name] for name in names))
    return found


def drawn_anew(found: list, num_classes: int, seed: int) -> list:
    """Groups of the same sizes and overlaps with random classes; none is a group of `found` where that is possible."""
    draws = np.random.default_rng([seed, num_classes])
    for _ in range(100):
        place = draws.permutation(num_classes)
        drawn = [tuple(sorted(int(place[k]) for k in group)) for group in found]
        if not {frozenset(g) for g in drawn} & {frozenset(g) for g in found}:
            break
    return drawn


def why_left_out(phase: Phase, labels, matrix=None) -> str:
    """Why a phase can't be trained on these data, for lack of groups; "" where it can."""
    if not phase.part.has_groups:
        return ""
    if labels.num_classes < 3:
        return "with two classes a group would be all of them, and leave nothing for its subnet to tell apart from"
    if groups_of(phase, labels, matrix):
        return ""
    return "no classes are confused enough to be a group, so there is nothing for subnets to mend"
