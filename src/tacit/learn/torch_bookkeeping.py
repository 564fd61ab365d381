"""Clipped sums from one backward pass: norms of examples by bookkeeping.

Bu, Wang, Zha, Karypis, ICML 2023, "Differentially Private Optimization on Large Model at Small
Cost" (bookkeeping); Goodfellow 2015, "Efficient per-example gradient computations". The gradient of
a linear layer's weight for one example is a product of what went in and what comes back, so its
norm needs no gradient, and the clipped sum is one product more. Convolutions write out each
example's gradient.

It is for modules of which torch can draw a static graph, with known operations only: those treat
every example of a batch alone. Imported only where torch is there (see `tacit.learn.torch`).
"""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, final

import numpy as np

from tacit.base.extras import optional
from tacit.base.vector import Vector
from tacit.learn.task import clip_factors
from tacit.learn.torch_flat import FlatModule
from tacit.learn.torch_loss import BinaryCrossEntropy, CrossEntropy, Loss, SquaredError

if TYPE_CHECKING:
    import torch
    from torch import fx, nn
    from torch.nn import functional
else:
    torch = optional("torch", "tacit.torch")
    nn, fx = optional("torch.nn", "tacit.torch"), optional("torch.fx", "tacit.torch")
    functional = optional("torch.nn.functional", "tacit.torch")

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_ALONE = (
    *(nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.Softplus),
    *(nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Identity),
    *(nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d),
)
"""Modules without parameters that treat each example of a batch alone."""

_FUNCTIONS: set[Any] = {
    *(torch.relu, functional.relu, torch.tanh, torch.sigmoid, functional.gelu, functional.silu),
    *(functional.elu, functional.leaky_relu, functional.softplus),
    *(torch.max_pool2d, functional.max_pool2d, functional.avg_pool2d),
    *(functional.adaptive_avg_pool2d, functional.max_pool1d, functional.avg_pool1d),
    *("relu", "tanh", "sigmoid"),
}
"""Functions and methods of which the same holds."""


@final
@dataclass(frozen=True, eq=False)
class Seen:
    """What passed a layer on the way forward; `copy`: what goes on may be changed in place."""

    layer: nn.Module
    copy: bool
    inputs: list[torch.Tensor] = field(default_factory=list)
    outputs: list[torch.Tensor] = field(default_factory=list)

    def __call__(self, layer: nn.Module, args: tuple[Any, ...], output: torch.Tensor) -> Any:
        """A forward hook."""
        self.inputs.append(args[0].detach())
        self.outputs.append(output)
        return output.clone() if self.copy else None


@final
@dataclass(frozen=True, eq=False)
class Bookkeeping:
    """The layers of a module whose examples' gradients can be told apart."""

    layers: tuple[nn.Module, ...]
    copy: bool

    @property
    def written(self) -> int:
        """Coordinates of one example's gradients that may be written out."""
        sizes = [math.prod(one.weight.shape) for one in self.layers if type(one) in _CONVOLUTIONS]  # type: ignore[arg-type]  # a tensor's
        return max(1, sum(sizes))

    def clipped_sum(
        self, flat: FlatModule, loss: Loss, x: torch.Tensor, y: torch.Tensor, clip: float
    ) -> Vector:
        """Sum over examples of each gradient scaled to norm at most `clip`; in train mode."""
        seen = [Seen(layer, self.copy) for layer in self.layers]
        with ExitStack() as hooks:
            for one in seen:
                hooks.callback(one.layer.register_forward_hook(one).remove)
            total = loss.mean(flat.module(x), y) * len(x)
        back = torch.autograd.grad(total, [one.outputs[0] for one in seen])
        with torch.no_grad():
            return _summed(flat, seen, back, clip)


def _summed(
    flat: FlatModule, seen: list[Seen], back: tuple[torch.Tensor, ...], clip: float
) -> Vector:
    pairs = [_Pair(one.layer, one.inputs[0], g) for one, g in zip(seen, back, strict=True)]
    squares = torch.stack([pair.squares() for pair in pairs]).sum(0)
    norms = squares.sqrt().numpy().astype(flat.memory.dtype)
    factors = torch.from_numpy(clip_factors(norms, clip))
    total: Vector = np.empty(flat.layout.trained, flat.memory.dtype)
    spans = torch.split(torch.from_numpy(total), [one.numel() for one in flat.trained])
    into = {id(one): span for one, span in zip(flat.trained, spans, strict=True)}
    for pair in pairs:
        pair.sum(factors, into)
    return total


@final
class _Pair:
    """A layer's input and the derivative of the summed loss by its output."""

    def __init__(self, layer: Any, inputs: torch.Tensor, back: torch.Tensor) -> None:
        self.layer, self.inputs, self.back = layer, inputs, back
        self.written, self.by_bias = self._written(), self._by_bias()

    def squares(self) -> torch.Tensor:
        """Squared norm of each example's gradient of this layer (n,), in float64."""
        total = torch.zeros(len(self.back), dtype=torch.float64)
        if self.layer.weight.requires_grad:
            if self.written is None:
                total += _squared(self.inputs) * _squared(self.back)
            else:
                total += _squared(self.written)
        return total if self.by_bias is None else total + _squared(self.by_bias)

    def sum(self, factors: torch.Tensor, into: dict[int, torch.Tensor]) -> None:
        """The weighted sum of the examples' gradients of each trained parameter, by its id."""
        weight = self.layer.weight
        if self.written is not None:
            torch.mv(self.written.T, factors, out=into[id(weight)])
        elif weight.requires_grad:
            scaled = self.back * factors[:, None]
            torch.mm(scaled.T, self.inputs, out=into[id(weight)].view(weight.shape))
        if self.by_bias is not None:
            torch.mv(self.by_bias.T, factors, out=into[id(self.layer.bias)])

    def _by_bias(self) -> torch.Tensor | None:
        """Examples' gradients of the bias (n, out), if there is one to train."""
        if self.layer.bias is None or not self.layer.bias.requires_grad:
            return None
        if self.back.ndim == 2:
            return self.back
        linear = isinstance(self.layer, nn.Linear)
        flat = self.back.flatten(1, -2).mT if linear else self.back.flatten(2)
        return flat.sum(2)

    def _written(self) -> torch.Tensor | None:
        """Examples' gradients of the weight (n, size), where they must be written out."""
        layer = self.layer
        if not layer.weight.requires_grad:
            return None
        if isinstance(layer, nn.Linear):
            if self.back.ndim == 2:
                return None
            return torch.bmm(self.back.flatten(1, -2).mT, self.inputs.flatten(1, -2)).flatten(1)
        how = (layer.stride, layer.padding, layer.dilation, False, (0,), layer.groups)
        wanted = (False, True, False)  # of the gradients by input, weight and bias
        pairs = zip(self.inputs.split(1), self.back.split(1), strict=True)
        gradient, weight = torch.ops.aten.convolution_backward, layer.weight.detach()
        each = [gradient(g, x, weight, None, *how, wanted)[1].reshape(1, -1) for x, g in pairs]
        return torch.cat(each)


def bookkeeping(flat: FlatModule, loss: Loss) -> Bookkeeping | None:
    """The bookkeeping of a module, if every part of it is known to treat examples alone."""
    known = isinstance(loss, CrossEntropy | SquaredError | BinaryCrossEntropy)
    if not known or flat.cast or flat.sent or flat.home:
        return None
    module = flat.module.train()
    try:
        nodes = list(fx.symbolic_trace(module).graph.nodes)
    except Exception:  # noqa: BLE001  # a user's module may do anything when it is traced
        return None
    if not all(_known(module, node) for node in nodes):
        return None
    called = [module.get_submodule(str(one.target)) for one in nodes if one.op == "call_module"]
    layers = tuple(one for one in called if any(p.requires_grad for p in one.parameters()))
    own = [id(p) for one in layers for p in one.parameters() if p.requires_grad]
    once = len(set(own)) == len(own) and set(own) == {id(p) for p in flat.trained}
    return Bookkeeping(layers, any(map(_in_place, called))) if once else None


def _in_place(layer: nn.Module) -> bool:
    return bool(getattr(layer, "inplace", False))


def _squared(rows: torch.Tensor) -> torch.Tensor:
    norms: torch.Tensor = torch.linalg.vector_norm(rows.flatten(1), dim=1, dtype=torch.float64)
    return norms.square()


def _known(module: nn.Module, node: fx.Node) -> bool:
    if node.op == "call_module":
        layer = module.get_submodule(str(node.target))
        before: Any = node.args[0]
        return _known_layer(layer) and not (_in_place(layer) and len(before.users) > 1)
    if node.op == "placeholder":
        return not node.args and node is next(iter(node.graph.nodes))
    if node.op in {"call_function", "call_method"}:
        flattens = node.target in {torch.flatten, "flatten"} and node.args[1:] == (1,)
        plain = node.target in _FUNCTIONS and isinstance(node.args[0], fx.Node)
        return plain or (flattens and not node.kwargs)
    return node.op == "output" and isinstance(node.args[0], fx.Node)


def _known_layer(layer: Any) -> bool:
    if isinstance(layer, nn.Flatten):
        return layer.start_dim == 1
    if type(layer) in _CONVOLUTIONS:
        return layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    return type(layer) is nn.Linear or type(layer) in _ALONE
