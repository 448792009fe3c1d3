"""A graphics card that is played on the processor: tensors on it say so, meet no tensor of the processor's, and calculate exactly as the processor does.

torch's device ``meta`` lends its name: a tensor that is moved there keeps its values inside a :class:`_OnCard`. As on a real card, a calculation with tensors
of both places raises, so a forgotten ``.to(device)`` is noticed.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from fedliver.teacher.device import Device

CARD = Device("meta", "Played card")
_MAY_CROSS = ("aten::_to_copy", "aten::copy_", "aten::index.Tensor", "aten::index_put_")


class _OnCard(torch.Tensor):
    """A tensor on the played card. ``inner`` holds its values."""

    inner: torch.Tensor

    @staticmethod
    def __new__(cls, real: torch.Tensor) -> "_OnCard":
        made = torch.Tensor._make_wrapper_subclass(
            cls, real.shape, strides=real.stride(), storage_offset=real.storage_offset(), dtype=real.dtype, device="meta", requires_grad=real.requires_grad
        )
        made.inner = real
        return made

    def __repr__(self) -> str:  # type: ignore[override]
        return f"_OnCard({self.inner})"

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, arguments: tuple = (), options: dict | None = None) -> Any:
        return _calculate(function, arguments, options or {})


def _calculate(function: Any, arguments: tuple, options: dict) -> Any:
    everything = tree_flatten((arguments, options))[0]
    on_card = [value for value in everything if isinstance(value, _OnCard)]
    strangers = [value for value in everything if isinstance(value, torch.Tensor) and not isinstance(value, _OnCard) and value.dim()]
    if on_card and strangers and not function._schema.name.startswith(_MAY_CROSS):
        raise RuntimeError(f"Expected all tensors to be on the same device, but {function} got some on the card and some on the processor")
    places = [value for value in everything if isinstance(value, torch.device)]
    on_its_card = places[0].type == "meta" if places else bool(on_card)
    if function._schema.name == "aten::copy_":
        on_its_card = isinstance(arguments[0], _OnCard)
    known = {id(value.inner): value for value in on_card}
    answer = function(*_real(arguments), **_real(options))

    def on_its_place(value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or not on_its_card:
            return value
        return known[id(value)] if id(value) in known else _OnCard(value)  # in place: the very tensor that was given

    return tree_map(on_its_place, answer)


def _real(values: Any) -> Any:
    return tree_map(lambda value: value.inner if isinstance(value, _OnCard) else torch.device("cpu") if isinstance(value, torch.device) else value, values)


class _Playing(TorchDispatchMode):
    """Sees what is made on the card or moved there while no tensor on it is involved yet."""

    def __init__(self, before: Callable[[str], None]) -> None:
        super().__init__()
        self._before = before

    def __torch_dispatch__(self, function: Any, types: Any, arguments: tuple = (), options: dict | None = None) -> Any:
        self._before(function._schema.name)
        return _calculate(function, arguments, options or {})


@contextmanager
def played_card(before: Callable[[str], None] = lambda _: None) -> Iterator[Device]:
    """While it lasts, :data:`CARD` can be calculated on. ``before`` is told of every operation, and may raise what a card raises."""
    with _Playing(before):
        yield CARD
