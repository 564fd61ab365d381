"""Settings of a coordinator; the defaults are meant to be left alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True)
class Settings:
    """Seconds unless it says otherwise.

    `absent`: silence after which a member of an open round is given up; `assemble`: how long a run
    waits for more clients once there is a quorum; `attempts`: turns that a client may fail in a
    round; `strikes`: failed rounds in a row after which it is set aside; `grace`: what is left of a
    deadline that passed while the coordinator was down; `inline`: bytes of an offer that travel
    with the turn itself; `window`: how far a request's time may be off; `enrolments`: attempts a
    minute, of everybody together; `queue`: runs that may be open at once; `lease`: how long a
    coordinator holds a run without renewing; `tick`: pause between two looks at the clock;
    `holder`: the name under which it holds runs, the same after a restart; `patience`: how long the
    next bytes of a body may be waited for; `polls`: requests of one member that may wait at once;
    `decisions`: times that a client may accept or refuse one run.
    """

    absent: float = 60.0
    assemble: float = 60.0
    attempts: int = 2
    strikes: int = 3
    grace: float = 30.0
    inline: int = 65_536
    window: float = 300.0
    enrolments: int = 60
    queue: int = 1000
    lease: float = 30.0
    tick: float = 0.5
    patience: float = 30.0
    polls: int = 16
    decisions: int = 20
    holder: str = ""
    fingerprint: str = ""
