"""No signed request counts twice: a window of time, and the nonces seen within it."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import final

from tacit.base.errors import TacitError


@final
@dataclass
class _Seen:
    """Nonces of a key in the order of arrival, with the second in which each was signed.

    What was signed before `floor` may be forgotten, and is refused.
    """

    floor: float
    nonces: OrderedDict[str, int] = field(default_factory=OrderedDict)


@final
class Replays:
    """Admits each request once, if it was signed within `window` seconds before it arrives.

    A clock that runs ahead is allowed `ahead` seconds: so long after a restart a request of such a
    clock could be repeated. `cap`: nonces kept of one key; with more, its oldest requests count as
    stale. Ask only after the signature was checked, or strangers fill the memory.
    """

    def __init__(
        self, started: float, window: float = 300.0, ahead: float = 10.0, cap: int = 2048
    ) -> None:
        self._started = started
        self._window = window
        self._ahead = ahead
        self._cap = cap
        self._seen: dict[str, _Seen] = {}
        self._now = self._swept = started
        self._shift = 0.0

    def admit(self, keyid: str, nonce: str, created: int, now: float) -> None:
        """Remember a request; `request.clock` (facts `skew`, `now`), `.stale` or `.replayed`."""
        time = self._time(now)
        skew = created - time
        if not -self._window <= skew <= self._ahead:
            raise TacitError("request.clock", skew=skew, now=time)
        seen = self._seen.setdefault(keyid, _Seen(self._started))
        self._forget(seen, time)
        if created < seen.floor:
            raise TacitError("request.stale")
        if nonce in seen.nonces:
            raise TacitError("request.replayed")
        seen.nonces[nonce] = created
        self._forget(seen, time)
        self._sweep(time)

    def _time(self, now: float) -> float:
        """The wall clock, but never backwards: what was forgotten as old must stay old."""
        self._shift = max(self._shift, self._now - now)
        self._now = now + self._shift
        return self._now

    def _forget(self, seen: _Seen, time: float) -> None:
        """Drop what the window refuses anyway; beyond the cap, raise the floor."""
        while seen.nonces:
            oldest = next(iter(seen.nonces.values()))
            if len(seen.nonces) > self._cap:
                seen.floor = max(seen.floor, oldest + 1)
            elif oldest >= time - self._window:
                return
            seen.nonces.popitem(last=False)

    def _sweep(self, time: float) -> None:
        """Once a window, drop the keys that have not asked within it."""
        if time - self._swept < self._window:
            return
        self._swept = time
        for keyid, seen in list(self._seen.items()):
            self._forget(seen, time)
            if not seen.nonces and seen.floor < time - self._window:
                del self._seen[keyid]
