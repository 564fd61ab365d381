"""`tacit check`: what a federation would do, show, promise and cost, before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click
from rich.console import Console
from rich.text import Text

from tacit.base.atomic import write_atomically
from tacit.base.errors import TacitError
from tacit.base.plain import from_plain, to_plain
from tacit.base.toml import loads
from tacit.cli.client_code import ClientCode, client_code
from tacit.cli.output import bullets, console, grid, heading, json_option, print_json, show_grid
from tacit.cli.paths import let_import
from tacit.learn.code import code_name
from tacit.plan.build import Plan
from tacit.plan.claims import Claim, Party
from tacit.plan.federation import Federation
from tacit.plan.policy import Policy, Verdict, accepts
from tacit.plan.trust import Sentence, Trust, size, trust
from tacit.record.folder import plain_claim


class View(NamedTuple):
    """One party: whom the claims are against, and how sentences about what it sees begin."""

    party: Party
    begins: str


VIEWS = {
    "client": View(Party.CLIENT, "Another client"),
    "coordinator": View(Party.COORDINATOR, "The coordinator"),
    "outsider": View(Party.PUBLIC, "Whoever gets the model"),
}

SEES, PROMISED, COSTS, WARNINGS = "Who sees what", "What is promised", "What it costs", "Warnings"


class Findings(NamedTuple):
    """All that was asked for."""

    trust: Trust
    view: View | None
    code: ClientCode | None
    verdict: Verdict | None

    @property
    def plan(self) -> Plan:
        """The plan that was checked."""
        return self.trust.plan

    @property
    def claims(self) -> list[Claim]:
        """The claims against the chosen party, or all."""
        return [c for c in self.plan.claims if self.view is None or c.against is self.view.party]

    @property
    def sentences(self) -> list[Sentence]:
        """The sentences that concern the chosen party, or all."""
        return [s for s in self.trust.sentences if self.view is None or _concerns(s, self.view)]


@click.command("check")
@click.argument("description", default="app.toml", type=click.Path(path_type=Path))
@click.option(
    "--party",
    type=click.Choice(list(VIEWS)),
    help="What this party sees and what holds against it; for client, also the code it runs.",
)
@click.option("--policy", type=click.Path(path_type=Path), help="An owner's rules (TOML).")
@click.option(
    "--renew-code", is_flag=True, help="First write the digests of your code as it is now."
)
@json_option
def check(
    description: Path, party: str | None, policy: Path | None, renew_code: bool, as_json: bool
) -> None:
    """State what the federation in DESCRIPTION (app.toml) does, before anything runs.

    Who sees what, what differential privacy promises against whom, what it costs, and what will
    disappoint. With --policy, the exit status is 1 if the owner's rules refuse the federation.
    """
    let_import(description)
    if renew_code:
        renew(description)
    rules = read_policy(policy) if policy else None
    plan = Federation.load(description).plan()
    found = Findings(
        trust(plan),
        VIEWS[party] if party else None,
        client_code(description) if party == "client" else None,
        accepts(rules, plan) if rules else None,
    )
    if as_json:
        print_json(as_plain(found))
    else:
        show(console(), found)
    raise SystemExit(1 if found.verdict and not found.verdict.accepted else 0)


def read_policy(path: Path) -> Policy:
    """An owner's rules; an error names the line and the nearest valid name."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as wrong:
        problem = getattr(wrong, "strerror", None) or "it is not UTF-8 text"
        raise TacitError("run.policy-file", file=path, problem=problem) from wrong
    return loads(text, lambda plain: from_plain(Policy, plain), str(path))


def renew(description: Path) -> None:
    """Put the digests of the code that is there in the place of those that the description has."""
    federation = Federation.load(description)
    text = description.read_text("utf-8")
    for named in filter(None, federation.task.code.split(", ")):
        name, _, known = named.partition(" sha256:")
        found = code_name(name).source
        if known and found != known:
            text = text.replace(known, found)
            told = f"{description} now means {name} with SHA-256 {found}; its owners approve anew."
            click.echo(told, err=True)
    write_atomically(description, text)


def as_plain(found: Findings) -> dict[str, Any]:
    """For programs; an epsilon that is null promises nothing."""
    plan = found.plan
    plain: dict[str, Any] = {
        "name": plan.federation.name,
        "digest": plan.digest,
        "statement": [sentence._asdict() for sentence in found.sentences],
        "claims": [plain_claim(claim) for claim in found.claims],
        "cost": to_plain(plan.cost),
        "team": to_plain(plan.team),
        "warnings": list(plan.warnings),
    }
    if found.code:
        plain["client"] = found.code.plain()
    if found.verdict:
        accepted, reasons = found.verdict.accepted, list(found.verdict.reasons)
        plain["policy"] = {"accepted": accepted, "reasons": reasons}
    return plain


def show(screen: Console, found: Findings) -> None:
    """The statement for people, section by section."""
    name, digest = found.plan.federation.name, found.plan.digest
    screen.print(Text(name, "bold").append(f"  {digest[:12]}  nothing has run yet", "dim"))
    topics: dict[str, list[str]] = {}
    for sentence in found.sentences:
        topics.setdefault(sentence.topic, []).append(sentence.text)
    for topic, texts in topics.items():
        heading(screen, topic)
        _section(topic)(screen, texts, found)
    if found.code:
        _show_code(screen, found.code)
    if found.verdict:
        _show_verdict(screen, found.verdict)


def _concerns(sentence: Sentence, view: View) -> bool:
    if sentence.topic == SEES:
        return sentence.text.startswith((view.begins, "Raw records"))
    if sentence.topic.startswith(PROMISED):
        return "against" not in sentence.text or view.party in sentence.text
    return True


def _section(topic: str) -> Callable[[Console, list[str], Findings], None]:
    if topic.startswith(PROMISED):
        return _show_promised
    return {COSTS: _show_costs, WARNINGS: _show_warnings}.get(topic, _show_sentences)


def _show_sentences(screen: Console, texts: list[str], found: Findings) -> None:
    bullets(screen, texts)


def _show_warnings(screen: Console, texts: list[str], found: Findings) -> None:
    bullets(screen, texts, "!")


def _show_promised(screen: Console, texts: list[str], found: Findings) -> None:
    """What holds as a table with its conditions below; what does not hold as sentences."""
    held = [claim for claim in found.claims if claim.holds]
    conditions = list(dict.fromkeys(text for claim in held for text in claim.assumes))
    if held:
        rows = [
            (
                f"one {claim.hides}",
                str(claim.against),
                claim.shown,
                f"{claim.delta:g}",
                ", ".join(str(1 + conditions.index(text)) for text in claim.assumes),
            )
            for claim in held
        ]
        columns = ("hidden", "against", "epsilon", "delta", "if")
        show_grid(screen, grid(columns, rows, ("hidden", "against", "if")))
    for i, text in enumerate(conditions, start=1):
        bullets(screen, [f"{text}."], f"{i}.")
    bullets(screen, texts if not found.plan.form.noise else [t for t in texts if "no promise" in t])


def _show_costs(screen: Console, texts: list[str], found: Findings) -> None:
    cost, team = found.plan.cost, found.plan.team
    rows = [
        ("a client receives", size(cost.down), "a round"),
        ("a client sends", size(cost.up), "a round"),
        (f"{team.cohort} clients together", size(cost.round), "a round"),
        ("the whole run", size(cost.total), f"in {team.rounds} rounds"),
    ]
    table = grid(("", "bytes", ""), rows, ("",))
    table.show_header = False
    show_grid(screen, table)


def _show_code(screen: Console, code: ClientCode) -> None:
    lines = sum(module.lines for module in code.modules)
    heading(screen, f"The code that a client runs: {len(code.modules)} modules, {lines} lines")
    rows = [(m.name, str(m.lines), m.sha256[:16]) for m in (*code.own, *code.modules)]
    show_grid(screen, grid(("module", "lines", "SHA-256"), rows, ("module", "SHA-256")))
    if code.named:
        bullets(screen, [f"Your code: {name}" for name in code.named])
    bullets(screen, [f"Beside it: {', '.join(f'{n} {v}' for n, v in code.packages.items())}."])


def _show_verdict(screen: Console, verdict: Verdict) -> None:
    heading(screen, "The owner's policy")
    if verdict.accepted:
        screen.print(Text("  accepts this federation", "green"))
        return
    screen.print(Text("  refuses this federation:", "red"))
    bullets(screen, verdict.reasons)
