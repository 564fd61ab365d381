"""How a finished run is shown, from the plain data that its run.json holds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from tacit.cli.output import bullets, grid, heading, number, show_grid
from tacit.plan.trust import size

About = Mapping[str, Any]
"""A run as `tacit.record.folder.describe` tells it."""

_SHOWN = 8
"""Failures that are listed one by one."""


def show_run(screen: Console, about: About) -> None:
    """How a run ended, what it promises, what failed, and its warnings."""
    screen.print(Text(about["name"], "bold").append(f"  {about['digest'][:12]}", "dim"))
    screen.print(Text(_ran(about)))
    _show_scores(screen, about)
    heading(screen, "What is promised (differential privacy, add or remove one)")
    bullets(screen, promises(about["claims"]))
    if about["problems"]:
        _show_problems(screen, about["problems"])
    if about["warnings"]:
        heading(screen, "Warnings")
        bullets(screen, about["warnings"], "!")


def promises(claims: Sequence[Mapping[str, Any]]) -> list[str]:
    """Claims as `describe` has them, those that say the same of several parties in one sentence."""
    parties: dict[tuple[str, float, float], list[str]] = {}
    for claim in claims:
        if claim["epsilon"] is not None:
            key = claim["hides"], claim["epsilon"], claim["delta"]
            parties.setdefault(key, []).append(claim["against"])
    if not parties:
        return ["Nothing: the model may remember records."]
    said = [
        f"One {hides}: epsilon {math.ceil(100 * epsilon) / 100:.2f} at delta {delta:g} "
        f"against {_listed(against)}."
        for (hides, epsilon, delta), against in parties.items()
    ]
    return [*said, "On conditions that trust.txt states."]


def moved(about: About) -> int:
    """Bytes in both directions."""
    return int(about["bytes"]["up"]) + int(about["bytes"]["down"])


def epsilons(about: About) -> dict[str, float | None]:
    """`record, the coordinator` -> epsilon, None where nothing is promised."""
    return {f"{c['hides']}, {c['against']}": c["epsilon"] for c in about["claims"]}


def _ran(about: About) -> str:
    rounds, clients = about["rounds"], about["clients"]
    seed = "" if about["seed"] is None else f", seed {about['seed']}"
    return (
        f"{rounds['counted']} of {rounds['planned']} rounds, "
        f"{clients} client{'s' if clients > 1 else ''}, {about['parameters']} parameters, "
        f"{size(moved(about))} moved{seed}"
    )


def _show_scores(screen: Console, about: About) -> None:
    final = about["final"]
    if final is None and "train_loss" not in about["last"]:
        return  # between machines nobody sees exact numbers
    heading(screen, "How well it does (exact numbers: a simulation can see them)")
    if final is None:
        loss = number(about["last"].get("train_loss"), 4)
        bullets(screen, [f"Training loss {loss} in the last round; there was no test data."])
        return
    everyone = {name: final[name] for name in ("examples", "accuracy", "loss")}
    rows = [
        (name, f"{one['examples']:.0f}", number(one["accuracy"]), number(one["loss"], 4))
        for name, one in [*final["clients"].items(), ("all", everyone)]
    ]
    kept = rows if len(rows) <= 2 * _SHOWN else rows[-1:]
    show_grid(screen, grid(("client", "test records", "accuracy", "loss"), kept, ("client",)))
    worst, spread = number(final["worst_client"]), number(final["spread"])
    bullets(screen, [f"Worst client {worst}; standard deviation over clients {spread}."])


def _show_problems(screen: Console, problems: Sequence[Mapping[str, Any]]) -> None:
    heading(screen, f"Clients that failed a round ({len(problems)})")
    shown = [f"Round {p['round']}: {p['cause']} {p['remedy']}" for p in problems[:_SHOWN]]
    more = len(problems) - len(shown)
    bullets(screen, [*shown, f"and {more} more, in run.json"] if more else shown)


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
