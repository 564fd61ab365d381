"""What a worker does behind its sandbox: orders in, replies out, nothing raised."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import final

import msgspec

from tacit.base.key import Key
from tacit.base.plain import from_plain
from tacit.deploy.client.datasets import Shelf, Source
from tacit.deploy.client.facts import plan_facts
from tacit.deploy.client.frames import Failed, Inquiry, Job, Order, Planned, Reply, Taken
from tacit.deploy.client.in_process import InProcess, during
from tacit.deploy.client.runner import TurnFailed, Work
from tacit.plan.policy import Policy


@final
class Orders:
    """Serves orders one after the other; plans and data stay between them."""

    def __init__(self) -> None:
        self.shelf = Shelf()
        self.turns = InProcess(self.shelf.held)

    def serve(self, order: Order) -> Reply:
        """The reply to an order; a failure's whole traceback goes to stderr, the owner's log."""
        try:
            with during("code"):
                return self._plan(order) if isinstance(order, Inquiry) else self._turn(order)
        except TurnFailed as failed:
            traceback.print_exception(failed.__cause__ or failed)
            sys.stderr.flush()
            return Failed(
                failed.phase,
                failed.code,
                failed.error,
                failed.traceback,
                failed.environment,
                failed.reason,
            )

    def _turn(self, order: Order) -> Taken:
        assert isinstance(order, Job)
        self.turns.client = order.client
        self.shelf.put(order.dataset, msgspec.convert(order.source, Source), order.client)
        work = Work(
            order.run,
            order.round,
            order.index,
            order.federation,
            order.dataset,
            Path(order.offer),
            None if order.memory is None else Path(order.memory),
            Key(order.secret, order.seeded),
            Path(order.folder),
        )
        done = self.turns.take(work)
        pending = None if done.pending is None else done.pending.name
        return Taken(done.answer.name, done.digest, done.size, pending, done.examples)

    def _plan(self, order: Inquiry) -> Planned:
        found = plan_facts(order.federation, from_plain(Policy, order.policy, ()))
        return Planned(msgspec.to_builtins(found))
