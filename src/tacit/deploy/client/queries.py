"""The questions that the agent asks its records all the time.

Made once: to make a statement takes longer than SQLite needs to run it.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import bindparam, func, insert, select, tuple_

from tacit.deploy.client.tables import answers, diary, failures, memory, peers, runs

OPEN: Final = ("made", "sent")
"""Answers whose fate is not known."""

FINISHED: Final = "finished"
"""The status of a run that cannot go on: everything else can be resumed."""

RUN: Final = select(runs).where(runs.c.run == bindparam("run"))
OPEN_NAMES: Final = (
    select(runs.c.run).where(runs.c.status == "open").order_by(runs.c.at, runs.c.run)
)
OPEN_RUNS: Final = select(runs).where(runs.c.status == "open").order_by(runs.c.at, runs.c.run)

ANSWER: Final = select(answers).where(
    (answers.c.run == bindparam("run")) & (answers.c.round == bindparam("round"))
)
OPEN_ANSWERS: Final = (
    select(answers)
    .join(runs, runs.c.run == answers.c.run)
    .where(answers.c.status.in_(bindparam("status", expanding=True)) & (runs.c.status == "open"))
    .order_by(answers.c.at, answers.c.round)
)

_LAST = select(answers.c.run, func.max(answers.c.round)).group_by(answers.c.run)
_AGAIN = (answers.c.status == "discarded") & tuple_(answers.c.run, answers.c.round).in_(_LAST)
HELD: Final = (
    select(answers.c.file, answers.c.pending)
    .join(runs, runs.c.run == answers.c.run)
    .where(answers.c.status.in_(OPEN) | _AGAIN)
    .where(runs.c.status != FINISHED)
)
"""Files of answers of open fate, and of the last one of a run that may be resumed."""

MEMORY: Final = select(memory.c.file).where(memory.c.run == bindparam("run"))
MEMORIES: Final = select(memory.c.file)

UNTOLD: Final = (
    select(failures.c.id, failures.c.run, failures.c.round, failures.c.body)
    .where(failures.c.told.is_(False))
    .order_by(failures.c.id)
)
ROSTER: Final = select(peers).order_by(peers.c.id)
NOTE: Final = insert(diary)
