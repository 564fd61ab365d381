"""`tacit tune`: choose a method and its learning rate by federated validation."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from tacit.base.atomic import write_atomically
from tacit.base.plain import to_plain
from tacit.base.toml import dumps
from tacit.cli.output import (
    bullets,
    console,
    grid,
    heading,
    json_option,
    number,
    print_json,
    show_grid,
)
from tacit.cli.paths import let_import
from tacit.cli.sources import find
from tacit.plan.federation import Federation
from tacit.record.folder import finite
from tacit.sim.tune import Spent, Trial, Tuned, candidates
from tacit.sim.tune import tune as choose

METHODS = ("fedavg", "ditto", "finetune")
"""Compared by default beside the described one: they fit any model."""

WITH_HEAD = ("fedper", "fedrep")
"""Compared as well where it is said which tensors stay at home."""

STEPS = (0.3, 1.0, 3.0)
"""Learning rates that are compared by default, as multiples of the described one."""


@click.command("tune")
@click.argument("description", default="app.toml", type=click.Path(path_type=Path))
@click.option("--data", help="module:function, a folder of CSV files, or a bundled set's name.")
@click.option("--method", "methods", multiple=True, help="A method to compare; may be repeated.")
@click.option("--lr", "rates", multiple=True, type=float, help="A learning rate; may be repeated.")
@click.option("--personal", multiple=True, help='Tensors that stay at home, such as "head.*".')
@click.option(
    "--held-out",
    default=0.25,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="The part of each client's training records that judges.",
)
@click.option("--halving", is_flag=True, help="Drop two thirds after short runs, then longer ones.")
@click.option("--seed", default=0, show_default=True, help="The same seed, the same choice.")
@click.option(
    "--score-noise",
    default=10.0,
    show_default=True,
    type=click.FloatRange(0),
    help="Noise on each score where the chain has noise; in records, or in clients.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Write the chosen description here.")
@json_option
def tune(  # noqa: PLR0913  # one option each
    description: Path,
    data: str | None,
    methods: tuple[str, ...],
    rates: tuple[float, ...],
    personal: tuple[str, ...],
    held_out: float,
    halving: bool,
    seed: int,
    score_noise: float,
    out: Path | None,
    as_json: bool,
) -> None:
    """Choose the algorithm for the federation in DESCRIPTION (app.toml) by federated validation.

    Part of every client's training records is held out; each candidate is trained on the rest and
    judged by what its clients would use. Test data is not looked at. Where the federation promises
    differential privacy, every run that was compared counts, and the sum is printed.
    """
    federation = Federation.load(description)
    let_import(description)
    source = find(description, federation, data, None)
    extra: dict[str, Any] = {"personal": list(personal)} if personal else {}
    compared = candidates(
        federation, methods or _methods(federation, personal), rates or _rates(federation), **extra
    )
    told = None if as_json else _telling(console(stderr=True))
    found = choose(compared, source.train, held_out, halving, seed, score_noise, told)
    if out:
        write_atomically(out, found.best.to_toml())
    if as_json:
        print_json(as_plain(found))
    else:
        show(console(), found)


def as_plain(found: Tuned) -> dict[str, Any]:
    """For programs; a score that is null could not be had."""
    return {
        "trials": [finite(_row(one)) for one in found.trials],
        "best": to_plain(found.best.algorithm),
        "score": found.chosen.score,
        "spent": [finite({**one._asdict(), "against": str(one.against)}) for one in found.spent],
    }


def show(screen: Console, found: Tuned) -> None:
    """The trials, the choice, and what it costs."""
    heading(screen, "Compared, on records that were held out")
    rows = [
        (
            one.federation.algorithm.kind,
            f"{_rate(one.federation):g}",
            str(one.rounds),
            number(one.score),
            number(one.worst),
        )
        for one in found.trials
    ]
    show_grid(screen, grid(("method", "lr", "rounds", "score", "worst client"), rows, ("method",)))
    bullets(screen, dict.fromkeys(one.problem for one in found.trials if one.problem), "!")
    heading(screen, "Chosen")
    click.echo(dumps({"algorithm": to_plain(found.best.algorithm)}).strip())
    heading(screen, "What the choice costs (differential privacy, add or remove one)")
    bullets(screen, [_sentence(one) for one in found.spent] or ["Nothing was promised."])


def _sentence(spent: Spent) -> str:
    return (
        f"One {spent.hides} against {spent.against}: epsilon {spent.tuning:.2f} for the "
        f"comparison, {spent.total:.2f} together with the chosen run, at delta {spent.delta:g}."
    )


def _telling(screen: Console) -> Any:
    def told(one: Trial) -> None:
        words = one.problem or f"score {number(one.score)}"
        screen.print(Text(f"{one.federation.algorithm.kind} lr {_rate(one.federation):g}: {words}"))

    return told if screen.is_terminal else None


def _methods(federation: Federation, personal: tuple[str, ...]) -> tuple[str, ...]:
    heads = WITH_HEAD if personal else ()
    return tuple(dict.fromkeys((federation.algorithm.kind, *METHODS, *heads)))


def _rates(federation: Federation) -> tuple[float, ...]:
    return tuple(float(f"{step * _rate(federation):.3g}") for step in STEPS)


def _rate(federation: Federation) -> float:
    return float(getattr(federation.algorithm, "lr", math.nan))


def _row(one: Trial) -> dict[str, Any]:
    return {
        "method": one.federation.algorithm.kind,
        "lr": _rate(one.federation),
        "rounds": one.rounds,
        "score": one.score,
        "worst": one.worst,
        "problem": one.problem,
    }
