"""Uploads cut at any byte: in the end the right blob, or nothing."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tacit.base.errors import TacitError
from tacit.deploy.store.blobs import Blobs
from tests.deploy.store.test_blobs import everything, little_space, sha

NAME = f"{1:032x}-3-{2:032x}"
CONTENT = bytes(range(256)) * 4


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs", tmp_path / "spool")


def code_of(error: pytest.ExceptionInfo[TacitError]) -> str:
    return error.value.code


def test_an_upload_in_chunks_becomes_a_blob_without_a_copy(blobs: Blobs) -> None:
    spool = blobs.spool
    assert spool.offset(NAME) == 0
    assert spool.append(NAME, 0, [CONTENT[:10], CONTENT[10:100]], len(CONTENT)) == 100
    assert spool.offset(NAME) == 100
    assert spool.append(NAME, 100, iter([CONTENT[100:]])) == len(CONTENT)
    inode = (spool.folder / NAME).stat().st_ino
    assert spool.finish(NAME, sha(CONTENT), len(CONTENT)) == sha(CONTENT)
    assert blobs.local(sha(CONTENT)).read_bytes() == CONTENT
    assert blobs.local(sha(CONTENT)).stat().st_ino == inode
    assert everything(spool.folder) == []


def test_to_finish_twice_is_to_finish_once(blobs: Blobs) -> None:
    blobs.spool.append(NAME, 0, [CONTENT])
    for _ in range(2):
        assert blobs.spool.finish(NAME, sha(CONTENT), len(CONTENT)) == sha(CONTENT)
    assert len(everything(blobs.folder)) == 1


def test_an_upload_of_nothing_is_a_blob(blobs: Blobs) -> None:
    blobs.spool.append(NAME, 0, [], 0)
    assert blobs.spool.finish(NAME, sha(b""), 0) == sha(b"")
    assert blobs.local(sha(b"")).read_bytes() == b""


def test_a_chunk_at_another_place_is_refused_with_the_right_one(blobs: Blobs) -> None:
    blobs.spool.append(NAME, 0, [CONTENT[:50]])
    for offset in (0, 49, 51):
        with pytest.raises(TacitError) as raised:
            blobs.spool.append(NAME, offset, [CONTENT])
        assert code_of(raised) == "store.offset"
        assert raised.value.facts["offset"] == 50
    assert blobs.spool.offset(NAME) == 50


def test_a_chunk_that_breaks_off_leaves_what_came(blobs: Blobs) -> None:
    def broken() -> Iterator[bytes]:
        yield CONTENT[:7]
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        blobs.spool.append(NAME, 0, broken())
    assert blobs.spool.offset(NAME) == 7
    blobs.spool.append(NAME, 7, [CONTENT[7:]])
    assert blobs.spool.finish(NAME, sha(CONTENT), len(CONTENT)) == sha(CONTENT)


def test_a_connection_that_lingers_cannot_write_into_its_successor(blobs: Blobs) -> None:
    def lingering() -> Iterator[bytes]:
        yield CONTENT[:10]
        blobs.spool.append(NAME, 10, [CONTENT[10:30]])  # the client came back on a new connection
        yield b"late"

    with pytest.raises(TacitError) as raised:
        blobs.spool.append(NAME, 0, lingering())
    assert code_of(raised) == "store.offset"
    blobs.spool.append(NAME, 30, [CONTENT[30:]])
    blobs.spool.finish(NAME, sha(CONTENT), len(CONTENT))
    assert blobs.local(sha(CONTENT)).read_bytes() == CONTENT


def test_too_few_bytes_may_follow(blobs: Blobs) -> None:
    blobs.spool.append(NAME, 0, [CONTENT[:50]])
    with pytest.raises(TacitError) as raised:
        blobs.spool.finish(NAME, sha(CONTENT), len(CONTENT))
    assert code_of(raised) == "store.offset" and raised.value.facts["offset"] == 50
    blobs.spool.append(NAME, 50, [CONTENT[50:]])
    assert blobs.spool.finish(NAME, sha(CONTENT), len(CONTENT)) == sha(CONTENT)


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("size", [len(CONTENT), len(CONTENT) - 1])
def test_wrong_bytes_are_removed(tmp_path: Path, restarted: bool, size: int) -> None:
    blobs = Blobs(tmp_path / "blobs", tmp_path / "spool")
    blobs.spool.append(NAME, 0, [CONTENT])
    if restarted:
        blobs = Blobs(tmp_path / "blobs", tmp_path / "spool")
    with pytest.raises(TacitError) as raised:
        blobs.spool.finish(NAME, sha(b"something else"), size)
    assert code_of(raised) == "store.digest"
    assert blobs.spool.offset(NAME) == 0
    assert everything(tmp_path) == []
    blobs.spool.append(NAME, 0, [b"something else"])
    assert blobs.spool.finish(NAME, sha(b"something else"), 14) == sha(b"something else")


@pytest.mark.parametrize(
    "name", ["", "..", "../x", "a/b", "/a", "a\x00", "a\n", "A", "-a", "a-", "a..b", "ä", "a" * 201]
)
def test_a_name_cannot_leave_the_folder(blobs: Blobs, name: str) -> None:
    for work in (
        lambda: blobs.spool.offset(name),
        lambda: blobs.spool.append(name, 0, [b"x"]),
        lambda: blobs.spool.finish(name, sha(b""), 0),
        lambda: blobs.spool.discard(name),
    ):
        with pytest.raises(TacitError) as raised:
            work()
        assert code_of(raised) == "store.upload-name"


def test_more_than_is_allowed_or_declared_is_refused(tmp_path: Path) -> None:
    spool = Blobs(tmp_path / "blobs", tmp_path / "spool", limit=100).spool
    for size, pieces, limit in [
        (101, [b"x"], 100),
        (None, [bytes(101)], 100),
        (10, [b"12345", b"123456"], 10),
    ]:
        with pytest.raises(TacitError) as raised:
            spool.append(NAME, 0, pieces, size)
        assert code_of(raised) == "store.too-large" and raised.value.facts["limit"] == limit
    assert spool.offset(NAME) == 5  # what came before is as declared


def test_an_upload_that_will_not_fit_is_refused_before_its_first_byte(tmp_path: Path) -> None:
    spool = Blobs(
        tmp_path / "blobs", tmp_path / "spool", reserve=100, free=lambda folder: 1000
    ).spool
    with pytest.raises(TacitError) as raised:
        spool.append(NAME, 0, [b"x"], 901)
    assert code_of(raised) == "store.full"
    assert spool.offset(NAME) == 0
    assert spool.append(NAME, 0, [b"x"], 900) == 1
    assert spool.append(NAME, 1, [b"x"], 901) == 2  # one byte of it is here already


@pytest.mark.parametrize("restarted", [False, True])
def test_a_disk_that_fills_up_keeps_what_was_there(tmp_path: Path, restarted: bool) -> None:
    blobs = Blobs(tmp_path / "blobs", tmp_path / "spool")
    content = os.urandom(100_000)
    blobs.spool.append(NAME, 0, [content[:40_000]])
    with little_space(50_000), pytest.raises(TacitError) as raised:
        blobs.spool.append(NAME, 40_000, [content[40_000:]])
    assert code_of(raised) == "store.full"
    if restarted:
        blobs = Blobs(tmp_path / "blobs", tmp_path / "spool")
    assert blobs.spool.offset(NAME) == 40_000
    blobs.spool.append(NAME, 40_000, [content[40_000:]])
    assert blobs.spool.finish(NAME, sha(content), len(content)) == sha(content)


def test_stale_uploads_are_swept(blobs: Blobs) -> None:
    for name, touched in [("aa", 100.0), ("bb", 200.0)]:
        blobs.spool.append(name, 0, [b"x"])
        os.utime(blobs.spool.folder / name, (touched, touched))
    assert blobs.spool.sweep(before=150.0) == 1
    assert blobs.spool.names() == ("bb",)
    blobs.spool.discard("bb")
    assert blobs.spool.names() == ()


def test_threads_that_send_the_same_upload_make_one_blob(blobs: Blobs) -> None:
    def send() -> None:
        while blobs.spool.offset(NAME) < len(CONTENT) and not blobs.has(sha(CONTENT)):
            at = blobs.spool.offset(NAME)
            try:
                blobs.spool.append(NAME, at, [CONTENT[at : at + 16]])
            except TacitError as error:
                assert error.code == "store.offset"

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert blobs.spool.finish(NAME, sha(CONTENT), len(CONTENT)) == sha(CONTENT)
    assert blobs.local(sha(CONTENT)).read_bytes() == CONTENT


class Uploads(RuleBasedStateMachine):
    """A client that loses replies, repeats, cuts; a coordinator that restarts or fills its disk.

    The model is the bytes that must be in the spool.
    """

    @initialize(content=st.binary(max_size=40))
    def begin(self, content: bytes) -> None:
        self.root = Path(tempfile.mkdtemp())
        self.content = content
        self.here = b""
        self.blob = False
        self.start()

    @rule()
    def start(self) -> None:
        """The coordinator's process starts, or starts again: it remembers nothing."""
        self.blobs = Blobs(self.root / "blobs", self.root / "spool", limit=60)

    @rule(offset=st.integers(0, 45), cut=st.integers(0, 45), step=st.integers(1, 20))
    def send(self, offset: int, cut: int, step: int) -> None:
        """Bytes of the content from anywhere to anywhere, in pieces."""
        self._send(offset, self.content[offset : offset + cut], step)

    @rule(cut=st.integers(0, 45), step=st.integers(1, 20))
    def resume(self, cut: int, step: int) -> None:
        """The next bytes, as the coordinator asks for them."""
        offset = self.blobs.spool.offset(NAME)
        self._send(offset, self.content[offset : offset + cut], step)

    @rule(wrong=st.binary(min_size=1, max_size=30))
    def damage(self, wrong: bytes) -> None:
        """Bytes that are not the content's."""
        self._send(self.blobs.spool.offset(NAME), wrong, 7)

    @rule(room=st.integers(0, 40), wanted=st.integers(1, 40))
    def fill_disk(self, room: int, wanted: int) -> None:
        """The disk fills up within a piece: none of the piece stays."""
        offset = len(self.here)
        piece = self.content[offset : offset + wanted]
        if not piece or offset + len(piece) <= room:
            return
        with little_space(room), pytest.raises(TacitError) as raised:
            self.blobs.spool.append(NAME, offset, [piece])
        assert raised.value.code == "store.full"

    @rule()
    def finish(self) -> None:
        """The client says that it has sent all."""
        digest = hashlib.sha256(self.content).hexdigest()
        try:
            self.blobs.spool.finish(NAME, digest, len(self.content))
        except TacitError as error:
            self._refused(error)
        else:
            assert self.here == self.content or (self.blob and not self.here)
            self.blob, self.here = True, b""

    @rule()
    def sweep(self) -> None:
        """The upload is given up."""
        self.blobs.spool.sweep(before=2.0**40)
        self.here = b""

    @invariant()
    def the_right_blob_or_nothing(self) -> None:
        if not hasattr(self, "root"):
            return
        assert self.blobs.spool.offset(NAME) == len(self.here)
        found = [path.read_bytes() for path in everything(self.root / "blobs")]
        assert found == ([self.content] if self.blob else [])
        spooled = [path.read_bytes() for path in everything(self.root / "spool")]
        assert b"".join(spooled) == self.here

    def teardown(self) -> None:
        if hasattr(self, "root"):
            shutil.rmtree(self.root)

    def _send(self, offset: int, wanted: bytes, step: int) -> None:
        pieces = [wanted[at : at + step] for at in range(0, len(wanted), step)]
        try:
            end = self.blobs.spool.append(NAME, offset, pieces)
        except TacitError as error:
            self._not_sent(error, offset, pieces)
        else:
            self.here += wanted
            assert end == len(self.here)

    def _not_sent(self, error: TacitError, offset: int, pieces: list[bytes]) -> None:
        if error.code == "store.offset":
            assert offset != len(self.here) == error.facts["offset"]
            return
        assert error.code == "store.too-large"
        for piece in pieces:
            if len(self.here) + len(piece) > 60:
                return
            self.here += piece
        raise AssertionError("nothing was too large")

    def _refused(self, error: TacitError) -> None:
        if error.code == "store.offset":
            assert len(self.here) < len(self.content)
            return
        assert error.code == "store.digest"
        assert self.here != self.content and len(self.here) >= len(self.content)
        self.here = b""


Uploads.TestCase.settings = settings(stateful_step_count=25)
TestUploads = Uploads.TestCase
