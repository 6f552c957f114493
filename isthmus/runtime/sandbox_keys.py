"""What `up` sets up at the sandbox that a person would at a provider's console: the key that signs payments.

The private key is made once and kept sealed in the data directory; the sandbox is given the public one at every start, since its book may
be another.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from isthmus.integrations.secrets.opening import open_master_key
from isthmus.integrations.secrets.sealed_keys import SealedKeys
from isthmus.runtime.data_directory import write_private
from isthmus.runtime.sandbox_wiring import TRUELAYER_KEY_ID
from isthmus.settings import Settings


async def ensure_signing_key(settings: Settings, database_url: str, file: Path) -> str:
    """The public key in PEM. One that the master key does not open any more gives way to another: it was the sandbox's only."""
    sealed = SealedKeys(await open_master_key(settings, database_url))
    return await asyncio.to_thread(_kept_or_made, sealed, file)


def _kept_or_made(sealed: SealedKeys, file: Path) -> str:
    opened = sealed.open(file.read_bytes(), "truelayer", "signing") if file.exists() else None
    if opened is not None:
        return _public(load_pem_private_key(opened, password=None))
    key = ec.generate_private_key(ec.SECP521R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_private(file, sealed.seal(pem, "truelayer", "signing").decode())
    return _public(key)


async def register(sandbox_url: str, public_key: str) -> None:
    told = {"action": "truelayer.signing_key", "kid": TRUELAYER_KEY_ID, "public_key": public_key}
    async with httpx.AsyncClient(timeout=5.0, trust_env=False) as http:
        (await http.post(f"{sandbox_url}/sandbox/actions", json=told)).raise_for_status()


def _public(key: object) -> str:
    raw: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]  # every kind has it
    return raw.decode()
