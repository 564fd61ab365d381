"""Torch modules for many clients at once.

A chain of linear layers and ReLUs is worked out by hand, with one batched product a layer
(`torch_rows`). Any other module goes through `torch.func`: its gradient, mapped over clients. What
that cannot map, such as an LSTM or a dropout, has no stacked form.
Imported only where torch is there (see `tacit.learn.torch`).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, final

import numpy as np
import numpy.typing as npt

from tacit.base.extras import optional
from tacit.base.vector import Kind, Rows, Vector
from tacit.learn import torch_dual
from tacit.learn.examples import Examples
from tacit.learn.schedule import Batch, Form, Loader
from tacit.learn.torch_clipped import clipped_sum
from tacit.learn.torch_flat import FlatModule
from tacit.learn.torch_loss import Loss
from tacit.learn.torch_plain import PlainChain, plain_chain
from tacit.learn.torch_rows import LinearChain, chain_of

if TYPE_CHECKING:
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
else:
    torch = optional("torch", "tacit.torch")
    attention = optional("torch.nn.attention", "tacit.torch")
    SDPBackend, sdpa_kernel = attention.SDPBackend, attention.sdpa_kernel

Named = dict[str, Any]

LARGE = 2**20
"""Bytes of a model from which clients of a block take their steps one by one."""


@final
@dataclass(frozen=True, eq=False)
class StackedModule:
    """A torch module on rows; see `tacit.learn.stacked.StackedTask`.

    `chain` is there where the module is one of linear layers, `plain` where it is another chain.
    """

    flat: FlatModule
    loss: Loss
    floats: torch.dtype
    chain: LinearChain | None
    plain: PlainChain | None = None

    @property
    def touched(self) -> int:
        """What lies above the first layer, where that is kept in dual form."""
        size = self.flat.layout.size
        return size if self.chain is None else max(1, size - self.chain.first)

    def form(self, held: Examples) -> Form:
        """As the task itself reads them: whole numbers stay whole."""
        exact = np.float64 if self.floats == torch.float64 else np.float32
        whole = held.x.dtype.kind in "iu"
        labels: np.dtype[Any] = self.loss.target(held.y[:1]).numpy().dtype
        return Form(np.dtype(np.int64 if whole else exact), labels)

    def grad_rows(self, params: Rows, batch: Batch, into: Rows) -> Vector:
        """Gradients of each client's mean loss, in train mode."""
        if self.chain is not None:
            return self.chain.gradients(params, batch, into)
        losses = np.empty(len(params))
        for rows, x, y in _even(batch):
            losses[rows] = self._mapped_gradients(params, rows, x, y, into)
        return losses

    def step_rows(self, params: Rows, batch: Batch, lr: float) -> Vector:
        """One step of SGD in place."""
        if self.chain is not None:
            return self.chain.step(params, batch, lr)
        if self.plain is not None:
            return self._by_hand(self.plain, params, batch, lr)
        if self.flat.memory.nbytes > LARGE and self._bare:
            return self._one_by_one(params, batch, lr)
        into = np.empty_like(params[:, : self.flat.layout.trained])
        losses = self.grad_rows(params, batch, into)
        into *= lr
        params[:, : self.flat.layout.trained] -= into
        return losses

    def sgd_rows(self, params: Rows, loader: Loader, lr: float, alike: bool) -> Vector | None:
        """A chain whose first layer is better left alone until the end: see `torch_dual`."""
        if self.chain is None or not torch_dual.pays(self.chain, loader):
            return None
        return torch_dual.sgd(self.chain, params, loader, lr, alike)

    def clipped_rows(self, params: Rows, batch: Batch, clip: float) -> Rows:
        """Client by client; each is a batch of examples already."""
        counts = np.count_nonzero(batch.share, axis=1)
        total = np.empty((len(params), self.flat.layout.trained), params.dtype)
        for row, count in enumerate(counts):
            self.flat.load(params[row], training=True)
            x, y = self._tensors(batch.x[row, :count], batch.y[row, :count])
            total[row] = clipped_sum(self.flat, self.loss, x, y, clip)
        return total

    @property
    def _bare(self) -> bool:
        """Whether the module is nothing but trained tensors of one type."""
        return not (self.flat.cast or self.flat.sent or self.flat.home)

    def _by_hand(self, chain: PlainChain, params: Rows, batch: Batch, lr: float) -> Vector:
        """Client by client."""
        counts = np.count_nonzero(batch.share, axis=1)
        losses = [
            chain.step(row, x[:count], y[:count], share[:count], lr)
            for row, x, y, share, count in zip(params, *batch, counts, strict=True)
        ]
        return np.array(losses)

    def _one_by_one(self, params: Rows, batch: Batch, lr: float) -> Vector:
        """Large models gain nothing from a clients axis; each row serves as the module's memory."""
        losses = np.empty(len(params))
        counts = np.count_nonzero(batch.share, axis=1)
        self.flat.module.train()
        try:
            for row, count in enumerate(counts):
                views = self._bound(params[row])
                x, y = self._tensors(batch.x[row, :count], batch.y[row, :count])
                loss = self.loss.mean(self.flat.module(x), y)
                found = torch.autograd.grad(loss, self.flat.trained, allow_unused=True)
                for view, gradient in zip(views, found, strict=True):
                    if gradient is not None:
                        view.sub_(gradient.to_dense(), alpha=lr)
                losses[row] = loss.item()
        finally:
            self._bound(self.flat.memory)
        return losses

    def _bound(self, row: Vector) -> list[torch.Tensor]:
        """Let the module's tensors lie in a row; returns them."""
        parts = torch.split(torch.from_numpy(row), [one.numel() for one in self.flat.trained])
        views = [p.view(own.shape) for p, own in zip(parts, self.flat.trained, strict=True)]
        for own, view in zip(self.flat.trained, views, strict=True):
            own.data = view
        return views

    def _tensors(
        self, x: npt.NDArray[Any], y: npt.NDArray[Any]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        features = torch.from_numpy(x)
        if features.is_floating_point():
            features = features.to(self.floats)
        return features, torch.from_numpy(y)

    def _mapped_gradients(
        self,
        params: Rows,
        rows: npt.NDArray[np.int64],
        x: npt.NDArray[Any],
        y: npt.NDArray[Any],
        into: Rows,
    ) -> Vector:
        """Of clients whose batches are equally long; `into` and the buffers are written."""
        trained, sent = self._named(torch.from_numpy(params[rows]))
        self.flat.module.train()
        with warnings.catch_warnings(), sdpa_kernel(SDPBackend.MATH):
            # torch maps some operations one by one, and says so; the result is the same.
            warnings.filterwarnings("ignore", "There is a performance drop")
            found, (losses, buffers) = self._mapped(trained, sent, *self._tensors(x, y))
        into[rows] = _joined(found, len(rows), into.dtype)
        if sent:
            params[rows, self.flat.layout.trained :] = _joined(buffers, len(rows), params.dtype)
        answer: Vector = losses.detach().numpy()
        return answer

    @cached_property
    def _mapped(self) -> Any:
        """(trained, sent, x, y) -> gradients, (losses, buffers); all with a clients axis."""
        module, loss = self.flat.module, self.loss
        self.flat.load(self.flat.memory, training=True)  # what stays at home is as it began
        sent = {tensor.name for tensor in self.flat.layout.tensors}
        every = {name: one.detach().clone() for name, one in module.named_buffers()}
        stays = {name: one for name, one in every.items() if name not in sent}

        def of_one(trained: Named, sent: Named, x: torch.Tensor, y: torch.Tensor) -> Any:
            held = {**trained, **sent, **{name: value.clone() for name, value in stays.items()}}
            value = loss.mean(torch.func.functional_call(module, held, (x,)), y)
            return value, (value, {name: held[name] for name in sent})

        gradient = torch.func.grad(of_one, has_aux=True)
        return torch.func.vmap(gradient, randomness="error")

    def _named(self, rows: torch.Tensor) -> tuple[Named, Named]:
        """Trained tensors and sent buffers by name (clients, ...), in their own types.

        Each lies in one piece: what batch normalisation writes to pieces apart is lost.
        """
        layout, module = self.flat.layout, self.flat.module
        own = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        parts = torch.split(rows, [tensor.size for tensor in layout.tensors], dim=1)
        every = {
            tensor.name: part.reshape(-1, *tensor.shape).to(own[tensor.name].dtype).contiguous()
            for tensor, part in zip(layout.tensors, parts, strict=True)
        }
        kinds = {tensor.name: tensor.kind for tensor in layout.tensors}
        trained = {name: one for name, one in every.items() if kinds[name] is Kind.TRAINED}
        return trained, {name: one for name, one in every.items() if name not in trained}


def stacked_module(
    flat: FlatModule, loss: Loss, floats: torch.dtype, shape: tuple[int, ...]
) -> StackedModule:
    """The stacked form of a module that takes examples of `shape`."""
    chain = chain_of(flat, loss, shape)
    return StackedModule(
        flat, loss, floats, chain, None if chain else plain_chain(flat, loss, shape)
    )


def _even(batch: Batch) -> Iterator[tuple[npt.NDArray[np.int64], Any, Any]]:
    """Clients whose batches are equally long: their rows, features and labels, without padding.

    So any loss and any module that mixes the examples of a batch is computed as it is alone.
    """
    counts = np.count_nonzero(batch.share, axis=1)
    for count in np.unique(counts):
        rows = np.flatnonzero(counts == count)
        some: Any = slice(None) if len(rows) == len(counts) else rows
        yield rows, batch.x[some, :count], batch.y[some, :count]


def _joined(parts: Named, clients: int, dtype: Any) -> Rows:
    flat = [part.detach().reshape(clients, -1) for part in parts.values()]
    joined: Rows = torch.cat(flat, dim=1).numpy()
    return joined.astype(dtype, copy=False)
