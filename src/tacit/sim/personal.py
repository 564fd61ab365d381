"""The model that each client uses: the shared one, joined with what the client keeps at home."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import final

from tacit.base.key import Key
from tacit.base.vector import Vector
from tacit.learn.algorithm import Offer
from tacit.learn.examples import Clients
from tacit.learn.local import Home
from tacit.plan.build import Plan
from tacit.round.turn import Memories, received


@final
@dataclass(frozen=True, eq=False)
class Models:
    """Whole models by client, after the round whose `offer` and `memory` these are."""

    plan: Plan
    clients: Clients
    offer: Offer
    memory: Callable[[int], Memories]
    key: Key

    @property
    def shared(self) -> Vector:
        """The model of a client that keeps nothing yet (task.layout.size,)."""
        return received(self.plan, self.offer, {})["params"]

    def of(self, client: int) -> Vector:
        """A client's own model (task.layout.size,)."""
        memory = self.memory(client)
        offer = received(self.plan, self.offer, memory)
        make = self.plan.algorithm.model
        if make is None:
            return offer["params"]
        held = self.clients.examples(client)
        home = Home(self.plan.task, held, self.key / "model" / client, split=self.plan.split)
        return make(offer, memory.get("algorithm"), home)

    def tested_on(self, test: Clients) -> Callable[[int], Vector]:
        """The model for the test data at an index of `test`.

        That of the training client of the same name; where no name is shared, of the same index;
        of the only client, if there is one alone. Whoever did not train gets the shared model.
        """
        algorithm = self.plan.algorithm
        if not algorithm.personal and algorithm.model is None:
            return lambda _: self.shared
        if len(self.clients) == 1:
            only = self.of(0)
            return lambda _: only
        places = [self._places.get(test.name(i)) for i in range(len(test))]
        if not any(place is not None for place in places) and len(test) == len(self.clients):
            places = list(range(len(test)))

        def model(index: int) -> Vector:
            place = places[index]
            return self.shared if place is None else self.of(place)

        return model

    @cached_property
    def _places(self) -> dict[str, int]:
        return {self.clients.name(i): i for i in range(len(self.clients))}
