"""Errors of the round area: what happens between a client and the coordinator in a round."""

from __future__ import annotations

from tacit.base.catalogue.entry import Entry

ROUND: dict[str, Entry] = {
    "round.late": Entry(
        "The answer of client {client} to round {round} came after the round was settled.",
        "Nothing is lost: it takes part in later rounds. Raise `deadline` if this is usual.",
    ),
    "round.foreign": Entry(
        "Client {client} answered round {round}, to which it was not invited.",
        "Check that the client belongs to this run; its answer was not used.",
    ),
    "round.answered-twice": Entry(
        "Client {client} answered round {round} twice with different bytes.",
        "The first answer counts. Look for two processes with one client's key.",
    ),
    "round.offer-changed": Entry(
        "Round {round} was answered for another model than the one that is offered now.",
        "A client answers a round once: start a new run if the coordinator lost its state.",
    ),
    "round.quorum": Entry(
        "Too few clients answered: {problem}",
        "Fix the clients that failed, or lower the quorum if the plan allows it.",
    ),
    "round.update-not-finite": Entry(
        "The update of client {client} in round {round} has NaN or infinite numbers.",
        "Lower the learning rate, or look for extreme values in the client's data.",
    ),
    "round.weight": Entry(
        "The algorithm gave the answer of client {client} in round {round} the weight {weight:g}.",
        "A visit's weight is between 0 and 1; the stage that weighs by examples comes after it.",
    ),
    "round.update-shape": Entry(
        "The answer of client {client} has {found} numbers; the plan says {expected}.",
        "Check that every client runs the same description and version.",
    ),
    "round.code-failed": Entry(
        "The code of the task failed at client {client} in round {round}: {problem}",
        "Run the task on that client's data alone to see the whole traceback.",
    ),
    "round.model-not-finite": Entry(
        "The model has NaN or infinite numbers after round {round}.",
        "Lower the learning rates of the algorithm.",
    ),
    "round.lost": Entry(
        "The answer of client {client} was lost.",
        "Check the client's connection; it takes part in later rounds.",
    ),
    "round.process-died": Entry(
        "The process that computed the turn of client {client} in round {round} {why}; and so did "
        "the one that tried again.",
        "Run that client's turn alone, with more memory or fewer processes (`workers`).",
    ),
    "round.buffered-hidden": Entry(
        "In buffered rounds answers of several models are summed, each weighted by its age, and a "
        "secure sum cannot be weighted inside.",
        "Sum in the clear with tacit.plain_sum(), or use synchronous rounds, for example "
        "tacit.fixed(size, spare=...), which take the first answers.",
    ),
    "round.buffered-buffers": Entry(
        "In buffered rounds updates are weighted by their age, and the model has averages of "
        "activations (batch normalisation) that would be shrunk by that.",
        "Use group or layer normalisation, or synchronous rounds.",
    ),
    "round.buffered-answer": Entry(
        "In buffered rounds answers to several models are summed, and histograms of one level of "
        "a tree say nothing about another level.",
        "Grow trees in synchronous rounds, for example tacit.fixed(size, spare=...), which take "
        "the first answers.",
    ),
    "run.stopped": Entry(
        "The run was stopped in round {round}.",
        "Start it again when you are ready.",
    ),
}
