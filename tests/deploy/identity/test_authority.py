from __future__ import annotations

import base64
import datetime as dt
import hashlib
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.verification import PolicyBuilder, Store

from tacit.base.errors import TacitError
from tacit.deploy.identity.authority import Certificates, ensure, fingerprint

NOW = 1_800_000_000.0
DAY = 86_400.0
HOSTS = ("fl.example.org", "192.0.2.7")


def leaf_of(made: Certificates) -> x509.Certificate:
    return x509.load_pem_x509_certificates(made.certificate.read_bytes())[0]


def accepted(made: Certificates, host: str, now: float) -> bool:
    """What an independent verifier says, by the rules of browsers."""
    at = dt.datetime.fromtimestamp(now, dt.UTC)
    store = Store([x509.load_pem_x509_certificate(made.authority_pem.encode())])
    verifier = (
        PolicyBuilder().store(store).time(at).build_server_verifier(x509.DNSName(host))
    )  # fmt: skip
    try:
        verifier.verify(leaf_of(made), [])
    except x509.verification.VerificationError:
        return False
    return True


def test_the_first_start_makes_an_authority_and_a_certificate(tmp_path: Path) -> None:
    made = ensure(tmp_path / "tls", HOSTS, NOW)
    assert accepted(made, "fl.example.org", NOW)
    assert accepted(made, "localhost", NOW)
    assert not accepted(made, "other.example.org", NOW)
    assert not accepted(made, "fl.example.org", NOW - 2 * DAY)
    assert not accepted(made, "fl.example.org", NOW + 366 * DAY)
    chain = x509.load_pem_x509_certificates(made.certificate.read_bytes())
    assert chain[1:] == [x509.load_pem_x509_certificate(made.authority_pem.encode())]
    keys = {path.name for path in (tmp_path / "tls").iterdir() if path.suffix == ".key"}
    assert keys == {"authority.key", "server.key"}
    for name in keys:
        assert stat.S_IMODE((tmp_path / "tls" / name).stat().st_mode) == 0o600


def test_local_names_are_always_served(tmp_path: Path) -> None:
    san = leaf_of(ensure(tmp_path, HOSTS, NOW)).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert san.value.get_values_for_type(x509.DNSName) == ["fl.example.org", "localhost"]
    addresses = san.value.get_values_for_type(x509.IPAddress)
    assert list(map(str, addresses)) == ["192.0.2.7", "127.0.0.1", "::1"]


def test_the_authority_certifies_servers_and_no_authorities(tmp_path: Path) -> None:
    authority = x509.load_pem_x509_certificate(ensure(tmp_path, (), NOW).authority_pem.encode())
    limits = authority.extensions.get_extension_for_class(x509.BasicConstraints)
    assert limits.critical
    assert limits.value == x509.BasicConstraints(ca=True, path_length=0)
    assert authority.not_valid_after_utc.timestamp() == NOW + 3650 * DAY
    key = authority.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"


def test_nothing_changes_while_it_is_valid(tmp_path: Path) -> None:
    made = ensure(tmp_path, HOSTS, NOW)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert ensure(tmp_path, HOSTS, NOW + 335 * DAY) == made
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_it_is_renewed_under_the_same_authority(tmp_path: Path) -> None:
    old = ensure(tmp_path, HOSTS, NOW)
    leaf = leaf_of(old)
    new = ensure(tmp_path, HOSTS, NOW + 336 * DAY)
    assert new == old
    assert leaf_of(new) != leaf
    assert accepted(new, "fl.example.org", NOW + 400 * DAY)


def test_other_hosts_get_another_certificate_of_the_same_authority(tmp_path: Path) -> None:
    old = ensure(tmp_path, HOSTS, NOW)
    new = ensure(tmp_path, ("other.example.org",), NOW)
    assert new.fingerprint == old.fingerprint
    assert accepted(new, "other.example.org", NOW)
    assert not accepted(new, "fl.example.org", NOW)


@pytest.mark.parametrize("lost", ["server.pem", "server.key"])
def test_a_lost_server_file_is_made_again(lost: str, tmp_path: Path) -> None:
    old = ensure(tmp_path, HOSTS, NOW)
    (tmp_path / lost).unlink()
    new = ensure(tmp_path, HOSTS, NOW)
    assert new == old
    assert accepted(new, "localhost", NOW)


def test_a_key_of_another_certificate_is_replaced(tmp_path: Path) -> None:
    """As a crash between the two files would leave them."""
    ensure(tmp_path / "a", HOSTS, NOW)
    made = ensure(tmp_path / "b", HOSTS, NOW)
    (tmp_path / "a" / "server.key").replace(made.key)
    old = leaf_of(made)
    ensure(tmp_path / "b", HOSTS, NOW)
    assert leaf_of(made) != old


def test_a_certificate_of_another_authority_is_replaced(tmp_path: Path) -> None:
    other = ensure(tmp_path / "a", HOSTS, NOW)
    made = ensure(tmp_path / "b", HOSTS, NOW)
    made.certificate.write_bytes(other.certificate.read_bytes())
    ensure(tmp_path / "b", HOSTS, NOW)
    assert accepted(made, "localhost", NOW)


def test_a_first_start_that_was_cut_short_is_finished(tmp_path: Path) -> None:
    old = ensure(tmp_path, HOSTS, NOW)
    (tmp_path / "authority.pem").unlink()
    new = ensure(tmp_path, HOSTS, NOW)
    assert new.fingerprint != old.fingerprint
    assert accepted(new, "localhost", NOW)


def code_of(folder: Path, now: float = NOW) -> str:
    with pytest.raises(TacitError) as refused:
        ensure(folder, HOSTS, now)
    return refused.value.code


def test_an_authority_without_its_own_key_certifies_nothing(tmp_path: Path) -> None:
    ensure(tmp_path / "a", HOSTS, NOW)
    ensure(tmp_path / "b", HOSTS, NOW)
    (tmp_path / "a" / "authority.key").replace(tmp_path / "b" / "authority.key")
    assert code_of(tmp_path / "a") == code_of(tmp_path / "b") == "identity.authority-key"


def test_an_authority_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    ensure(tmp_path, HOSTS, NOW)
    (tmp_path / "authority.key").chmod(0o644)
    assert code_of(tmp_path) == "identity.key-rights"


def test_an_authority_ends(tmp_path: Path) -> None:
    ensure(tmp_path, HOSTS, NOW)
    late = ensure(tmp_path, HOSTS, NOW + 3600 * DAY)
    assert leaf_of(late).not_valid_after_utc.timestamp() == NOW + 3650 * DAY
    assert code_of(tmp_path, NOW + 3621 * DAY) == "identity.authority-expired"


@pytest.mark.parametrize("name", ["authority.pem", "server.pem"])
def test_a_broken_certificate_is_named(name: str, tmp_path: Path) -> None:
    ensure(tmp_path, HOSTS, NOW)
    (tmp_path / name).write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n")
    assert code_of(tmp_path) == "identity.certificate-file"


def test_a_key_of_another_kind_is_named(tmp_path: Path) -> None:
    ensure(tmp_path, HOSTS, NOW)
    (tmp_path / "authority.key").write_bytes(b"none")
    assert code_of(tmp_path) == "identity.key-file"


@pytest.mark.parametrize(
    "host", ["", "a b", "*.example.org", "-x.org", "x..org", "1.2.3.400", "h:80", "ü" * 70]
)
def test_what_is_no_host_is_named(host: str, tmp_path: Path) -> None:
    with pytest.raises(TacitError) as refused:
        ensure(tmp_path, [host], NOW)
    assert refused.value.code == "identity.host"
    assert not list(tmp_path.iterdir())


def test_hosts_are_written_as_the_network_writes_them(tmp_path: Path) -> None:
    made = ensure(tmp_path, ["FL.Example.org", "münchen.example", "LOCALHOST", "2001:DB8::1"], NOW)
    assert accepted(made, "xn--mnchen-3ya.example", NOW)
    assert accepted(made, "fl.example.org", NOW)
    assert ensure(tmp_path, ["fl.example.org", "münchen.example", "2001:db8:0::1"], NOW) == made


def test_the_fingerprint_is_of_the_certificates_der(tmp_path: Path) -> None:
    made = ensure(tmp_path, (), NOW)
    der = x509.load_pem_x509_certificate(made.authority_pem.encode()).public_bytes(Encoding.DER)
    expected = base64.b64encode(hashlib.sha256(der).digest()).decode().rstrip("=")
    assert made.fingerprint == f"SHA256:{expected}"
    assert fingerprint(made.authority_pem.encode()) == fingerprint(made.authority_pem)
