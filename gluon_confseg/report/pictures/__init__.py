"""Pictures of confusion: the paper's Figs. 2, 5 and 8, and what they lack.

Each function writes one PNG: whole or not at all, and the same bytes for the same input.
"""

from gluon_confseg.report.pictures.bars import class_iou
from gluon_confseg.report.pictures.curves import curves
from gluon_confseg.report.pictures.graph import groups
from gluon_confseg.report.pictures.matrix import confusion_matrix, difference
from gluon_confseg.report.pictures.panels import panels

__all__ = ["class_iou", "confusion_matrix", "curves", "difference", "groups", "panels"]
