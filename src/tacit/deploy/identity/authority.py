"""A local certificate authority (X.509, P-256) and the coordinator's certificate of it."""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tacit.base.errors import TacitError
from tacit.deploy.identity.keys import pem_of, private_key, write_secret
from tacit.deploy.identity.pinning import (
    client_context,
    fetch_pinned,
    fingerprint,
    load_certificate,
    load_chain,
)
from tacit.deploy.wire.files import write_pieces

__all__ = ["Certificates", "client_context", "ensure", "fetch_pinned", "fingerprint"]

_DAY = dt.timedelta(days=1)
_CA_LIFE = 3650 * _DAY
_LIFE = 365 * _DAY
_RENEWED = 30 * _DAY
_ALWAYS = ("localhost", "127.0.0.1", "::1")
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")

Signer: TypeAlias = ec.EllipticCurvePrivateKey


@final
@dataclass(frozen=True)
class Certificates:
    """Files for the server (leaf, then authority; and the leaf's key), and what clients pin."""

    authority_pem: str
    certificate: Path
    key: Path
    fingerprint: str


def ensure(folder: Path, hosts: Sequence[str], now: float) -> Certificates:
    """The authority of a folder and a valid server certificate for `hosts`, made where missing.

    The server's certificate lasts a year; it is renewed when less than 30 days are left or other
    hosts are asked for. Local names are always among them. The authority lasts 10 years. Errors:
    `identity.host`, `identity.authority-key`, `identity.authority-expired`, those of key files.
    """
    today = dt.datetime.fromtimestamp(now, dt.UTC)
    names = _names(hosts)
    signer, authority = _authority(folder, today)
    certificate, key = folder / "server.pem", folder / "server.key"
    if not _serves(certificate, key, authority, names, today):
        leaf_key = ec.generate_private_key(ec.SECP256R1())
        leaf = _leaf(authority, signer, leaf_key, names, today)
        write_secret(key, pem_of(leaf_key), replace=True)
        write_pieces(certificate, [_pem(leaf), _pem(authority)])
    pem = _pem(authority).decode("ascii")
    return Certificates(pem, certificate, key, fingerprint(pem))


def _authority(folder: Path, today: dt.datetime) -> tuple[Signer, x509.Certificate]:
    """The key and certificate of the folder's authority."""
    key, pem = folder / "authority.key", folder / "authority.pem"
    if pem.exists() and not key.exists():
        raise TacitError("identity.authority-key", folder=folder)
    if not key.exists():
        write_secret(key, pem_of(ec.generate_private_key(ec.SECP256R1())))
    signer = _signer(key)
    if not pem.exists():
        write_pieces(pem, [_pem(_self_signed(signer, today))])
    authority = load_certificate(pem)
    if authority.public_key() != signer.public_key():
        raise TacitError("identity.authority-key", folder=folder)
    end = authority.not_valid_after_utc
    if end - today < _RENEWED:
        raise TacitError("identity.authority-expired", folder=folder, end=end.date().isoformat())
    return signer, authority


def _serves(
    certificate: Path,
    key: Path,
    authority: x509.Certificate,
    names: Sequence[x509.GeneralName],
    today: dt.datetime,
) -> bool:
    """Whether the files are there, belong together, name the hosts, and last a while."""
    if not certificate.exists() or not key.exists():
        return False
    chain = load_chain(certificate)
    leaf = chain[0]
    named = [e.value for e in leaf.extensions if isinstance(e.value, x509.SubjectAlternativeName)]
    return (
        chain[1:] == [authority]
        and [list(each) for each in named] == [list(names)]
        and leaf.public_key() == _signer(key).public_key()
        and leaf.not_valid_before_utc <= today
        and leaf.not_valid_after_utc - today >= _RENEWED
    )


def _self_signed(signer: Signer, today: dt.datetime) -> x509.Certificate:
    """A certificate authority that certifies servers and no further authorities."""
    mark = x509.SubjectKeyIdentifier.from_public_key(signer.public_key())
    name = f"tacit authority {mark.digest.hex()[:16]}"
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return (
        _begun(subject, subject, signer, today, today + _CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(authority=True), critical=True)
        .add_extension(mark, critical=False)
        .sign(signer, hashes.SHA256())
    )


def _leaf(
    authority: x509.Certificate,
    signer: Signer,
    key: Signer,
    names: Sequence[x509.GeneralName],
    today: dt.datetime,
) -> x509.Certificate:
    """The server's certificate."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tacit coordinator")])
    end = min(today + _LIFE, authority.not_valid_after_utc)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    return (
        _begun(subject, authority.subject, key, today, end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(issuer, critical=False)
        .sign(signer, hashes.SHA256())
    )


def _begun(
    subject: x509.Name,
    issuer: x509.Name,
    key: Signer,
    today: dt.datetime,
    end: dt.datetime,
) -> x509.CertificateBuilder:
    """Valid from a day before, for machines whose clock is behind."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - _DAY)
        .not_valid_after(end)
    )


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _names(hosts: Sequence[str]) -> list[x509.GeneralName]:
    """Names and addresses, each once, local ones last; `identity.host`."""
    return [_name(host) for host in dict.fromkeys([*map(str.lower, hosts), *_ALWAYS])]


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        ascii_name = host.encode("idna").decode("ascii")
    except UnicodeError:
        raise TacitError("identity.host", host=host) from None
    labels = ascii_name.split(".")
    if not all(_LABEL.fullmatch(label) for label in labels) or labels[-1].isdigit():
        raise TacitError("identity.host", host=host)
    return x509.DNSName(ascii_name)


def _signer(path: Path) -> Signer:
    key = private_key(path, "P-256")
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TacitError("identity.key-file", path=path, kind="P-256", why="it is of another kind")
    return key


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
