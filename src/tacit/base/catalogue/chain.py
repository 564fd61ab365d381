"""Errors of the chain area: protections in an order, or of a kind, that does not do its job."""

from __future__ import annotations

from tacit.base.catalogue.entry import Entry

CHAIN: dict[str, Entry] = {
    "chain.empty": Entry(
        "The chain ends {where}, so there is no mean for the algorithm to apply.",
        "End the chain with a sum and mean(), for example (..., plain_sum(), mean()).",
    ),
    "chain.after-sum": Entry(
        "{stage} works on single answers, but here they are already summed.",
        "Move {stage} before the sum.",
    ),
    "chain.before-sum": Entry(
        "{stage} works on the sum of the answers, but here they are not summed yet.",
        "Put plain_sum() or secure_sum() before {stage}.",
    ),
    "chain.after-mean": Entry(
        "{stage} stands behind mean(): the sensitivity of a quotient is not known.",
        "Move {stage} before mean().",
    ),
    "chain.after-noise": Entry(
        "{stage} stands behind the noise and would rescale or cut it, so the noise would no "
        "longer be what is claimed.",
        "Move {stage} before gaussian().",
    ),
    "chain.after-rounding": Entry(
        "{stage} needs real numbers, but here they are already rounded to a grid.",
        "Move {stage} before quantise().",
    ),
    "chain.clip-record-sum": Entry(
        "clip() would shrink a sum of records that are clipped already, while their count stays: "
        "large sites would weigh less than their records.",
        "Leave clip() out; clip_examples() already bounds every record.",
    ),
    "chain.clip-twice": Entry(
        "The update is clipped twice; only the smaller norm would do anything.",
        "Keep one clip() with the norm that you want.",
    ),
    "chain.clip-after-weigh": Entry(
        "clip() behind weigh() undoes the weights of long updates while the denominator keeps "
        "them.",
        "Put clip() before weigh().",
    ),
    "chain.mixes-examples": Entry(
        "The model has {layer}, which mixes the examples of a batch, so no record has a gradient "
        "of its own and clipping per example bounds nothing.",
        "Use GroupNorm or LayerNorm instead, or protect whole clients with clip().",
    ),
    "chain.records-need-one-step": Entry(
        "clip_examples() needs answers that are sums over records, but the algorithm takes "
        "several local steps, after which one record can have changed everything.",
        "Use fedsgd(), which takes one step a round, or protect whole clients with clip().",
    ),
    "chain.records-first": Entry(
        "clip_examples() acts inside the local gradient, before anything else, but another stage "
        "stands in front of it.",
        "Make clip_examples() the first stage.",
    ),
    "chain.weigh-record-sum": Entry(
        "The answer is a sum over records, so large sites count for more already; weigh() would "
        "count them twice.",
        "Leave weigh() out.",
    ),
    "chain.weigh-twice": Entry(
        "The answers are weighed twice.",
        "Keep one weigh().",
    ),
    "chain.weigh-after-balance": Entry(
        "weigh() behind balance() would act on a tally that is already scaled.",
        "Put weigh() before balance().",
    ),
    "chain.unbounded": Entry(
        "{stage} needs to know how much one {unit} can change the block {block!r}, and nothing "
        "bounds it.",
        "Put clip() or clip_examples() before {stage}, and give weigh() a cap. A block of the "
        "algorithm takes its bound from the algorithm's settings.",
    ),
    "chain.balance-twice": Entry(
        "The tallies are balanced twice.",
        "Keep one balance().",
    ),
    "chain.round-after-noise": Entry(
        "Noise is added before rounding. Such noise is neither bounded nor on the grid, and a sum "
        "of separately rounded noise is not the noise that is claimed.",
        "Put quantise() before gaussian(): the noise then is a discrete Gaussian on the grid.",
    ),
    "chain.round-unbounded": Entry(
        "quantise() needs coordinates of bounded size, and nothing bounds the block {block!r}.",
        "Put clip() before quantise() and give weigh() a cap; a model with batch-norm buffers "
        "needs GroupNorm, or plain_sum() without rounding. A block of the algorithm takes its "
        "bound from the algorithm's settings.",
    ),
    "chain.round-too-fine": Entry(
        "With {levels} levels the whole numbers are too large to be exact.",
        "Use fewer levels, or a smaller `most` in clip_examples().",
    ),
    "chain.topk-twice": Entry(
        "The update is thinned twice.",
        "Keep one top_k().",
    ),
    "chain.topk-after-clip": Entry(
        "top_k() adds what it remembers to the update, so behind clip() or weigh() the bound or "
        "the weight would no longer hold.",
        "Put top_k() first and clip() behind it.",
    ),
    "chain.topk-under-mask": Entry(
        "top_k() saves nothing under a secure sum: masks are dense, and leaving coordinates out "
        "would show which ones were large.",
        "Leave top_k() out, or use plain_sum().",
    ),
    "chain.share-in-the-clear": Entry(
        "Every client adds only a share of the noise, but plain_sum() shows each answer alone, "
        "with too little noise on it.",
        'Use secure_sum(), or gaussian(where="local").',
    ),
    "chain.share-off-grid": Entry(
        "Shares of noise must add up under a secure sum, which adds whole numbers.",
        "Put quantise() before gaussian().",
    ),
    "chain.share-too-thin": Entry(
        "A share of the noise is only {sd:.2f} grid steps wide (at least {least:g} are needed for "
        "discrete shares to add up to a discrete Gaussian).",
        "Use more levels in quantise(), more noise, or a smaller quorum.",
    ),
    "chain.sum-needs-grid": Entry(
        "A secure sum adds whole numbers modulo a power of two; these are real numbers.",
        "Put quantise() before secure_sum().",
    ),
    "chain.isolates": Entry(
        "A sum may be opened with {quorum} answers of which {collusion} may belong to accomplices "
        "of the coordinator: they could subtract their own and read the rest.",
        "Raise the quorum to at least two more than the collusion bound, or invite more clients.",
    ),
    "chain.wraps": Entry(
        "A sum needs {needed} bits and would wrap around in {bits}.",
        "Give secure_sum() more bits (62 at most), quantise() fewer levels, or clip_examples() a "
        "smaller `most`.",
    ),
    "chain.no-weights": Entry(
        "mean() is to divide by the summed weights, but the message carries none.",
        "Give mean() a public number as `over`, or add the weight tally to the message.",
    ),
    "chain.public-denominator-buffers": Entry(
        "mean() divides by a public number, but averages of activations ({layer}) must be divided "
        "by the number of answers that came, or batch norm goes wrong.",
        "Use mean(), which divides by the summed weights.",
    ),
    "chain.cohort-denominator": Entry(
        "mean() is told to divide by the number of clients, but answers are weighted by {weights}.",
        "Use mean(), which divides by the summed weights, or give a public number as `over`.",
    ),
    "chain.noise-amount": Entry(
        "The amount of noise is given neither as a multiplier nor as epsilon, or as both.",
        "Give gaussian() either multiplier=... or epsilon=... with delta=....",
    ),
    "chain.noise-twice": Entry(
        "Noise is added twice, but only one addition would be accounted for.",
        "Keep one gaussian(), with the amount that you want in all.",
    ),
    "chain.noise-buffers": Entry(
        "The message carries averages of raw activations ({layer}) that nothing bounds, so no "
        "amount of noise hides anything in them.",
        "Use GroupNorm or LayerNorm instead of batch norm.",
    ),
    "chain.noise-unbounded": Entry(
        "Noise cannot hide a {unit}: nothing bounds how much one can change the block {block!r}.",
        "Put clip() (clients) or clip_examples() (records) before gaussian(), and give weigh() a "
        "cap. A block of the algorithm takes its bound from the algorithm's settings.",
    ),
    "chain.noise-memory": Entry(
        "The algorithm, or top_k(), remembers un-noised gradients from round to round, so a record "
        "drawn once keeps leaking and the claim per round does not hold (Noble et al. 2022).",
        "Use an algorithm without memory, such as fedsgd(), and top_k(feedback=False); or protect "
        'whole clients with unit="client".',
    ),
    "chain.sigma-range": Entry(
        "Discrete Gaussian noise of {sigma:g} grid steps is outside what the sampler covers "
        "(above 0, at most {largest:g}).",
        "Use fewer levels in quantise().",
    ),
    "privacy.unreachable": Entry(
        "No amount of noise reaches epsilon {epsilon:g} at delta {delta:g} here.",
        "Raise epsilon or delta, take fewer rounds, or draw a smaller sample.",
    ),
}
