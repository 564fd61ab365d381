"""Ready-made chains: explicit tuples of stages that can be read, edited and written out."""

from __future__ import annotations

from typing import Literal

from tacit.protect.balance import Balance
from tacit.protect.clip import Clip, ClipExamples
from tacit.protect.noise import Gaussian
from tacit.protect.quantise import Quantise
from tacit.protect.stage import Stage
from tacit.protect.sum import Mean, PlainSum, SecureSum
from tacit.protect.weigh import Weigh

Chain = tuple[Stage, ...]


def plain() -> Chain:
    """Nothing hidden: example-weighted mean of answers that the coordinator reads."""
    return (Weigh(), PlainSum(), Mean())


def secure_average(clip: float, cap: float | None = None) -> Chain:
    """The coordinator learns the sum and no single answer; nothing is promised about the sum.

    `clip` bounds an update's L2 norm (so that sums cannot wrap); `cap` weighs by min(n, cap).
    """
    weigh: Chain = (Weigh(cap),) if cap else ()
    return (Clip(clip), *weigh, Quantise(), SecureSum(), Mean())


def record_dp(
    epsilon: float, delta: float, clip: float, sample: float = 1.0, most: int = 4096
) -> Chain:
    """Every record protected against everyone outside its own site, with one share of noise.

    For `fedsgd`: one step a round; each site draws records with probability `sample`, clips their
    gradients to `clip`, and adds its share of the noise under the secure sum. `most`: records
    that a site's sum has room for. Noble et al. 2022 and Kairouz et al. 2021 have the parts.
    """
    return (
        ClipExamples(clip, sample, most),
        Balance(unit="record"),
        Quantise(),
        Gaussian("share", "record", epsilon=epsilon, delta=delta),
        SecureSum(),
        Mean(),
    )


def central_dp(
    epsilon: float, delta: float, clip: float, unit: Literal["client"] = "client"
) -> Chain:
    """Every client protected in the released model; the coordinator is trusted with answers."""
    return (
        Clip(clip),
        PlainSum(),
        Gaussian("central", unit, epsilon=epsilon, delta=delta),
        Mean(over=-1),
    )


def local_dp(epsilon: float, delta: float, clip: float) -> Chain:
    """Every client protected by its own noise, against everyone; needs very many clients."""
    return (
        Clip(clip),
        Gaussian("local", "client", epsilon=epsilon, delta=delta),
        PlainSum(),
        Mean(over=-1),
    )


def distributed_dp(epsilon: float, delta: float, clip: float) -> Chain:
    """Every client protected by noise that all add in shares under a secure sum.

    Kairouz, Liu, Steinke, ICML 2021 (distributed discrete Gaussian).
    """
    return (
        Clip(clip),
        Quantise(),
        Gaussian("share", "client", epsilon=epsilon, delta=delta),
        SecureSum(),
        Mean(over=-1),
    )
