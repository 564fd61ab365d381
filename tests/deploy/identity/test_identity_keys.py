from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from tacit.base.errors import TacitError
from tacit.deploy.identity.keys import (
    Identity,
    member_id,
    pem_of,
    read_secret,
    verified,
    write_secret,
)

SEED = bytes(range(32))
PUBLIC = "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8"


def code_of_load(path: Path) -> str:
    with pytest.raises(TacitError) as refused:
        Identity.load(path)
    assert str(path) in refused.value.cause
    return refused.value.code


def test_an_identity_is_its_public_key() -> None:
    me = Identity.from_seed(SEED)
    assert me.public.hex() == PUBLIC
    assert me.id == member_id(me.public) == hashlib.sha256(me.public).hexdigest()[:32]
    assert me == Identity.from_seed(SEED)
    assert me != Identity.from_seed(bytes(32))


def test_the_standards_first_vector_is_signed() -> None:
    """RFC 8032, section 7.1, test 1."""
    seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
    me = Identity.from_seed(bytes.fromhex(seed))
    assert me.public.hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert me.sign(b"").hex() == (
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9"
        "b46bd25bf5f0595bbe24655141438e7a100b"
    )


@given(st.binary(max_size=50), st.integers(0, 63), st.integers(0, 7))
def test_only_the_signature_verifies(message: bytes, place: int, bit: int) -> None:
    me = Identity.from_seed(SEED)
    signature = bytearray(me.sign(message))
    assert verified(me.public, bytes(signature), message)
    assert not verified(me.public, bytes(signature), message + b"x")
    signature[place] ^= 1 << bit
    assert not verified(me.public, bytes(signature), message)


@pytest.mark.parametrize("public", [b"", b"short", bytes(33)])
def test_what_is_no_key_verifies_nothing(public: bytes) -> None:
    assert not verified(public, bytes(64), b"message")
    assert not verified(bytes.fromhex(PUBLIC), b"", b"message")


def test_an_identity_is_kept_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "home" / "key.pem"
    old = os.umask(0)
    try:
        me = Identity.create(path)
    finally:
        os.umask(old)
    assert Identity.load(path) == me
    assert Identity.load(path).sign(b"x") == me.sign(b"x")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]
    assert path.read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----\n")


def test_identities_differ(tmp_path: Path) -> None:
    assert Identity.create(tmp_path / "a") != Identity.create(tmp_path / "b")


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    me = Identity.create(tmp_path / "key")
    with pytest.raises(TacitError) as refused:
        Identity.create(tmp_path / "key")
    assert refused.value.code == "identity.key-exists"
    assert Identity.load(tmp_path / "key") == me
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666, 0o610])
def test_a_key_that_others_may_read_is_refused(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "key"
    Identity.create(path)
    path.chmod(mode)
    assert code_of_load(path) == "identity.key-rights"
    path.chmod(0o400)
    Identity.load(path)


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    assert code_of_load(tmp_path / "gone") == "identity.no-key"
    assert code_of_load(tmp_path) == "wire.cannot-read"


def test_a_file_that_holds_no_such_key_is_refused(tmp_path: Path) -> None:
    whole = pem_of(ec.generate_private_key(ec.SECP256R1()))
    Identity.create(tmp_path / "whole")
    ours = (tmp_path / "whole").read_bytes()
    for place, content in enumerate((b"", b"\xff" * 99, ours[:60], whole, ours[:-40])):
        path = tmp_path / f"key{place}"
        write_secret(path, content)
        assert code_of_load(path) == "identity.key-file"


def test_secrets_are_replaced_only_on_demand(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    write_secret(path, b"old")
    write_secret(path, b"new", replace=True)
    assert read_secret(path) == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(TacitError) as refused:
        write_secret(tmp_path / "file" / "secret", b"x")
    assert refused.value.code == "data.cannot-write"


def test_the_secret_is_not_shown() -> None:
    me = Identity.from_seed(SEED)
    for shown in (repr(me), str(me), f"{me}"):
        assert "secret" not in shown
        assert SEED.hex() not in shown
