"""Torch modules of the kinds that users bring, small enough to test with."""

from __future__ import annotations

import torch
from torch import nn


class Linear(nn.Module):
    def __init__(self, features: int = 5, outputs: int = 3) -> None:
        super().__init__()
        self.map = nn.Linear(features, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.map(x)  # type: ignore[no-any-return]  # torch types modules so


def convolutional(classes: int = 4, normalised: bool = True) -> nn.Module:
    norm: nn.Module = nn.BatchNorm2d(6) if normalised else nn.GroupNorm(2, 6)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3), norm, nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(54, classes)
    )


class Recurrent(nn.Module):
    def __init__(self, words: int = 12, classes: int = 3, gated: bool = False) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, 6)
        kind = nn.GRU if gated else nn.LSTM
        self.recur = kind(6, 8, batch_first=True)
        self.out = nn.Linear(8, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        states, _ = self.recur(self.embed(x))
        return self.out(states[:, -1])  # type: ignore[no-any-return]  # torch types modules so


class Language(nn.Module):
    """One transformer block that predicts a word a step; input and output embeddings are tied."""

    def __init__(self, words: int = 12, dropout: float = 0.0) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, 8)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, dropout, batch_first=True)
        self.out = nn.Linear(8, words)
        self.out.weight = self.embed.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.block(self.embed(x)))  # type: ignore[no-any-return]  # as above


class Dropping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.map(nn.functional.dropout(x, 0.5, self.training))  # type: ignore[no-any-return]  # as above


class Mixed(nn.Module):
    """float32, bfloat16 and float64 tensors in one module."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(5, 4)
        self.small = nn.Parameter(torch.full((4,), 0.5, dtype=torch.bfloat16))
        self.last = nn.Linear(4, 3).double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last((self.first(x) * self.small.float()).double())  # type: ignore[no-any-return]  # as above


class Buffered(nn.Module):
    """Every sort of tensor that a module can hold beside what it trains."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(5, 3)
        self.frozen = nn.Parameter(torch.randn(5), requires_grad=False)
        self.unused = nn.Parameter(torch.ones(2))
        self.register_buffer("mean", torch.zeros(5))
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))
        self.register_buffer("shift", torch.zeros(5), persistent=False)
        self.mean: torch.Tensor
        self.steps: torch.Tensor
        self.shift: torch.Tensor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            # Replaced, not changed in place: both are common.
            self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
            self.steps += 1
            self.shift = self.shift + 1.0
        return self.map(x * self.frozen - self.mean + self.shift)  # type: ignore[no-any-return]  # as above


class Segmenting(nn.Module):
    """A class a pixel, the class axis first as torch has it."""

    def __init__(self, classes: int = 2) -> None:
        super().__init__()
        self.map = nn.Conv2d(1, classes, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.map(x)  # type: ignore[no-any-return]  # as above


class Branching(Linear):
    """Looks at its data, which a vectorised map cannot."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = self.map(x)
        return scores if x.sum() > 0 else -scores  # type: ignore[no-any-return]  # as above


class Logarithm(Linear):
    """Not finite for an example whose first feature is negative."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.map(x) + x[:, :1].log()  # type: ignore[no-any-return]  # as above


def frozen() -> nn.Module:
    return nn.Linear(5, 3).requires_grad_(requires_grad=False)


def broken(size: int) -> nn.Module:
    raise ValueError(f"no size {size}")


def not_a_module() -> list[int]:
    return [1]


def shapeless() -> nn.Module:
    return nn.Linear(5, int(torch.randint(1, 1000, ())))


class Pair(Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.map(x), x  # type: ignore[return-value]  # the mistake under test


def smooth_cross_entropy(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(output, target, label_smoothing=0.1)


def absolute(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return (output[:, 0] - target).abs().mean()


def not_a_mean(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return (output.sum(1) - target).abs()
