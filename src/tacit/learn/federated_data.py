"""Data of a whole federation in one place, for simulation: contract, training and test records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar, final

from tacit.learn.contract import DataContract
from tacit.learn.examples import NamedClients

Contract_co = TypeVar("Contract_co", bound=DataContract, covariant=True)


@final
@dataclass(frozen=True)
class FederatedData(Generic[Contract_co]):
    """Every client's training and test records, under one data contract."""

    schema: Contract_co
    train: NamedClients
    test: NamedClients

    @property
    def names(self) -> tuple[str, ...]:
        """The clients' names, in order."""
        return self.train.names
