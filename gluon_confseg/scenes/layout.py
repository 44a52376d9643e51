"""What a street consists of: its cross-section, its sides, its crossing, and the hour of the day."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Tuple

from . import ids
from .canvas import Camera, Light
from .dice import Color, Dice
from .materials import ASPHALT, GRASS, SLABS

LANE = 3.2  # metres
VERGES = {"urban": 0.08, "suburb": 0.25, "park": 0.4, "works": 0.2}  # chances
PARKED = {"urban": 0.6, "suburb": 0.5, "park": 0.3, "works": 0.3}
SETBACKS = {"urban": (0, 0), "suburb": (2, 7), "park": (8, 16), "works": (1.5, 9)}  # metres
Zone = Tuple[float, Color, int]


@dataclass(frozen=True)
class Side:
    """One side of a street. Distances from the camera's lane in metres, all positive; sign -1 is the left."""

    sign: int
    kind: str  # urban, suburb, park or works
    kerb: float
    verge: float  # where the grass beside the kerb ends: kerb if there is none
    walk: float  # where the sidewalk ends
    line: float  # where the houses stand
    parked: bool


@dataclass
class Street:
    """The plan of one scene, as ground.py and scene.py draw it."""

    sides: tuple[Side, Side]
    end: float
    lanes: list[tuple[float, bool]]  # middle of each lane, and whether it leads away from us
    median: tuple[float, float]  # from, to; equal if there is none
    slab: float
    paint: int
    slant: float
    zones: list[Zone] = field(default_factory=list)
    kerbs: list[float] = field(default_factory=list)
    lines: list[tuple[float, float]] = field(default_factory=list)
    zebras: list[tuple[float, float]] = field(default_factory=list)
    rails: list[float] = field(default_factory=list)
    patches: list[tuple[float, float, float, float, int]] = field(default_factory=list)
    crossings: list[tuple[float, float]] = field(default_factory=list)
    shadows: list[tuple[float, float, float, float]] = field(default_factory=list)


def choose_camera(dice: Dice, width: int, height: int) -> Camera:
    """A camera behind a windscreen: field of view, height and aim vary."""
    return Camera(
        width=width,
        height=height,
        focal=width * dice.real(0.9, 1.15),
        center=width * dice.real(0.36, 0.64),
        horizon=height * dice.real(0.38, 0.46),
        eye=dice.real(1.15, 1.6),
    )


def choose_light(dice: Dice) -> Light:
    """Sunny, overcast, hazy or late."""
    weather = dice.weighted({"sunny": 4, "overcast": 4, "hazy": 0.8, "late": 0.8})
    skies, haze, lit, shade = {
        "sunny": (((196, 216, 240), (180, 206, 240)), 420.0, 272, 172),
        "overcast": (((214, 216, 218), (196, 200, 206)), 300.0, 226, 226),
        "hazy": (((222, 222, 218), (212, 212, 208)), 140.0, 226, 212),
        "late": (((232, 206, 176), (196, 186, 186)), 260.0, 240, 160),
    }[weather]
    sun = dice.pick((-1, 1)) if weather in ("sunny", "late") else 0
    sky = dice.vary(dice.pick(skies), 10)
    return Light(sun, sky, haze * dice.real(0.8, 1.3), lit + dice.whole(-8, 8), shade)


def choose_street(dice: Dice, tram: bool) -> Street:
    """Lanes, median, sidewalks and what stands along them; rails at any rate where a tram is to run."""
    kind = dice.weighted({"urban": 5, "suburb": 3.5, "park": 1.5, "works": 1.5})
    ahead, facing = dice.weighted({(1, 0): 2.5, (1, 1): 5, (2, 1): 1, (2, 2): 0.8})
    wide = dice.real(2.0, 6.0) if ahead + facing > 2 and dice.chance(0.4) else 0.0
    shift = dice.real(-0.5, 0.5)
    left_edge = -LANE / 2 + shift
    lanes = [(shift + LANE * n, True) for n in range(ahead)]
    lanes += [(left_edge - wide - LANE * (n + 0.5), False) for n in range(facing)]
    left = choose_side(dice, -1, kind, wide + LANE * facing - left_edge)
    right = choose_side(dice, 1, kind, LANE * ahead + left_edge)
    street = Street(
        sides=(left, right),
        end=dice.real(55, 150),
        lanes=lanes,
        median=(left_edge - wide, left_edge),
        slab=dice.real(0.4, 1.0),
        paint=dice.whole(70, 130),
        slant=dice.real(0.15, 1.1),
    )
    street.kerbs = [-left.kerb, right.kerb] + (list(street.median) if wide else [])
    if dice.chance(0.55):  # a side street
        near = dice.real(12, 26)
        street.crossings.append((near, near + dice.real(6, 11)))
        if dice.chance(0.5):
            street.zebras.append((near - 4.2, near - 1.2))
    add_zones(dice, street)
    add_road(dice, street, tram)
    return street


def choose_side(dice: Dice, sign: int, kind: str, edge: float) -> Side:
    """One side, of the street's kind or of another; `edge` is where its outermost lane ends."""
    if dice.chance(0.35):
        kind = dice.weighted({"urban": 4, "suburb": 3, "park": 2, "works": 2})
    parked = dice.chance(PARKED[kind])
    kerb = edge + (2.1 if parked else dice.real(0.2, 0.8))
    verge = kerb + (dice.real(1.2, 3.0) if dice.chance(VERGES[kind]) else 0.0)
    walk = verge + dice.real(1.8, 4.2 if kind == "urban" else 3.0)
    return Side(sign, kind, kerb, verge, walk, walk + dice.real(*SETBACKS[kind]), parked)


def add_zones(dice: Dice, street: Street) -> None:
    """The stripes of ground from left to right; the last is that of side streets."""
    left, right = street.sides
    asphalt, slabs = dice.vary(dice.pick(ASPHALT), 10), dice.vary(dice.pick(SLABS), 12)
    grass = dice.vary(dice.pick(GRASS), 14)
    road, median = (asphalt, ids.ROAD), street.median
    street.zones = [
        (-1e9, *yard(dice, left, grass, slabs)),
        (-left.walk, slabs, ids.SIDEWALK),
        (-left.verge, grass, ids.TERRAIN),
        (-left.kerb, *road),
        (median[0], *((grass, ids.TERRAIN) if dice.chance(0.35) else (slabs, ids.SIDEWALK))),
        (median[1], *road),
        (right.kerb, grass, ids.TERRAIN),
        (right.verge, slabs, ids.SIDEWALK),
        (right.walk, *yard(dice, right, grass, slabs)),
        (1e9, *road),
    ]


def yard(dice: Dice, side: Side, grass: Color, slabs: Color) -> tuple[Color, int]:
    """What the ground behind the sidewalk is."""
    if side.kind in ("suburb", "park") or dice.chance(0.3):
        return dice.vary(grass, 8), ids.TERRAIN
    return slabs, ids.SIDEWALK


def add_road(dice: Dice, street: Street, tram: bool) -> None:
    """Markings, rails and patches."""
    left, right = street.sides
    if dice.chance(0.8):
        if street.median[0] == street.median[1]:
            street.lines.append((street.median[1], dice.pick((0.0, 6.0, 8.0))))
        for x, away in street.lanes[1:]:
            if away:
                street.lines.append((x - LANE / 2, 6.0))
        for side in (left, right):
            if side.parked and dice.chance(0.5):
                street.lines.append((side.sign * (side.kerb - 2.1), 0.0))
    if tram or dice.chance(0.1):
        tracks = [x for x, away in street.lanes if not away] or [street.lanes[-1][0]]
        middle = (street.median[0] + street.median[1]) / 2
        street.rails = [middle] if street.median[1] - street.median[0] > 3 else [dice.pick(tracks)]
    for _ in range(dice.whole(0, 6)):
        x, tone = dice.real(-left.kerb, right.kerb), dice.pick((-18, -10, 9, -26))
        street.patches.append((x, dice.real(5, 30), dice.real(0.15, 1.3), dice.real(0.3, 4.0), tone))
