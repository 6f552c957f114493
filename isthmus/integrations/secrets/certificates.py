"""The certificates and keys that a bank's provider knows us by: a client certificate (QWAC) and a signing key (QSEAL).

They are read when they are needed and checked whole: what is missing, is no PEM, is no pair, or has expired is said with the provider
and the setting, before any provider says something less clear. A key may be sealed (`sealed_keys`); opened it is in memory only.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from isthmus.integrations.secrets.sealed_keys import SealedKeys, is_sealed
from isthmus.settings import ProviderCertificates

Purpose = Literal["client", "signing"]


class CertificateError(Exception):
    """A sentence that names the provider, the setting and the fault, and shows nothing of a key."""


@dataclass(frozen=True)
class Pair:
    """`certificates` is the chain as it stands in the file, ours first; empty where a provider knows the bare key."""

    provider: str
    purpose: Purpose
    key: PrivateKeyTypes = field(repr=False)
    certificates: tuple[x509.Certificate, ...]

    @property
    def expires_at(self) -> datetime | None:
        """When the first of the chain ends."""
        return min((one.not_valid_after_utc for one in self.certificates), default=None)


def signing_pair(
    provider: str, files: ProviderCertificates, now: datetime, sealed: SealedKeys | None = None
) -> Pair | None:
    """None where none is set. `sealed` opens a key that is. Raises CertificateError."""
    return _pair(provider, "signing", files.signing_certificate, files.signing_key, now, sealed)


def client_pair(
    provider: str, files: ProviderCertificates, now: datetime, sealed: SealedKeys | None = None
) -> Pair | None:
    """As `signing_pair`."""
    return _pair(provider, "client", files.client_certificate, files.client_key, now, sealed)


def client_tls(
    provider: str, files: ProviderCertificates, now: datetime, sealed: SealedKeys | None = None
) -> ssl.SSLContext:
    """What an HTTP client of the provider is made with (`verify=`); without a certificate of ours, plain TLS. Raises CertificateError."""
    try:
        context = ssl.create_default_context(cafile=files.authorities)
    except OSError as error:  # what OpenSSL cannot read is one as well
        raise CertificateError(f"{provider}: authorities cannot be used: {type(error).__name__}") from None
    pair = client_pair(provider, files, now, sealed)
    if pair is None:
        return context
    chain = b"".join(one.public_bytes(Encoding.PEM) for one in pair.certificates)
    key = pair.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        with _as_file(chain + key) as path:
            context.load_cert_chain(path)
    except (ssl.SSLError, OSError) as error:
        raise CertificateError(f"{provider}: the client certificate cannot be used: {type(error).__name__}") from None
    return context


@contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """Python's ssl reads files only. One in memory, where the system has that; else one that nobody else can read, for an instant."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("isthmus")
        try:
            os.write(descriptor, content)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
        return
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        yield file.name


def expiries(certificates: Mapping[str, ProviderCertificates]) -> Iterator[tuple[str, Purpose, datetime | None]]:
    """When each certificate that is set ends; None for one that cannot be read."""
    for provider, files in certificates.items():
        for purpose, path in _certificate_files(files):
            try:
                chain = _chain(provider, purpose, path)
                yield provider, purpose, min(one.not_valid_after_utc for one in chain)
            except CertificateError:
                yield provider, purpose, None


def _certificate_files(files: ProviderCertificates) -> Iterator[tuple[Purpose, Path]]:
    if files.client_certificate is not None:
        yield "client", files.client_certificate
    if files.signing_certificate is not None:
        yield "signing", files.signing_certificate


def _pair(
    provider: str,
    purpose: Purpose,
    certificate: Path | None,
    key_file: Path | None,
    now: datetime,
    sealed: SealedKeys | None,
) -> Pair | None:
    if key_file is None:
        return None
    key = _key(provider, purpose, key_file, sealed)
    chain = _chain(provider, purpose, certificate) if certificate is not None else ()
    if chain:
        if _public(chain[0].public_key()) != _public(key.public_key()):
            raise _fault(provider, purpose, "key", key_file, "is not the key of the certificate")
        for one in chain:
            if one.not_valid_after_utc <= now:
                raise _fault(
                    provider,
                    purpose,
                    "certificate",
                    certificate,
                    f"expired at {one.not_valid_after_utc:%Y-%m-%d %H:%M} UTC",
                )
        if chain[0].not_valid_before_utc > now:
            raise _fault(
                provider,
                purpose,
                "certificate",
                certificate,
                f"is valid from {chain[0].not_valid_before_utc:%Y-%m-%d %H:%M} UTC",
            )
    return Pair(provider, purpose, key, chain)


def _key(provider: str, purpose: Purpose, path: Path, sealed: SealedKeys | None) -> PrivateKeyTypes:
    raw = _read(provider, purpose, "key", path)
    if is_sealed(raw):
        opened = sealed.open(raw, provider, purpose) if sealed is not None else None
        if opened is None:
            why = "another master key, provider or purpose" if sealed is not None else "a master key that is not here"
            raise _fault(provider, purpose, "key", path, f"is sealed for {why}")
        raw = opened
    try:
        return load_pem_private_key(raw, password=None)
    except TypeError:
        raise _fault(provider, purpose, "key", path, "has a password; keep it in a secret store instead") from None
    except Exception as error:  # noqa: BLE001 - whichever it is, it may repeat what it read
        raise _fault(provider, purpose, "key", path, f"is no private key in PEM: {type(error).__name__}") from None


def _chain(provider: str, purpose: Purpose, path: Path) -> tuple[x509.Certificate, ...]:
    raw = _read(provider, purpose, "certificate", path)
    try:
        return tuple(x509.load_pem_x509_certificates(raw))
    except ValueError:
        raise _fault(provider, purpose, "certificate", path, "is no certificate in PEM") from None


def _read(provider: str, purpose: Purpose, what: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _fault(provider, purpose, what, path, f"cannot be read: {error.strerror}") from None


def _fault(provider: str, purpose: Purpose, what: str, path: Path | None, fault: str) -> CertificateError:
    name = path.name if path else ""
    return CertificateError(f"{provider}: {purpose}_{what} ({name}) {fault}")


def _public(key: object) -> bytes:
    raw: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]  # every kind has it
    return raw
