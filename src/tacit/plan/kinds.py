"""What a description may name: one table for each place where there is a choice."""

from __future__ import annotations

from typing import Any

from tacit.learn.apfl import APFL
from tacit.learn.boosting import Boosting
from tacit.learn.contract import Arrays
from tacit.learn.ditto import Ditto
from tacit.learn.fedavg import FedAvg
from tacit.learn.fedbn import FedBN
from tacit.learn.fedbuff import FedBuff
from tacit.learn.feddyn import FedDyn
from tacit.learn.fednova import FedNova
from tacit.learn.fedopt import FedAdagrad, FedAdam, FedYogi
from tacit.learn.fedper import FedPer
from tacit.learn.fedprox import FedProx
from tacit.learn.fedrep import FedRep
from tacit.learn.fedsgd import FedSGD
from tacit.learn.finetune import FineTune
from tacit.learn.ifca import IFCA
from tacit.learn.kmeans import KMeansTask, Lloyd
from tacit.learn.moon import Moon
from tacit.learn.numpy import NumpyTask
from tacit.learn.qffl import QFFL
from tacit.learn.scaffold import Scaffold
from tacit.learn.schema import Schema
from tacit.learn.sklearn import SklearnTask
from tacit.learn.statistics import StatisticsTask
from tacit.learn.torch import TorchTask
from tacit.learn.trees import TreesTask
from tacit.plan.cohort import COHORTS
from tacit.protect.balance import Balance
from tacit.protect.clip import Clip, ClipExamples
from tacit.protect.noise import Gaussian
from tacit.protect.quantise import Quantise
from tacit.protect.sum import Mean, PlainSum, SecureSum
from tacit.protect.topk import TopK
from tacit.protect.weigh import Weigh

Kinds = dict[str, type[Any]]


def _by_kind(*classes: type[Any]) -> Kinds:
    return {cls.kind: cls for cls in classes}


STAGES = _by_kind(
    Clip, ClipExamples, Weigh, TopK, Balance, Quantise, Gaussian, PlainSum, SecureSum, Mean
)

PARTS: dict[str, Kinds] = {
    "task": _by_kind(NumpyTask, TorchTask, SklearnTask, StatisticsTask, KMeansTask, TreesTask),
    "algorithm": _by_kind(
        APFL,
        Boosting,
        Ditto,
        FedAdagrad,
        FedAdam,
        FedAvg,
        FedBN,
        FedBuff,
        FedDyn,
        FedNova,
        FedPer,
        FedProx,
        FedRep,
        FedSGD,
        FedYogi,
        FineTune,
        IFCA,
        Lloyd,
        Moon,
        QFFL,
        Scaffold,
    ),
    "data": _by_kind(Schema, Arrays),
    "cohort": dict(COHORTS),
}
