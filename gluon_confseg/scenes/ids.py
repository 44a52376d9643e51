"""Raw Cityscapes label ids, as `..._labelIds.png` holds them; the first block is ignored in training."""

from __future__ import annotations

UNLABELED = 0
EGO_VEHICLE = 1
OUT_OF_ROI = 3
STATIC = 4
DYNAMIC = 5
GROUND = 6
PARKING = 9
GUARD_RAIL = 14

ROAD = 7
SIDEWALK = 8
BUILDING = 11
WALL = 12
FENCE = 13
POLE = 17
TRAFFIC_LIGHT = 19
TRAFFIC_SIGN = 20
VEGETATION = 21
TERRAIN = 22
SKY = 23
PERSON = 24
RIDER = 25
CAR = 26
TRUCK = 27
BUS = 28
TRAIN = 31
MOTORCYCLE = 32
BICYCLE = 33

TRAINED = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
