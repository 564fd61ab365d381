"""Small blobs in the database, on both databases."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tacit.base.errors import TacitError
from tacit.deploy.store.blobs import Blobs
from tacit.deploy.store.database import Database
from tacit.deploy.store.rows import SMALL


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_rows_and_files_are_one_store(database: Database, tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "blobs", tmp_path / "spool", database=database)
    assert blobs.small == SMALL
    large, first, second = blobs.put(b"a file"), digest_of(b"first"), digest_of(b"second")
    for _ in range(2):
        with database.begin() as connection:
            blobs.write(connection, {first: b"first", second: b"second"})
    assert blobs.sources((first, large, second)) == (b"first", blobs.local(large), b"second")
    assert set(blobs.digests()) == {large, first, second}
    assert all(blobs.has(one) for one in (large, first, second))
    blobs.delete(first, large, digest_of(b"never there"))
    assert set(blobs.digests()) == {second}
    assert not blobs.has(first)
    for gone in (first, large):
        with pytest.raises(TacitError) as raised:
            blobs.source(gone)
        assert raised.value.code == "store.blob-missing"


def test_a_row_goes_with_its_transaction(database: Database, tmp_path: Path) -> None:
    blobs, digest = Blobs(tmp_path, tmp_path / "spool", database=database), digest_of(b"x")

    def fail() -> None:
        with database.begin() as connection:
            blobs.write(connection, {digest: b"x"})
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert not blobs.has(digest)
    with database.begin() as connection:
        blobs.write(connection, {digest: b"x"})
    again = Blobs(tmp_path, tmp_path / "spool", database=database)
    assert again.source(digest) == b"x"


def test_without_a_database_all_are_files(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "blobs", tmp_path / "spool")
    assert blobs.small == 0
    digest = blobs.put(b"x")
    assert blobs.source(digest) == blobs.local(digest)
