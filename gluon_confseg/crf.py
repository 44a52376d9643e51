"""Dense CRF, one of Table 2's techniques: it refines probabilities by the image's edges (Kraehenbuehl & Koltun, 2011).

Mean-field inference comes from a separate package: `pip install pydensecrf2`, or `make setup-crf` in a checkout.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from .errors import RunError


@dataclasses.dataclass(frozen=True)
class DenseCRF:
    """Weights and standard deviations of the two kernels, and how often the mean field is updated.

    The defaults were published with DeepLabV2's ResNet-101 for VOC (Chen et al., 2017), where a search on 100
    validation images found them. They fit images of about 500 pixels and that network; others need a new search.

    appearance_weight, appearance_xy (pixels), appearance_rgb (0 to 255)   pixels near each other and of like colour
    smoothness_weight, smoothness_xy (pixels)                              pixels near each other
    """

    appearance_weight: float = 4.0
    appearance_xy: float = 67.0
    appearance_rgb: float = 3.0
    smoothness_weight: float = 3.0
    smoothness_xy: float = 1.0
    iterations: int = 10

    def __post_init__(self):
        for name in ("appearance_xy", "appearance_rgb", "smoothness_xy"):
            if not getattr(self, name) > 0:
                raise ValueError(f"a dense CRF's {name} is above 0, got {getattr(self, name)}")
        for name in ("appearance_weight", "smoothness_weight", "iterations"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"a dense CRF's {name} is not negative, got {getattr(self, name)}")


def refine(probabilities, image, settings: DenseCRF = DenseCRF()) -> np.ndarray:
    """Mean-field approximation of a fully connected CRF over one image's pixels, with Potts compatibilities.

    probabilities   (K, H, W), each pixel's sum to 1; their negative logarithm is the unary potential
    image           (H, W, 3) uint8, in any fixed order of its colours
    returns         (K, H, W) float32, each pixel's sum to 1
    Raises RunError where pydensecrf2 is not installed, ValueError for shapes or types that don't fit.
    """
    scores = np.asarray(probabilities, np.float32)
    if scores.ndim != 3 or not np.isfinite(scores).all() or scores.min(initial=0) < 0:
        raise ValueError(f"scores to refine are finite probabilities (K, H, W), got shape {scores.shape}")
    classes, height, width = scores.shape
    if np.shape(image) != (height, width, 3) or image.dtype != np.uint8:
        raise ValueError(
            f"an image for scores {(classes, height, width)} is ({height}, {width}, 3) uint8, "
            f"got {np.shape(image)} {image.dtype}"
        )
    field = library().DenseCRF2D(width, height, classes)
    unary = -np.log(np.maximum(scores, np.finfo(np.float32).tiny))
    field.setUnaryEnergy(np.ascontiguousarray(unary.reshape(classes, -1)))
    field.addPairwiseGaussian(sxy=settings.smoothness_xy, compat=settings.smoothness_weight)
    field.addPairwiseBilateral(
        sxy=settings.appearance_xy,
        srgb=settings.appearance_rgb,
        rgbim=np.require(image, requirements=["C", "W"]),  # read-only memory, as of packed data, is refused
        compat=settings.appearance_weight,
    )
    return np.array(field.inference(settings.iterations), np.float32).reshape(classes, height, width)


def library():
    """pydensecrf's module; RunError, one sentence, where it is not installed."""
    try:
        import pydensecrf.densecrf
    except ImportError as error:
        raise RunError(
            "the dense CRF needs pydensecrf2, which is not installed: "
            "pip install pydensecrf2 (in a checkout: make setup-crf), or leave the CRF out"
        ) from error
    return pydensecrf.densecrf
