"""The demo's comparison: four real hospitals, alone, pooled, federated, and federated with DP.

The settings are the same for every epsilon. They come from splitting the training records again,
twenty times, where many settings did alike; the test records had no say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tacit.learn.algorithm import AlgorithmSpec
from tacit.learn.fedavg import fedavg
from tacit.learn.federated_data import FederatedData
from tacit.learn.fedsgd import fedsgd
from tacit.learn.heart import heart_disease
from tacit.learn.numpy import logistic_regression
from tacit.plan.federation import Federation
from tacit.protect.clip import ClipExamples
from tacit.protect.quantise import Quantise
from tacit.protect.recipes import Chain, plain, record_dp
from tacit.protect.sum import Mean, SecureSum
from tacit.record.comparison import Comparison, Method, Step, baselines, compare

EPSILONS = (10, 3, 1)
DELTA, CLIP, SAMPLE, ROUNDS = 1e-5, 1.0, 0.2, 50

AVERAGED, SUMMED = "fedavg", "secure-sum"
SHOWN = "epsilon-3"
"""Methods by name; the last one's trust statement is printed and its run is saved."""

CITED = (
    "Heart Disease, UCI Machine Learning Repository: A. Janosi, W. Steinbrunn, M. Pfisterer, "
    "R. Detrano, 1988; CC BY 4.0; doi.org/10.24432/C52P4X"
)


def four_hospitals(
    seeds: Sequence[int], progress: Callable[[Step], None] | None = None
) -> Comparison:
    """Run the whole comparison; pure but for reading the bundled records."""
    data = heart_disease()
    return compare(data, methods(data), seeds, progress, CITED)


def methods(data: FederatedData[Any]) -> tuple[Method, ...]:
    """Baselines, federated averaging, and secure sums without noise and with less and less epsilon.

    Without DP the secure sum runs the very chain of the private ones, noise left out: what it
    loses against an epsilon is the price of that epsilon and of nothing else.
    """
    step = fedsgd(lr=2.0)
    averaged = _federation(data, AVERAGED, fedavg(lr=0.5, epochs=1, batch=32), plain())
    summed = _federation(data, "secure sum", step, _noiseless())
    private = (
        Method(
            f"epsilon-{epsilon}",
            f"Record DP, epsilon {epsilon}",
            _federation(data, f"epsilon {epsilon}", step, record_dp(epsilon, DELTA, CLIP, SAMPLE)),
        )
        for epsilon in EPSILONS
    )
    return (
        *baselines(averaged, data.names),
        Method(AVERAGED, "Federated (FedAvg)", averaged),
        Method(SUMMED, "Secure sum, no DP", summed),
        *private,
    )


def _federation(
    data: FederatedData[Any], name: str, algorithm: AlgorithmSpec, protect: Chain
) -> Federation:
    return Federation(
        task=logistic_regression(),
        clients=len(data.names),
        data=data.schema,
        algorithm=algorithm,
        protect=protect,
        rounds=ROUNDS,
        name=f"heart disease, {name}",
    )


def _noiseless() -> Chain:
    return (ClipExamples(CLIP, SAMPLE), Quantise(), SecureSum(), Mean())
