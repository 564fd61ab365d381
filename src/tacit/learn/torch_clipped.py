"""Per-example clipping for any torch module (Abadi et al. 2016, Algorithm 1), exactly.

Modules of known layers take one backward pass (`torch_bookkeeping`). For others, gradients of
single examples come from `torch.func` (vectorised map over the gradient of a functional call);
layers that it does not support, such as LSTMs, are run one example at a time.
"""

from __future__ import annotations

import functools
import warnings
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from tacit.base.extras import optional
from tacit.base.vector import Vector
from tacit.learn.task import clip_factors
from tacit.learn.torch_bookkeeping import Bookkeeping, bookkeeping
from tacit.learn.torch_flat import FlatModule
from tacit.learn.torch_loss import Loss

if TYPE_CHECKING:
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
else:
    torch = optional("torch", "tacit.torch")
    attention = optional("torch.nn.attention", "tacit.torch")
    SDPBackend, sdpa_kernel = attention.SDPBackend, attention.sdpa_kernel

Named = dict[str, Any]

_BOOKS: WeakKeyDictionary[FlatModule, Bookkeeping | None] = WeakKeyDictionary()

COORDINATES = 2**25
"""Coordinates of gradients held at once: 128 MiB of float32."""


def clipped_sum(
    flat: FlatModule, loss: Loss, x: torch.Tensor, y: torch.Tensor, clip: float
) -> Vector:
    """Sum over examples of each gradient scaled to norm at most `clip`; in train mode."""
    book = _book(flat, loss)
    if book is not None:
        some = max(1, COORDINATES // book.written)
        parts = zip(torch.split(x, some), torch.split(y, some), strict=True)
        sums = (book.clipped_sum(flat, loss, rows, labels, clip) for rows, labels in parts)
        return functools.reduce(np.add, sums)
    chunk = max(1, min(len(x), COORDINATES // flat.layout.trained))
    try:
        with warnings.catch_warnings(), sdpa_kernel(SDPBackend.MATH):
            # torch maps some operations one by one, and says so; the result is the same.
            warnings.filterwarnings("ignore", "There is a performance drop")
            return _sum(flat, _vectorised(flat, loss), x, y, clip, chunk)
    except RuntimeError:
        # torch says in this way that a layer has no vectorised form. If the module itself is at
        # fault, the loop meets the same error and raises it.
        return _sum(flat, _one_by_one(flat, loss), x, y, clip, chunk)


def _book(flat: FlatModule, loss: Loss) -> Bookkeeping | None:
    """The module's bookkeeping, drawn up once."""
    if flat not in _BOOKS:
        _BOOKS[flat] = bookkeeping(flat, loss)
    return _BOOKS[flat]


def _sum(
    flat: FlatModule, gradients: Any, x: torch.Tensor, y: torch.Tensor, clip: float, chunk: int
) -> Vector:
    total = np.zeros(flat.layout.trained, flat.memory.dtype)
    for rows, labels in zip(torch.split(x, chunk), torch.split(y, chunk), strict=True):
        parts = [part.reshape(len(rows), -1) for part in gradients(rows, labels)]
        total += flat.join(_clipped(parts, clip, flat.memory.dtype))
    return total


def _clipped(parts: list[torch.Tensor], clip: float, dtype: Any) -> list[torch.Tensor]:
    """Scaled sums over rows; one that is not finite leaves the sum so (see `clip_factors`)."""
    squares = [torch.linalg.vector_norm(part, dim=1, dtype=torch.float64) ** 2 for part in parts]
    norms = torch.stack(squares).sum(0).sqrt().numpy().astype(dtype)
    factors = torch.from_numpy(clip_factors(norms, clip))
    return [factors.to(part.dtype) @ part for part in parts]


def _vectorised(flat: FlatModule, loss: Loss) -> Any:
    """(rows, labels) -> one (rows, ...) array of gradients a trained tensor."""
    module = flat.module
    trained = {n: p.detach() for n, p in module.named_parameters() if p.requires_grad}
    buffers = dict(module.named_buffers())

    def of_one(at: Named, fixed: Named, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        output = torch.func.functional_call(module, {**at, **fixed}, (x[None],))
        return loss.mean(output, y[None])

    gradient = torch.func.grad(of_one)
    mapped = torch.func.vmap(gradient, in_dims=(None, None, 0, 0), randomness="different")

    def gradients(rows: torch.Tensor, labels: torch.Tensor) -> list[torch.Tensor]:
        fresh = {name: buffer.clone() for name, buffer in buffers.items()}
        return list(mapped(trained, fresh, rows, labels).values())

    return gradients


def _one_by_one(flat: FlatModule, loss: Loss) -> Any:
    """The same, from one backward pass an example, each from the same buffers."""
    params = flat.memory.copy()

    def gradients(rows: torch.Tensor, labels: torch.Tensor) -> list[torch.Tensor]:
        dtype = torch.from_numpy(flat.memory[:0]).dtype
        joined = torch.zeros(len(rows), flat.layout.trained, dtype=dtype)
        for row in range(len(rows)):
            flat.load(params, training=True)
            found = loss.mean(flat.module(rows[row : row + 1]), labels[row : row + 1])
            joined[row] = torch.from_numpy(flat.gradient(found))
        return [joined]

    return gradients
