"""A torch module whose parameters and buffers lie in one flat vector; and torch's randomness.

Imported only where torch is there (see `tacit.learn.torch`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, final

import numpy as np
import numpy.typing as npt

from tacit.base.errors import TacitError
from tacit.base.extras import optional
from tacit.base.key import Key
from tacit.base.vector import Kind, Layout, Tensor, Vector

if TYPE_CHECKING:
    import torch
else:
    torch = optional("torch", "tacit.torch")


class Buffer(NamedTuple):
    """A buffer by its place in the module, its tensor, and the value that `load` gives it.

    `value` is a view of the flat vector, or for a buffer that stays at home its first value.
    """

    owner: torch.nn.Module
    key: str
    tensor: torch.Tensor
    value: torch.Tensor


@final
@dataclass(frozen=True, eq=False)
class FlatModule:
    """A module on top of a flat vector: tensors of the vector's dtype are views of it.

    `memory` is the vector for numpy, the same bytes. `cast` lists the parameters of another
    dtype beside their views; they are copied. float64 only if a tensor of the model is float64.
    """

    module: torch.nn.Module
    layout: Layout
    memory: Vector
    trained: tuple[torch.Tensor, ...]
    cast: tuple[tuple[torch.Tensor, torch.Tensor], ...]
    sent: tuple[Buffer, ...]
    home: tuple[Buffer, ...]

    def load(self, params: Vector, training: bool) -> None:
        """Take parameters and buffers from `params` (dim,); restore the buffers of home."""
        self.memory[...] = params
        if self.cast or self.sent or self.home:
            with torch.no_grad():
                for tensor, value in self.cast:
                    tensor.copy_(value)
                for buffer in self.sent + self.home:
                    _restore(buffer)
        if self.module.training is not training:
            self.module.train(training)

    def gradient(self, loss: torch.Tensor) -> Vector:
        """Derivative of a scalar by all trained coordinates; zero where it does not depend."""
        found = torch.autograd.grad(loss, self.trained, allow_unused=True)
        return self.join([_dense(one, by) for one, by in zip(found, self.trained, strict=True)])

    def join(self, parts: list[torch.Tensor]) -> Vector:
        """A fresh flat vector from one array a trained tensor."""
        joined: Vector = torch.cat([part.reshape(-1) for part in parts]).numpy()
        return joined.astype(self.memory.dtype, copy=False)

    def buffers(self) -> Vector:
        """A fresh copy of the sent buffers as the last forward pass left them."""
        if not self.sent:
            return np.empty(0, self.memory.dtype)
        with torch.no_grad():
            for buffer in self.sent:
                now = getattr(buffer.owner, buffer.key)
                if now is not buffer.tensor or now.dtype != buffer.value.dtype:
                    buffer.value.copy_(now)
        return self.memory[self.layout.trained :].copy()


def flatten(module: torch.nn.Module, name: str) -> FlatModule:
    """Move a module's trained parameters and saved float buffers into one vector."""
    module = module.cpu()
    parameters = {n: p for n, p in module.named_parameters() if p.requires_grad}
    if not parameters:
        raise TacitError("task.torch-nothing-to-train", model=name)
    saved = module.state_dict().keys()
    every = dict(module.named_buffers())
    floats = {n: b for n, b in every.items() if b.is_floating_point() and n in saved}
    tensors = {**parameters, **floats}
    dtype = _dtype(list(tensors.values()))
    layout = Layout(
        tuple(Tensor(n, tuple(p.shape)) for n, p in parameters.items())
        + tuple(Tensor(n, tuple(b.shape), Kind.BUFFER) for n, b in floats.items()),
        str(dtype).removeprefix("torch."),
    )
    vector = torch.zeros(layout.size, dtype=dtype)
    values = _views(vector, layout)
    for n, tensor in tensors.items():
        _bind(tensor, values[n])
    rest = {n: b.clone() for n, b in every.items() if n not in floats}
    return FlatModule(
        module,
        layout,
        vector.numpy(),
        tuple(parameters.values()),
        tuple((p, values[n]) for n, p in parameters.items() if p.dtype != vector.dtype),
        tuple(_buffer(module, n, b, values[n]) for n, b in floats.items()),
        tuple(_buffer(module, n, every[n], first) for n, first in rest.items()),
    )


def tensor_of(array: npt.NDArray[Any], dtype: npt.DTypeLike) -> torch.Tensor:
    """A tensor of that dtype, on the same bytes where torch can write to them."""
    if array.dtype != dtype or not array.flags.c_contiguous or not array.flags.writeable:
        array = np.array(array, dtype)
    return torch.from_numpy(array)


@contextmanager
def seeded(key: Key) -> Iterator[None]:
    """Torch's global randomness follows `key` inside, and is as it was before outside."""
    generator = torch.default_generator
    before = generator.get_state()
    generator.manual_seed(int.from_bytes(key.secret[:8], "little"))
    try:
        yield
    finally:
        generator.set_state(before)


def _dtype(tensors: list[torch.Tensor]) -> torch.dtype:
    exact = any(tensor.dtype == torch.float64 for tensor in tensors)
    return torch.float64 if exact else torch.float32


def _views(vector: torch.Tensor, layout: Layout) -> dict[str, torch.Tensor]:
    parts = torch.split(vector, [tensor.size for tensor in layout.tensors])
    return {t.name: part.view(t.shape) for t, part in zip(layout.tensors, parts, strict=True)}


def _bind(tensor: torch.Tensor, value: torch.Tensor) -> None:
    """Copy the tensor into the vector; from then on it is a view of it, if the dtypes agree."""
    value.copy_(tensor.detach())
    if tensor.dtype == value.dtype:
        tensor.data = value


def _buffer(
    module: torch.nn.Module, name: str, tensor: torch.Tensor, value: torch.Tensor
) -> Buffer:
    path, _, key = name.rpartition(".")
    return Buffer(module.get_submodule(path), key, tensor, value)


def _restore(buffer: Buffer) -> None:
    """Undo what a forward pass did: a replaced tensor, a changed value."""
    if getattr(buffer.owner, buffer.key) is not buffer.tensor:
        setattr(buffer.owner, buffer.key, buffer.tensor)
    if buffer.tensor.data_ptr() != buffer.value.data_ptr():
        buffer.tensor.copy_(buffer.value)


def _dense(gradient: torch.Tensor | None, by: torch.Tensor) -> torch.Tensor:
    if gradient is None:
        return torch.zeros_like(by)
    return gradient.to_dense() if gradient.is_sparse else gradient
