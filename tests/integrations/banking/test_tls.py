"""Mutual TLS against a server that lets nobody in without a certificate, by a CA that is made here; and keys that are only ciphertext."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from isthmus.domain.banking import BankProvider, OutcomeUnknown, ProviderFault, ProviderUnavailable
from isthmus.domain.clock import SystemClock
from isthmus.domain.secrets import ProviderTokens
from isthmus.integrations.banking.outside import doors
from isthmus.integrations.banking.registry import providers_of
from isthmus.integrations.secrets.certificates import CertificateError, client_pair
from isthmus.integrations.secrets.file_master_key import FileMasterKey
from isthmus.integrations.secrets.sealed_keys import SealedKeys
from isthmus.settings import ProviderCertificates, load_settings

NOW, DAY = datetime.now(UTC), timedelta(days=1)
PROVIDERS = ("plaid", "truelayer", "yapily", "gocardless")
#: One through its own client, one through ours.
SOME = ("plaid", "gocardless")


def named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


class Authority:
    def __init__(self, name: str) -> None:
        self.key, self.name = ec.generate_private_key(ec.SECP256R1()), named(name)
        self.certificate = self._signed(self.key, self.name, x509.BasicConstraints(ca=True, path_length=None))

    def _signed(self, key: ec.EllipticCurvePrivateKey, name: x509.Name, *more: x509.ExtensionType) -> x509.Certificate:
        builder = x509.CertificateBuilder(
            self.name, name, key.public_key(), x509.random_serial_number(), NOW - DAY, NOW + 60 * DAY
        )
        for one in more:
            builder = builder.add_extension(one, critical=isinstance(one, x509.BasicConstraints))
        return builder.sign(self.key, SHA256())

    def issue(self, folder: Path, name: str) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        host = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
        files = folder / f"{name}.pem", folder / f"{name}.key"
        files[0].write_bytes(self._signed(key, named(name), host).public_bytes(Encoding.PEM))
        files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return files

    def file(self, folder: Path) -> Path:
        path = folder / f"{self.certificate.subject.rfc4514_string()}.pem"
        path.write_bytes(self.certificate.public_bytes(Encoding.PEM))
        return path


ANSWER = (
    b'{"results":[],"data":{"id":"x","status":"AUTHORIZED"},"item":{"item_id":"x"},"access":"a","access_expires":9,'
)
ANSWER += b'"refresh":"r","refresh_expires":9,"id":"x","status":"LN","reference":"s","agreement":"a","link":"l"}'


@dataclass
class Server:
    """Answers everything alike, and keeps who came: the name in the client's certificate. `resets`: so many are cut off instead."""

    url: str = ""
    came: list[str] = field(default_factory=list)
    resets: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            subject = dict(one[0] for one in writer.get_extra_info("peercert")["subject"])
            self.came.append(f"{subject['commonName']} {head.split()[1].decode()}")
            if self.resets:
                self.resets -= 1
                writer.transport.abort()
                return
            length = f"HTTP/1.1 200 OK\r\nContent-Length: {len(ANSWER)}\r\nConnection: close\r\n\r\n"
            writer.write(length.encode() + ANSWER)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def server(folder: Path, ours: Authority, clients: Authority) -> AsyncIterator[Server]:
    made = Server()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=clients.file(folder))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(*ours.issue(folder, "server"))
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=context)
    made.url = f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        listening.close()


@asynccontextmanager
async def providers(
    url: str, files: ProviderCertificates, sealed: SealedKeys | None = None
) -> AsyncIterator[dict[str, BankProvider]]:
    told = {
        "providers": PROVIDERS,
        "plaid_url": url,
        "plaid_client_id": "x",
        "plaid_secret": "x",
        "truelayer_auth_url": url,
        "truelayer_data_url": url,
        "truelayer_client_id": "x",
        "truelayer_secret": "x",
        "yapily_url": url,
        "yapily_application": "x",
        "yapily_secret": "x",
        "credentials": {"gocardless": {"id": "x", "secret": "x", "url": url}},
        "deadline_s": 3,
    }
    banking = load_settings(banking=told).banking
    async with doors(3, dict.fromkeys(PROVIDERS, files), sealed, SystemClock()) as outside:
        yield providers_of(banking, outside, SystemClock())


async def asked(provider: BankProvider) -> None:
    """Something that is safe to ask of it."""
    tokens = ProviderTokens("t", reference="t")
    await (provider.accounts(tokens) if provider.name == "truelayer" else provider.news(tokens))


@pytest.fixture(scope="module")
def bank() -> Authority:
    return Authority("bank-authority")


@pytest.fixture(scope="module")
def eidas() -> Authority:
    return Authority("eidas-authority")


async def test_every_adapter_shows_the_certificate_that_is_set_for_its_provider(
    tmp_path: Path, bank: Authority, eidas: Authority
) -> None:
    certificate, key = eidas.issue(tmp_path, "isthmus-qwac")
    files = ProviderCertificates(client_certificate=certificate, client_key=key, authorities=bank.file(tmp_path))
    async with server(tmp_path, bank, eidas) as at, providers(at.url, files) as made:
        for name in PROVIDERS:
            await asked(made[name])

    assert {one.split()[0] for one in at.came} == {"isthmus-qwac"}
    assert len(at.came) == 5, at.came


async def test_without_ours_or_with_a_strangers_nobody_gets_in(
    tmp_path: Path, bank: Authority, eidas: Authority
) -> None:
    authorities = bank.file(tmp_path)
    certificate, key = Authority("stranger").issue(tmp_path, "stranger")
    wrong = (
        ProviderCertificates(authorities=authorities),
        ProviderCertificates(client_certificate=certificate, client_key=key, authorities=authorities),
    )
    async with server(tmp_path, bank, eidas) as at:
        for files in wrong:
            async with providers(at.url, files) as made:
                for name in SOME:
                    with pytest.raises(ProviderFault):
                        await asked(made[name])
    assert at.came == []


async def test_a_server_that_is_not_the_providers_is_told_nothing(
    tmp_path: Path, bank: Authority, eidas: Authority
) -> None:
    """Plaid's client says AttributeError where the server's certificate does not fit."""
    certificate, key = eidas.issue(tmp_path, "isthmus-qwac")
    other = Authority("another-authority").file(tmp_path)
    files = ProviderCertificates(client_certificate=certificate, client_key=key, authorities=other)
    async with server(tmp_path, bank, eidas) as at, providers(at.url, files) as made:
        for name in SOME:
            with pytest.raises(ProviderUnavailable):
                await asked(made[name])
    assert at.came == []


@pytest.mark.parametrize("name", ["plaid", "yapily"])
async def test_f19_a_connection_that_is_reset_is_made_again_only_where_that_is_safe(
    tmp_path: Path, bank: Authority, eidas: Authority, name: str
) -> None:
    certificate, key = eidas.issue(tmp_path, "isthmus-qwac")
    files = ProviderCertificates(client_certificate=certificate, client_key=key, authorities=bank.file(tmp_path))
    async with server(tmp_path, bank, eidas) as at, providers(at.url, files) as made:
        at.resets = 1
        await asked(made[name])
        assert len(at.came) == 2

        at.resets = 1
        with pytest.raises(OutcomeUnknown):
            if name == "plaid":
                await made[name]._client.ask(  # type: ignore[attr-defined]
                    "x", "item_public_token_exchange", dict, safe=False, public_token="p"
                )
            else:
                await made[name]._ask("x", "POST", "/x", dict, safe=False)  # type: ignore[attr-defined]
        assert len(at.came) == 3


async def test_a_key_on_the_disk_may_be_ciphertext_alone(tmp_path: Path, bank: Authority, eidas: Authority) -> None:
    certificate, key = eidas.issue(tmp_path, "isthmus-qwac")
    pem = key.read_bytes()
    keys = SealedKeys(FileMasterKey.load_or_create(tmp_path / "master.key"))
    key.write_bytes(keys.seal(pem, "plaid", "client"))
    files = ProviderCertificates(client_certificate=certificate, client_key=key, authorities=bank.file(tmp_path))

    async with server(tmp_path, bank, eidas) as at, providers(at.url, files, keys) as made:
        await asked(made["plaid"])
        with pytest.raises(ProviderUnavailable):  # it is sealed for another provider
            await asked(made["yapily"])

    assert [one.split()[0] for one in at.came] == ["isthmus-qwac"]
    assert b"PRIVATE" not in key.read_bytes()
    with pytest.raises(CertificateError, match="sealed for a master key that is not here"):
        client_pair("plaid", files, NOW)
    stranger = SealedKeys(FileMasterKey.load_or_create(tmp_path / "another.key"))
    with pytest.raises(CertificateError, match="sealed for another master key, provider or purpose"):
        client_pair("plaid", files, NOW, stranger)
    assert keys.open(keys.seal(pem, "plaid", "client"), "plaid", "signing") is None
    assert keys.open(b"-----BEGIN ISTHMUS SEALED KEY-----\n???\n", "plaid", "client") is None


async def test_a_certificate_that_cannot_be_used_shuts_out_its_provider_alone(
    tmp_path: Path, bank: Authority, eidas: Authority
) -> None:
    certificate, _ = eidas.issue(tmp_path, "one")
    _, key = eidas.issue(tmp_path, "two")
    files = ProviderCertificates(client_certificate=certificate, client_key=key, authorities=bank.file(tmp_path))
    async with server(tmp_path, bank, eidas) as at, providers(at.url, files) as made:
        assert set(made) == set(PROVIDERS), "the product starts"
        for name in SOME:
            with pytest.raises(ProviderUnavailable):
                await asked(made[name])
    assert at.came == []
