"""The `Task` of a torch module: gradients, clipped sums and evaluation over flat vectors.

Imported only where torch is there (see `tacit.learn.torch`). One module serves all calls, so a
task belongs to one thread at a time; what a call answers depends on its arguments alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np
import numpy.typing as npt

from tacit.base.errors import TacitError
from tacit.base.extras import optional
from tacit.base.key import Key
from tacit.base.vector import Layout, Vector
from tacit.learn.code import user_code
from tacit.learn.contract import DataContract, check_examples
from tacit.learn.examples import Examples
from tacit.learn.represent import Pull
from tacit.learn.task import Gradient, Tallies
from tacit.learn.torch_clipped import clipped_sum
from tacit.learn.torch_flat import FlatModule, flatten, seeded, tensor_of
from tacit.learn.torch_loss import Loss
from tacit.learn.torch_represent import captured, pulled, rows_of
from tacit.learn.torch_stacked import StackedModule, stacked_module

if TYPE_CHECKING:
    import torch
else:
    torch = optional("torch", "tacit.torch")

Array = npt.NDArray[Any]

CHUNK = 512
"""Rows of one forward pass of evaluation and prediction."""


@final
@dataclass(frozen=True, eq=False)
class TorchModel:
    """A torch module as a `Task`; float32 vectors, float64 if any of its tensors is float64."""

    name: str
    make: Callable[[], torch.nn.Module]
    loss: Loss
    flat: FlatModule
    floats: torch.dtype
    contract: DataContract
    frozen: Key
    mixes: str | None

    @property
    def layout(self) -> Layout:
        """Trained parameters by name (shared ones once), then the floating-point buffers."""
        return self.flat.layout

    @property
    def norms(self) -> tuple[str, ...]:
        """Parameters and buffers of batch normalisation, as the layout names them."""
        layers = dict(_batch_norms(self.flat.module))
        names = [tensor.name for tensor in self.layout.tensors]
        return tuple(name for name in names if name.rpartition(".")[0] in layers)

    def start(self, key: Key) -> Vector:
        """What the module's constructor draws under `key`; torch's own randomness is untouched."""
        fresh = flatten(construct(self.name, self.make, key), self.name)
        if fresh.layout != self.layout:
            raise TacitError("task.torch-not-repeatable", model=self.name)
        return fresh.memory

    def check(self, examples: Examples) -> None:
        """Shapes, finiteness and labels; then two rows through the module and its loss."""
        check_examples("this client", examples, self.contract.shape, self.contract.classes)
        few = examples.take(slice(0, 2))
        self.flat.module.eval()
        with torch.no_grad(), self._running():
            self.loss.mean(self._output(few.x), self.loss.target(few.y))

    def grad(self, params: Vector, batch: Examples, key: Key) -> Gradient:
        """Backpropagation in train mode; dropout follows `key`, buffers are those after the batch.

        Errors: `task.loss-not-finite`, `task.torch-batch-of-one`, `task.torch-output`,
        `task.label-range`, `task.code-fails`.
        """
        self.flat.load(params, training=True)
        with seeded(key), self._running():
            loss = self.loss.mean(self._output(batch.x), self.loss.target(batch.y))
            value = loss.item()
            if not math.isfinite(value):
                raise TacitError("task.loss-not-finite", model=self.name, value=value)
            trained = self.flat.gradient(loss)
        return Gradient(trained, self.flat.buffers(), value)

    @property
    def representations(self) -> tuple[str, ...]:
        """The module's layers, and without a name what the last one receives."""
        return ("", *(name for name, _ in self.flat.module.named_modules() if name))

    def represent(self, params: Vector, x: Array, layer: str) -> Array:
        """What a layer makes of each row in eval mode; see `torch_represent.captured`."""
        parts = []
        for rows in self._chunks(params, max(len(x), 1)):
            with torch.no_grad(), self._running(), captured(self.flat.module, layer) as found:
                self._output(x[rows])
                parts.append(rows_of(found, layer).numpy())
        return np.concatenate(parts)

    def pulled_grad(
        self, params: Vector, batch: Examples, layer: str, pull: Pull, key: Key
    ) -> Gradient:
        """As `grad`, with the mean of a loss on what a layer makes of each record."""
        self.flat.load(params, training=True)
        with seeded(key), self._running(), captured(self.flat.module, layer) as found:
            loss = self.loss.mean(self._output(batch.x), self.loss.target(batch.y))
            beside, mean = pulled(rows_of(found, layer), pull)
            trained = self.flat.gradient(loss + beside)
        return Gradient(trained, self.flat.buffers(), loss.item() + mean)

    def clipped_grad_sum(self, params: Vector, batch: Examples, clip: float, key: Key) -> Vector:
        """Exact sum of per-example gradients, each clipped; see `torch_clipped`.

        Error: `task.mixes` for a module with batch normalisation.
        """
        if self.mixes is not None:
            raise TacitError("task.mixes", model=self.name, layer=self.mixes)
        self.flat.load(params, training=True)
        with seeded(key), self._running():
            x, y = self._input(batch.x), self.loss.target(batch.y)
            return clipped_sum(self.flat, self.loss, x, y, clip)

    def evaluate(self, params: Vector, examples: Examples) -> Tallies:
        """Sums over predictions in eval mode."""
        sums = np.zeros(3)
        for rows in self._chunks(params, examples.count):
            few = examples.take(rows)
            with torch.no_grad(), self._running():
                sums += self.loss.tallies(self._output(few.x), self.loss.target(few.y))
        return Tallies(*sums.tolist())

    def predict(self, params: Vector, x: Array) -> Array:
        """Predicted classes (int64) or values; for sequences one a step."""
        return self._outputs(params, x, self.loss.decide)

    def outputs(self, params: Vector, x: Array) -> Array:
        """What the module itself returns in eval mode, for example logits."""
        return self._outputs(params, x, lambda output: output)

    def module(self, params: Vector) -> torch.nn.Module:
        """A new module that holds a model, to save or to use without tacit."""
        module = construct(self.name, self.make, self.frozen)
        self.flat.load(params, training=False)
        module.load_state_dict(self.flat.module.state_dict())
        return module.eval()

    def stacked(self) -> StackedModule:
        """The same for many clients at once; see `tacit.learn.stacked`."""
        return stacked_module(self.flat, self.loss, self.floats, self.contract.shape)

    def _outputs(
        self, params: Vector, x: Array, of: Callable[[torch.Tensor], torch.Tensor]
    ) -> Array:
        parts = []
        for rows in self._chunks(params, max(len(x), 1)):
            with torch.no_grad(), self._running():
                parts.append(of(self._output(x[rows])).numpy())
        return np.concatenate(parts)

    def _chunks(self, params: Vector, count: int) -> Iterator[slice]:
        self.flat.load(params, training=False)
        for start in range(0, count, CHUNK):
            yield slice(start, min(start + CHUNK, count))

    def _output(self, x: Array) -> torch.Tensor:
        found: Any = self.flat.module(self._input(x))
        if not isinstance(found, torch.Tensor):
            kind = f"none (a {type(found).__name__})"
            raise TacitError("task.torch-output", found=kind, expected="a tensor")
        output: torch.Tensor = found
        return output

    def _input(self, x: Array) -> torch.Tensor:
        """Whole numbers stay whole (token ids); others take the module's one precision."""
        if x.dtype.kind in "iu":
            return tensor_of(x, np.int64)
        exact = np.float64 if self.floats == torch.float64 else np.float32
        return tensor_of(x, exact).to(self.floats)

    @contextmanager
    def _running(self) -> Iterator[None]:
        """Errors of the user's module by code; batch norm's refusal of one example by its own."""
        try:
            with user_code(self.name, "run"):
                yield
        except TacitError as error:
            if error.code == "task.code-fails" and "more than 1 value per channel" in error.cause:
                raise TacitError(
                    "task.torch-batch-of-one", layer=self.mixes or "a layer"
                ) from error
            raise


def build(
    name: str, make: Callable[[], torch.nn.Module], loss: Loss, contract: DataContract, key: Key
) -> TorchModel:
    """Construct the module once; its frozen parameters follow from `key`."""
    module = construct(name, make, key)
    with user_code(name, "laid out as a vector"):
        flat = flatten(module, name)
    dtypes = {parameter.dtype for parameter in module.parameters()}
    floats = dtypes.pop() if len(dtypes) == 1 else torch.float32
    return TorchModel(name, make, loss, flat, floats, contract, key, mixing_layer(module))


def construct(name: str, make: Callable[[], torch.nn.Module], key: Key) -> torch.nn.Module:
    """Run the user's constructor with torch seeded by `key`."""
    with seeded(key), user_code(name, "constructed"):
        module = make()
    if not isinstance(module, torch.nn.Module):
        raise TacitError("task.torch-not-a-module", model=name, kind=type(module).__name__)
    return module


def mixing_layer(module: torch.nn.Module) -> str | None:
    """The first batch normalisation that is in train mode when the module is."""
    module.train()
    for name, layer in _batch_norms(module):
        if layer.training:
            return name or type(layer).__name__
    return None


def _batch_norms(module: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Module]]:
    """Every batch normalisation under its name."""
    kind = torch.nn.modules.batchnorm._BatchNorm  # noqa: SLF001  # the base of them all
    return (pair for pair in module.named_modules() if isinstance(pair[1], kind))
