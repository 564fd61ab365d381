"""Public data sets of the field: MNIST, Fashion-MNIST, CIFAR-10, FEMNIST and Shakespeare.

Each is read from the folder that the environment variable TACIT_DATA names, or from the cache, or
downloaded. Scaling uses what is public (a byte goes from 0 to 255), never a statistic of records.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt

from tacit.base.errors import TacitError
from tacit.learn.contract import Arrays
from tacit.learn.examples import Examples, NamedClients
from tacit.learn.federated_data import FederatedData
from tacit.learn.partition import split
from tacit.learn.public_files import Remote, given, obtain, own_folder
from tacit.learn.public_formats import (
    CIFAR_TEST,
    CIFAR_TRAIN,
    Bytes,
    Written,
    read_cifar,
    read_idx,
    read_leaf,
    read_npz,
    read_play,
    read_roles,
)

# Digests as TensorFlow Datasets publishes them (`url_checksums`); lengths in bytes.
_LECUN = "https://storage.googleapis.com/cvdf-datasets/mnist/"
MNIST = (
    Remote(
        f"{_LECUN}train-images-idx3-ubyte.gz",
        9912422,
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    ),
    Remote(
        f"{_LECUN}train-labels-idx1-ubyte.gz",
        28881,
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    ),
    Remote(
        f"{_LECUN}t10k-images-idx3-ubyte.gz",
        1648877,
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    ),
    Remote(
        f"{_LECUN}t10k-labels-idx1-ubyte.gz",
        4542,
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    ),
)
_ZALANDO = "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/"
FASHION_MNIST = (
    Remote(
        f"{_ZALANDO}train-images-idx3-ubyte.gz",
        26421880,
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    ),
    Remote(
        f"{_ZALANDO}train-labels-idx1-ubyte.gz",
        29515,
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    ),
    Remote(
        f"{_ZALANDO}t10k-images-idx3-ubyte.gz",
        4422102,
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    ),
    Remote(
        f"{_ZALANDO}t10k-labels-idx1-ubyte.gz",
        5148,
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    ),
)
CIFAR10 = Remote(
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    170052171,
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
)
SHAKESPEARE = Remote(
    "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
    1115394,
    "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
)

LETTERS = "\n !\"&'(),-.0123456789:;>?ABCDEFGHIJKLMNOPQRSTUVWXYZ[]abcdefghijklmnopqrstuvwxyz}"
"""The 80 characters of LEAF's Shakespeare task; any other one counts as a space."""

_WINDOW = 80


@final
@dataclass(frozen=True)
class WholeData:
    """A data set that belongs to no client yet: divide it with `split`."""

    schema: Arrays
    train: Examples
    test: Examples

    def split(
        self, parts: Sequence[npt.NDArray[Any]], names: Sequence[str] | None = None
    ) -> FederatedData[Arrays]:
        """Clients by a partition of the training records; the test records stay in one place.

        `parts`: indices of `train`, one array a client, as `tacit.data.iid`, `dirichlet`,
        `shards`, `quantity` and `by_column` make them. Raises `data.parts`.
        """
        whole = NamedClients(("test",), (self.test,))
        return FederatedData(self.schema, split(self.train, parts, names), whole)


def mnist() -> WholeData:
    """60,000 and 10,000 handwritten digits: x (n, 1, 28, 28) float32 in 0..1, y (n,) 0..9.

    From TACIT_DATA/mnist: the four IDX files, or mnist.npz with x_train, y_train, x_test, y_test.
    Errors: `data.public-missing`, `data.public-digest`, `data.public-truncated`,
    `data.public-format`. Source: LeCun, Cortes, Burges 1998 (CC BY-SA 3.0).
    """
    arrays = given("mnist", "mnist.npz")
    if arrays is not None:
        return _grey(read_npz(arrays, ("x_train", "y_train", "x_test", "y_test")))
    return _grey([read_idx(obtain("mnist", remote)) for remote in MNIST])


def fashion_mnist() -> WholeData:
    """60,000 and 10,000 pictures of clothes, in the shape and with the errors of `mnist`.

    From TACIT_DATA/fashion_mnist: the four IDX files. Source: Xiao, Rasul, Vollgraf 2017,
    "Fashion-MNIST" (MIT licence).
    """
    return _grey([read_idx(obtain("fashion_mnist", remote)) for remote in FASHION_MNIST])


def cifar10() -> WholeData:
    """50,000 and 10,000 small photographs: x (n, 3, 32, 32) float32 in 0..1, y (n,) 0..9.

    From TACIT_DATA/cifar10: cifar-10-binary.tar.gz, or the folder cifar-10-batches-bin in it. The
    Python version is not read: it is a pickle, which runs code. Errors as of `mnist`.
    Source: Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images".
    """
    path = given("cifar10", "cifar-10-batches-bin") or obtain("cifar10", CIFAR10)
    train, test = (_pictures(*read_cifar(path, names)) for names in (CIFAR_TRAIN, CIFAR_TEST))
    return WholeData(_unit((3, 32, 32), 10), train, test)


def femnist() -> FederatedData[Arrays]:
    """Handwritten characters, one client a writer: x (n, 1, 28, 28) in 0..1, y 0..61.

    From TACIT_DATA/femnist (or data/ in it): train/*.json and test/*.json as LEAF's preprocess.sh
    writes them. LEAF publishes that program and no ready file, so nothing is downloaded; without
    the files the error is `data.public-leaf`.
    Source: Caldas et al. 2018, "LEAF: A Benchmark for Federated Settings".
    """
    folds = _leaf_folds("femnist")
    if folds is None:
        raise TacitError("data.public-leaf", name="femnist", looked=own_folder("femnist"))
    return _by_user(_unit((1, 28, 28), 62), folds, _written_characters)


def shakespeare(at_least: int = 2000) -> FederatedData[Arrays]:
    """The next character after 80 others, one client a speaking role.

    x (n, 80) whole numbers 0..79 that stand for `LETTERS`, y (n,) the same for the character that
    follows. From TACIT_DATA/shakespeare: LEAF's train/*.json and test/*.json (also under data/), or
    TACIT_DATA/shakespeare_roles/roles.json.gz ({role: [speech, ...]}); else "tiny Shakespeare"
    (Karpathy's input.txt, 1.1 MB), read from there or downloaded. A role that speaks fewer than
    `at_least` characters is left out. The last fifth of each role tests, with no character in
    common with the training windows. Errors as of `mnist`.
    Source: McMahan et al. 2017, section 3; Caldas et al. 2018 (LEAF).
    """
    schema = Arrays((_WINDOW,), len(LETTERS), 0, len(LETTERS) - 1)
    folds = _leaf_folds("shakespeare")
    if folds is not None:
        return _by_user(schema, folds, _written_windows)
    roles = given("shakespeare_roles", "roles.json.gz", "roles.json")
    texts = read_roles(roles) if roles else read_play(obtain("shakespeare", SHAKESPEARE))
    least = max(at_least, 6 * _WINDOW)
    spoken = {role: text for role, text in sorted(texts.items()) if len(text) >= least}
    return _federated(schema, {role: _in_time(_codes(text)) for role, text in spoken.items()})


def _grey(arrays: Sequence[Bytes]) -> WholeData:
    """Training images and labels, test images and labels, as they are stored."""
    x_train, y_train, x_test, y_test = arrays
    train, test = _pictures(x_train[:, None], y_train), _pictures(x_test[:, None], y_test)
    return WholeData(_unit((1, 28, 28), 10), train, test)


def _unit(shape: tuple[int, ...], classes: int) -> Arrays:
    return Arrays(shape, classes, 0.0, 1.0)


def _pictures(x: Bytes, y: Bytes) -> Examples:
    return Examples(x.astype(np.float32) / np.float32(255), y.astype(np.int64))


def _leaf_folds(name: str) -> list[dict[str, Written]] | None:
    """LEAF's training and test users, if there are any."""
    for place in ("", "data/"):
        folders = [given(name, f"{place}{fold}") for fold in ("train", "test")]
        folds = [read_leaf(folder) for folder in folders if folder is not None]
        if len(folds) == 2 and all(folds):
            return folds
    return None


def _by_user(
    schema: Arrays,
    folds: Sequence[Mapping[str, Written]],
    read: Callable[[Written], Examples],
) -> FederatedData[Arrays]:
    train, test = folds
    both = [name for name in train if name in test]
    return _federated(schema, {name: (read(train[name]), read(test[name])) for name in both})


def _written_characters(held: Written) -> Examples:
    x = np.asarray(held.x, np.float32).reshape(-1, 1, 28, 28)
    return Examples(x, np.asarray(held.y, np.int64))


def _written_windows(held: Written) -> Examples:
    x = np.stack([_codes(text) for text in held.x])
    return Examples(x, _codes("".join(held.y)).astype(np.int64))


def _codes(text: str) -> Bytes:
    """Each character's place in `LETTERS`."""
    space = LETTERS.index(" ")
    table = {letter: i for i, letter in enumerate(LETTERS)}
    return np.array([table.get(letter, space) for letter in text], np.uint8)


def _in_time(codes: Bytes) -> tuple[Examples, Examples]:
    """Windows of the first four fifths to train, of the rest to test; views of one array."""
    whole = Examples(
        np.lib.stride_tricks.sliding_window_view(codes[:-1], _WINDOW),
        codes[_WINDOW:].astype(np.int64),
    )
    end = len(codes) * 4 // 5
    return whole.take(slice(0, end - _WINDOW)), whole.take(slice(end, None))


def _federated(
    schema: Arrays, held: Mapping[str, tuple[Examples, Examples]]
) -> FederatedData[Arrays]:
    train, test = (NamedClients(tuple(held), tuple(h[i] for h in held.values())) for i in (0, 1))
    return FederatedData(schema, train, test)
