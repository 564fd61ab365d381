"""`Federation`: one description of everything, plain data with a digest."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Protocol, final

from tacit.base.errors import TacitError
from tacit.base.plain import construct, digest, tagged, to_plain
from tacit.base.toml import dumps, loads
from tacit.learn.algorithm import AlgorithmSpec
from tacit.learn.contract import DataContract
from tacit.learn.task import Task
from tacit.plan.build import Plan, build
from tacit.plan.cohort import Cohort, Everyone
from tacit.plan.kinds import PARTS, STAGES
from tacit.plan.trust import Trust, trust
from tacit.protect.recipes import plain
from tacit.protect.stage import Stage

FORMAT = 1
METRICS = ("loss", "accuracy")


class TaskSpec(Protocol):
    """A named task with its settings: plain data that builds a `Task` for a contract."""

    kind: ClassVar[str]

    @property
    def code(self) -> str:
        """User code a client would run, as `module:function sha256:...`; empty for tacit's own."""
        ...

    def build(self, contract: DataContract | None) -> Task:
        """The task for the contract's shapes."""
        ...


@final
@dataclass(frozen=True)
class Federation:
    """What is learned, from whom, how, and behind which protections.

    `clients`: members; `cohort`: who takes part in a round; `quorum`: fewest answers that may be
    opened (0: the cohort's target, half of it for Poisson cohorts); `collusion`: members assumed
    to side with the coordinator; `deadline`: seconds a round waits (0: for all); `patience`:
    rounds in a row that may miss their quorum; `metrics`: what clients report beside the update,
    of "loss" and "accuracy", as tallies of the same protected message.
    """

    task: TaskSpec
    clients: int
    algorithm: AlgorithmSpec
    data: DataContract | None = None
    protect: tuple[Stage, ...] = field(default_factory=plain)
    rounds: int = 10
    cohort: Cohort = field(default_factory=Everyone)
    quorum: int = 0
    collusion: int = 1
    deadline: float = 0.0
    patience: int = 3
    metrics: tuple[str, ...] = ()
    name: str = "federation"

    def __post_init__(self) -> None:
        rules = (("clients", 1), ("rounds", 1), ("quorum", 0), ("collusion", 0), ("patience", 1))
        for name, least in rules:
            if getattr(self, name) < least:
                rule = f"a whole number from {least}"
                raise TacitError("task.setting", name=name, value=getattr(self, name), rule=rule)
        if self.deadline < 0:
            raise TacitError("task.setting", name="deadline", value=self.deadline, rule="0 or more")
        if self.quorum > self.clients:
            raise TacitError("description.quorum", quorum=self.quorum, clients=self.clients)
        for metric in self.metrics:
            if metric not in METRICS:
                raise TacitError(
                    "task.setting", name="metrics", value=metric, rule=" or ".join(METRICS)
                )

    @cached_property
    def plain(self) -> dict[str, Any]:
        """The description as plain data."""
        described: dict[str, Any] = {"format": FORMAT, **to_plain(self)}
        return described

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the description: its name wherever it is used."""
        return digest(self.plain)

    def replace(self, **changes: Any) -> Federation:
        """The same federation with some fields changed."""
        return replace(self, **changes)

    def to_toml(self) -> str:
        """The description as TOML; `Federation.from_toml` gives the same federation back."""
        return dumps(self.plain)

    @staticmethod
    def from_toml(text: str, file: str = "the description") -> Federation:
        """Read a description; an error names the line and the nearest valid name."""
        return loads(text, from_plain, file)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Federation:
        """Read a description from a file."""
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as wrong:
            problem = getattr(wrong, "strerror", None) or "it is not UTF-8 text"
            raise TacitError("description.file", file=path, problem=problem) from wrong
        return Federation.from_toml(text, str(path))

    def plan(self) -> Plan:
        """Check the federation and derive everything from it (see `tacit.plan.build`)."""
        return build(self)

    def check(self) -> Trust:
        """Who can see what, epsilon, bytes, before anything runs; print it."""
        return trust(build(self))


def from_plain(plain: dict[str, Any]) -> Federation:
    """Build a federation from plain data; errors carry the path of what is wrong."""
    found = dict(plain)
    version = found.pop("format", FORMAT)
    if version != FORMAT:
        raise TacitError("description.format", found=version, known=FORMAT, path=("format",))
    parts: dict[str, Any] = {}
    for name, kinds in PARTS.items():
        if name in found:
            parts[name] = tagged(kinds, found.pop(name), (name,))
    if "protect" in found:
        parts["protect"] = _stages(found.pop("protect"))
    return construct(Federation, found, parts)


def _stages(listed: Any) -> tuple[Stage, ...]:
    if not isinstance(listed, list):
        path = ("protect",)
        raise TacitError("description.type", place="protect", path=path, problem="not a list")
    return tuple(tagged(STAGES, one, ("protect", i)) for i, one in enumerate(listed))
