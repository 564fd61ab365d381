"""tacit: learn one model together; raw data stays where it was born.

Names are loaded when they are first used, so `import tacit` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tacit.base.errors import TacitError as TacitError
    from tacit.base.errors import Unsound as Unsound
    from tacit.base.key import Key as Key
    from tacit.learn import data as data
    from tacit.learn import numpy as numpy
    from tacit.learn import sklearn as sklearn
    from tacit.learn import statistics as statistics
    from tacit.learn import torch as torch
    from tacit.learn import trees as trees
    from tacit.learn.apfl import apfl as apfl
    from tacit.learn.contract import Arrays as arrays  # noqa: N813  # a setting reads like a call
    from tacit.learn.ditto import ditto as ditto
    from tacit.learn.fedavg import fedavg as fedavg
    from tacit.learn.fedbn import fedbn as fedbn
    from tacit.learn.fedbuff import fedbuff as fedbuff
    from tacit.learn.feddyn import feddyn as feddyn
    from tacit.learn.fednova import fednova as fednova
    from tacit.learn.fedopt import fedadagrad as fedadagrad
    from tacit.learn.fedopt import fedadam as fedadam
    from tacit.learn.fedopt import fedyogi as fedyogi
    from tacit.learn.fedper import fedper as fedper
    from tacit.learn.fedprox import fedprox as fedprox
    from tacit.learn.fedrep import fedrep as fedrep
    from tacit.learn.fedsgd import fedsgd as fedsgd
    from tacit.learn.finetune import finetune as finetune
    from tacit.learn.ifca import ifca as ifca
    from tacit.learn.kmeans import lloyd as lloyd
    from tacit.learn.moon import moon as moon
    from tacit.learn.optimiser import adam as adam
    from tacit.learn.optimiser import adamw as adamw
    from tacit.learn.optimiser import sgd as sgd
    from tacit.learn.qffl import qffl as qffl
    from tacit.learn.rate import constant as constant
    from tacit.learn.rate import cosine as cosine
    from tacit.learn.rate import step_decay as step_decay
    from tacit.learn.rate import warmup as warmup
    from tacit.learn.scaffold import scaffold as scaffold
    from tacit.learn.schema import Schema as Schema
    from tacit.plan.build import Plan as Plan
    from tacit.plan.build import build as build
    from tacit.plan.cohort import Buffered as buffered  # noqa: N813
    from tacit.plan.cohort import Everyone as everyone  # noqa: N813
    from tacit.plan.cohort import Fixed as fixed  # noqa: N813
    from tacit.plan.cohort import Poisson as poisson  # noqa: N813
    from tacit.plan.federation import Federation as Federation
    from tacit.plan.policy import Policy as Policy
    from tacit.plan.policy import accepts as accepts
    from tacit.plan.trust import trust as trust
    from tacit.protect.balance import Balance as balance  # noqa: N813
    from tacit.protect.clip import Clip as clip  # noqa: N813
    from tacit.protect.clip import ClipExamples as clip_examples  # noqa: N813
    from tacit.protect.noise import Gaussian as gaussian  # noqa: N813
    from tacit.protect.quantise import Quantise as quantise  # noqa: N813
    from tacit.protect.recipes import central_dp as central_dp
    from tacit.protect.recipes import distributed_dp as distributed_dp
    from tacit.protect.recipes import local_dp as local_dp
    from tacit.protect.recipes import plain as plain
    from tacit.protect.recipes import record_dp as record_dp
    from tacit.protect.recipes import secure_average as secure_average
    from tacit.protect.sum import Mean as mean  # noqa: N813
    from tacit.protect.sum import PlainSum as plain_sum  # noqa: N813
    from tacit.protect.sum import SecureSum as secure_sum  # noqa: N813
    from tacit.protect.topk import TopK as top_k  # noqa: N813
    from tacit.protect.weigh import Weigh as weigh  # noqa: N813
    from tacit.record.run import Run as Run
    from tacit.record.run import local_only as local_only
    from tacit.record.run import pooled as pooled
    from tacit.record.run import simulate as simulate
    from tacit.record.submitted import submit as submit
    from tacit.sim import devices as devices
    from tacit.sim.checkpoint import checkpoints as checkpoints

__version__ = "0.1.0"

_NAMES = {
    "TacitError": "base.errors:TacitError",
    "Unsound": "base.errors:Unsound",
    "Key": "base.key:Key",
    "data": "learn.data",
    "numpy": "learn.numpy",
    "sklearn": "learn.sklearn",
    "statistics": "learn.statistics",
    "torch": "learn.torch",
    "trees": "learn.trees",
    "arrays": "learn.contract:Arrays",
    "apfl": "learn.apfl:apfl",
    "ditto": "learn.ditto:ditto",
    "fedadagrad": "learn.fedopt:fedadagrad",
    "fedadam": "learn.fedopt:fedadam",
    "fedavg": "learn.fedavg:fedavg",
    "fedbn": "learn.fedbn:fedbn",
    "fedbuff": "learn.fedbuff:fedbuff",
    "feddyn": "learn.feddyn:feddyn",
    "fednova": "learn.fednova:fednova",
    "fedper": "learn.fedper:fedper",
    "fedprox": "learn.fedprox:fedprox",
    "fedrep": "learn.fedrep:fedrep",
    "fedsgd": "learn.fedsgd:fedsgd",
    "fedyogi": "learn.fedopt:fedyogi",
    "finetune": "learn.finetune:finetune",
    "ifca": "learn.ifca:ifca",
    "lloyd": "learn.kmeans:lloyd",
    "moon": "learn.moon:moon",
    "adam": "learn.optimiser:adam",
    "adamw": "learn.optimiser:adamw",
    "sgd": "learn.optimiser:sgd",
    "qffl": "learn.qffl:qffl",
    "constant": "learn.rate:constant",
    "cosine": "learn.rate:cosine",
    "step_decay": "learn.rate:step_decay",
    "warmup": "learn.rate:warmup",
    "scaffold": "learn.scaffold:scaffold",
    "Schema": "learn.schema:Schema",
    "Plan": "plan.build:Plan",
    "build": "plan.build:build",
    "buffered": "plan.cohort:Buffered",
    "everyone": "plan.cohort:Everyone",
    "fixed": "plan.cohort:Fixed",
    "poisson": "plan.cohort:Poisson",
    "Federation": "plan.federation:Federation",
    "Policy": "plan.policy:Policy",
    "accepts": "plan.policy:accepts",
    "trust": "plan.trust:trust",
    "balance": "protect.balance:Balance",
    "clip": "protect.clip:Clip",
    "clip_examples": "protect.clip:ClipExamples",
    "gaussian": "protect.noise:Gaussian",
    "quantise": "protect.quantise:Quantise",
    "central_dp": "protect.recipes:central_dp",
    "distributed_dp": "protect.recipes:distributed_dp",
    "local_dp": "protect.recipes:local_dp",
    "plain": "protect.recipes:plain",
    "record_dp": "protect.recipes:record_dp",
    "secure_average": "protect.recipes:secure_average",
    "mean": "protect.sum:Mean",
    "plain_sum": "protect.sum:PlainSum",
    "secure_sum": "protect.sum:SecureSum",
    "top_k": "protect.topk:TopK",
    "weigh": "protect.weigh:Weigh",
    "Run": "record.run:Run",
    "local_only": "record.run:local_only",
    "pooled": "record.run:pooled",
    "simulate": "record.run:simulate",
    "submit": "record.submitted:submit",
    "checkpoints": "sim.checkpoint:checkpoints",
    "devices": "sim.devices",
}

__all__ = sorted(_NAMES)  # noqa: PLE0605  # one table serves the list and the loader


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'tacit' has no attribute {name!r}")
    module, _, attribute = _NAMES[name].partition(":")
    found = importlib.import_module(f"tacit.{module}")
    value = getattr(found, attribute) if attribute else found
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*_NAMES, "__version__"])
