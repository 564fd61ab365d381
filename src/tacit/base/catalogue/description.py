"""Errors of the description area: a `Federation` in Python or TOML."""

from __future__ import annotations

from tacit.base.catalogue.entry import Entry

DESCRIPTION: dict[str, Entry] = {
    "description.unknown": Entry(
        "{place}: there is nothing called {name!r} here.",
        "{hint}Valid names: {known}.",
    ),
    "description.missing": Entry(
        "{place}: {name!r} is missing.",
        "Add {name!r}.",
    ),
    "description.type": Entry(
        "{place}: {problem}.",
        "Give a value of the right type; the reference lists every setting with its type.",
    ),
    "description.syntax": Entry(
        "{file} is not valid TOML: {problem}.",
        "Correct the line; strings need quotes, and every table its own header.",
    ),
    "description.value": Entry(
        "{place}: {cause}",
        "{remedy}",
    ),
    "description.format": Entry(
        "The description has format {found}; this version of tacit reads format {known}.",
        "Upgrade tacit, or write the description again with this version.",
    ),
    "description.metric": Entry(
        "The metric {metric!r} needs classes, but the data contract describes a regression.",
        'Leave it out, or use "loss".',
    ),
    "description.quorum": Entry(
        "The quorum is {quorum}, but the federation has only {clients} clients.",
        "Lower the quorum or invite more clients.",
    ),
    "description.quorum-cohort": Entry(
        "The quorum is {quorum}, but a round aims at only {cohort} answers.",
        "Lower the quorum or draw more clients a round.",
    ),
    "description.file": Entry(
        "The description {file} cannot be read: {problem}.",
        "Check the path; `tacit new NAME` writes a description that runs.",
    ),
}
