"""Chains of linear layers and ReLUs for many clients at once, forward and backward by hand.

Imported only where torch is there (see `tacit.learn.torch`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, final

from tacit.base.extras import optional
from tacit.base.vector import Rows, Vector
from tacit.learn.schedule import Batch
from tacit.learn.torch_flat import FlatModule
from tacit.learn.torch_loss import BinaryCrossEntropy, CrossEntropy, Loss, SquaredError, like

if TYPE_CHECKING:
    import torch
    from torch import fx
    from torch.nn import functional
else:
    torch = optional("torch", "tacit.torch")
    fx = optional("torch.fx", "tacit.torch")
    functional = optional("torch.nn.functional", "tacit.torch")

FLATTEN, RELU, OTHER = "(flatten)", "(relu)", "(other)"
"""Steps of a chain beside its linear layers, which go by the names of their modules."""


class Linear(NamedTuple):
    """Where one layer's weight (out, in) and bias lie in a row; `relu`: what follows it."""

    weight: slice
    shape: tuple[int, ...]
    bias: slice | None
    relu: bool


class Layer(NamedTuple):
    """One layer's tensors of every client: weight (clients, out, in), bias (clients, out)."""

    weight: torch.Tensor
    bias: torch.Tensor | None
    relu: bool

    def of(self, rows: slice) -> Layer:
        """Those of some of the clients."""
        bias = None if self.bias is None else self.bias[rows]
        return Layer(self.weight[rows], bias, self.relu)


@final
@dataclass(frozen=True)
class LinearChain:
    """A module that is nothing but linear layers with ReLUs between; rows are (clients, dim)."""

    layers: tuple[Linear, ...]
    loss: Loss

    @property
    def first(self) -> int:
        """Weights of the first layer."""
        return _size(self.layers[0].weight)

    def gradients(self, params: Rows, batch: Batch, into: Rows) -> Vector:
        """Gradients of the mean losses into `into`; returns the losses."""
        with torch.no_grad():
            layers, found = self.on(params), self.on(into)
            inputs, losses, error = self._errors(layers, batch)
            for i in reversed(range(len(layers))):
                found[i].weight.baddbmm_(error.mT, inputs[i], beta=0)
                if (bias := found[i].bias) is not None:
                    bias.copy_(error.sum(1))
                if i:
                    error = _back(layers[i], inputs[i], error, layers[i - 1].relu)
        return losses

    def step(self, params: Rows, batch: Batch, lr: float) -> Vector:
        """One step of SGD in place."""
        with torch.no_grad():
            layers = self.on(params)
            inputs, losses, error = self._errors(layers, batch)
            error = descend(layers[1:], inputs[1:], error, lr, layers[0].relu)
            _move(layers[0], inputs[0], error, lr)
        return losses

    def on(self, rows: Rows) -> list[Layer]:
        """Views of rows (clients, dim)."""
        held, clients = torch.from_numpy(rows), len(rows)
        return [
            Layer(
                held[:, one.weight].view(clients, *one.shape),
                None if one.bias is None else held[:, one.bias],
                one.relu,
            )
            for one in self.layers
        ]

    def _errors(
        self, layers: list[Layer], batch: Batch
    ) -> tuple[list[torch.Tensor], Vector, torch.Tensor]:
        """Inputs of every layer, the losses, and their derivatives by the outputs."""
        share = torch.from_numpy(batch.share)
        below = torch.from_numpy(batch.x).reshape(*share.shape, -1)
        inputs, output = forward(layers, below)
        losses, error = loss_of(self.loss, output, torch.from_numpy(batch.y), share)
        return inputs, losses.sum(1).to(torch.float64).numpy(), error


def forward(layers: list[Layer], below: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Inputs of every layer (clients, slots, in), and the last one's outputs."""
    inputs = []
    for weight, bias, relu in layers:
        inputs.append(below)
        below = torch.bmm(below, weight.mT)
        if bias is not None:
            below.add_(bias[:, None])
        if relu:
            below.relu_()
    return inputs, below


def descend(
    layers: list[Layer], inputs: list[torch.Tensor], error: torch.Tensor, lr: float, relu: bool
) -> torch.Tensor:
    """One step of SGD in place; returns the error of what lies below, which may end in a ReLU.

    The products are added to the weights: no gradient is kept.
    """
    for i in reversed(range(len(layers))):
        below = _back(layers[i], inputs[i], error, layers[i - 1].relu if i else relu)
        _move(layers[i], inputs[i], error, lr)
        error = below
    return error


def _move(layer: Layer, inputs: torch.Tensor, error: torch.Tensor, lr: float) -> None:
    layer.weight.baddbmm_(error.mT, inputs, alpha=-lr)
    if layer.bias is not None:
        layer.bias.sub_(error.sum(1), alpha=lr)


def _back(layer: Layer, inputs: torch.Tensor, error: torch.Tensor, relu: bool) -> torch.Tensor:
    """The error of a layer's inputs, which a ReLU may have made."""
    below = torch.bmm(error, layer.weight)
    return below.mul_(inputs > 0) if relu else below


def chain_of(flat: FlatModule, loss: Loss, shape: tuple[int, ...]) -> LinearChain | None:
    """The module as a chain of linear layers, if it is one."""
    known = isinstance(loss, CrossEntropy | SquaredError | BinaryCrossEntropy)
    if not known or flat.cast or flat.sent or flat.home:
        return None
    steps = _traced(flat.module)
    flattened = steps[:1] == [FLATTEN] or len(shape) == 1
    steps = [step for step in steps if step != FLATTEN]
    if not flattened or not steps or OTHER in steps or RELU in {steps[0], steps[-1]}:
        return None
    layers = _placed(flat, steps)
    used = sum(_size(one.weight) + (0 if one.bias is None else _size(one.bias)) for one in layers)
    return LinearChain(tuple(layers), loss) if used == flat.layout.size else None


def _traced(module: torch.nn.Module) -> list[str]:
    """The steps of a module that is a chain; none where torch cannot trace it."""
    if isinstance(module, torch.nn.Linear):
        return [""]
    try:
        return list(_steps(module, fx.symbolic_trace(module).graph))
    except Exception:  # noqa: BLE001  # a user's module may do anything when it is traced
        return []


def _size(span: slice) -> int:
    return int(span.stop - span.start)


def _placed(flat: FlatModule, steps: list[str]) -> list[Linear]:
    """Layers by the names of their modules; those whose tensors are not all trained are left out.

    A tensor that two layers share is found under one name only, so that the sizes do not add up.
    """
    places, start = {}, 0
    for tensor in flat.layout.tensors:
        places[tensor.name] = (slice(start, start + tensor.size), tensor.shape)
        start += tensor.size
    layers = []
    for name, after in zip(steps, [*steps[1:], ""], strict=True):
        prefix = f"{name}." if name else ""
        if name != RELU and f"{prefix}weight" in places:
            weight, shape = places[f"{prefix}weight"]
            bias, _ = places.get(f"{prefix}bias", (None, ()))
            layers.append(Linear(weight, shape, bias, after == RELU))
    return layers


def _steps(module: torch.nn.Module, graph: fx.Graph) -> Iterator[str]:
    """The chain's steps: names of linear modules, and what is done between them."""
    before: Any = None
    for node in graph.nodes:
        if node.op == "output":
            if node.args != (before,):
                yield OTHER
            return
        if before is not None:
            alone = node.args[:1] == (before,) and len(before.users) == 1
            yield _kind(module, node) if alone else OTHER
        elif node.op != "placeholder":
            yield OTHER
        before = node


def _kind(module: torch.nn.Module, node: fx.Node) -> str:
    if node.op == "call_module":
        layer = module.get_submodule(str(node.target))
        if isinstance(layer, torch.nn.Linear):
            return str(node.target)
        if isinstance(layer, torch.nn.Flatten) and (layer.start_dim, layer.end_dim) == (1, -1):
            return FLATTEN
        return RELU if isinstance(layer, torch.nn.ReLU) else OTHER
    if node.target in {torch.relu, functional.relu, torch.relu_, "relu", "relu_"}:
        return RELU
    flattens = node.target in {torch.flatten, "flatten"} and node.args[1:] == (1,)
    return FLATTEN if flattens and not node.kwargs else OTHER


def loss_of(
    loss: Loss, output: torch.Tensor, labels: torch.Tensor, share: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Losses of examples (clients, slots) and derivatives by outputs, both times the shares."""
    if isinstance(loss, CrossEntropy):
        return _cross_entropy(loss, output, labels, share)
    target = like(labels.flatten(0, 1), output.flatten(0, 1)).view(output.shape)
    share = share[..., None] / output.shape[-1]
    if isinstance(loss, SquaredError):
        apart = output - target
        return (apart.square() * share).sum(-1), 2 * apart * share
    each = functional.binary_cross_entropy_with_logits(output, target, reduction="none")
    return (each * share).sum(-1), (output.sigmoid() - target) * share


def _cross_entropy(
    loss: CrossEntropy, output: torch.Tensor, labels: torch.Tensor, share: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    if output.shape != (*labels.shape, loss.classes):
        raise ValueError("the outputs are not one a class")
    chosen = labels[..., None]
    logs = functional.log_softmax(output, -1)
    losses = logs.gather(-1, chosen)[..., 0].mul(share).neg_()
    error = logs.exp_()
    error.scatter_add_(-1, chosen, error.new_full((1, 1, 1), -1.0).expand(chosen.shape))
    return losses, error.mul_(share[..., None])
