"""Every error a user can meet, in one place: code -> cause and remedy.

One file an area; `docs/reference/errors.md` is generated from here.
"""

from __future__ import annotations

from tacit.base.catalogue.chain import CHAIN
from tacit.base.catalogue.client import CLIENT
from tacit.base.catalogue.coordinator import COORDINATOR
from tacit.base.catalogue.data import DATA
from tacit.base.catalogue.description import DESCRIPTION
from tacit.base.catalogue.entry import Entry
from tacit.base.catalogue.identity import IDENTITY
from tacit.base.catalogue.round import ROUND
from tacit.base.catalogue.runs import RUNS
from tacit.base.catalogue.store import STORE
from tacit.base.catalogue.task import TASK
from tacit.base.catalogue.wire import WIRE

CATALOGUE: dict[str, Entry] = {
    **DATA,
    **TASK,
    **DESCRIPTION,
    **CHAIN,
    **ROUND,
    **RUNS,
    **WIRE,
    **IDENTITY,
    **STORE,
    **COORDINATOR,
    **CLIENT,
}

__all__ = ["CATALOGUE", "Entry"]
