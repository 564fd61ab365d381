"""What the client decided, answered and keeps. Every method is one durable transaction."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, final

from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from tacit.deploy.client import queries
from tacit.deploy.client.database import Ledger
from tacit.deploy.client.diary import note
from tacit.deploy.client.facts import Spend
from tacit.deploy.client.queries import OPEN
from tacit.deploy.client.roster import Approved
from tacit.deploy.client.tables import answers, failures, memory, peers, runs
from tacit.deploy.client.verdict import Asked
from tacit.deploy.store import faults

Decision: TypeAlias = Literal["accept", "refuse", "leave"]


@final
@dataclass(frozen=True)
class Decided:
    """A run that was considered. `told`: the coordinator knows; `place`: the index it gave."""

    asked: Asked
    decision: Decision
    reasons: tuple[str, ...]
    basis: str
    told: bool
    place: int | None
    status: str


@final
@dataclass(frozen=True)
class Answer:
    """An answer that was made, by file names; there is one a round, and it never changes."""

    run: str
    round: int
    offer: str
    digest: str
    size: int
    file: str
    pending: str | None
    examples: int
    status: str = "made"
    code: str = ""


class Untold(NamedTuple):
    """A failure that the coordinator has not confirmed."""

    id: int
    run: str
    round: int
    body: str


@final
@dataclass(frozen=True)
class Records:
    """The client's records; `said` is the diary's sentence for the same transaction."""

    ledger: Ledger

    # --- runs ---------------------------------------------------------------------------------

    def decide(
        self,
        asked: Asked,
        decision: Decision,
        reasons: Iterable[str],
        basis: str,
        spends: Iterable[Spend],
        at: float,
        said: str,
    ) -> None:
        """Keep a decision before anybody hears of it; a new one replaces a refusal."""
        given = asdict(asked)
        row = {name: given[name] for name in given if name != "federation"} | {
            "federation": json.dumps(given["federation"]),
            "decision": decision,
            "reasons": json.dumps(list(reasons)),
            "basis": basis,
            "spends": json.dumps([asdict(spend) for spend in spends]),
            "told": False,
            "place": None,
            "status": "open",
            "at": at,
        }
        with self.ledger.write() as connection:
            query = upsert(runs).values(row)
            connection.execute(query.on_conflict_do_update(index_elements=["run"], set_=row))
            note(connection, at, said, asked.run)

    def told(self, run: str, decision: Decision, place: int | None) -> None:
        """The coordinator heard of the decision (which the owner may have changed meanwhile)."""
        with self.ledger.write() as connection:
            changed: dict[str, Any] = {"told": True}
            if place is not None:
                changed["place"] = place
            here = (runs.c.run == run) & (runs.c.decision == decision)
            connection.execute(update(runs).where(here).values(**changed))

    def leave(self, run: str, reason: str, at: float, said: str) -> bool:
        """Leave a run; False where it was not joined. The agent tells the coordinator."""
        joined = (runs.c.run == run) & (runs.c.decision == "accept") & (runs.c.status == "open")
        left = {"decision": "leave", "reasons": json.dumps([reason]), "told": False}
        with self.ledger.write() as connection:
            found = connection.execute(update(runs).where(joined).values(**left)).rowcount
            if found:
                note(connection, at, said, run)
        return bool(found)

    def over(self, run: str, status: str, at: float, said: str) -> None:
        """A run has ended."""
        with self.ledger.write() as connection:
            query = update(runs).where((runs.c.run == run) & (runs.c.status == "open"))
            if connection.execute(query.values(status=status, told=True)).rowcount:
                note(connection, at, said, run)

    def resumed(self, run: str, at: float, said: str) -> None:
        """A run that had ended goes on."""
        with self.ledger.write() as connection:
            query = update(runs).where((runs.c.run == run) & (runs.c.status != "open"))
            if connection.execute(query.values(status="open")).rowcount:
                note(connection, at, said, run)

    def run(self, run: str) -> Decided | None:
        """What was decided about a run."""
        with self.ledger.read() as connection:
            row = connection.execute(queries.RUN, {"run": run}).first()
        return _decided(row) if row else None

    def open_names(self) -> tuple[str, ...]:
        """Ids of runs that were considered and have not ended, oldest decision first."""
        with self.ledger.read() as connection:
            return tuple(connection.scalars(queries.OPEN_NAMES))

    def open_runs(self) -> tuple[Decided, ...]:
        """Runs that were considered and have not ended, in the order of the decisions."""
        with self.ledger.read() as connection:
            return tuple(_decided(row) for row in connection.execute(queries.OPEN_RUNS))

    def spent(self, dataset: str, except_run: str) -> tuple[Spend, ...]:
        """What all other runs ever accepted for a data set spend of it."""
        query = select(runs.c.spends).where(
            (runs.c.dataset == dataset) & (runs.c.decision != "refuse") & (runs.c.run != except_run)
        )
        with self.ledger.read() as connection:
            rows = connection.scalars(query).all()
        return tuple(Spend(**one) for row in rows for one in json.loads(row))

    # --- answers and memory -------------------------------------------------------------------

    def made(self, answer: Answer, at: float, said: str) -> None:
        """Keep an answer before its first byte leaves; a second one for a round is refused."""
        with self.ledger.write() as connection:
            connection.execute(insert(answers).values(at=at, **asdict(answer)))
            note(connection, at, said, answer.run, answer.round)

    def sent(self, answer: Answer, at: float, said: str) -> None:
        """The coordinator has the whole answer, or wants it no more: its fate is to be asked."""
        with self.ledger.write() as connection:
            here = _key(answer.run, answer.round) & (answers.c.status == "made")
            if connection.execute(update(answers).where(here).values(status="sent")).rowcount:
                note(connection, at, said, answer.run, answer.round)

    def settle(
        self, run: str, round_: int, at: float, said: str, *, included: bool, code: str
    ) -> tuple[str, ...] | None:
        """Learn an answer's fate; with it, in one transaction, the memory is committed or not.

        Gives the names of files that nobody needs any more; None where the fate was known, or
        nothing was answered.
        """
        status = "included" if included else "discarded"
        here = _key(run, round_) & answers.c.status.in_(OPEN)
        with self.ledger.write() as connection:
            row = connection.execute(select(answers.c.file, answers.c.pending).where(here)).first()
            if row is None:
                return None
            held = select(memory.c.file).where(memory.c.run == run)
            old = connection.scalar(held)
            connection.execute(update(answers).where(here).values(status=status, code=code))
            if included and row.pending is not None:
                kept = {"run": run, "round": round_, "file": row.pending}
                query = upsert(memory).values(kept)
                newer = memory.c.round < round_
                query = query.on_conflict_do_update(["run"], set_=kept, where=newer)
                connection.execute(query)
            kept_now = connection.scalar(held)
            note(connection, at, said, run, round_)
        if not included:
            return ()  # it may be asked for again
        files = {row.file, row.pending, old} - {kept_now, None}
        return tuple(sorted(files))

    def answer(self, run: str, round_: int) -> Answer | None:
        """The answer of a round, whatever became of it."""
        with self.ledger.read() as connection:
            row = connection.execute(queries.ANSWER, {"run": run, "round": round_}).first()
        return _answer(row) if row else None

    def open_answers(self, *status: str) -> tuple[Answer, ...]:
        """Answers of open runs that are `made`, `sent` or both, oldest first."""
        with self.ledger.read() as connection:
            found = connection.execute(queries.OPEN_ANSWERS, {"status": status or OPEN})
            return tuple(_answer(row) for row in found)

    def memory(self, run: str) -> str | None:
        """The file of the committed memory."""
        with self.ledger.read() as connection:
            found: str | None = connection.scalar(queries.MEMORY, {"run": run})
            return found

    def reopen(self, answer: Answer, at: float, said: str) -> None:
        """A round that was given up is asked again (a run was resumed): the same bytes once more.

        Only an answer that was not used can be reopened.
        """
        here = _key(answer.run, answer.round) & (answers.c.status == "discarded")
        with self.ledger.write() as connection:
            query = update(answers).where(here).values(status="made", code="")
            if connection.execute(query).rowcount:
                note(connection, at, said, answer.run, answer.round)

    def files(self) -> frozenset[str]:
        """Names of all files that are still needed.

        Answers of open fate; the last answer of a run that was not used, for the run may be
        stopped and resumed; and the committed memory, in which a client's own model may be.
        """
        with self.ledger.read() as connection:
            found = connection.execute(queries.HELD)
            names = {name for row in found for name in row if name}
            return frozenset(names.union(connection.scalars(queries.MEMORIES)))

    # --- failures -----------------------------------------------------------------------------

    def failed(self, run: str, round_: int, code: str, body: str, at: float, said: str) -> Untold:
        """Keep a failure before it is told."""
        row = {"run": run, "round": round_, "code": code, "body": body, "at": at}
        with self.ledger.write() as connection:
            made = connection.execute(insert(failures).values(told=False, **row))
            note(connection, at, said, run, round_)
        assert made.inserted_primary_key is not None  # its table has one
        return Untold(made.inserted_primary_key[0], run, round_, body)

    def confirmed(self, failure: Untold) -> None:
        """The coordinator heard of a failure."""
        with self.ledger.write() as connection:
            connection.execute(
                update(failures).where(failures.c.id == failure.id).values(told=True)
            )

    def untold(self) -> tuple[Untold, ...]:
        """Failures that were never confirmed."""
        with self.ledger.read() as connection:
            return tuple(Untold(*row) for row in connection.execute(queries.UNTOLD))

    def has_failed(self, run: str, round_: int, code: str) -> bool:
        """Whether this very failure of a round was kept before."""
        here = (failures.c.run == run) & (failures.c.round == round_) & (failures.c.code == code)
        with self.ledger.read() as connection:
            return connection.execute(select(failures.c.id).where(here)).first() is not None

    # --- the roster ---------------------------------------------------------------------------

    def roster(self) -> tuple[Approved, ...]:
        """The peers that the owner approved."""
        with self.ledger.read() as connection:
            found = connection.execute(queries.ROSTER)
            return tuple(Approved(*row) for row in found)

    def approve(self, peer: Approved, said: str) -> None:
        """Put a peer on the roster."""
        row = {"id": peer.id, "key": peer.key, "name": peer.name, "at": peer.at}
        with self.ledger.write() as connection:
            query = upsert(peers).values(row).on_conflict_do_update(["id"], set_=row)
            connection.execute(query)
            note(connection, peer.at, said)

    def disapprove(self, peer: str, at: float, said: str) -> bool:
        """Take a peer off the roster by its id; False where it was not on it."""
        with self.ledger.write() as connection:
            found = connection.execute(delete(peers).where(peers.c.id == peer)).rowcount
            if found:
                note(connection, at, said)
        return bool(found)

    def say(self, at: float, text: str, run: str = "") -> None:
        """Write a sentence into the diary."""
        with self.ledger.write() as connection:
            note(connection, at, text, run)


def swept(records: Records, *folders: Path) -> None:
    """Delete files that no record needs: what a crash left behind."""
    needed = records.files()
    for folder in folders:
        with faults.disk(folder):
            for file in folder.iterdir():
                if file.name not in needed:
                    file.unlink(missing_ok=True)


def _key(run: str, round_: int) -> Any:
    return (answers.c.run == run) & (answers.c.round == round_)


def _decided(row: Row[Any]) -> Decided:
    asked = Asked(
        row.run,
        row.name,
        row.researcher,
        row.researcher_name,
        json.loads(row.federation),
        row.digest,
        row.dataset,
        row.seed,
    )
    reasons = tuple(json.loads(row.reasons))
    return Decided(asked, row.decision, reasons, row.basis, row.told, row.place, row.status)


def _answer(row: Row[Any]) -> Answer:
    return Answer(*(getattr(row, field.name) for field in fields(Answer)))
