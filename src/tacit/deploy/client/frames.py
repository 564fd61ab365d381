"""What a worker and its parent say to each other: frames of MessagePack over one socket."""

from __future__ import annotations

import struct
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct

from tacit.deploy.client.sandbox import Limits

LENGTH = struct.Struct("<I")
LONGEST = 16 << 20
"""Bytes of a frame; a longer one is nonsense."""


class Start(Struct, frozen=True, tag=True):
    """The first frame: what this process may use, and what it may reach beside Python."""

    limits: Limits
    read: tuple[str, ...]
    write: tuple[str, ...]
    hidden: tuple[str, ...]


class Job(Struct, frozen=True, tag=True):
    """A turn to take; `source` is where the data set is, as `datasets.Source`."""

    run: str
    round: int
    index: int
    federation: dict[str, Any]
    client: str
    dataset: str
    source: dict[str, Any]
    offer: str
    memory: str | None
    secret: bytes
    seeded: bool
    folder: str


class Inquiry(Struct, frozen=True, tag=True):
    """A plan to build and to hold against rules, those of `tacit.plan.policy.Policy`."""

    federation: dict[str, Any]
    policy: dict[str, Any]


class Ready(Struct, frozen=True, tag=True):
    """The sandbox is closed; `alone`: no process can be started in there."""

    alone: bool


class Taken(Struct, frozen=True, tag=True):
    """A turn was taken: names of files in the job's folder, and `runner.Done`'s facts."""

    answer: str
    digest: str
    size: int
    pending: str | None
    examples: int


class Planned(Struct, frozen=True, tag=True):
    """What there is to know of a plan: `facts.PlanFacts` as plain data."""

    facts: dict[str, Any]


class Failed(Struct, frozen=True, tag=True):
    """It was not, as `runner.TurnFailed` says it; user code may have sent this, so it is short."""

    phase: Literal["policy", "data", "code", "resources", "storage", "answer"]
    code: Annotated[str, Meta(max_length=60, pattern=r"^[a-z-]+\.[a-z0-9-]+\Z")]
    error: Annotated[str, Meta(max_length=60, pattern=r"^\w*\Z")]
    traceback: Annotated[str, Meta(max_length=8100)]
    environment: Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?\Z")]
    reason: str


Order: TypeAlias = Start | Job | Inquiry
Reply: TypeAlias = Ready | Taken | Planned | Failed


def framed(message: Order | Reply) -> bytes:
    """A message with its length in front."""
    body = msgspec.msgpack.encode(message)
    return LENGTH.pack(len(body)) + body
