"""A worker process: serves requests from a pipe until the other end is closed."""

from __future__ import annotations

import os
import pickle
import sys
import traceback
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, final

import numpy as np

from tacit.base.errors import TacitError
from tacit.learn.examples import Clients, Examples, NamedClients
from tacit.sim.shared import Array, Spec, Window
from tacit.sim.work import Parcel, Request, Unit

Source = bytes | tuple[tuple[str, ...], Spec]
"""Pickled clients, or the names of clients whose arrays are in shared memory, x and y in turn."""


class Start(NamedTuple):
    """The first message: a pickled `Parcel`, and the clients."""

    parcel: bytes
    clients: Source


class Ask(NamedTuple):
    """A request, and where the arrays of the round's offer are, by name."""

    request: Request
    names: tuple[str, ...]
    offer: Spec


class Done(NamedTuple):
    """A reply; `value` is None after the start."""

    value: Any


class Broken(NamedTuple):
    """The worker could not serve at all; `told` is the traceback."""

    error: TacitError
    told: str


def serve(pipe: Connection) -> None:
    """The life of a worker; ends without a trace, since others own what it looked at."""
    try:
        _serve(pipe)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _serve(pipe: Connection) -> None:
    worker = _Worker()
    while True:
        try:
            message = pipe.recv()
        except (EOFError, OSError):
            return
        reply: Done | Broken
        try:
            reply = Done(worker.hear(message))
        except Exception as error:  # noqa: BLE001  # whatever it is, it is told at the other end
            reply = broken(error)
        pipe.send(reply)


def broken(error: Exception) -> Broken:
    """Whatever went wrong, on its way."""
    told = "".join(traceback.format_exception(error))
    if isinstance(error, TacitError):
        return Broken(error, told)
    problem = f"{type(error).__name__}: {error}"
    return Broken(TacitError("run.worker-failed", problem=problem), told)


@final
class _Worker:
    def __init__(self) -> None:
        self.window = Window()
        self.unit: Unit | None = None

    def hear(self, message: Start | Ask) -> Any:
        if isinstance(message, Start):
            sent: Parcel = unpickled("federation", message.parcel)
            self.unit = Unit(sent, self._clients(message.clients))
            return None
        assert self.unit is not None
        arrays = self.window.look(message.offer)
        return self.unit.do(message.request, dict(zip(message.names, arrays, strict=True)))

    def _clients(self, source: Source) -> Clients:
        if isinstance(source, bytes):
            clients: Clients = unpickled("clients", source)
            return clients
        names, spec = source
        arrays = self.window.look(spec)
        return NamedClients(names, tuple(map(Examples, arrays[::2], arrays[1::2])))


def pickled(what: str, held: Any) -> bytes:
    """For a process of our own: no bytes of anybody else are ever unpickled.

    Raises `run.worker-send` for what cannot leave this process.
    """
    try:
        return pickle.dumps(held)
    except Exception as error:  # objects may refuse with anything
        raise _unsent(what, error) from error


def unpickled(what: str, held: bytes) -> Any:
    """The other half, in the worker; classes of a script or notebook are not found there."""
    try:
        return pickle.loads(held)  # noqa: S301  # written by the process that started this one
    except Exception as error:
        raise _unsent(what, error) from error


def _unsent(what: str, error: Exception) -> TacitError:
    problem = f"{type(error).__name__}: {error}"
    return TacitError("run.worker-send", what=what, problem=problem)


def checked(workers: int) -> int:
    """The number of workers; 0 leaves it to the engine."""
    if workers < 0:
        rule = "a whole number from 1, or 0 for one a core"
        raise TacitError("task.setting", name="workers", value=workers, rule=rule)
    return workers


def shareable(clients: Clients) -> list[Array] | None:
    """Arrays that can lie in shared memory, x and y in turn; None if these clients have others."""
    if not isinstance(clients, NamedClients):
        return None
    arrays = [np.asarray(array) for held in clients.held for array in held]
    plain = all(not array.dtype.hasobject and array.dtype.names is None for array in arrays)
    return arrays if plain else None
