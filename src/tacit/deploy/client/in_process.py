"""A whole turn in this process: from a description and files to an answer and files.

Used by the worker behind its sandbox, and by tests and rehearsals without one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias, final

from tacit.base.errors import TacitError
from tacit.base.plain import digest
from tacit.deploy.client.failures import origin, redacted
from tacit.deploy.client.runner import Done, Phase, TurnFailed, Work
from tacit.deploy.wire.answers import write_answer
from tacit.deploy.wire.packs import read_pack, write_pack
from tacit.learn.examples import Examples
from tacit.plan.build import Plan
from tacit.plan.federation import from_plain
from tacit.round.turn import Turn, take_turn

Held: TypeAlias = Callable[[str, Plan], Examples]
"""The records of a data set, by its name, as a plan's contract wants them."""

ANSWER, PENDING = "answer", "pending.pack"
"""The files of a turn."""

_USUAL = {
    "code": "round.code-failed",
    "data": "dataset.failed",
    "storage": "client.storage",
}
"""The code of an exception that has none, by phase."""

_PLANS = 4


@final
class InProcess:
    """Takes turns here and now; a `Runner`. Plans are kept between rounds."""

    def __init__(self, held: Held, client: str = "client") -> None:
        self.held, self.client = held, client
        self.plans: dict[str, Plan] = {}

    async def turn(self, work: Work) -> Done:
        """Take one turn; raises `TurnFailed`."""
        return self.take(work)

    async def close(self) -> None:
        """Nothing runs."""

    def take(self, work: Work) -> Done:
        """Take one turn; raises `TurnFailed`."""
        with during("code"):
            plan = self.plan(work.federation)
        with during("data"):
            held = self.held(work.dataset, plan)
            plan.task.check(held)
        with during("storage"):
            offer = read_pack(work.offer)
            memory = {} if work.memory is None else read_pack(work.memory)
        with during("code"):
            turn = take_turn(plan, held, offer, memory, work.key, self.client, work.round)
        with during("storage"):
            return _stored(turn, plan.client_steps[-1].after.bits, work)

    def plan(self, federation: Mapping[str, Any]) -> Plan:
        """The plan of a description; built once."""
        name = digest(federation)
        if name not in self.plans:
            while len(self.plans) >= _PLANS:
                del self.plans[next(iter(self.plans))]
            self.plans[name] = from_plain(dict(federation)).plan()
        return self.plans[name]


@contextmanager
def during(phase: Phase) -> Iterator[None]:
    """Whatever goes wrong in a phase becomes `TurnFailed`; user code may even try to exit."""
    try:
        yield
    except TurnFailed:
        raise
    except (Exception, SystemExit) as error:
        raise failure(phase, error) from error


def failure(phase: Phase, error: BaseException) -> TurnFailed:
    """An exception as a failed turn; its `reason` is for the owner alone."""
    told = redacted(error)
    code = error.code if isinstance(error, TacitError) else _USUAL[phase]
    if isinstance(origin(error), MemoryError):
        phase, code = "resources", "worker.memory"
    elif code.startswith("round.update-"):
        phase = "answer"
    return TurnFailed(
        phase,
        code,
        error=told.error,
        traceback=told.traceback,
        environment=told.environment,
        reason=f"{type(error).__name__}: {error}",
    )


def _stored(turn: Turn, bits: int, work: Work) -> Done:
    """Answer (residues of `bits`; 0: plain) and memory as durable files; no memory is no file."""
    answer, pending = work.folder / ANSWER, work.folder / PENDING
    if turn.pending:
        write_pack(pending, turn.pending)
    digest_ = write_answer(answer, turn.answer, bits)
    size = answer.stat().st_size
    return Done(answer, digest_, size, pending if turn.pending else None, turn.examples)
