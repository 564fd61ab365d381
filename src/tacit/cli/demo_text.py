"""What the demo says at its end: numbers, what they cost, and what they do not show."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tacit.cli.output import bullets, heading, show_grid
from tacit.cli.second_act import SecondAct
from tacit.cli.second_act import show as show_act
from tacit.plan.claims import Party
from tacit.plan.trust import size
from tacit.record.comparison import Comparison, EvaluationSet, Result
from tacit.record.demo import EPSILONS, SHOWN, SUMMED
from tacit.record.folder import Saved

NAMES = {Party.COORDINATOR: "coordinator", Party.CLIENT: "another\nhospital",
         Party.PUBLIC: "whoever\ngets the\nmodel"}  # fmt: skip


def show(screen: Console, compared: Comparison, saved: Saved, act: SecondAct | None = None) -> None:
    """Everything, in the order in which a reader asks."""
    _intro(screen, compared)
    _scores(screen, compared)
    _price(screen, compared)
    _promises(screen, compared)
    _trust(screen, compared[SHOWN])
    heading(screen, "What these numbers do not show")
    bullets(screen, _caveats(compared))
    if act is not None:
        show_act(screen, act)
    _next(screen, saved)


def _intro(screen: Console, compared: Comparison) -> None:
    heading(
        screen, "Four hospitals learned one model for heart disease; no record left its hospital"
    )
    screen.print(Text(compared.source, "dim"))
    held = ", ".join(f"{found.name} {found.trained}" for found in compared.sets[:-1])
    screen.print(Text(f"Training patients: {held}; {compared.sets[-1].records} more to test on."))


def _scores(screen: Console, compared: Comparison) -> None:
    seeds = len(compared.seeds)
    over = f"mean ± standard deviation over {seeds} seeds" if seeds > 1 else "one seed"
    heading(screen, f"How often the model is right, in % ({over})")
    table = _table()
    table.add_column("tested on patients of", ratio=1)
    for found in compared.sets:
        table.add_column(_short(found), justify="right", no_wrap=True, vertical="bottom")
    table.add_row("test patients", *(str(found.records) for found in compared.sets), style="dim")
    best = max(filter(_private, compared.results), key=lambda r: r.scores[-1].mean)
    for i, result in enumerate(compared.results):
        later = compared.results[i + 1 :]
        ends = bool(later) and _kind(result) != _kind(later[0])
        scores = [Text(str(score)) for score in result.scores]
        if result is best:
            scores[-1].stylize("bold")
        table.add_row(result.method.label, *scores, end_section=ends or not later)
    guesses = (f"{100 * found.guess:.1f}" for found in compared.sets)
    table.add_row("Always commoner class", *guesses, style="dim")
    show_grid(screen, table)
    screen.print()


def _price(screen: Console, compared: Comparison) -> None:
    """Beside the same chain without noise, on all test patients."""
    free = compared[SUMMED].scores[-1].mean
    costs = ", ".join(
        f"epsilon {epsilon} {100 * (compared[f'epsilon-{epsilon}'].scores[-1].mean - free):+.1f}"
        for epsilon in EPSILONS
    )
    error = 100 * compared.sets[-1].error(free)
    text = (
        f"What the noise costs: beside the same chain without it ({100 * free:.1f} on all "
        f"patients), {costs} points. Another {compared.sets[-1].records} test patients would move "
        f"any of these by about {error:.0f}."
    )
    _indented(screen, text)


def _promises(screen: Console, compared: Comparison) -> None:
    results = [result for result in compared.results if result.federated]
    delta = compared[SHOWN].run.claims[0].delta
    heading(screen, f"Epsilon spent on one patient's record at delta {delta:g}, by who looks")
    table = _table()
    for name in ("", "coordinator\nsees"):
        table.add_column(name, ratio=1, vertical="bottom")
    for name in (*NAMES.values(), "bytes\nmoved"):
        table.add_column(name, justify="right", no_wrap=True, vertical="bottom")
    for result in results:
        spent = (_epsilon(result, party) for party in NAMES)
        table.add_row(result.method.label, _sees(result), *spent, size(result.run.bytes))
    show_grid(screen, table)
    screen.print()
    if not any(result.claim("client") for result in results):
        _indented(screen, "Whether a whole hospital took part is not hidden by any of these.")


def _trust(screen: Console, result: Result) -> None:
    topics: dict[str, list[str]] = {}
    for sentence in result.run.trust.sentences:
        topics.setdefault(sentence.topic, []).append(sentence.text)
    heading(screen, f"The trust statement of: {result.method.label}")
    for topic, texts in topics.items():
        screen.print()
        _indented(screen, topic)
        bullets(screen, texts)


def _caveats(compared: Comparison) -> Iterator[str]:
    if compared[SHOWN].run.plan.form.ideal:
        yield (
            "The secure sum is SIMULATED: an ideal one stands in, and no cryptography ran. Bytes "
            "are those of models and answers."
        )
    yield "All four hospitals were this one computer, and the noise follows from the seed."
    small = min(compared.sets, key=lambda found: found.records)
    yield (
        f"Test sets are small. {small.name} has {small.records} patients, and naming the commoner "
        f"class is right for {100 * small.guess:.0f} % of them; as many others would move its "
        f"column by about {100 * small.error(small.guess):.0f} points."
    )
    means = [result.scores[-1].mean for result in compared.results if result.federated]
    yield (
        "The spread is over seeds (order, sampling, noise), always with the same test patients. "
        f"The federated rows lie {100 * (max(means) - min(means)):.1f} points apart on all of "
        f"them, where one standard error is {100 * compared.sets[-1].error(max(means)):.1f}."
    )
    yield (
        "Learning rate, clipping and sampling are the same for every epsilon, and were chosen on "
        "training records: with real ones, that choice would cost epsilon too."
    )


def _next(screen: Console, saved: Saved) -> None:
    heading(screen, f"Saved in {saved.folder}")
    bullets(
        screen,
        (
            "report.html: everything on one page, to open in a browser",
            "comparison.png, .svg, .csv and curves.png, .svg: the results as pictures and numbers",
            "model.npz, history.csv, journal.jsonl, federation.toml, run.json, trust.txt: the run "
            f"of {SHOWN.replace('-', ' ')}",
        ),
    )
    heading(screen, "Next")
    bullets(
        screen,
        (
            f"tacit check {saved.folder}/federation.toml    who would see what",
            "tacit new my-federation    a folder with a federation of your own that runs",
            "tacit serve    a coordinator of your own: see docs/how-to/two-machines.md",
        ),
    )


def _table() -> Table:
    """Two spaces between columns, so that five hospitals' worth fits in 80."""
    return Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        header_style="dim",
        padding=(0, 1, 0, 0),
    )


def _indented(screen: Console, text: str) -> None:
    screen.print(Padding(Text(text), (0, 0, 0, 2), expand=False))


def _short(found: EvaluationSet) -> str:
    """A column's head, narrow enough for five of them."""
    return found.name.replace(" ", "\n")


def _kind(result: Result) -> tuple[bool, bool]:
    return result.federated, _private(result)


def _private(result: Result) -> bool:
    return result.federated and result.claim("record") is not None


def _epsilon(result: Result, party: Party) -> str:
    claims = (c for c in result.run.claims if c.against is party and c.hides == "record")
    spent = next(claims).epsilon
    return f"{spent:.2f}" if math.isfinite(spent) else "none"


def _sees(result: Result) -> str:
    form = result.run.plan.form
    noised = "noised " if form.noise and form.noise.where != "central" else ""
    return f"{noised}sum" if form.hidden else f"every {noised}answer"
