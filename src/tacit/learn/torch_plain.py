"""Plain SGD on chains of convolutions, poolings and linear layers, forward and backward by hand.

One client at a time, on its own row of parameters: each layer is moved as soon as its error has
gone through it, so no gradient of the model is ever put together, nor a graph recorded. Between
layers, images lie channels last, which torch pools many times faster.
Imported only where torch is there (see `tacit.learn.torch`).
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, final

import numpy.typing as npt

from tacit.base.extras import optional
from tacit.base.vector import Vector
from tacit.learn.torch_flat import FlatModule
from tacit.learn.torch_loss import BinaryCrossEntropy, CrossEntropy, Loss, SquaredError
from tacit.learn.torch_product import product
from tacit.learn.torch_rows import loss_of

if TYPE_CHECKING:
    import torch
    from torch import fx
    from torch.nn import functional
else:
    torch = optional("torch", "tacit.torch")
    fx = optional("torch.fx", "tacit.torch")
    functional = optional("torch.nn.functional", "tacit.torch")

Pair = tuple[int, ...]


class Weights(NamedTuple):
    """A layer's tensors: views of a row, which a step moves."""

    weight: torch.Tensor
    bias: torch.Tensor | None


class Op(Protocol):
    """A link of a chain."""

    def forward(self, x: torch.Tensor, own: Weights | None) -> tuple[torch.Tensor, Any]:
        """Outputs, and what the way back needs; `x` is not changed if it is the batch."""
        ...

    def back(
        self, error: torch.Tensor, kept: Any, own: Weights | None, lr: float, below: bool
    ) -> torch.Tensor:
        """The error of the inputs, if something `below` wants it; moves the layer's own weights."""
        ...


@final
class _Linear(NamedTuple):
    """y = x W^T + b, on (examples, features)."""

    name: str

    def forward(self, x: torch.Tensor, own: Weights | None) -> tuple[torch.Tensor, Any]:
        assert own is not None
        return product(x, *own), x

    def back(
        self, error: torch.Tensor, kept: Any, own: Weights | None, lr: float, below: bool
    ) -> torch.Tensor:
        assert own is not None
        under = product(error, own.weight.T) if below else error
        own.weight.sub_(product(error.T, kept.T), alpha=lr)
        if own.bias is not None:
            own.bias.sub_(error.sum(0), alpha=lr)
        return under


@final
class _Conv(NamedTuple):
    """A convolution over images, padded with zeros."""

    name: str
    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int

    def forward(self, x: torch.Tensor, own: Weights | None) -> tuple[torch.Tensor, Any]:
        assert own is not None
        weight = own.weight.contiguous(memory_format=torch.channels_last)
        found = functional.conv2d(x, weight, own.bias, *self[1:])
        return found.contiguous(memory_format=torch.channels_last), (x, weight)

    def back(
        self, error: torch.Tensor, kept: Any, own: Weights | None, lr: float, below: bool
    ) -> torch.Tensor:
        assert own is not None
        x, weight = kept
        biases = None if own.bias is None else list(own.bias.shape)
        wanted = [below, True, own.bias is not None]
        under, moved, bias = torch.ops.aten.convolution_backward(
            error, x, weight, biases, *self[1:4], False, [0] * len(self.stride), self.groups, wanted
        )
        own.weight.sub_(moved, alpha=lr)
        if own.bias is not None:
            own.bias.sub_(bias, alpha=lr)
        return under if below else error


@final
class _Relu(NamedTuple):
    """max(x, 0), over its own inputs: no link needs its own outputs on the way back."""

    def forward(self, x: torch.Tensor, own: Weights | None) -> tuple[torch.Tensor, Any]:
        found = x.relu_()
        return found, found

    def back(
        self, error: torch.Tensor, kept: Any, own: Weights | None, lr: float, below: bool
    ) -> torch.Tensor:
        found: torch.Tensor = torch.ops.aten.threshold_backward.grad_input(
            error, kept, 0, grad_input=error
        )
        return found


@final
class _Pool(NamedTuple):
    """The largest of each window of an image."""

    size: Pair
    stride: Pair
    padding: Pair

    def forward(self, x: torch.Tensor, own: Weights | None) -> tuple[torch.Tensor, Any]:
        x = x.contiguous(memory_format=torch.channels_last)
        found, places = torch.ops.aten.max_pool2d_with_indices(x, *self)
        return found, (x, places)

    def back(
        self, error: torch.Tensor, kept: Any, own: Weights | None, lr: float, below: bool
    ) -> torch.Tensor:
        x, places = kept
        error = error.contiguous(memory_format=torch.channels_last)
        found: torch.Tensor = torch.ops.aten.max_pool2d_with_indices_backward(
            error, x, *self, [1, 1], False, places
        )
        return found


@final
class _Flatten(NamedTuple):
    """One row an example."""

    def forward(self, x: torch.Tensor, own: Weights | None) -> tuple[torch.Tensor, Any]:
        return x.flatten(1), x.shape

    def back(
        self, error: torch.Tensor, kept: Any, own: Weights | None, lr: float, below: bool
    ) -> torch.Tensor:
        return error.view(kept)


@final
@dataclass(frozen=True)
class PlainChain:
    """A module that is a chain of such links, and where their tensors lie in a row."""

    links: tuple[tuple[Op, tuple[slice, ...]], ...]
    shapes: tuple[tuple[Pair, ...], ...]
    loss: Loss

    def step(
        self, row: Vector, x: npt.NDArray[Any], y: npt.NDArray[Any], share: Vector, lr: float
    ) -> float:
        """One step of SGD on a row in place; returns the mean loss."""
        with torch.no_grad():
            held = torch.from_numpy(row)
            every = [self._weights(held, i) for i in range(len(self.links))]
            output, kept = torch.from_numpy(x), []
            for (op, _), own in zip(self.links, every, strict=True):
                output, one = op.forward(output, own)
                kept.append(one)
            labels, shares = torch.from_numpy(y)[None], torch.from_numpy(share)[None]
            losses, errors = loss_of(self.loss, output[None], labels, shares)
            error = errors[0]
            for i in reversed(range(len(self.links))):
                error = self.links[i][0].back(error, kept[i], every[i], lr, i > 0)
            return float(losses.sum())

    def _weights(self, row: torch.Tensor, i: int) -> Weights | None:
        spans = self.links[i][1]
        if not spans:
            return None
        found = [row[a].view(b) for a, b in zip(spans, self.shapes[i], strict=True)]
        return Weights(found[0], found[1] if len(found) > 1 else None)


def plain_chain(flat: FlatModule, loss: Loss, shape: tuple[int, ...]) -> PlainChain | None:
    """The module as such a chain, if it is one from end to end."""
    known = isinstance(loss, CrossEntropy | SquaredError | BinaryCrossEntropy)
    if not known or flat.cast or flat.sent or flat.home:
        return None
    ops = [] if any(_watched(one) for one in flat.module.modules()) else _traced(flat.module)
    named = [i for i, op in enumerate(ops) if isinstance(op, _Linear | _Conv)]
    early = any(isinstance(op, _Relu) for op in ops[: named[0]]) if named else True
    if early or not _fits(ops, flat, shape):
        return None
    places, start = {}, 0
    for tensor in flat.layout.tensors:
        places[tensor.name] = (slice(start, start + tensor.size), tensor.shape)
        start += tensor.size
    each = [_own(op, places) for op in ops]
    if not _all_used(flat, ops, each):
        return None
    links = tuple((op, tuple(span for span, _ in own)) for op, own in zip(ops, each, strict=True))
    return PlainChain(links, tuple(tuple(b for _, b in own) for own in each), loss)


def _own(op: Op, places: dict[str, tuple[slice, Pair]]) -> list[tuple[slice, Pair]]:
    """Weight and bias of a link, as far as they are trained under these names."""
    if not isinstance(op, _Linear | _Conv):
        return []
    prefix = f"{op.name}." if op.name else ""
    return [places[name] for name in (f"{prefix}weight", f"{prefix}bias") if name in places]


def _all_used(flat: FlatModule, ops: list[Op], each: list[list[tuple[slice, Pair]]]) -> bool:
    """Whether every link has all its tensors, and there are no others: none shared or frozen."""
    modules = dict(flat.module.named_modules())
    used = sum(span.stop - span.start for own in each for span, _ in own)
    whole = all(
        len(own) == len(list(modules[op.name].parameters()))
        for op, own in zip(ops, each, strict=True)
        if isinstance(op, _Linear | _Conv)
    )
    return whole and used == flat.layout.size


def _fits(ops: list[Op], flat: FlatModule, shape: tuple[int, ...]) -> bool:
    """Whether linear layers see rows and convolutions images: found with an example of zeros."""
    x = torch.zeros(2, *shape, dtype=flat.trained[0].dtype)
    own = dict(flat.module.named_modules())
    try:
        with torch.no_grad():
            for op in ops:
                layer: Any = own[op.name] if isinstance(op, _Linear | _Conv) else None
                if x.ndim != (4 if isinstance(op, _Conv | _Pool) else 2 if layer else x.ndim):
                    return False
                x, _ = op.forward(x, Weights(layer.weight, layer.bias) if layer else None)
    except RuntimeError:  # the module itself does not fit the records, which it says better
        return False
    return x.ndim == 2


def _traced(module: torch.nn.Module) -> list[Op]:
    """The links of a module; none where it is no such chain."""
    try:
        found = list(_links(module, fx.symbolic_trace(module).graph))
    except Exception:  # noqa: BLE001  # a user's module may do anything when it is traced
        return []
    return [] if None in found else [op for op in found if op is not None]


def _links(module: torch.nn.Module, graph: fx.Graph) -> Iterator[Op | None]:
    before: Any = None
    for node in graph.nodes:
        if node.op == "output":
            yield from () if node.args == (before,) else (None,)
            return
        if before is not None:
            alone = node.args[:1] == (before,) and len(before.users) == 1
            yield _link(module, node) if alone else None
        elif node.op != "placeholder":
            yield None
        before = node


def _link(module: torch.nn.Module, node: fx.Node) -> Op | None:
    if node.op == "call_module":
        return _of_module(str(node.target), module.get_submodule(str(node.target)))
    if node.target in {torch.relu, functional.relu, torch.relu_, "relu", "relu_"}:
        return None if len(node.args) > 1 else _Relu()
    if node.target in {torch.flatten, "flatten"} and node.args[1:] == (1,) and not node.kwargs:
        return _Flatten()
    if node.target in {torch.max_pool2d, functional.max_pool2d}:
        options: dict[str, Any] = dict(node.kwargs)
        return _pool(*node.args[1:], **options)
    return None


def _of_module(name: str, layer: torch.nn.Module) -> Op | None:
    if type(layer) is torch.nn.Linear:
        return _Linear(name)
    if type(layer) is torch.nn.Conv2d:
        if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
            return None
        return _Conv(name, layer.stride, layer.padding, layer.dilation, layer.groups)
    if isinstance(layer, torch.nn.MaxPool2d):
        options = {"ceil_mode": layer.ceil_mode, "return_indices": layer.return_indices}
        return _pool(layer.kernel_size, layer.stride, layer.padding, layer.dilation, **options)
    if isinstance(layer, torch.nn.Flatten) and (layer.start_dim, layer.end_dim) == (1, -1):
        return _Flatten()
    return _Relu() if isinstance(layer, torch.nn.ReLU) else None


def _watched(layer: torch.nn.Module) -> bool:
    """Whether somebody wants to see what goes through it."""
    return bool(layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks)  # noqa: SLF001  # there is no other way to ask


def _pool(
    size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    *,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Op | None:
    if ceil_mode or return_indices or _pair(dilation) != (1, 1):
        return None
    return _Pool(_pair(size), _pair(size if stride is None else stride), _pair(padding))


def _pair(value: Any) -> Pair:
    whole = operator.index
    return (whole(value),) * 2 if isinstance(value, int) else tuple(whole(one) for one in value)
