"""One HTML page about a run that needs nothing else: no script, font or picture from outside."""

from __future__ import annotations

import base64
import math
import os
import platform
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import tacit
from tacit.base.atomic import write_atomically
from tacit.plan.claims import Claim, Party
from tacit.plan.trust import size
from tacit.record import plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tacit.record.comparison import Comparison
    from tacit.record.run import Run

MOST = 50
"""Clients, and failures, that are listed one by one."""

_STYLE = files("tacit.record") / "report.css"


def write_report(
    run: Run, path: str | os.PathLike[str], compared: Comparison | None = None
) -> None:
    """Write `report` to a file; raises `task.missing-extra` or `data.cannot-write`."""
    write_atomically(Path(path), report(run, compared))


def report(run: Run, compared: Comparison | None = None) -> str:
    """Everything a reader needs to judge a run, as the text of one self-contained HTML page.

    With `compared` it also shows the run's method beside others.
    """
    name = escape(run.plan.federation.name)
    sections = (
        _section("What was done", *_done(run)),
        _section("Who saw what", _list(_said(run, "Who sees what"))),
        _section("What was learned", *_learned(run)),
        _section("Beside other ways to learn", *_compared(compared)) if compared else "",
        _section("What is promised", *_promised(run)),
        _section("What moved", _moved(run)),
        _section("Warnings and failures", *_trouble(run)),
        _section("How to run it again", *_again(run)),
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{name}: tacit run report</title>\n<style>\n{_STYLE.read_text('utf-8')}</style>\n"
        f"</head>\n<body>\n<header><p>tacit run report</p><h1>{name}</h1></header>\n"
        f"{_facts(run)}{_simulated(run)}{''.join(sections)}</body>\n</html>\n"
    )


def _facts(run: Run) -> str:
    """The numbers that a reader looks for first."""
    team = run.plan.team
    public = [claim for claim in run.claims if claim.against is Party.PUBLIC]
    best = min(public, key=lambda claim: (not claim.holds, claim.hides))
    facts = [
        ("rounds that counted", f"{len(run.history)} of {team.rounds}"),
        ("clients", str(team.clients)),
        _score(run),
        (f"epsilon of one {best.hides} against {best.against}", _spent(best)[0]),
        ("moved", size(run.bytes)),
    ]
    cells = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in facts)
    return f"<dl>{cells}</dl>\n"


def _score(run: Run) -> tuple[str, str]:
    if run.final is None or plots.classifies(run):
        share = run.final.accuracy if run.final else math.nan
        return "accuracy on all test records", _percent(run, share)
    return "mean loss on all test records", f"{run.final.loss:.3f}"


def _simulated(run: Run) -> str:
    ideal = " The secure sum was an ideal one: no cryptography ran." if run.plan.form.ideal else ""
    text = (
        "This was a simulation on one computer. Its test numbers are exact, and all its randomness "
        f"follows from the seed, so its noise is not secret.{ideal} The statements below say what "
        "the same plan promises between real parties."
    )
    return f'<p class="note">{text}</p>\n'


def _done(run: Run) -> list[str]:
    return [
        _list(_said(run, "What is learned")),
        "<h3>What is done to an answer, in order</h3>",
        _list(_said(run, "What is done to an answer, in order"), "ol"),
    ]


def _said(run: Run, topic: str) -> list[str]:
    return [sentence.text for sentence in run.trust.sentences if sentence.topic == topic]


def _learned(run: Run) -> list[str]:
    parts = [_picture(plots.curves({run.plan.federation.name: run}), "Learning curves of the run")]
    if run.final is None:
        return [*parts, "<p>No test records were given, so there is no exact evaluation.</p>"]
    clients = list(run.final.clients.items())
    if more := len(clients) > MOST:
        clients = sorted(clients, key=lambda one: (one[1].accuracy, -one[1].mean_loss))[:MOST]
    named = [*clients, ("all clients", run.final.pooled)]
    rows = [
        (name, f"{one.examples:.0f}", _percent(run, one.accuracy), f"{one.mean_loss:.3f}")
        for name, one in named
    ]
    said = [
        f"Worst client {_percent(run, run.final.worst)}; standard deviation over clients "
        f"{_percent(run, run.final.spread)}."
    ] * plots.classifies(run)
    if more:
        said.append(f"Of {len(run.final.clients)} clients the {MOST} worst are listed.")
    head = ("test records of", "records", "accuracy", "mean loss")
    return [_table(head, rows, total=True), *map(_paragraph, said), *parts]


def _percent(run: Run, share: float) -> str:
    """An accuracy; a dash for regression, and for a client without test records."""
    shown = plots.classifies(run) and math.isfinite(share)
    return f"{100 * share:.1f} %" if shown else "-"


def _compared(compared: Comparison) -> list[str]:
    rows = []
    for result in compared.results:
        claim = result.claim("record")
        spent = claim.shown if claim else "no promise"
        scores = [str(score) for score in result.scores]
        last = ("-", "-") if result.moved is None else (spent, size(result.moved))
        rows.append((result.method.label, *scores, *last))
    guess = [f"{100 * found.guess:.1f}" for found in compared.sets]
    rows.append(("Naming the commoner class", *guess, "-", "-"))
    names = [f"{found.name} ({found.records})" for found in compared.sets]
    seeds = len(compared.seeds)
    text = (
        "Accuracy in % on the test records of each column (how many in brackets): mean and "
        f"standard deviation over {seeds} seed{'s' * (seeds > 1)}. The spread holds order, "
        "sampling and noise, not the choice of test records: another sample of as many "
        f"would move a figure by about {_chance(compared)}. Naming the commoner class "
        "is what needs no model at all. The rest of this page is about one run of one of them."
    )
    credit = [_paragraph(f"Data: {compared.source}.")] if compared.source else []
    return [
        *credit,
        _paragraph(text),
        _table(("method", *names, "epsilon of a record", "moved"), rows, total=True),
        _picture(plots.comparison(compared), "Accuracy of each method on each test set"),
        _picture(plots.curves(compared.federated), "Learning curves of each federation"),
    ]


def _chance(compared: Comparison) -> str:
    """Binomial standard errors at the accuracies reached, smallest and largest set."""
    scores = zip(compared.sets, compared.results[-1].scores, strict=True)
    errors = [100 * found.error(score.mean) for found, score in scores]
    return f"{min(errors):.0f} points in the last column and up to {max(errors):.0f} in the others"


def _promised(run: Run) -> list[str]:
    text = (
        "Differential privacy under adding or removing one: for whoever is named in the second "
        "column, what is seen hardly tells whether the one in the first column took part. Smaller "
        "epsilon hides more."
    )
    rows = [(f"one {claim.hides}", str(claim.against), *_spent(claim)) for claim in run.claims]
    head = ("hides", "against", "epsilon", "delta", "provided that")
    return [_paragraph(text), _table(head, rows, words=(1, 4))]


def _spent(claim: Claim) -> tuple[str, str, str]:
    if not claim.holds:
        return "no promise", "-", ""
    return claim.shown, f"{claim.delta:g}", "; ".join(claim.assumes)


def _moved(run: Run) -> str:
    cost, outcome = run.plan.cost, run.outcome
    rows = [
        ("to one client, a round", size(cost.down)),
        ("from one client, a round", size(cost.up)),
        ("to all clients, in this run", size(outcome.bytes_down)),
        ("from all clients, in this run", size(outcome.bytes_up)),
        ("both, in this run", size(run.bytes)),
        ("both, as the plan foretold", size(cost.total)),
    ]
    return _table(("direction", "bytes"), rows)


def _trouble(run: Run) -> list[str]:
    parts = [_list(run.warnings)] if run.warnings else []
    if run.problems:
        rows = [
            (str(one.round + 1), one.client, one.error.cause, one.error.remedy)
            for one in run.problems[:MOST]
        ]
        parts.append(_table(("round", "client", "what", "what to do"), rows, words=(1, 2, 3)))
    if len(run.problems) > MOST:
        parts.append(_paragraph(f"The first {MOST} of {len(run.problems)} failures are listed."))
    return parts or ["<p>None.</p>"]


def _again(run: Run) -> list[str]:
    federation = run.plan.federation
    rows = [
        ("description, SHA-256", federation.digest),
        ("seed", str(run.seed)),
        ("tacit", tacit.__version__),
        ("numpy", np.__version__),
        ("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
    ]
    code = (
        "import tacit\n\n"
        'federation = tacit.Federation.load("federation.toml")  # the description below\n'
        f"run = tacit.simulate(federation, data, seed={run.seed})"
    )
    text = escape(federation.to_toml())
    return [
        _table(("what", "which"), rows, words=(1,)),
        f"<pre>{escape(code)}</pre>",
        f"<details><summary>The description: federation.toml</summary><pre>{text}</pre></details>",
    ]


def _section(title: str, *parts: str) -> str:
    return f"<section>\n<h2>{escape(title)}</h2>\n{''.join(parts)}</section>\n"


def _paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>\n"


def _list(texts: Iterable[str], kind: str = "ul") -> str:
    items = "".join(f"<li>{escape(text)}</li>\n" for text in texts)
    return f"<{kind}>\n{items}</{kind}>\n"


def _table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    words: Sequence[int] = (),
    total: bool = False,
) -> str:
    """A table of escaped cells; columns in `words`, and the first, are text, the others numbers."""
    texts = {0, *words}

    def line(cells: Sequence[str], tag: str) -> str:
        made = (
            f"<{tag}{'' if i in texts else ' class=n'}>{escape(cell)}</{tag}>"
            for i, cell in enumerate(cells)
        )
        return f"<tr>{''.join(made)}</tr>\n"

    body = "".join(line(row, "td") for row in rows)
    kind = ' class="total"' if total else ""
    return (
        f'<div class="wide"><table{kind}>\n<thead>{line(head, "th")}</thead>\n'
        f"<tbody>\n{body}</tbody></table></div>\n"
    )


def _picture(figure: Figure, alt: str) -> str:
    """As SVG inside the page: sharp at any size, and its ids stay its own."""
    content = base64.b64encode(plots.image(figure, "svg")).decode()
    return f'<img alt="{escape(alt)}" src="data:image/svg+xml;base64,{content}">\n'
