"""Any PyTorch module as a task: `task("my_app:model")` names it, `build` makes it.

What travels is the module's trained parameters and its floating-point buffers. Integer buffers
(`num_batches_tracked`), buffers that are not saved, and frozen parameters stay at home: buffers
begin every step as the constructor made them. Frozen parameters must be the same everywhere, so
the constructor is run under a seed that follows from the description: one that draws its numbers
from torch, or reads a file that everybody has, gives each client the same values.

Threads: torch's own default is slower than one thread for small models, so `build` sets the
process to one; the environment variable TACIT_TORCH_THREADS says otherwise. Importing this
module changes nothing and does not import torch.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, final

from tacit.base.errors import TacitError
from tacit.base.extras import optional
from tacit.base.key import Key
from tacit.base.plain import digest, to_plain
from tacit.learn.code import code_name, load
from tacit.learn.contract import DataContract

if TYPE_CHECKING:
    from tacit.learn.torch_model import TorchModel

LOSSES = ("cross_entropy", "mse", "bce")


@final
@dataclass(frozen=True)
class TorchTask:
    """A torch model by the name and digest of its code; see `task`."""

    kind: ClassVar[str] = "torch"

    model: str
    source: str
    loss: str = "cross_entropy"
    loss_source: str = ""
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if self.loss not in LOSSES and ":" not in self.loss:
            rule = f"one of {', '.join(LOSSES)}, or module:function"
            raise TacitError("task.setting", name="loss", value=repr(self.loss), rule=rule)
        if (":" in self.loss) != bool(self.loss_source):
            rule = "the SHA-256 of the loss's source, for a loss module:function only"
            raise TacitError(
                "task.setting", name="loss_source", value=repr(self.loss_source), rule=rule
            )
        plain = {name: _plain(name, value) for name, value in self.options.items()}
        object.__setattr__(self, "options", plain)

    @property
    def code(self) -> str:
        """User code that a client would run, by name and digest."""
        named = [f"{self.model} sha256:{self.source}"]
        if self.loss_source:
            named.append(f"{self.loss} sha256:{self.loss_source}")
        return ", ".join(named)

    def build(self, contract: DataContract | None) -> TorchModel:
        """The module behind the name, for a contract's features and classes.

        Errors: `task.no-shape`, `task.code-changed` and the other `task.code-` ones,
        `task.torch-not-a-module`, `task.torch-nothing-to-train`.
        """
        if contract is None:
            raise TacitError("task.no-shape")
        optional("torch", "tacit.torch").set_num_threads(_threads())
        from tacit.learn import torch_loss, torch_model

        make = functools.partial(load(self.model, self.source), **self.options)
        custom = load(self.loss, self.loss_source) if ":" in self.loss else None
        loss = torch_loss.loss_named(self.loss, custom, contract.classes)
        return torch_model.build(self.model, make, loss, contract, self._frozen_key())

    def _frozen_key(self) -> Key:
        return Key.seed(0) / "frozen" / digest(to_plain(self))


def task(
    model: str | Callable[..., Any],
    loss: str | Callable[..., Any] = "cross_entropy",
    **options: Any,
) -> TorchTask:
    """A torch model as a task.

    `model`: a `torch.nn.Module` class, a function that returns a module, or its name
    "module:function"; it is called with `options`, which are plain values (numbers, strings,
    lists of them).

    `loss`: "cross_entropy" (labels 0..classes-1; output (n, classes), (n, steps, classes) for
    sequences, or torch's (n, classes, height, width) for images), "mse", "bce" (binary
    cross-entropy on logits), or a function (output, target) -> mean loss, itself or by name.
    """
    named = code_name(model)
    if loss in LOSSES:
        return TorchTask(*named, str(loss), "", options)
    if isinstance(loss, str) and ":" not in loss:
        return TorchTask(*named, loss)
    return TorchTask(*named, *code_name(loss), options)


def _plain(name: str, value: Any) -> Any:
    """Lists become tuples, so that a description reads back from TOML as it was written."""
    if isinstance(value, list | tuple):
        return tuple(_plain(name, item) for item in value)
    if not isinstance(value, bool | int | float | str):
        raise TacitError("task.option", name=name, kind=type(value).__name__)
    return value


def _threads() -> int:
    text = os.environ.get("TACIT_TORCH_THREADS", "1")
    if not text.isdigit() or int(text) < 1:
        rule = "a whole number from 1"
        raise TacitError("task.setting", name="TACIT_TORCH_THREADS", value=repr(text), rule=rule)
    return int(text)
