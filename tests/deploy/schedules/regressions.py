"""Schedules that once broke something; `python -m tacit.testing.schedules` prints such literals."""

from __future__ import annotations

from tacit.testing.schedule import Fault, Schedule

REGRESSIONS: dict[str, Schedule] = {
    "a killed turn's folder stayed for ever": Schedule(
        7, "fedbuff", (Fault(0.172, "kill", 2, 0, 22.794),)
    ),
    "models and answers stayed after a crash while a round closed": Schedule(
        20, "plain", (Fault(0.0, "kill", 0, 24, 117.503), Fault(34.376, "kill", -1, 26, 0.527))
    ),
    "a coordinator killed before its run began did not take it up again": Schedule(
        44, "top_k", (Fault(0.0, "kill", -1, 11, 1.0),)
    ),
    "a coordinator that is back told that answers were foreign": Schedule(
        61, "scaffold", (Fault(0.9, "kill", -1, 0, 1.0), Fault(2.5, "kill", -1, 0, 1.0))
    ),
    "models of buffered rounds stayed": Schedule(7, "fedbuff", (Fault(0.3, "slow", 0, 1, 5.0),)),
    "an upload that was cut went on elsewhere": Schedule(
        31, "scaffold", (Fault(0.5, "cut", 0, 20), Fault(0.5, "cut", 1, 41))
    ),
    "nonces are forgotten by a clock that is set back and a restart": Schedule(
        17,
        "plain",
        (
            Fault(0.4, "repeat", 0, 0, 25.0),
            Fault(1.0, "jump", -1, 0, -30.0),
            Fault(1.1, "kill", -1, 0, 1.0),
        ),
    ),
}
