"""`Run`: what a simulation gives its user: model, history, plan, plots and a folder."""

from __future__ import annotations

import html
import math
import os
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

from tacit.base.errors import TacitError
from tacit.base.nearest import did_you_mean
from tacit.learn.examples import as_clients
from tacit.learn.model import Model
from tacit.plan.build import Plan
from tacit.plan.claims import Claim
from tacit.plan.federation import Federation
from tacit.plan.trust import Trust, size, trust
from tacit.sim import simulate as sim
from tacit.sim.backend import Problem
from tacit.sim.checkpoint import Checkpoints
from tacit.sim.devices import Devices
from tacit.sim.engine import Outcome, Progress, Row
from tacit.sim.evaluate import Evaluation
from tacit.sim.faults import Faults, none


@final
@dataclass(frozen=True, eq=False)
class Run:
    """A finished run of a plan. `seed` is None where randomness was nobody's to repeat."""

    plan: Plan
    outcome: Outcome
    seed: int | None
    warnings: tuple[str, ...]

    @property
    def history(self) -> tuple[Row, ...]:
        """One row of numbers a round that counted; exact ones exist in simulation only."""
        return self.outcome.history

    @cached_property
    def model(self) -> Model:
        """The model after the last round; what stays at home is as it began (see `model_of`)."""
        return Model(self.plan.task, self.outcome.models.shared)

    def model_of(self, client: str | int) -> Model:
        """The model that a client uses, by name or index: its own, if the algorithm personalises.

        Raises `run.no-client` for a client that was not in the run.
        """
        clients = self.outcome.models.clients
        names = [clients.name(i) for i in range(len(clients))]
        index = names.index(client) if client in names else client
        if not (isinstance(index, int) and 0 <= index < len(names)):
            hint = did_you_mean(str(client), names)
            raise TacitError("run.no-client", client=client, hint=hint)
        return Model(self.plan.task, self.outcome.models.of(index))

    @property
    def final(self) -> Evaluation | None:
        """Exact evaluation on the clients' test data, if there was any."""
        return self.outcome.final

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Clients that failed a round, with cause and remedy."""
        return self.outcome.problems

    @property
    def claims(self) -> tuple[Claim, ...]:
        """Against whom, what is hidden, and how well."""
        return self.plan.claims

    @cached_property
    def trust(self) -> Trust:
        """The trust statement of the plan."""
        return trust(self.plan)

    @property
    def bytes(self) -> int:
        """Bytes moved in both directions."""
        return self.outcome.bytes_up + self.outcome.bytes_down

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Learning curves as a matplotlib figure; saved if `path` is given (PNG, SVG, PDF)."""
        from tacit.record.plots import curves  # optional extra: plot

        return curves({self.plan.federation.name: self}, path)

    def report(self, path: str | os.PathLike[str]) -> None:
        """Write one HTML file with everything a reader needs."""
        from tacit.record.report import write_report  # optional extra: plot

        write_report(self, path)

    def save(self, folder: str | os.PathLike[str]) -> str:
        """Write a run folder that a person can open; complete or not at all."""
        from tacit.record.folder import save_run  # draws plots if it can

        return save_run(self, folder)

    def summary(self) -> str:
        """A few lines of text."""
        last = self.history[-1] if self.history else {}
        lines = [
            f"{self.plan.federation.name}: {len(self.history)} of {self.plan.team.rounds} rounds, "
            f"{size(self.bytes)} moved, {len(self.problems)} failures"
        ]
        if self.final and math.isnan(self.final.accuracy):
            lines.append(f"test loss {self.final.loss:.4f} (exact: simulation)")
        elif self.final:
            lines.append(
                f"test accuracy {self.final.accuracy:.3f}, worst client {self.final.worst:.3f}, "
                f"spread {self.final.spread:.3f} (exact: simulation)"
            )
        elif "train_loss" in last:
            lines.append(f"training loss {last['train_loss']:.4f} (exact: simulation)")
        for claim in self.claims:
            if claim.holds:
                lines.append(
                    f"epsilon {claim.shown} (delta {claim.delta:g}) for one {claim.hides} "
                    f"against {claim.against}"
                )
        lines += [f"note: {text}" for text in self.outcome.notices]
        return "\n".join([*lines, *(f"warning: {text}" for text in self.warnings)])

    def __repr__(self) -> str:
        return f"<Run {self.summary()}>"

    def _repr_html_(self) -> str:
        rows = "".join(
            "<tr>" + "".join(f"<td>{value:.4g}</td>" for value in row.values()) + "</tr>"
            for row in self.history[-5:]
        )
        head = "".join(f"<th>{name}</th>" for name in (self.history[-1] if self.history else ()))
        text = html.escape(self.summary())
        return f"<pre>{text}</pre><table><tr>{head}</tr>{rows}</table>"


def simulate(
    federation: Federation,
    data: Any,
    seed: int = 0,
    test: Any = None,
    faults: Faults = none,
    progress: Progress | None = None,
    checkpoint: Checkpoints | str | os.PathLike[str] | None = None,
    engine: str = "exact",
    devices: Devices | None = None,
    workers: int = 0,
) -> Run:
    """Run a federation on this computer, through the same turns as a deployment.

    `data`: `{name: (x, y)}`, a list of `(x, y)`, a `Clients`, or a `FederatedData` such as
    `tacit.data.heart_disease()`; `test`: the same for evaluation. All randomness, noise included,
    follows from `seed`. `checkpoint`: a folder from which the run goes on if it was stopped, to the
    same bits; `tacit.checkpoints(folder, every=10)` writes there less often. `engine`: "exact" goes
    client by client; "stacked" computes many clients at once, with weights within 1e-4 of that;
    "pool" shares them among `workers` processes (0: one a core), "stacked_pool" does both, and
    "ray" uses the actors of a cluster; "auto" measures a few turns of each engine of this computer
    and takes the fastest. `devices`: how fast clients are and when they are there, in virtual time
    (see `tacit.devices`). Raises `TacitError` with code, cause and remedy.
    """
    plan = federation.plan()
    outcome = sim.simulate(
        plan, data, seed, test, faults, progress, checkpoint, engine, devices, workers
    )
    return Run(plan, outcome, seed, sim.noise_warnings(plan, as_clients(data, federation.data)))


def pooled(federation: Federation, data: Any, seed: int = 0, test: Any = None) -> Run:
    """Baseline: the same learning with all records at one place."""
    return _baseline(federation, sim.pooled(federation, data, seed, test), "pooled", seed)


def local_only(
    federation: Federation, data: Any, seed: int = 0, test: Any = None
) -> dict[str, Run]:
    """Baseline: the same learning at every client alone; each evaluated on everyone's test data."""
    outcomes = sim.local_only(federation, data, seed, test)
    return {name: _baseline(federation, outcome, name, seed) for name, outcome in outcomes.items()}


def _baseline(federation: Federation, outcome: Outcome, name: str, seed: int) -> Run:
    return Run(sim.alone(federation).replace(name=name).plan(), outcome, seed, ())
