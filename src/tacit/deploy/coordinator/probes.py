"""Handlers for those who watch: alive, ready, totals."""

from __future__ import annotations

from collections import Counter

from prometheus_client import CONTENT_TYPE_LATEST

from tacit.base.errors import TacitError
from tacit.deploy.coordinator.call import Call, Raw


async def health(call: Call) -> Raw:
    """The process answers."""
    return Raw(b'{"status":"alive"}', "application/json")


async def ready(call: Call) -> Raw:
    """Requests are taken, and the store answers."""
    here = call.coordinator
    if here.draining:
        raise TacitError("deploy.draining")
    await here.offload(here.probe)
    return Raw(b'{"status":"ready"}', "application/json")


async def openapi(call: Call) -> Raw:
    """The document that describes all routes."""
    return Raw(call.coordinator.document, "application/json")


async def metrics(call: Call) -> Raw:
    """Totals for Prometheus."""
    here, found = call.coordinator, call.coordinator.metrics
    found.runs.set(len(here.books))
    found.polls.set(here.bells.count)
    alive = (one.role.value for one in here.members.values() if one.revoked is None)
    for role, count in Counter(alive).items():
        found.members.labels(role).set(count)
    return Raw(found.text(), CONTENT_TYPE_LATEST)
