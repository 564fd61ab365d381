"""Blobs in a folder and behind fsspec: durable, whole, verified."""

from __future__ import annotations

import hashlib
import os
import resource
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec  # type: ignore[import-untyped]  # ships no types
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.base.errors import TacitError
from tacit.deploy.store import files
from tacit.deploy.store.blobs import Blobs


@pytest.fixture(params=["folder", "file", "memory"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    places: dict[str, str | Path] = {
        "folder": tmp_path / "blobs",
        "file": f"file://{tmp_path}/blobs",
        "memory": f"memory://{tmp_path}/blobs",
    }
    return Blobs(places[request.param], tmp_path / "spool")


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def everything(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@contextmanager
def little_space(size: int) -> Iterator[None]:
    """No file of this process may grow beyond `size`: the system refuses as for a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_is_put_is_there(blobs: Blobs, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"file" * 1_000_000)
    cases: list[tuple[bytes | Path, bytes]] = [
        (b"", b""),
        (b"abc", b"abc"),
        (source, source.read_bytes()),
    ]
    for put, content in cases:
        digest = blobs.put(put)
        assert digest == sha(content)
        assert blobs.has(digest)
        assert blobs.local(digest).read_bytes() == content
    assert source.exists()
    assert sorted(blobs.digests()) == sorted(map(sha, [b"", b"abc", b"file" * 1_000_000]))


@given(content=st.binary(max_size=300))
def test_any_bytes_are_found_by_their_sha256(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        blobs = Blobs(Path(folder) / "b", Path(folder) / "s")
        assert blobs.put(content) == sha(content)
        assert blobs.local(sha(content)).read_bytes() == content


def test_to_put_twice_is_to_put_once(blobs: Blobs) -> None:
    path = blobs.local(blobs.put(b"abc"))
    before = path.stat()
    assert blobs.put(b"abc") == sha(b"abc")
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert everything(blobs.folder) == [path]


def test_a_file_is_adopted_without_a_copy(blobs: Blobs) -> None:
    path = blobs.beside()
    files.write(path, [b"ab", b"c"])
    inode = path.stat().st_ino
    assert blobs.adopt(path, sha(b"abc")) == sha(b"abc")
    assert blobs.local(sha(b"abc")).stat().st_ino == inode
    assert not path.exists()


def test_a_file_on_another_disk_is_adopted(blobs: Blobs) -> None:
    with tempfile.NamedTemporaryFile(dir="/dev/shm", delete=False) as file:
        file.write(b"abc")
    assert Path(file.name).stat().st_dev != blobs.beside().parent.stat().st_dev
    blobs.adopt(Path(file.name), sha(b"abc"))
    assert blobs.local(sha(b"abc")).read_bytes() == b"abc"
    assert not Path(file.name).exists()


def test_what_is_deleted_is_gone(blobs: Blobs) -> None:
    digest = blobs.put(b"abc")
    blobs.delete(digest)
    blobs.delete(digest)
    assert not blobs.has(digest)
    assert list(blobs.digests()) == []
    with pytest.raises(TacitError) as raised:
        blobs.local(digest)
    assert raised.value.code == "store.blob-missing"


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "A" * 64, "0" * 63, "0" * 64 + "\n"])
def test_what_is_no_digest_is_no_blob(blobs: Blobs, name: str) -> None:
    assert not blobs.has(name)
    with pytest.raises(TacitError) as raised:
        blobs.local(name)
    assert raised.value.code == "store.blob-missing"


def test_the_files_are_for_this_user_alone(blobs: Blobs, tmp_path: Path) -> None:
    blobs.put(b"abc")
    assert {stat.S_IMODE(p.stat().st_mode) for p in blobs.folder.rglob("*")} == {0o700, 0o600}
    assert stat.S_IMODE(blobs.folder.stat().st_mode) == 0o700


def test_a_full_disk_leaves_no_half_blob(blobs: Blobs) -> None:
    kept = blobs.put(b"abc")
    content = bytes(100_000)
    with little_space(50_000), pytest.raises(TacitError) as raised:
        blobs.put(content)
    assert raised.value.code == "store.full"
    assert not blobs.has(sha(content))
    assert [path.name for path in everything(blobs.folder)] == [kept]
    assert blobs.put(content) == sha(content)


def test_a_place_without_rights_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TacitError) as raised:
        Blobs(tmp_path / "file", tmp_path / "spool").put(b"abc")
    assert raised.value.code == "store.disk"


def test_a_crash_leaves_no_half_blob(tmp_path: Path) -> None:
    """Killed while it writes: what is there afterwards is whole, or swept away."""
    code = (
        "import sys, os, signal; from pathlib import Path\n"
        "from tacit.deploy.store.blobs import Blobs\n"
        "from tacit.deploy.store import files\n"
        "blobs = Blobs(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "blobs.put(b'whole')\n"
        "def pieces():\n"
        "    yield b'half'\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "files.write(blobs.beside(), pieces())\n"
    )
    place = [str(tmp_path / "blobs"), str(tmp_path / "spool")]
    killed = subprocess.run([sys.executable, "-c", code, *place], check=False)
    assert killed.returncode == -9
    blobs = Blobs(tmp_path / "blobs", tmp_path / "spool")
    assert list(blobs.digests()) == [sha(b"whole")]
    assert len(everything(blobs.folder)) == 2
    assert blobs.sweep(before=0.0) == 0
    assert blobs.sweep(before=2.0**40) == 1
    assert everything(blobs.folder) == [blobs.local(sha(b"whole"))]


def test_a_cut_blob_is_replaced(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "blobs", tmp_path / "spool")
    path = blobs.local(blobs.put(b"abc"))
    os.truncate(path, 1)
    blobs.put(b"abc")
    assert path.read_bytes() == b"abc"


def elsewhere(tmp_path: Path) -> Blobs:
    """The same remote blobs from another machine: with a cache of its own."""
    return Blobs(f"memory://{tmp_path}/blobs", tmp_path / "s2", cache=tmp_path / "c2")


def test_remote_blobs_are_fetched_once(tmp_path: Path) -> None:
    digest = Blobs(f"memory://{tmp_path}/blobs", tmp_path / "spool").put(b"abc")
    other = elsewhere(tmp_path)
    assert other.has(digest)
    assert everything(tmp_path / "c2") == []
    path = other.local(digest)
    assert path.read_bytes() == b"abc"
    fsspec.filesystem("memory").rm(f"{tmp_path}/blobs", recursive=True)
    assert other.local(digest) == path
    assert not other.has(digest)


def test_a_damaged_remote_blob_is_not_used(tmp_path: Path) -> None:
    digest = Blobs(f"memory://{tmp_path}/blobs", tmp_path / "spool").put(b"abc")
    (place,) = fsspec.filesystem("memory").find(f"{tmp_path}/blobs")
    fsspec.filesystem("memory").pipe_file(place, b"abd")
    other = elsewhere(tmp_path)
    with pytest.raises(TacitError) as raised:
        other.local(digest)
    assert raised.value.code == "store.blob-damaged"
    assert everything(tmp_path / "c2") == []


def test_remote_blobs_have_their_name_only_when_whole(tmp_path: Path) -> None:
    blobs = Blobs(f"memory://{tmp_path}/blobs", tmp_path / "spool")
    digest = blobs.put(b"abc")
    (place,) = fsspec.filesystem("memory").find(f"{tmp_path}/blobs")
    fsspec.filesystem("memory").pipe_file(f"{place}.1234abcd", b"a")  # a crash while it was sent
    assert list(blobs.digests()) == [digest]


@pytest.mark.parametrize("url", ["nonsense://a/b", "s4://me:secret@bucket/x"])
def test_an_unknown_store_is_refused_without_its_secrets(url: str, tmp_path: Path) -> None:
    with pytest.raises(TacitError) as raised:
        Blobs(url, tmp_path / "spool")
    assert raised.value.code == "store.blobs-url"
    assert "secret" not in str(raised.value)


def test_a_store_that_cannot_be_reached_is_named(tmp_path: Path) -> None:
    with pytest.raises(TacitError) as raised:
        Blobs("ftp://me:secret@127.0.0.1:9/blobs", tmp_path / "spool")
    assert raised.value.code == "store.blobs-unreachable"
    assert "127.0.0.1:9/blobs" in raised.value.cause and "secret" not in str(raised.value)


def test_what_a_store_refuses_is_named(tmp_path: Path) -> None:
    fsspec.filesystem("memory").pipe_file(f"{tmp_path}/blobs", b"a file, not a folder")
    with pytest.raises(TacitError) as raised:
        Blobs(f"memory://{tmp_path}/blobs", tmp_path / "spool").put(b"abc")
    assert raised.value.code == "store.blobs-unreachable"
