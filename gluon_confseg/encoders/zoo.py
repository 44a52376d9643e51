"""ImageNet weights from GluonCV's model zoo."""

from __future__ import annotations

from .. import gluoncv
from ..errors import WeightsError

WAYS_OUT = "or train without pretrained weights"


def holds(zoo_name: str) -> bool:
    """Whether the zoo ever had weights of that name."""
    with gluoncv.without_torch():
        from gluoncv.model_zoo import model_store

    return zoo_name in model_store._model_sha1


def load(network, zoo_name: str) -> None:
    """Load the zoo's values into GluonCV's own network, with its classifier; downloads on first use.

    Raises WeightsError for a name without weights in the zoo, and if the zoo can't be reached.
    """
    with gluoncv.without_torch():
        from gluoncv.model_zoo import model_store

    if not holds(zoo_name):
        raise WeightsError(f"GluonCV's model zoo has no {zoo_name}: pass a file with --weights, {WAYS_OUT}")
    try:
        network.load_parameters(model_store.get_model_file(zoo_name, tag=True))
    except Exception as error:  # a download can fail in many ways; the user needs one sentence
        reason = str(error).split("\n")[0][:120]
        raise WeightsError(
            f"the ImageNet weights of {zoo_name} can't be fetched from GluonCV's model zoo ({reason}): "
            f"put the .params file into ~/.mxnet/models, pass one with --weights, {WAYS_OUT}"
        ) from error
