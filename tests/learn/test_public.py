from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, final

import numpy as np
import pytest

import tacit
from tacit.base.errors import TacitError
from tacit.learn import public, public_files
from tacit.learn.public_files import Remote, obtain
from tacit.learn.public_formats import CIFAR_TEST, CIFAR_TRAIN

RNG = np.random.default_rng(0)
IMAGES, LABELS = RNG.integers(0, 256, (5, 28, 28), np.uint8), np.arange(5, dtype=np.uint8)
PLAY = (
    "First Citizen:\nSpeak, speak.\n\nAll:\nResolved.\nresolved.\n\nFirst Citizen:\nWe know't.\n\n"
)


@final
@dataclass
class Host:
    """A web server of this process: what it serves, and what was asked of it."""

    address: str
    files: dict[str, bytes] = field(default_factory=dict)
    cut: int | None = None
    asked: list[str] = field(default_factory=list)

    def put(self, name: str, content: bytes) -> Remote:
        self.files[name] = content
        digest = hashlib.sha256(content).hexdigest()
        return Remote(f"{self.address}/{name}", len(content), digest)


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, host: Host, *args: Any) -> None:
        self.host = host
        super().__init__(*args)

    def do_GET(self) -> None:
        name = self.path.removeprefix("/")
        self.host.asked.append(name)
        if name not in self.host.files:
            self.send_error(404)
            return
        content = self.host.files[name]
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: self.host.cut])

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def host() -> Iterator[Host]:
    served = Host("")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, served)) as server:
        served.address = f"http://127.0.0.1:{server.server_port}"
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield served
        server.shutdown()


@pytest.fixture(autouse=True)
def nothing_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("TACIT_DATA", raising=False)
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("TACIT_DATA", str(folder))
    return folder


def idx(array: np.ndarray[Any, Any]) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


def idx_files(names: tuple[Remote, ...] = public.MNIST) -> dict[str, bytes]:
    arrays = (IMAGES, LABELS, IMAGES[:2], LABELS[:2])
    return {
        remote.name: gzip.compress(idx(array), mtime=0)
        for remote, array in zip(names, arrays, strict=True)
    }


def batches() -> dict[str, bytes]:
    found = {}
    for i, name in enumerate((*CIFAR_TRAIN, *CIFAR_TEST)):
        rows = RNG.integers(0, 256, (2, 3073), np.uint8)
        rows[:, 0] = i
        found[name] = rows.tobytes()
    return found


def tar(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def write(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def leaf(users: dict[str, tuple[list[Any], list[Any]]]) -> bytes:
    held = {name: {"x": x, "y": y} for name, (x, y) in users.items()}
    counts = [len(y) for _, y in users.values()]
    return json.dumps({"users": list(users), "num_samples": counts, "user_data": held}).encode()


def refused(code: str, call: Callable[[], object]) -> TacitError:
    with pytest.raises(TacitError) as caught:
        call()
    assert caught.value.code == code
    return caught.value


def test_a_file_is_downloaded_once_and_kept_in_the_cache(host: Host, tmp_path: Path) -> None:
    remote = host.put("a.bin", b"published")
    for _ in range(2):
        path = obtain("set", remote)
        assert path == tmp_path / "cache" / "tacit" / "set" / "a.bin"
        assert path.read_bytes() == b"published"
    assert host.asked == ["a.bin"]


def test_a_file_that_is_not_the_published_one_is_not_kept(host: Host, tmp_path: Path) -> None:
    remote = host.put("a.bin", b"published")
    for changed in (b"publishes", b"published, and more"):
        host.files["a.bin"] = changed
        error = refused("data.public-digest", lambda: obtain("set", remote))
        assert error.facts["place"] == remote.url
    assert not list(tmp_path.rglob("a.bin*"))


def test_a_download_that_ends_early_is_not_kept(host: Host, tmp_path: Path) -> None:
    remote = host.put("a.bin", b"published")
    host.cut = 4
    error = refused("data.public-truncated", lambda: obtain("set", remote))
    assert "after 4 of 9 bytes" in error.cause
    host.cut = None
    assert obtain("set", remote).read_bytes() == b"published"
    assert [path.name for path in tmp_path.rglob("*.bin*")] == ["a.bin"]


def test_a_cached_file_that_was_changed_is_refused(host: Host) -> None:
    remote = host.put("a.bin", b"published")
    path = obtain("set", remote)
    path.write_bytes(b"tampered!")
    error = refused("data.public-digest", lambda: obtain("set", remote))
    assert error.facts["place"] == str(path)


def test_without_file_and_network_the_error_says_what_to_do(host: Host, data: Path) -> None:
    remote = host.put("a.bin", b"published")
    host.files.clear()
    gone = refused("data.public-missing", lambda: obtain("set", remote))
    assert "404" in gone.cause
    assert str(data / "set") in gone.cause
    assert remote.url in gone.remedy
    nobody = Remote("http://127.0.0.1:9/a.bin", 1, "")
    assert "TACIT_DATA" in refused("data.public-missing", lambda: obtain("set", nobody)).remedy


def test_a_cache_that_cannot_be_written_is_named(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    refused("data.cannot-write", lambda: obtain("set", host.put("a.bin", b"published")))


def test_the_default_cache_is_in_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert public_files.cache() == tmp_path / ".cache" / "tacit"


def test_published_files_are_named_by_https_and_a_whole_sha256() -> None:
    remotes = (*public.MNIST, *public.FASHION_MNIST, public.CIFAR10, public.SHAKESPEARE)
    for remote in remotes:
        assert remote.url.startswith("https://")
        assert len(bytes.fromhex(remote.sha256)) == 32
    assert len({remote.sha256 for remote in remotes}) == len(remotes)


def check_digits(digits: public.WholeData) -> None:
    assert np.array_equal(digits.train.x, IMAGES[:, None].astype(np.float32) / np.float32(255))
    assert digits.train.x.dtype == np.float32
    assert digits.train.y.tolist() == LABELS.tolist()
    assert digits.test.count == 2
    digits.schema.check("all", digits.train)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_digits_and_clothes_are_read_from_idx_files(name: str, data: Path) -> None:
    load = getattr(tacit.data, name)
    write(data / name, idx_files())
    check_digits(load())
    for path in (data / name).iterdir():
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    check_digits(load())


def test_digits_are_downloaded(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    remotes = tuple(host.put(name, content) for name, content in idx_files().items())
    monkeypatch.setattr(public, "MNIST", remotes)
    check_digits(tacit.data.mnist())
    assert host.asked == [remote.name for remote in remotes]


def test_digits_are_read_from_an_npz_file(data: Path) -> None:
    (data / "mnist").mkdir()
    held = {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES[:2], "y_test": LABELS[:2]}
    np.savez(data / "mnist" / "mnist.npz", allow_pickle=False, **held)
    check_digits(tacit.data.mnist())
    np.savez(data / "mnist" / "mnist.npz", allow_pickle=False, x_train=IMAGES)
    assert "y_train" in refused("data.public-format", tacit.data.mnist).cause
    (data / "mnist" / "mnist.npz").write_bytes(b"PK\3\4 nothing")
    refused("data.public-format", tacit.data.mnist)


@pytest.mark.parametrize(
    "content",
    [b"", b"no gzip", gzip.compress(b"\0\0\x0d\1"), gzip.compress(idx(LABELS)[:-1])],
    ids=["empty", "not gzip", "other type", "short"],
)
def test_a_broken_idx_file_is_named(content: bytes, data: Path) -> None:
    name = public.MNIST[0].name
    write(data / "mnist", {**idx_files(), name: content})
    assert name in refused("data.public-format", tacit.data.mnist).cause


def check_photographs(photographs: public.WholeData, files: dict[str, bytes]) -> None:
    assert photographs.train.x.shape == (10, 3, 32, 32)
    assert photographs.train.y.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert photographs.test.y.tolist() == [5, 5]
    first = np.frombuffer(files["data_batch_1.bin"], np.uint8)[1:3073]
    assert np.allclose(photographs.train.x[0].ravel(), first / 255)
    photographs.schema.check("all", photographs.train)


def test_cifar_is_read_from_its_folder_its_archive_and_the_network(
    host: Host, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = batches()
    monkeypatch.setattr(public, "CIFAR10", host.put("cifar-10-binary.tar.gz", tar(files)))
    check_photographs(tacit.data.cifar10(), files)
    assert host.asked == ["cifar-10-binary.tar.gz"]
    write(data / "cifar10", {"cifar-10-binary.tar.gz": tar(files)})
    check_photographs(tacit.data.cifar10(), files)
    write(data / "cifar10" / "cifar-10-batches-bin", files)
    check_photographs(tacit.data.cifar10(), files)
    assert len(host.asked) == 1


@pytest.mark.parametrize(
    "content",
    [b"no archive", tar({}), tar(dict.fromkeys((*CIFAR_TRAIN, *CIFAR_TEST), b"abc"))],
    ids=["not tar", "without batches", "short"],
)
def test_a_broken_cifar_archive_is_named(content: bytes, data: Path) -> None:
    write(data / "cifar10", {"cifar-10-binary.tar.gz": content})
    refused("data.public-format", tacit.data.cifar10)


@pytest.mark.parametrize("place", ["", "data"])
def test_femnist_has_a_client_a_writer(place: str, data: Path) -> None:
    drawn = {f"f{i:04}": ([[i / 4] * 784] * (i + 1), [i] * (i + 1)) for i in range(3)}
    both = dict(list(drawn.items())[:2])
    folder = data / "femnist" / place
    write(folder / "train", {"a.json": leaf(both), "b.json": leaf({"f0002": drawn["f0002"]})})
    write(folder / "test", {"a.json": leaf(both)})
    writers = tacit.data.femnist()
    assert writers.names == writers.test.names == ("f0000", "f0001")
    assert writers.train.held[1].x.shape == (2, 1, 28, 28)
    assert writers.train.held[1].y.tolist() == [1, 1]
    writers.schema.check("f0001", writers.train.held[1])


def test_without_leafs_files_the_error_says_how_to_make_them(data: Path) -> None:
    error = refused("data.public-leaf", tacit.data.femnist)
    assert str(data / "femnist") in error.cause
    assert "preprocess.sh" in error.remedy
    write(data / "femnist" / "train", {"a.json": b'{"users": []}'})
    refused("data.public-format", tacit.data.femnist)


def decoded(codes: Any) -> str:
    return "".join(public.LETTERS[code] for code in codes)


def test_shakespeare_from_leaf_keeps_its_windows(data: Path) -> None:
    held = {"HAMLET": (["to be or not to be ".ljust(80)], ["t"])}
    for fold in ("train", "test"):
        write(data / "shakespeare" / fold, {"a.json": leaf(held)})
    roles = tacit.data.shakespeare()
    x, y = roles.train.held[0]
    assert decoded(x[0]) == held["HAMLET"][0][0]
    assert decoded(y) == "t"
    roles.schema.check("HAMLET", roles.train.held[0])


def test_shakespeares_windows_end_before_the_test_begins(data: Path) -> None:
    text = "".join(RNG.choice(list("abc de$"), 1000))
    spoken = {"HAMLET": [text[:400], text[401:]], "PAGE": ["Sir."]}
    write(data / "shakespeare_roles", {"roles.json.gz": gzip.compress(json.dumps(spoken).encode())})
    roles = tacit.data.shakespeare(at_least=900)
    assert roles.names == ("HAMLET",)
    whole = (text[:400] + "\n" + text[401:]).replace("$", " ")
    (train,), (test,) = roles.train.held, roles.test.held
    assert train.count == 800 - 80
    assert test.count == 200 - 80
    for examples, start in ((train, 0), (test, 800)):
        for i in (0, examples.count - 1):
            assert decoded(examples.x[i]) == whole[start + i : start + i + 80]
            assert decoded([examples.y[i]]) == whole[start + i + 80]
    assert train.x.base is not None
    roles.schema.check("HAMLET", train)


def test_shakespeare_is_downloaded_as_a_play(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(public, "SHAKESPEARE", host.put("input.txt", 100 * PLAY.encode()))
    roles = tacit.data.shakespeare(at_least=1000)
    assert roles.names == ("All", "First Citizen")
    assert decoded(roles.train.held[1].x[0]).startswith("Speak, speak.\nWe know't.\nSpeak")


def test_a_whole_set_becomes_clients_by_a_partition(data: Path) -> None:
    write(data / "mnist", idx_files())
    digits = tacit.data.mnist()
    clients = digits.split([np.array([0, 2]), np.array([1, 3, 4])], ["North", "South"])
    assert clients.names == ("North", "South")
    assert clients.train.held[1].y.tolist() == [1, 3, 4]
    assert clients.test.names == ("test",)
    federation = tacit.Federation(
        task=tacit.numpy.logistic_regression(),
        data=clients.schema,
        algorithm=tacit.fedsgd(lr=0.1),
        clients=2,
        rounds=2,
    )
    run = tacit.simulate(federation, clients)
    assert run.final is not None
    assert run.final.pooled.examples == 2
    refused("data.not-clients", lambda: tacit.simulate(federation, digits))
