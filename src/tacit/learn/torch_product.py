"""Products of matrices in torch, by the faster of its two libraries.

Torch's own products go to MKL, which on some processors leaves half of the vector width unused;
the kernels behind its compiled layers (oneDNN) do not, and are as exact.
Imported only where torch is there (see `tacit.learn.torch`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tacit.base.extras import optional

if TYPE_CHECKING:
    import torch
else:
    torch = optional("torch", "tacit.torch")


def _found() -> Any:
    """oneDNN's linear layer, as torch's compiler calls it; None in a torch without it."""
    if not torch.backends.mkldnn.is_available():
        return None
    return getattr(torch.ops.mkldnn, "_linear_pointwise", None)


_LINEAR: Any = _found()


def quick(dtype: np.dtype[Any]) -> bool:
    """Whether wide products of this type go faster here than torch's own."""
    return _LINEAR is not None and dtype == np.float32


def product(
    left: torch.Tensor, right: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """left @ right.T + bias: (n, k) and (m, k) give a fresh (n, m); without gradients."""
    if _LINEAR is not None and left.dtype == torch.float32:
        found: torch.Tensor = _LINEAR(left, right, bias, "none", [], "")
        return found
    return left @ right.T if bias is None else torch.addmm(bias, left, right.T)
