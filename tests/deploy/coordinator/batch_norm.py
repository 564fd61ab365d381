"""A researcher's own model, with buffers."""

from __future__ import annotations

import torch


def model(hidden: int = 4) -> torch.nn.Module:
    return torch.nn.Sequential(
        torch.nn.Linear(5, hidden),
        torch.nn.BatchNorm1d(hidden),
        torch.nn.ReLU(),
        torch.nn.Linear(hidden, 3),
    )
