"""Ed25519 identities (RFC 8032), and files that only their owner may read."""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from tacit.base.errors import TacitError
from tacit.deploy.wire.files import cannot_read, cannot_write, remove, sync_folder

_LONGEST = 1 << 16


@final
@dataclass(frozen=True)
class Identity:
    """A member's key pair; `public` is the raw public key, 32 bytes. The secret is never shown."""

    public: bytes
    _secret: Ed25519PrivateKey = field(repr=False, compare=False)

    @property
    def id(self) -> str:
        """The member's id, 32 hex digits."""
        return member_id(self.public)

    def sign(self, message: bytes) -> bytes:
        """An Ed25519 signature, 64 bytes."""
        return self._secret.sign(message)

    @staticmethod
    def create(path: Path) -> Identity:
        """A new identity, kept at `path` (PKCS #8, readable by its owner alone).

        `identity.key-exists` if there is a file already.
        """
        secret = Ed25519PrivateKey.generate()
        write_secret(path, pem_of(secret))
        return _identity(secret)

    @staticmethod
    def load(path: Path) -> Identity:
        """The identity at `path`; `identity.no-key`, `identity.key-rights`, `identity.key-file`."""
        secret = private_key(path, "Ed25519")
        if not isinstance(secret, Ed25519PrivateKey):
            raise TacitError(
                "identity.key-file", path=path, kind="Ed25519", why="it is of another kind"
            )
        return _identity(secret)

    @staticmethod
    def from_seed(seed: bytes) -> Identity:
        """The identity of 32 secret bytes: for rehearsals and tests."""
        return _identity(Ed25519PrivateKey.from_private_bytes(seed))


def member_id(public: bytes) -> str:
    """The id of a public key: the first half of its SHA-256, 32 hex digits."""
    return hashlib.sha256(public).digest()[:16].hex()


def verified(public: bytes, signature: bytes, message: bytes) -> bool:
    """Whether a signature is the key's over the message."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def pem_of(secret: PrivateKeyTypes) -> bytes:
    """A private key as PKCS #8 in PEM, without a password."""
    return secret.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def private_key(path: Path, kind: str) -> PrivateKeyTypes:
    """The private key of a file that only its owner may read."""
    try:
        return serialization.load_pem_private_key(read_secret(path), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as wrong:
        raise TacitError(
            "identity.key-file", path=path, kind=kind, why="it is no private key in PEM"
        ) from wrong


def read_secret(path: Path) -> bytes:
    """A file's bytes, if nobody but its owner may read or write it."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if os.name == "posix" and mode & 0o077:
                raise TacitError("identity.key-rights", path=path, mode=f"{mode:04o}")
            return file.read(_LONGEST)
    except FileNotFoundError as missing:
        raise TacitError("identity.no-key", path=path) from missing
    except OSError as failed:
        raise cannot_read(path, failed) from failed


def write_secret(path: Path, content: bytes, *, replace: bool = False) -> None:
    """Write a file that was at no moment readable by others, whole or not at all.

    Without `replace` a file that is there is `identity.key-exists`.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    _make_folder(path.parent)
    try:
        _write_private(beside, content)
        if replace:
            beside.replace(path)
        else:
            path.hardlink_to(beside)
        sync_folder(path.parent)
    except FileExistsError as exists:
        raise TacitError("identity.key-exists", path=path) from exists
    except OSError as failed:
        raise cannot_write(path, failed) from failed
    finally:
        remove(beside)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(0o700, parents=True, exist_ok=True)
    except OSError as failed:
        raise cannot_write(folder, failed) from failed


def _write_private(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _identity(secret: Ed25519PrivateKey) -> Identity:
    raw = serialization.Encoding.Raw, serialization.PublicFormat.Raw
    return Identity(secret.public_key().public_bytes(*raw), secret)
