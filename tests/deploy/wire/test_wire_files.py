from __future__ import annotations

import errno
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from tacit.base.errors import TacitError
from tacit.deploy.wire.files import cannot_read, cannot_write, file_digest, write_pieces


@pytest.fixture
def small_files() -> Iterator[int]:
    """The operating system lets this process write files of 100 kB at most."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    yield 100_000
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_failed_write_leaves_the_old_file_and_nothing_beside(
    tmp_path: Path, small_files: int
) -> None:
    path = tmp_path / "model"
    write_pieces(path, [b"old"])
    with pytest.raises(TacitError, match="model cannot be written") as refused:
        write_pieces(path, [bytes(small_files + 1)])
    assert refused.value.code == "data.cannot-write"
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def failing() -> Iterator[bytes]:
        yield b"begun"
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        write_pieces(tmp_path / "model", failing())
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(TacitError, match="No such file") as refused:
        write_pieces(tmp_path / "gone" / "model", [b"x"])
    assert refused.value.code == "data.cannot-write"
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(TacitError, match="Not a directory"):
        write_pieces(tmp_path / "file" / "model", [b"x"])


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_apart(number: int) -> None:
    full = cannot_write(Path("folder/model"), OSError(number, "No space left on device"))
    assert full.code == "store.full"
    assert full.facts["place"] == Path("folder")
    assert cannot_read(Path("x"), OSError()).facts["why"] == "OSError"


def test_pieces_are_joined_and_hashed(tmp_path: Path) -> None:
    path, other = tmp_path / "a", tmp_path / "b"
    one = write_pieces(path, [b"ab", memoryview(b"c" * 3_000_000), b""])
    two = write_pieces(other, [b"ab" + b"c" * 3_000_000], durable=False)
    assert one == two == file_digest(path)
    assert path.read_bytes() == other.read_bytes()
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert write_pieces(path, []) == empty
