"""The trust statement: plain sentences about who can see what, derived from a plan."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import NamedTuple, final

from tacit.base.vector import Kind
from tacit.learn.algorithm import Need
from tacit.plan.build import Plan
from tacit.plan.claims import Claim, Party


class Sentence(NamedTuple):
    """One sentence under its heading."""

    topic: str
    text: str


@final
@dataclass(frozen=True)
class Trust:
    """A plan in plain sentences. Print it; `plan` has the numbers."""

    sentences: tuple[Sentence, ...]
    plan: Plan

    def __str__(self) -> str:
        lines: list[str] = []
        topic = ""
        for sentence in self.sentences:
            if sentence.topic != topic:
                topic = sentence.topic
                lines += ([""] if lines else []) + [topic]
            lines.append(f"  - {sentence.text}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


def trust(plan: Plan) -> Trust:
    """State what a plan does, who sees what, what is promised, and what it costs."""
    sentences = (
        *_learned(plan),
        *_at_home(plan),
        *_protected(plan),
        *_seen(plan),
        *_promised(plan),
        *_bytes(plan),
        *(Sentence("Warnings", text) for text in plan.warnings),
    )
    return Trust(tuple(sentences), plan)


def _learned(plan: Plan) -> list[Sentence]:
    federation, team = plan.federation, plan.team
    topic = "What is learned"
    who = {
        "everyone": "all of them in every round",
        "fixed": f"{team.cohort} of them in a round",
        "poisson": f"each in a round with probability {team.rate:g}, {team.cohort} expected"
        if team.rate
        else "",
        "buffered": f"asynchronously: {team.cohort} arrivals make a round",
    }[federation.cohort.kind]
    sentences = [
        Sentence(
            topic,
            f"One model of {plan.task.layout.size} numbers, by {federation.algorithm.kind}, in "
            f"{team.rounds} rounds among {team.clients} clients, {who}.",
        ),
        Sentence(topic, f"A round counts only with at least {team.quorum} answers."),
    ]
    if federation.task.code:
        sentences.append(Sentence(topic, f"Clients run the code {federation.task.code}."))
    return sentences


def _at_home(plan: Plan) -> list[Sentence]:
    """What clients keep to themselves: it is never sent, so no promise is about it."""
    algorithm, split = plan.algorithm, plan.split
    if split.home.size:
        text = (
            f"{split.home.size} of the model's {split.whole.size} numbers stay at home and never "
            f"leave ({_tensors(plan)}): every client has its own"
        )
    elif algorithm.model and Need.MEMORY in algorithm.needs:
        text = "Each client keeps a model of its own, which stays at home and never leaves"
    elif algorithm.model:
        text = "Each client makes its own model from what it receives; it stays at home"
    else:
        return []
    promise = "" if plan.form.noise is None else ". What is promised below is about the rest"
    return [Sentence("What stays at home", f"{text}{promise}.")]


def _tensors(plan: Plan) -> str:
    """The first few names of what stays, and how many more there are."""
    names, listed = [tensor.name for tensor in plan.split.home.tensors], 4
    more = f" and {len(names) - listed} more" if len(names) > listed else ""
    return ", ".join(names[:listed]) + more


def _protected(plan: Plan) -> list[Sentence]:
    topic = "What is done to an answer, in order"
    parts = ", ".join(
        f"{block.size} {_NAMES.get(block.name, block.name)}" for block in plan.message.blocks
    )
    first = Sentence(topic, f"An answer holds {plan.message.size} numbers: {parts}.")
    rest = [Sentence(topic, step.stage.says(step.before, step.after)) for step in plan.steps]
    return [first, *rest]


_NAMES = {"update": "of the update", "weight": "weight", "loss": "loss", "accuracy": "of accuracy",
          "buffers": "of buffers"}  # fmt: skip


def _seen(plan: Plan) -> list[Sentence]:
    topic = "Who sees what"
    form, team = plan.form, plan.team
    noised = form.noise is not None and form.noise.where != "central"
    what = "noised " if noised else ""
    if form.hidden:
        coordinator = f"the {what}sum of at least {team.quorum} answers, and no single answer"
    else:
        coordinator = f"every client's {what}answer in every round"
    sentences = [
        Sentence(topic, f"The coordinator sees {coordinator}, and who took part."),
        Sentence(topic, "Another client sees the model that it receives in each round."),
        Sentence(topic, "Whoever gets the model sees the model of every round at most."),
        Sentence(topic, "Raw records never leave a client."),
    ]
    if plan.message.of(Kind.BUFFER) and not form.hidden:
        sentences.append(
            Sentence(topic, "Averages of activations (batch-norm buffers) leave each client.")
        )
    return sentences


def _promised(plan: Plan) -> list[Sentence]:
    topic = "What is promised (differential privacy, add or remove one)"
    if plan.form.noise is None:
        about = " about the sum itself" if plan.form.hidden else ""
        text = f"Nothing{about}: no noise is added, so the model may remember records."
        return [Sentence(topic, text)]
    return [Sentence(topic, _claim(claim, plan)) for claim in plan.claims]


def _why_not(claim: Claim, plan: Plan) -> str:
    noise = plan.form.noise
    if claim.event is not None:
        return f"one {claim.hides} can change far more than the noise hides"
    if noise and noise.where == "central" and claim.against is Party.COORDINATOR:
        return "it is trusted with sums that have no noise yet"
    return f"nothing bounds what one {claim.hides} can change"


def _claim(claim: Claim, plan: Plan) -> str:
    if not claim.holds:
        return f"One {claim.hides} against {claim.against}: no promise ({_why_not(claim, plan)})."
    given = f", if {'; and '.join(claim.assumes)}" if claim.assumes else ""
    return (
        f"One {claim.hides} against {claim.against}: epsilon {claim.shown} at delta "
        f"{claim.delta:g}{given}."
    )


def _bytes(plan: Plan) -> list[Sentence]:
    cost = plan.cost
    return [
        Sentence(
            "What it costs",
            f"A client receives {size(cost.down)} and sends {size(cost.up)} a round; "
            f"{size(cost.total)} in all for {plan.team.rounds} rounds.",
        )
    ]


def size(count: float) -> str:
    """Bytes for people: 1.2 kB, 40 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.3g} {unit}"
        count /= 1000
    raise AssertionError("unreachable")
