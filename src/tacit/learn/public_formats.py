"""The file formats of public data sets: IDX, CIFAR-10's binary version, LEAF's JSON, npz.

None of them runs code on reading (no pickle), and each says what is wrong with a file that is not
of its kind: `data.public-format`.
"""

from __future__ import annotations

import gzip
import json
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tacit.base.errors import TacitError

Bytes = npt.NDArray[np.uint8]

CIFAR_TRAIN = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
CIFAR_TEST = ("test_batch.bin",)
_CIFAR_RECORD = 1 + 3 * 32 * 32


class Written(NamedTuple):
    """What one LEAF user holds: inputs and labels as JSON has them."""

    x: Sequence[Any]
    y: Sequence[Any]


def read_idx(path: Path) -> Bytes:
    """An array of bytes in LeCun's IDX format, gzipped or not.

    Four bytes (0, 0, 8 for unsigned bytes, number of axes), the axes as big-endian 32-bit numbers,
    then the values.
    """
    with _reading(path, "an IDX file"):
        content = unpacked(path)
        if len(content) < 4 or content[:3] != b"\0\0\x08":
            raise ValueError("it does not begin as an IDX file of bytes does")
        axes = content[3]
        shape = np.frombuffer(content, ">u4", axes, 4).astype(np.int64)
        return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape.tolist())


def read_cifar(path: Path, names: Sequence[str]) -> tuple[Bytes, Bytes]:
    """Images (n, 3, 32, 32) and labels (n,) of some batches, from the archive or its folder."""
    with _reading(path, "CIFAR-10's binary version"):
        content = b"".join(_members(path, names))
        records = np.frombuffer(content, np.uint8).reshape(-1, _CIFAR_RECORD)
        return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0]


def read_npz(path: Path, names: Sequence[str]) -> list[Bytes]:
    """Arrays of an npz file by name."""
    what = "an npz file with the arrays " + ", ".join(names)
    with (
        _reading(path, what),
        path.open("rb") as file,
        np.load(file, allow_pickle=False) as arrays,
    ):
        return [arrays[name] for name in names]


def read_leaf(folder: Path) -> dict[str, Written]:
    """All users of a folder of LEAF's JSON files, by name.

    Source: Caldas et al. 2018, "LEAF: A Benchmark for Federated Settings".
    """
    held: dict[str, Written] = {}
    for path in sorted(folder.glob("*.json")):
        with _reading(path, "a JSON file of LEAF"):
            users = json.loads(path.read_bytes())["user_data"]
            held |= {name: Written(found["x"], found["y"]) for name, found in users.items()}
    return held


def read_roles(path: Path) -> dict[str, str]:
    """Each role's speeches as one text, from JSON {role: [speech, ...]}, gzipped or not."""
    with _reading(path, "a JSON file of roles and their speeches"):
        return {role: "\n".join(said) for role, said in json.loads(unpacked(path)).items()}


def read_play(path: Path) -> dict[str, str]:
    """Each role's speeches as one text, from a play: `ROLE:`, its lines, an empty line."""
    roles: dict[str, list[str]] = {}
    with _reading(path, "a play in UTF-8"):
        for block in unpacked(path).decode("utf-8").split("\n\n"):
            role, _, speech = block.strip().partition("\n")
            if role.endswith(":") and speech:
                roles.setdefault(role.removesuffix(":"), []).append(speech)
    return {role: "\n".join(said) for role, said in roles.items()}


def unpacked(path: Path) -> bytes:
    """A file's content, without gzip where its name ends in .gz."""
    content = path.read_bytes()
    return gzip.decompress(content) if path.suffix == ".gz" else content


def _members(path: Path, names: Sequence[str]) -> Iterator[bytes]:
    if path.is_dir():
        yield from ((path / name).read_bytes() for name in names)
        return
    with tarfile.open(path) as archive:
        for name in names:
            member = archive.extractfile(f"cifar-10-batches-bin/{name}")
            if member is None:
                raise ValueError(f"{name} is not a file in it")
            yield member.read()


@contextmanager
def _reading(path: Path, what: str) -> Iterator[None]:
    """Whatever a broken file makes a reader raise, as one error that names the file."""
    try:
        yield
    except (OSError, EOFError, KeyError, TypeError, ValueError, AttributeError) as wrong:
        raise _not(path, what, wrong) from wrong
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error) as wrong:
        raise _not(path, what, wrong) from wrong


def _not(path: Path, what: str, wrong: Exception) -> TacitError:
    problem = str(wrong) or type(wrong).__name__
    return TacitError("data.public-format", file=path, what=what, problem=problem)
