"""What providers know us by: a chain and its key, checked whole, and how long they last."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from prometheus_client import REGISTRY

from isthmus.domain.clock import SettableClock
from isthmus.integrations.secrets.certificates import CertificateError, client_pair, client_tls, signing_pair
from isthmus.runtime.certificate_watch import look
from isthmus.settings import ProviderCertificates, SettingsError, load_settings

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def key_pem(key: ec.EllipticCurvePrivateKey, encryption: KeySerializationEncryption | None = None) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())


def certificate_pem(
    key: ec.EllipticCurvePrivateKey, ends: datetime = NOW + 90 * DAY, begins: datetime = NOW - DAY
) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "isthmus")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), begins, ends)
    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM)


KEY, OTHER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def files(tmp_path: Path) -> ProviderCertificates:
    (tmp_path / "qwac.pem").write_bytes(certificate_pem(KEY))
    (tmp_path / "qwac.key").write_bytes(key_pem(KEY))
    return ProviderCertificates(client_certificate=tmp_path / "qwac.pem", client_key=tmp_path / "qwac.key")


def test_a_pair_is_read_and_makes_a_connection_of_ours(files: ProviderCertificates) -> None:
    pair = client_pair("truelayer", files, NOW)

    assert pair is not None
    assert pair.expires_at == NOW + 90 * DAY
    assert isinstance(client_tls("truelayer", files, NOW), ssl.SSLContext)
    assert signing_pair("truelayer", files, NOW) is None
    assert "PRIVATE" not in repr(pair)
    bare = ProviderCertificates(signing_key=files.client_key)
    signing = signing_pair("truelayer", bare, NOW)
    assert signing is not None
    assert (signing.certificates, signing.expires_at) == ((), None)
    assert client_pair("truelayer", bare, NOW) is None


def test_a_chain_lasts_as_long_as_its_first_to_end(files: ProviderCertificates) -> None:
    assert files.client_certificate is not None
    files.client_certificate.write_bytes(certificate_pem(KEY) + certificate_pem(OTHER, NOW + 5 * DAY))

    pair = client_pair("truelayer", files, NOW)

    assert pair is not None
    assert (len(pair.certificates), pair.expires_at) == (2, NOW + 5 * DAY)


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("qwac.pem", lambda: None, r"client_certificate \(qwac.pem\) cannot be read: No such file"),
        ("qwac.key", lambda: None, r"client_key \(qwac.key\) cannot be read: No such file"),
        ("qwac.pem", lambda: b"canary", r"client_certificate \(qwac.pem\) is no certificate in PEM"),
        ("qwac.key", lambda: b"canary", r"client_key \(qwac.key\) is no private key in PEM"),
        ("qwac.key", lambda: key_pem(OTHER), r"client_key \(qwac.key\) is not the key of the certificate"),
        ("qwac.key", lambda: key_pem(KEY, BestAvailableEncryption(b"x")), r"client_key \(qwac.key\) has a password"),
        ("qwac.pem", lambda: certificate_pem(KEY, NOW), r"\(qwac.pem\) expired at 2026-11-23 12:00 UTC"),
        (
            "qwac.pem",
            lambda: certificate_pem(KEY) + certificate_pem(OTHER, NOW - timedelta(hours=1)),
            r"\(qwac.pem\) expired at 2026-11-23 11:00 UTC",
        ),
        (
            "qwac.pem",
            lambda: certificate_pem(KEY, begins=NOW + DAY),
            r"\(qwac.pem\) is valid from 2026-11-24 12:00 UTC",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_provider_and_setting(
    files: ProviderCertificates, tmp_path: Path, file: str, content: Callable[[], bytes | None], told: str
) -> None:
    path, new = tmp_path / file, content()
    path.unlink()
    if new is not None:
        path.write_bytes(new)

    with pytest.raises(CertificateError, match=f"^truelayer: .*{told}") as refused:
        client_tls("truelayer", files, NOW)
    assert "canary" not in str(refused.value)


def test_the_gauge_says_how_long_each_lasts_and_follows_new_files(files: ProviderCertificates, tmp_path: Path) -> None:
    (tmp_path / "qseal.pem").write_bytes(certificate_pem(OTHER, NOW + 3 * DAY))
    signing = ProviderCertificates(signing_certificate=tmp_path / "qseal.pem", signing_key=tmp_path / "none")
    both, clock = {"first": files, "second": signing}, SettableClock(NOW)

    def told(provider: str, purpose: str) -> float | None:
        return REGISTRY.get_sample_value(
            "isthmus_certificate_expires_seconds", {"provider": provider, "purpose": purpose}
        )

    assert look(both, clock) == set()
    assert (told("first", "client"), told("second", "signing")) == (90 * 86_400, 3 * 86_400)
    clock.advance(4 * DAY)
    assert look(both, clock) == set()
    assert told("second", "signing") == -86_400
    (tmp_path / "qseal.pem").write_bytes(certificate_pem(OTHER, NOW + 100 * DAY))
    (tmp_path / "qwac.pem").write_bytes(b"rotten")
    assert look(both, clock) == {("first", "client")}
    assert (told("first", "client"), told("second", "signing")) == (float("-inf"), 96 * 86_400)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"client_certificate": "a.pem"}, "client_certificate and client_key come together"),
        ({"client_key": "a.key"}, "client_certificate and client_key come together"),
        ({"signing_certificate": "a.pem"}, "signing_certificate needs signing_key"),
        ({"signing_keys": "a.key"}, "Extra inputs are not permitted"),
    ],
)
def test_half_a_setting_stops_the_start(wrong: dict[str, str], told: str) -> None:
    with pytest.raises(SettingsError, match=f"ISTHMUS_SECRETS__CERTIFICATES__TRUELAYER.*{told}"):
        load_settings(secrets={"certificates": {"truelayer": wrong}})
