"""Joining runs: judge, keep the decision, then tell it, and tell it again until it was heard."""

from __future__ import annotations

from tacit.base.errors import TacitError
from tacit.deploy.client import diary
from tacit.deploy.client.desk import Desk, lasting
from tacit.deploy.client.exchange import call
from tacit.deploy.client.facts import PlanFacts
from tacit.deploy.client.records import Decided
from tacit.deploy.client.verdict import Asked
from tacit.deploy.wire.messages import Consider, Joined, Joining, Nothing, printable
from tacit.deploy.wire.statements import encoded, joining_text, stated_by, submission_text

LONGEST_REASON, MOST_REASONS = 2000, 50


async def decide(desk: Desk, task: Consider) -> bool:
    """Decide about a run that the coordinator shows; False where that was done before."""
    if desk.records.run(task.run) is not None:
        return False
    await _decide(desk, asked_by(task), await desk.basis())
    return True


async def reconsider(desk: Desk) -> bool:
    """Judge refused runs again, if what the refusal rests on has changed."""
    refused = [one for one in desk.records.open_runs() if one.decision == "refuse"]
    basis = await desk.basis() if refused else ""
    changed = [one for one in refused if one.basis != basis]
    for one in changed:
        await _decide(desk, one.asked, basis)
    return bool(changed)


async def tell(desk: Desk) -> bool:
    """Tell every decision that the coordinator has not confirmed."""
    untold = [one for one in desk.records.open_runs() if not one.told]
    for one in untold:
        try:
            place = await _tell(desk, one)
        except TacitError as wrong:
            if not lasting(wrong):
                raise
            said = f"{_about(one.asked)}: the coordinator did not take it: {wrong.cause}"
            desk.records.say(desk.clock.now(), said, one.asked.run)
            place = None
        desk.records.told(one.asked.run, one.decision, place)
    return bool(untold)


def asked_by(task: Consider) -> Asked:
    """What a task asks, by nobody if the researcher did not sign for it.

    The coordinator alone could ask for anything in anybody's name.
    """
    text = submission_text(task.run, task.digest, task.dataset, task.seed, task.name)
    signed = stated_by(task.researcher, task.researcher_key, text, task.signature)
    who = (task.researcher, task.researcher_name) if signed else ("", "")
    return Asked(task.run, task.name, *who, task.federation, task.digest, task.dataset, task.seed)


def fitting(reasons: tuple[str, ...]) -> tuple[str, ...]:
    """Reasons as a message takes them."""
    return tuple(printable(reason)[:LONGEST_REASON] for reason in reasons[:MOST_REASONS])


async def _decide(desk: Desk, asked: Asked, basis: str) -> None:
    judged, policy = await desk.judge(asked)
    now = desk.clock.now()
    if judged.facts is None or not judged.accepted:
        said = f"{_about(asked)} {diary.refused(judged.reasons)}"
        desk.records.decide(asked, "refuse", fitting(judged.reasons), basis, (), now, said)
        return
    capped = policy is not None and asked.dataset in policy.epsilon
    said = f"{_about(asked)} {diary.accepted(asked.dataset, _spends(judged.facts, capped))}"
    desk.records.decide(asked, "accept", (), basis, judged.facts.spends, now, said)


async def _tell(desk: Desk, one: Decided) -> int | None:
    path = f"/v1/runs/{one.asked.run}/joining"
    if one.decision != "accept":
        joining = Joining(one.decision, reasons=one.reasons)
        await call(desk.transport, "POST", path, Nothing, joining)
        return None
    asked, me = one.asked, desk.identity
    text = joining_text(asked.run, asked.digest, me.id, asked.dataset)
    joining = Joining("accept", asked.dataset, encoded(me.sign(text)))
    return (await call(desk.transport, "POST", path, Joined, joining)).index


def _spends(facts: PlanFacts, capped: bool) -> str:
    told = [
        f"epsilon {one.epsilon:.2f} per {one.unit} against {one.against}"
        for one in facts.spends
        if one.epsilon is not None
    ]
    kept = "; counted against the owner's limit" if capped else ""
    return f" ({', '.join(told)}{kept})" if told else ""


def _about(asked: Asked) -> str:
    return diary.about(asked.name, asked.researcher_name)
