"""A torch module with batch normalisation, as user code is: what FedBN is measured on."""

from __future__ import annotations

import torch
from torch import nn


class Norm(nn.BatchNorm1d):
    """Batch normalisation that takes a last batch of one record by its running statistics."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002  # torch's own name
        """Normalise a batch."""
        if not self.training or len(input) > 1:
            return super().forward(input)
        return nn.functional.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
        )


class Normed(nn.Module):
    """Normalised features, one hidden layer."""

    def __init__(self, features: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.norm = Norm(features)
        self.body = nn.Linear(features, hidden)
        self.head = nn.Linear(hidden, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of the classes."""
        hidden = torch.relu(self.body(self.norm(x)))
        return self.head(hidden)  # type: ignore[no-any-return]  # torch types modules so
