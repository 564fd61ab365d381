"""The owner's policy file: rules as plain data, with safe defaults."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any, final

from tacit.base.errors import TacitError
from tacit.base.plain import construct, from_plain, unknown
from tacit.base.toml import loads
from tacit.deploy.client.home import Home
from tacit.deploy.store import faults
from tacit.plan.claims import Party
from tacit.plan.kinds import STAGES
from tacit.plan.policy import Policy
from tacit.protect.form import Unit

TEMPLATE = (files("tacit.deploy.client") / "policy.toml").read_text("utf-8")
"""A new client's policy: the defaults, with a comment on every line."""

_HOURS = re.compile(r"(\d\d):(\d\d)-(\d\d):(\d\d)")
_DAY = 24 * 60


@final
@dataclass(frozen=True)
class Cap:
    """Most that all runs accepted for a data set may spend together (basic composition)."""

    epsilon: float
    delta: float = 1e-5
    unit: Unit = "record"
    against: Party = Party.COORDINATOR

    def __post_init__(self) -> None:
        _check("epsilon", self.epsilon, self.epsilon > 0, "above 0")
        _check("delta", self.delta, 0 < self.delta < 1, "between 0 and 1")


@final
@dataclass(frozen=True)
class Limits:
    """What one turn may use of the machine."""

    cpu_seconds: float = 3600.0
    wall_seconds: float = 3600.0
    memory_mb: int = 4096
    threads: int = 1

    def __post_init__(self) -> None:
        for name in ("cpu_seconds", "wall_seconds", "memory_mb", "threads"):
            value = getattr(self, name)
            _check(name, value, value > 0, "above 0")


@final
@dataclass(frozen=True)
class OwnerPolicy:
    """A data owner's rules; the comments of `TEMPLATE` say what each one does."""

    researchers: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    rehearsals: bool = False
    minimum_cohort: int = 3
    hidden_answers: bool = True
    required: tuple[str, ...] = ()
    vouches: int = 0
    hours: str = "00:00-24:00"
    condition: tuple[str, ...] = ()
    condition_seconds: float = 10.0
    limits: Limits = field(default_factory=Limits)
    epsilon: Mapping[str, Cap] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check("minimum_cohort", self.minimum_cohort, self.minimum_cohort >= 1, "1 or more")
        _check("vouches", self.vouches, self.vouches >= 0, "0 or more")
        seconds = self.condition_seconds
        _check("condition_seconds", seconds, 0 < seconds <= 300, "above 0 and at most 300")
        _minutes(self.hours)

    def open_at(self, now: float) -> bool:
        """Whether `hours` holds the moment `now` (seconds since 1970), in local time."""
        local = datetime.fromtimestamp(now, UTC).astimezone()
        minute, (start, end) = 60 * local.hour + local.minute, _minutes(self.hours)
        return start <= minute < end if start < end else minute >= start or minute < end

    def rules(self, dataset: str, code: str) -> Policy:
        """The rules that are about a plan alone; `code`: what the description says clients run."""
        cap = self.epsilon.get(dataset)
        parts = tuple(filter(None, code.split(", ")))
        approved = (code,) if all(part in self.code for part in parts) else self.code
        limit = (cap.epsilon, cap.delta, cap.unit, cap.against) if cap else (None,)
        return Policy(self.minimum_cohort, self.hidden_answers, self.required, approved, *limit)


def policy_from_plain(plain: Mapping[str, Any]) -> OwnerPolicy:
    """Build a policy; an error carries the path of what is wrong and the nearest valid name."""
    caps = plain.get("epsilon", {})
    if not isinstance(caps, Mapping):
        problem = "not tables, such as [epsilon.heart]"
        raise TacitError("description.type", place="epsilon", path=("epsilon",), problem=problem)
    made = {name: from_plain(Cap, cap, ("epsilon", name)) for name, cap in caps.items()}
    others = {name: value for name, value in plain.items() if name != "epsilon"}
    policy = construct(OwnerPolicy, others, {"epsilon": made})
    for kind in policy.required:
        if kind not in STAGES:
            raise unknown(kind, STAGES, ("required",))
    return policy


def parse_policy(text: str, file: str = "the policy") -> OwnerPolicy:
    """Read a policy; an error names the line and the nearest valid name."""
    return loads(text, policy_from_plain, file)


def read_policy(home: Home) -> OwnerPolicy:
    """The policy as it is on the disk now; raises `policy.file`, `description.*`."""
    try:
        text = home.policy.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as wrong:
        problem = getattr(wrong, "strerror", None) or "it is not UTF-8 text"
        raise TacitError("policy.file", file=home.policy, problem=problem) from wrong
    return parse_policy(text, str(home.policy))


def basis(home: Home, roster: str) -> str:
    """A digest of all that decisions rest on: policy, registered data sets and approved peers.

    A refused run is considered again when it has changed.
    """
    found = hashlib.sha256()
    for file in (home.policy, home.datasets):
        with faults.disk(file):
            text = file.read_bytes() if file.is_file() else b""
        found.update(len(text).to_bytes(8, "big") + text)
    found.update(roster.encode())
    return found.hexdigest()


def _minutes(hours: str) -> tuple[int, int]:
    """Start and end in minutes of the day."""
    match = _HOURS.fullmatch(hours)
    h1, m1, h2, m2 = map(int, match.groups()) if match else (99, 0, 99, 0)
    start, end = 60 * h1 + m1, 60 * h2 + m2
    fits = start < _DAY and end <= _DAY and max(m1, m2) < 60 and start != end
    _check("hours", repr(hours), fits, 'a time such as "20:00-06:00"')
    return start, end


def _check(name: str, value: object, fits: bool, rule: str) -> None:
    if not fits:
        raise TacitError("policy.setting", name=name, value=value, rule=rule)
