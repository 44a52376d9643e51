"""Records of studies made of invented numbers, in the form that `confseg study` leaves."""

from __future__ import annotations

from statistics import mean

from gluon_confseg.study.claims import BY_KEY

CLASSES = ["sky", "wall & <fence>", "pole", "bus", "tram"]
GROUPS = {"0": [[1, 2], [3, 4]], "1": [[1, 2, 3, 4]], "2": [[3, 4]]}
GAIN = ((0.0123, 0.0211, 0.0305), (0.0101, 0.0322))
LOSS = ((-0.0213, -0.0114, -0.0037), (-0.0256, -0.0019))
BOTH_SIGNS = ((0.0141, -0.0062, 0.0233), (-0.0044, 0.0251))
HOLDS_ZERO = ((0.0052, 0.0017, 0.0149), (-0.0013, 0.0167))
ONE_SEED = ((0.0173,), (0.0008, 0.0341))


def difference(arm: str, reference: str, values, interval, measure: str = "mean_iou") -> dict:
    """One of a record's differences, of seeds 0, 1 and so on."""
    return {
        "arm": arm,
        "reference": reference,
        "claim": None,
        "measure": measure,
        "seeds": {str(seed): value for seed, value in enumerate(values)},
        "mean": mean(values),
        "spread": None,
        "interval": list(interval),
    }


def arm(
    key: str, mean_iou: float = 0.5, seeds: int = 3, updates: int = 300, inside: float | None = 0.07
) -> dict:
    """One of a record's arms, whose seeds lie a little apart."""
    scores = {
        str(seed): {
            "mean_iou": mean_iou + 0.003 * (seed - (seeds - 1) / 2),
            "pixel_accuracy": 0.9 - 0.1 * mean_iou,
            "mean_recall": 2 * mean_iou - 0.1 * seed,
            "inside": None if inside is None else inside + 0.001 * seed,
            "outside": None if inside is None else 0.031,
        }
        for seed in range(seeds)
    }
    shares = [each["inside"] for each in scores.values()]
    return {
        "key": key,
        "what": f"the network called {key}",
        "updates": updates,
        "epochs": 9,
        "seeds": scores,
        "mean_iou": mean(each["mean_iou"] for each in scores.values()),
        "spread": 0.0034 if seeds > 1 else None,
        "iou": [mean_iou, mean_iou + 0.02, None, mean_iou - 0.1, mean_iou - 0.15],
        "inside": None if inside is None else mean(shares),
        "outside": None if inside is None else 0.031,
    }


def record(claims: dict, inside: dict | None = None, arms: dict | None = None, **changes) -> dict:
    """A record with these differences: claim's key -> (values of the seeds, interval).

    inside    the same for the confusion inside the groups
    arms      key -> what `arm` is to be given
    changes   of the record's other parts
    """
    differences, keys = [], {"base": 1}
    for measure, found in (("mean_iou", claims), ("inside", inside or {})):
        for key, (values, interval) in found.items():
            claim = BY_KEY[key]
            differences.append(difference(claim.arm, claim.reference, values, interval, measure))
            for name in (claim.arm, claim.reference):
                keys[name] = max(len(values), keys.get(name, 1))
    made = {
        key: arm(key, 0.41 + 0.0237 * number, seeds, inside=0.0719 - 0.0041 * number)
        for number, (key, seeds) in enumerate(keys.items())
    }
    made.update({key: arm(key, **given) for key, given in (arms or {}).items()})
    return {
        "schema": 3,
        "command": "confseg study --root mine",
        "name": "mine",
        "title": "What confusing groups are worth on mine",
        "data": {
            "name": "custom",
            "description": "pictures of <mine>, val: 12 images.",
            "train_images": 40,
            "images": 12,
            "classes": CLASSES,
            "block": 1,
            "split": "val",
            "drawn": False,
        },
        "settings": {},
        "tuning": {"seed": 0, "tries": 3, "arms": {}},
        "groups": GROUPS,
        "arms": list(made.values()),
        "differences": differences,
        "pairs": [],
        "minutes": {},
        **changes,
    }


def full() -> dict:
    """A record with every part."""
    verdicts = (GAIN, LOSS, HOLDS_ZERO, BOTH_SIGNS, HOLDS_ZERO, ONE_SEED, GAIN, BOTH_SIGNS)
    claims = {key: found for key, found in zip(BY_KEY, verdicts)}
    inside = {"loss": HOLDS_ZERO, "whole": ((-0.0161, -0.0072, -0.0118), (-0.0177, -0.0054))}
    tried = [
        {"rate": 0.003, "mean_iou": 0.4417},
        {"rate": 0.01, "mean_iou": 0.4528},
        {"rate": 0.03, "mean_iou": None},
    ]
    shares = {"base": 0.2107, "ce_continued": 0.1874, "subnets_confusion_ce": 0.1533}
    change = {
        "arm": "subnets_confusion_ce",
        "reference": "ce_continued",
        "mean": -0.0341,
        "interval": [-0.0529, -0.0106],
    }
    phase = {
        "encoder": "resnet18",
        "crop": [96, 128],
        "scale": [0.55, 1.15],
        "batch_size": 4,
        "pretrained": True,
    }
    return record(
        claims,
        inside,
        settings={"phases": [phase]},
        tuning={"seed": 0, "tries": 3, "arms": {"ce": {"tried": tried, "chosen": 0.01}}},
        pairs=[
            {"truth": "bus", "prediction": "tram", "groups": 3, "shares": shares, "differences": [change]}
        ],
        minutes={"0": 41.52, "1": 13.27, "2": None},
    )
