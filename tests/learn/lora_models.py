"""A tiny GPT-2 with LoRA adapters, made from a config: nothing is downloaded."""

from __future__ import annotations

import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from tacit.learn.lora import with_base

LETTERS = 20


class NextLetter(nn.Module):
    """The next of twenty letters; only the adapters of the attention are trained."""

    def __init__(self, rank: int = 4, checkpoints: bool = False, base: str = "") -> None:
        super().__init__()
        config = GPT2Config(
            vocab_size=LETTERS,
            n_positions=12,
            n_embd=16,
            n_layer=2,
            n_head=2,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            initializer_range=0.3,
            bos_token_id=0,
            eos_token_id=0,
            use_cache=False,
        )
        whole = GPT2LMHeadModel(config)
        if checkpoints:
            whole.activation_checkpointing_enable()
        lora = LoraConfig(
            r=rank, lora_alpha=2 * rank, target_modules=["c_attn"], fan_in_fan_out=True
        )
        self.adapted = get_peft_model(whole, lora)
        if base:
            with_base(self, base)

    def forward(self, letters: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.adapted(input_ids=letters).logits
        return logits[:, -1]
