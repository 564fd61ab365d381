"""What a layer of a torch module makes of each record (see `tacit.learn.represent`).

Imported only where torch is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tacit.base.errors import TacitError
from tacit.base.extras import optional
from tacit.learn.represent import Pull

if TYPE_CHECKING:
    import torch
else:
    torch = optional("torch", "tacit.torch")


@contextmanager
def captured(module: torch.nn.Module, layer: str) -> Iterator[list[torch.Tensor]]:
    """What the named layer returns, or without a name what the last layer receives.

    The last layer is the last one defined that has parameters of its own. Error: `task.no-layer`.
    """
    found: list[torch.Tensor] = []

    def after(_layer: torch.nn.Module, _received: Any, returned: torch.Tensor) -> None:
        found.append(returned)

    def before(_layer: torch.nn.Module, received: tuple[torch.Tensor, ...]) -> None:
        found.append(received[0])

    if layer:
        hook = _named(module, layer).register_forward_hook(after)
    else:
        hook = _last(module).register_forward_pre_hook(before)
    try:
        yield found
    finally:
        hook.remove()


def rows_of(found: list[torch.Tensor], layer: str) -> torch.Tensor:
    """The representation of one forward pass, one row a record (n, r)."""
    if not found or not isinstance(found[-1], torch.Tensor):
        known = "the layers that are called as modules and return a tensor"
        raise TacitError("task.no-layer", layer=layer, known=known)
    return found[-1].flatten(1)


def pulled(rows: torch.Tensor, pull: Pull) -> tuple[torch.Tensor, float]:
    """A number with the derivative of the mean of `pull` by the rows, and that mean itself."""
    losses, slopes = pull(rows.detach().numpy())
    slope = torch.from_numpy(slopes).to(rows.dtype) / len(rows)
    return (rows * slope).sum(), float(losses.mean())


def _named(module: torch.nn.Module, layer: str) -> torch.nn.Module:
    layers: dict[str, torch.nn.Module] = dict(module.named_modules())
    if layer not in layers:
        known = ", ".join(name for name in layers if name)
        raise TacitError("task.no-layer", layer=layer, known=known)
    return layers[layer]


def _last(module: torch.nn.Module) -> torch.nn.Module:
    return [one for one in module.modules() if any(True for _ in one.parameters(recurse=False))][-1]
