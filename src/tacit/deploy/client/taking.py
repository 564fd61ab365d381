"""One turn: check, compute, keep, send. Every step is durable before the next one begins.

Whatever happens between two statements, the next start finds either no answer (and nothing has
left), or the one answer of the round (and sends those bytes again).
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from tacit.base.errors import TacitError
from tacit.base.key import Key
from tacit.deploy.client import diary
from tacit.deploy.client.conditions import not_now
from tacit.deploy.client.deciding import fitting
from tacit.deploy.client.desk import Desk, lasting
from tacit.deploy.client.exchange import call, download, upload
from tacit.deploy.client.facts import PlanFacts
from tacit.deploy.client.home import emptied, keep
from tacit.deploy.client.owner import OwnerPolicy
from tacit.deploy.client.records import Answer, Decided, Untold
from tacit.deploy.client.roster import approved_in
from tacit.deploy.client.runner import Done, TurnFailed, Work
from tacit.deploy.client.transport import Refused
from tacit.deploy.client.verdict import cohort_reasons
from tacit.deploy.store import faults
from tacit.deploy.wire.files import write_pieces
from tacit.deploy.wire.messages import Failure, Nothing, Turn, encode, printable
from tacit.deploy.wire.statements import decoded

Alive: TypeAlias = Callable[[str, Awaitable[Done]], Awaitable[Done]]
"""Waits for a computation while the coordinator is shown that the client lives."""

SLACK = 1 << 20
"""Bytes by which an offer may be larger than twice what the plan says."""

HIDDEN_FAILURE = "client.turn-failed"
HIDDEN_PHASE: Final = "code"
"""The only code and phase that leave where a plan promises differential privacy."""


async def take(desk: Desk, turn: Turn, alive: Alive) -> bool:
    """Do what a turn asks; False where it has to wait."""
    decided = desk.records.run(turn.run)
    if decided is None or decided.decision != "accept" or decided.place != turn.index:
        reasons = ("this client has not joined the run at that place",)
        return await _refuse(desk, turn, about(turn.run, decided, turn.round), reasons)
    said = about(turn.run, decided, turn.round)
    if decided.status != "open":
        desk.records.resumed(turn.run, desk.clock.now(), f"{said}: the run goes on.")
    known = desk.records.answer(turn.run, turn.round)
    if known is not None:
        return await _again(desk, decided, turn, known)
    judged, policy = await desk.judge(decided.asked)
    if judged.facts is None or policy is None or not judged.accepted:
        return await _refuse(desk, turn, said, judged.reasons)
    if against := await _objections(desk, decided, turn, policy, judged.facts):
        return await _refuse(desk, turn, said, against)
    if waits := await not_now(policy, desk.clock.now()):
        return await _wait(desk, turn, said, waits)
    try:
        answer = await _answered(desk, decided, turn, judged.facts, alive)
    except TurnFailed as failed:
        return await _failed(desk, turn, said, failed, noised=judged.facts.noised)
    await send(desk, answer, said)
    return True


async def send(desk: Desk, answer: Answer, said: str) -> None:
    """Upload an answer that is kept. Where the coordinator wants it no more, its fate is asked."""
    place, told = desk.home.answers / answer.file, diary.arrived(answer.digest)
    try:
        path = f"/v1/runs/{answer.run}/rounds/{answer.round}/answer"
        await upload(desk.transport, path, place, answer.digest, answer.size)
    except TacitError as wrong:
        if not lasting(wrong):
            raise
        told = f"the answer was not taken: {wrong.cause}"
    desk.records.sent(answer, desk.clock.now(), f"{said}: {told}")


async def tell(desk: Desk, untold: Untold) -> None:
    """Tell a failure that is kept."""
    await _post(desk, untold.run, untold.round, untold.body)
    desk.records.confirmed(untold)


def about(run: str, decided: Decided | None, round_: int | None = None) -> str:
    """How a sentence about a run begins."""
    if decided is None:
        return f"run {run}"
    return diary.about(decided.asked.name, decided.asked.researcher_name, round_)


def storage(wrong: TacitError) -> bool:
    """Whether it is this machine's disk that fails, and not the coordinator's."""
    here = wrong.code.startswith("store.") or wrong.code in (
        "data.cannot-write",
        "wire.cannot-read",
    )
    return here and not isinstance(wrong, Refused)


async def _again(desk: Desk, decided: Decided, turn: Turn, known: Answer) -> bool:
    """A round that was answered: the same bytes, or nothing."""
    said = about(turn.run, decided, turn.round)
    if known.offer != turn.offer or known.status == "included":
        changed = known.offer != turn.offer
        code = "round.offer-changed" if changed else "client.settled"
        told = TacitError(code, round=turn.round + 1).cause
        return await _fail(desk, turn, Failure("answer", code, (told,)), f"{said}: {told}")
    if known.status == "discarded":
        told = f"{said}: it is asked for again; sends the same bytes, SHA-256 {known.digest}."
        desk.records.reopen(known, desk.clock.now(), told)
    await send(desk, known, said)
    return True


async def _objections(
    desk: Desk, decided: Decided, turn: Turn, policy: OwnerPolicy, facts: PlanFacts
) -> tuple[str, ...]:
    """What speaks against this round: it is none of the plan's, its members, or its offer."""
    if turn.round >= facts.rounds:  # everything that is promised is promised for so many
        return (f"round {turn.round + 1} is asked for; the plan has {facts.rounds}",)
    if turn.index >= facts.clients or len(set(turn.cohort)) > facts.clients:
        return (f"the round has members that the plan of {facts.clients} clients does not know",)
    if turn.offer_size > 2 * facts.offer + SLACK:
        return (
            f"the model that is offered has {turn.offer_size} bytes; the plan says {facts.offer}",
        )
    me = desk.identity
    here = [one for one in turn.participants if one.index == turn.index]
    if turn.index not in turn.cohort or [one.member for one in here] != [me.id]:
        return ("this client is not among the members of this round at its own place",)
    asked, roster = decided.asked, await desk.roster(policy)
    found = approved_in(asked.run, asked.digest, turn.cohort, turn.participants, roster)
    return cohort_reasons(policy, facts, turn.cohort, len(found))


async def _answered(
    desk: Desk, decided: Decided, turn: Turn, facts: PlanFacts, alive: Alive
) -> Answer:
    """Compute the answer and keep it; from the return on it is the only one of the round."""
    try:
        offer = await _offer(desk, turn)
        folder = emptied(desk.home.work / f"{turn.run}-{turn.round}")
        memory = desk.records.memory(turn.run)
        done = await alive(
            turn.run,
            desk.runner.turn(
                Work(
                    run=turn.run,
                    round=turn.round,
                    index=turn.index,
                    federation=decided.asked.federation,
                    dataset=decided.asked.dataset,
                    offer=offer,
                    memory=None if memory is None else desk.home.memory / memory,
                    key=_key(desk, decided, turn),
                    folder=folder,
                )
            ),
        )
        answer = _kept(desk, decided, turn, done, folder, hidden=facts.hidden and not facts.ideal)
        offer.unlink(missing_ok=True)
        emptied(folder).rmdir()
    except OSError as wrong:
        reason = wrong.strerror or type(wrong).__name__
        raise TurnFailed("storage", "store.disk", reason=reason) from wrong
    except TacitError as wrong:
        if not storage(wrong):
            raise
        raise TurnFailed("storage", wrong.code, reason=wrong.cause) from wrong
    return answer


def _key(desk: Desk, decided: Decided, turn: Turn) -> Key:
    """Of this round: repeatable in a rehearsal, otherwise known to nobody else."""
    if decided.asked.seed is None:
        return Key(desk.fresh(32), seeded=False)
    return Key.seed(decided.asked.seed) / "round" / turn.round / "client" / turn.index


async def _offer(desk: Desk, turn: Turn) -> Path:
    """The model of the round, as a file with the digest that the coordinator named."""
    begins = f"{turn.run}-"
    place = desk.home.offers / f"{begins}{turn.offer}"
    for old in desk.home.offers.iterdir():
        if old.name.startswith(begins) and not old.name.startswith(place.name):
            old.unlink()
    if turn.offer_bytes is None:
        return await download(desk.transport, turn.offer, turn.offer_size, place)
    content = decoded(turn.offer_bytes)
    if hashlib.sha256(content).hexdigest() != turn.offer:
        raise TacitError("client.odd-reply", problem="an offer is not what its digest says")
    write_pieces(place, [content], durable=False)
    return place


def _kept(
    desk: Desk, decided: Decided, turn: Turn, done: Done, folder: Path, *, hidden: bool
) -> Answer:
    """Move what the runner made to where it stays, then write the row that makes it the answer."""
    name, pending = f"{turn.run}-{turn.round}", None
    _own(done.answer, folder)
    if done.pending is not None:
        _own(done.pending, folder)
        pending = keep(done.pending, desk.home.memory / f"{name}.memory").name
    file = keep(done.answer, desk.home.answers / f"{name}.answer")
    if file.stat().st_size != done.size:
        raise TurnFailed("answer", "wire.answer", reason="the answer's file has another size")
    names = (file.name, pending, done.examples)
    answer = Answer(turn.run, turn.round, turn.offer, done.digest, done.size, *names)
    told = diary.sends(done.size, done.digest, diary.readers(hidden=hidden))
    said = f"{about(turn.run, decided, turn.round)}: {told}"
    desk.records.made(answer, desk.clock.now(), said)
    return answer


def _own(file: Path, folder: Path) -> None:
    """Only a plain file that the runner made in its folder is taken: no link to anything else."""
    with faults.disk(folder):
        found = file.lstat()
    plain = stat.S_ISREG(found.st_mode) and found.st_nlink == 1
    if not plain or file.parent.resolve() != folder.resolve():
        raise TurnFailed("answer", "wire.answer", reason="the runner names a file of others")


async def _refuse(desk: Desk, turn: Turn, said: str, reasons: tuple[str, ...]) -> bool:
    failure = Failure("policy", "policy.refused", fitting(reasons))
    return await _fail(desk, turn, failure, f"{said} {diary.refused(reasons)}")


async def _wait(desk: Desk, turn: Turn, said: str, reasons: tuple[str, ...]) -> bool:
    """Say once a round why the turn waits; it is tried again as long as it is asked for."""
    if not desk.records.has_failed(turn.run, turn.round, "policy.not-now"):
        failure = Failure("policy", "policy.not-now", fitting(reasons))
        await _fail(desk, turn, failure, f"{said} waits: {'; '.join(reasons)}.")
    return False


async def _failed(desk: Desk, turn: Turn, said: str, failed: TurnFailed, *, noised: bool) -> bool:
    """Tell what went wrong; where DP is promised, only that something did."""
    failure = Failure(HIDDEN_PHASE, HIDDEN_FAILURE)
    if not noised:
        failure = Failure(
            failed.phase,
            failed.code,
            error=failed.error[:200],
            traceback="\n".join(map(printable, failed.traceback[-10_000:].split("\n"))),
            environment=failed.environment[:64],
        )
    told = f"{said}: {diary.failed(failed.phase, str(failed))}"
    return await _fail(desk, turn, failure, told) and failed.phase != "storage"


async def _fail(desk: Desk, turn: Turn, failure: Failure, said: str) -> bool:
    """Keep a failure and tell it; where the disk takes nothing, tell it all the same.

    False where it was told of this round before: then it is time for a pause.
    """
    body = encode(msgspec.structs.replace(failure, attempt=desk.fresh(8).hex())).decode()
    new = not desk.records.has_failed(turn.run, turn.round, failure.code)
    try:
        untold = desk.records.failed(
            turn.run, turn.round, failure.code, body, desk.clock.now(), said
        )
    except TacitError as wrong:
        if not storage(wrong):
            raise
        await _post(desk, turn.run, turn.round, body)
        return False
    await tell(desk, untold)
    return new


async def _post(desk: Desk, run: str, round_: int, body: str) -> None:
    failure = msgspec.json.decode(body, type=Failure)
    try:
        await call(
            desk.transport, "POST", f"/v1/runs/{run}/rounds/{round_}/failure", Nothing, failure
        )
    except TacitError as wrong:
        if not lasting(wrong):
            raise  # it is told later; a refusal of the message itself will not change
