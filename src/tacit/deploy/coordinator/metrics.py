"""Totals for Prometheus; nothing in them tells one client from another."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0)


@final
@dataclass(frozen=True)
class Metrics:
    """The counters of one coordinator, in a registry of its own."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    requests: Counter = field(init=False)
    seconds: Histogram = field(init=False)
    received: Counter = field(init=False)
    sent: Counter = field(init=False)
    rounds: Counter = field(init=False)
    runs: Gauge = field(init=False)
    members: Gauge = field(init=False)
    polls: Gauge = field(init=False)

    def __post_init__(self) -> None:
        here = self.registry
        by = ("route", "status")
        made = {
            "requests": Counter("tacit_requests", "Requests answered.", by, registry=here),
            "seconds": Histogram(
                "tacit_request_seconds",
                "Time to answer.",
                ("route",),
                buckets=SECONDS,
                registry=here,
            ),
            "received": Counter("tacit_received_bytes", "Bytes of bodies.", registry=here),
            "sent": Counter("tacit_sent_bytes", "Bytes of bodies.", registry=here),
            "rounds": Counter("tacit_rounds_closed", "Rounds closed.", registry=here),
            "runs": Gauge("tacit_runs_open", "Runs not over.", registry=here),
            "members": Gauge("tacit_members", "Members by role.", ("role",), registry=here),
            "polls": Gauge("tacit_polls_waiting", "Requests that wait.", registry=here),
        }
        for name, one in made.items():
            object.__setattr__(self, name, one)

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self.registry)
