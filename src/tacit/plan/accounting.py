"""Events -> (epsilon, delta), by the accountants of `dp_accounting`; and calibration of noise.

Events, not epsilons, are what plans and ledgers store: they compose.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any, Literal, final

from tacit.base.errors import Unsound
from tacit.base.extras import optional
from tacit.protect import renyi
from tacit.protect.discrete_gaussian import total_variation

_ORDERS = (*range(2, 65), *range(68, 129, 4), 160, 192, 256, 384, 512, 1024)
_GRID = 1e-3
_LARGEST_MULTIPLIER = 1e6
_SLACK = 1 + 1e-5


@final
@dataclass(frozen=True)
class Event:
    """What one adversary observes of one unit: `count` noisy sums, Poisson-sampled at `rate`.

    `sd` of each of `shares` additions on `size` coordinates, against L2 `sensitivity`; `draws` is
    how many table draws of discrete noise all answers hold, which cost a little of delta.
    """

    law: Literal["gaussian", "discrete_gaussian"]
    sd: float
    sensitivity: float
    shares: int
    size: int
    rate: float
    count: int
    draws: int = 0

    @property
    def multiplier(self) -> float:
        """Standard deviation of all the noise over the sensitivity."""
        return self.sd * math.sqrt(self.shares) / self.sensitivity

    def scaled(self, factor: float) -> Event:
        """The same event with the noise multiplied."""
        return replace(self, sd=self.sd * factor)


def epsilon(event: Event, delta: float) -> float:
    """Smallest epsilon at `delta` under adding or removing one unit; see `compose`."""
    return compose((event,), delta)


@functools.lru_cache(maxsize=1024)
def compose(events: tuple[Event, ...], delta: float) -> float:
    """Smallest epsilon at `delta` of all events together, each planned before the first began.

    Continuous noise: privacy loss distributions (PLD). Wherever discrete noise is among it: Renyi
    divergences, since the reduction of the vector case to one dimension behind PLD needs
    rotational symmetry, which noise on a grid lacks.
    """
    if not events:
        return 0.0
    if all(event.law == "gaussian" for event in events):
        return _by_losses(events, delta)
    return _by_renyi(events, delta)


def calibrate(event: Event, target: float, delta: float) -> float:
    """Factor by which the event's noise must be multiplied so that epsilon(event) <= target.

    On the safe side, to a relative 1e-4 of epsilon: secants of the logarithms, which epsilon
    follows closely, take turns with bisection.
    """
    one = event.scaled(1 / event.multiplier)
    low, high = 0.5, 1.0
    while epsilon(one.scaled(high), delta) > target:
        low, high = high, high * 2
        if high > _LARGEST_MULTIPLIER:
            raise Unsound("privacy.unreachable", epsilon=target, delta=delta)
    while epsilon(one.scaled(low), delta) <= target:
        low, high = low / 2, low
    secant = True
    while (spent := epsilon(one.scaled(high), delta)) < target * (1 - 1e-4) and low * _SLACK < high:
        above = epsilon(one.scaled(low), delta)
        part = _part(above, spent, target * (1 - 5e-5)) if secant else 0.5
        middle, secant = low * (high / low) ** part, not secant
        if epsilon(one.scaled(middle), delta) > target:
            low = middle
        else:
            high = middle
    return high / event.multiplier


def _part(above: float, below: float, aim: float) -> float:
    """How far `aim` lies from `above` to `below`, in logarithms; half where that says nothing."""
    if not math.isfinite(above) or below <= 0:
        return 0.5
    return (math.log(above) - math.log(aim)) / (math.log(above) - math.log(below))


def _by_renyi(events: tuple[Event, ...], delta: float) -> float:
    """Conversion of Renyi divergences; (1 + e^epsilon) * distance of all table draws is paid first.

    The price depends on the epsilon that it raises, so epsilon goes up until it covers both.
    """
    divergences = [sum(one) for one in zip(*map(_divergences, events), strict=True)]
    distance = sum(event.draws * total_variation(event.sd) for event in events if event.draws)
    spent = 0.0
    while True:
        left = delta - (1 + math.exp(min(spent, 50.0))) * distance
        if left <= 0:
            return math.inf
        needed, _ = _dp("dp_accounting.rdp").compute_epsilon(_ORDERS, divergences, left)
        if needed <= spent:
            return spent
        spent = float(needed) * (_SLACK if distance else 1.0)


def _divergences(event: Event) -> list[float]:
    if event.law == "gaussian":
        curve = renyi.gaussian(event.sd * math.sqrt(event.shares), event.sensitivity)
    else:
        curve = renyi.discrete_gaussian_sum(event.sd, event.sensitivity, event.shares, event.size)
    sampled = renyi.poisson_sampled(curve, event.rate)
    return [event.count * sampled(order) for order in _ORDERS]


def _by_losses(events: tuple[Event, ...], delta: float) -> float:
    dp: Any = _dp("dp_accounting")
    least = min(event.multiplier for event in events)
    if least < 0.05:
        return math.inf
    # Little noise loses much at once: on a grid of a fixed step that would take minutes.
    grid = _GRID * max(1.0, (1 / (2 * least**2) + 6 / least) / 10)
    accountant = _dp("dp_accounting.pld").PLDAccountant(value_discretization_interval=grid)
    for event, times in Counter(events).items():
        once = dp.GaussianDpEvent(event.multiplier)
        drawn = once if event.rate == 1.0 else dp.PoissonSampledDpEvent(event.rate, once)
        accountant.compose(dp.SelfComposedDpEvent(drawn, event.count * times))
    return float(accountant.get_epsilon(delta))


def _dp(module: str) -> Any:
    found = optional(module, "Accounting for differential privacy")
    _silence()
    return found


@functools.cache
def _silence() -> None:
    """dp_accounting logs a warning for very small Renyi orders; the number stays an upper bound."""
    from absl import logging  # a dependency of dp_accounting, present only with it

    logging.set_verbosity(logging.ERROR)
