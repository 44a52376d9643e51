"""The tensors in what `torch.save` was given: a state_dict, or containers around one or several."""

from __future__ import annotations

from ..errors import WeightsError
from .stored import check_count, checked_name
from .torch_pickle import Mapping, Tensor

_DEEPEST = 32


def tensors(root, file) -> dict:
    """Dotted path -> Tensor: `model.conv1.weight` for {"model": {"conv1.weight": ...}}.

    An optimizer's state is no weights and left out. A container that occurs twice is read once.
    Raises WeightsError where there are none, or where two have the same path.
    """
    found = {}
    if isinstance(root, Tensor):
        raise WeightsError(f"{file}: holds one tensor without a name; save the model's state_dict()")
    try:
        _collect(root, "", found, set(), 0)
    except ValueError as error:
        raise WeightsError(
            f"{file}: is no state_dict ({error}); save the model's state_dict() alone"
        ) from error
    if not found:
        raise WeightsError(f"{file}: holds no tensors; save the model's state_dict() with torch.save")
    check_count(len(found), file)
    return found


def _collect(value, path: str, found: dict, seen: set, depth: int) -> None:
    if isinstance(value, Tensor):
        if path in found:
            raise ValueError("two tensors have one name")
        found[path] = value
        return
    # by type: a Storage is a tuple too
    if type(value) not in (Mapping, list, tuple) or id(value) in seen or _is_optimizer(value):
        return
    if depth > _DEEPEST:
        raise ValueError("its containers are nested too deep")
    seen.add(id(value))
    for key, item in value.pairs if isinstance(value, Mapping) else enumerate(value):
        if isinstance(item, (Mapping, list, tuple)) and isinstance(key, (str, int)):
            inner = checked_name(str(key))
            _collect(item, f"{path}.{inner}" if path else inner, found, seen, depth + 1)


def _is_optimizer(value) -> bool:
    if not isinstance(value, Mapping) or len(value.pairs) > 8:
        return False
    return {"state", "param_groups"} <= {key for key, _ in value.pairs if isinstance(key, str)}
