"""The data of `benchmarks.personalisation`: sites that differ, by nature or by a stated skew.

Heart disease comes with the package. The others are read from the folder that the environment
variable TACIT_DATA names (`mnist/mnist.npz`, `shakespeare_roles/roles.json.gz`,
`sms_spam/sms_spam.csv.gz`); what is not there is left out, and said so.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import tacit
from tacit.base.key import Key
from tacit.learn.examples import Examples, NamedClients
from tacit.learn.partition import by_column, dirichlet, split, stratified

Array = npt.NDArray[Any]

TEST = 0.34
"""The part of each client's records that tests."""


class Federated(NamedTuple):
    """One data set cut for one seed."""

    train: NamedClients
    test: NamedClients
    shape: tuple[int, ...]
    classes: int


def heart_disease(seed: int) -> Federated:
    """Four hospitals; train and test records drawn anew for each seed."""
    held = tacit.data.heart_disease()
    whole = [
        Examples(np.concatenate([a.x, b.x]), np.concatenate([a.y, b.y]))
        for a, b in zip(held.train.held, held.test.held, strict=True)
    ]
    return _cut(NamedClients(held.names, tuple(whole)), 2, seed)


def sms_spam(seed: int) -> Federated:
    """Ten bands of message length as clients: 256 hashed words tell spam from other messages."""
    with gzip.open(_file("sms_spam/sms_spam.csv.gz"), "rt", encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    text, label = (header.index(name) for name in _columns(header))
    x = np.stack([_words(row[text]) for row in rows])
    y = np.array([row[label] == "spam" for row in rows], np.int64)
    lengths = np.array([len(row[text]) for row in rows])
    bands = np.searchsorted(np.quantile(lengths, np.arange(1, 10) / 10), lengths)
    names = [f"length band {i + 1}" for i in range(10)]
    return _cut(split(Examples(x, y), by_column(bands), names), 2, seed)


def shakespeare(seed: int) -> Federated:
    """The thirty largest speaking roles: the next of 65 characters from the last four."""
    with gzip.open(_file("shakespeare_roles/roles.json.gz"), "rt", encoding="utf-8") as file:
        roles = {name: "\n".join(speeches) for name, speeches in json.load(file).items()}
    alphabet = {c: i for i, c in enumerate(sorted(set("".join(roles.values()))))}
    largest = sorted(roles, key=lambda name: -len(roles[name]))[:30]
    draw = (Key.seed(seed) / "shakespeare").generator()
    held = tuple(_windows(roles[name], alphabet, draw) for name in largest)
    return _cut(NamedClients(tuple(largest), held), len(alphabet), seed)


def mnist(seed: int) -> Federated:
    """Twenty clients with skewed labels (Dirichlet 0.3) and four scanners of their own.

    4,800 digits at 14 x 14 points; a scanner stretches, shifts or inverts the grey values.
    """
    with np.load(_file("mnist/mnist.npz")) as arrays:
        images, labels = (arrays[name] for name in _arrays(arrays))
    draw = (Key.seed(seed) / "mnist").generator()
    rows = draw.choice(len(images), 4800, replace=False)
    x = images[rows].reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4)).reshape(-1, 196) / 255
    y = labels[rows].astype(np.int64)
    parts = dirichlet(y, 20, Key.seed(seed) / "labels", alpha=0.3)
    clients = split(Examples(x, y), parts)
    scanned = tuple(Examples(SCANNERS[i % 4](one.x), one.y) for i, one in enumerate(clients.held))
    return _cut(NamedClients(clients.names, scanned), 10, seed)


SCANNERS: tuple[Callable[[Array], Array], ...] = (
    lambda x: x,
    lambda x: 1.0 - x,
    lambda x: 3.0 * x - 1.0,
    lambda x: 0.3 * x + 0.5,
)

SETS: dict[str, Callable[[int], Federated]] = {
    "heart_disease": heart_disease,
    "sms_spam": sms_spam,
    "shakespeare_roles": shakespeare,
    "mnist_skewed": mnist,
}


def missing(name: str) -> str:
    """Why a set cannot be read here, or nothing."""
    try:
        SETS[name](0)
    except FileNotFoundError as error:
        return f"{error.filename} is not there; TACIT_DATA names the folder"
    return ""


def _cut(clients: NamedClients, classes: int, seed: int) -> Federated:
    """Train and test records of every client, by label where each label has a few."""
    cut = []
    for name, held in clients:
        train, test = stratified(held.y, TEST, Key.seed(seed) / "test" / name)
        if not len(test):
            train, test = np.arange(1, held.count), np.arange(1)
        cut.append((held.take(train), held.take(test)))
    train_parts, test_parts = zip(*cut, strict=True)
    shape = clients.held[0].x.shape[1:]
    names = clients.names
    return Federated(
        NamedClients(names, train_parts), NamedClients(names, test_parts), shape, classes
    )


def _file(name: str) -> Path:
    return Path(os.environ.get("TACIT_DATA", "TACIT_DATA")) / name


def _words(text: str) -> Array:
    """Which of 256 places the message's words hash to; the checksum is the same everywhere."""
    found = np.zeros(256)
    for word in re.findall(r"[a-z]+|[0-9]|[^\sa-z0-9]", text.lower()):
        found[zlib.crc32(word.encode()) % 256] = 1.0
    return found


def _windows(text: str, alphabet: dict[str, int], draw: np.random.Generator) -> Examples:
    """Six hundred places of a role's text: four characters one-hot, and the next."""
    codes = np.array([alphabet[c] for c in text])
    places = np.sort(draw.choice(len(codes) - 4, min(600, len(codes) - 4), replace=False))
    last = codes[places[:, None] + np.arange(4)]
    one_hot = np.eye(len(alphabet))[last].reshape(len(places), -1)
    return Examples(one_hot, codes[places + 4])


def _columns(header: list[str]) -> tuple[str, str]:
    text = next(name for name in header if name in {"text", "message", "sms"})
    return text, next(name for name in header if name in {"label", "class", "type"})


def _arrays(arrays: Any) -> tuple[str, str]:
    names = list(arrays.files)
    images = next(n for n in names if arrays[n].ndim == 3 and "train" in n)
    return images, next(n for n in names if arrays[n].ndim == 1 and "train" in n)
