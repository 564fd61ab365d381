"""Adapters on a frozen base model (LoRA): the one thing to agree on is the base.

A torch task sends what is trained, so a module whose base is frozen sends its adapters alone (see
`tacit.learn.torch`). The base stays in each client's own file; a digest in the description says
which one the adapters are for.

Source: Hu et al. 2022, "LoRA: Low-Rank Adaptation of Large Language Models".
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, TypeVar

from tacit.base.errors import TacitError
from tacit.base.extras import optional

if TYPE_CHECKING:
    import torch

Module = TypeVar("Module", bound="torch.nn.Module")


def frozen_digest(module: torch.nn.Module) -> str:
    """SHA-256 (hex) of a module's frozen parameters: names, dtypes, shapes and values."""
    bytes_ = optional("torch", "tacit.learn.lora").uint8
    digest = hashlib.sha256()
    for name, parameter in sorted(module.named_parameters()):
        if not parameter.requires_grad:
            values: Any = parameter.detach().cpu().contiguous().reshape(-1).view(bytes_)
            digest.update(f"{name} {parameter.dtype} {tuple(parameter.shape)}\n".encode())
            digest.update(values.numpy().data)
    return digest.hexdigest()


def with_base(module: Module, digest: str) -> Module:
    """The module itself, if its frozen parameters have this digest; else `data.frozen-weights`.

    For the end of a model's constructor, with `digest` as an option of the task: then the
    description names the base model, and a client with another one refuses to train.
    """
    found = frozen_digest(module)
    if found != digest:
        raise TacitError("data.frozen-weights", found=found[:16], expected=digest[:16])
    return module
