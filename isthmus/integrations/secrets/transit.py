"""The transit engine of a Vault or an OpenBao, by hvac: batches, a deadline, and few retries.

hvac waits for its socket, so that it runs in threads of its own: a vault that hangs takes none from anybody else. After a call
that found the vault away the next ones fail at once for a second, so that those who need no key are not held up by those who do.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import stamina

from isthmus.integrations.secrets.master_key import MasterKeyAway, MasterKeyError
from isthmus.settings import SecretsSettings

#: A request with more than 1 000 strings, names of fields among them, is refused; each of ours has five.
BATCH = 100
_THREADS = 4
_TRIES = 3
_AWAY_S = 1.0


@dataclass(frozen=True)
class TransitKey:
    newest: int
    oldest: int


class Transit:
    def __init__(self, settings: SecretsSettings) -> None:
        try:
            import hvac  # an extra
            import requests
        except ModuleNotFoundError:
            raise MasterKeyError("hvac is missing: install isthmus[vault]") from None
        assert settings.vault_url is not None, "the settings have checked it"
        self._settings = settings
        self._deadline_s = settings.vault_deadline_s
        self._key, self._mount = settings.vault_key, settings.vault_mount
        self._client = hvac.Client(
            url=settings.vault_url,
            timeout=settings.vault_deadline_s / 2,  # so that one that is lost on the way leaves time for another
            verify=str(settings.vault_ca_file) if settings.vault_ca_file else True,
            allow_redirects=False,
        )
        self._engine = self._client.secrets.transit
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="vault")
        errors = hvac.exceptions
        self._away: tuple[type[Exception], ...] = (
            TimeoutError,
            requests.exceptions.RequestException,
            errors.VaultDown,
            errors.BadGateway,
            errors.InternalServerError,
            errors.RateLimitExceeded,
        )
        self._refused: tuple[type[Exception], ...] = (errors.VaultError,)
        self._away_until = 0.0

    async def key(self) -> TransitKey:
        """Raises MasterKeyError where it is none that binds what it wraps to a place."""
        answer = await self._ask("read the key", lambda: self._engine.read_key(self._key, mount_point=self._mount))
        found = answer["data"]
        if not found.get("derived") or not found.get("supports_encryption"):
            raise MasterKeyError(f"the vault's key {self._key} must be made with derived=true, to encrypt")
        return TransitKey(found["latest_version"], max(1, found["min_decryption_version"]))

    async def token_lasts_s(self) -> int | None:
        """For how long the token we sign in with is good; None: until it is revoked. Raises MasterKeyError where it is not."""
        told = await self._ask("look at the token", self._client.auth.token.lookup_self)
        return int(told["data"]["ttl"]) or None

    async def encrypt(self, version: int, plains: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
        items = [
            {"plaintext": _text(plain), "context": _text(context), "key_version": version} for plain, context in plains
        ]
        found = await self._batches(
            "encrypt",
            items,
            lambda batch: self._engine.encrypt_data(self._key, batch_input=batch, mount_point=self._mount),
        )
        return [result["ciphertext"].encode() for result in found]

    async def decrypt(self, ciphertexts: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
        items = [{"ciphertext": _readable(blob), "context": _text(context)} for blob, context in ciphertexts]
        found = await self._batches(
            "decrypt",
            items,
            lambda batch: self._engine.decrypt_data(self._key, batch_input=batch, mount_point=self._mount),
        )
        return [base64.b64decode(result["plaintext"]) for result in found]

    async def rewrap(self, version: int, ciphertexts: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
        """What was encrypted never leaves the vault meanwhile."""
        items = [
            {"ciphertext": _readable(blob), "context": _text(context), "key_version": version}
            for blob, context in ciphertexts
        ]
        found = await self._batches(
            "rewrap",
            items,
            lambda batch: self._engine.rewrap_data(self._key, "", batch_input=batch, mount_point=self._mount),
        )
        return [result["ciphertext"].encode() for result in found]

    async def rotate(self) -> None:
        """Once: a second try might add two versions."""
        await self._ask("rotate", lambda: self._engine.rotate_key(self._key, mount_point=self._mount), tries=1)

    async def open_only_from(self, version: int) -> None:
        await self._ask(
            "retire",
            lambda: self._engine.update_key_configuration(
                self._key, min_decryption_version=version, mount_point=self._mount
            ),
        )

    async def _batches(
        self, what: str, items: Sequence[dict[str, Any]], ask: Callable[[list[dict[str, Any]]], Any]
    ) -> list[Any]:
        found: list[Any] = []
        for start in range(0, len(items), BATCH):
            batch = list(items[start : start + BATCH])
            answer = await self._ask(what, lambda batch=batch: ask(batch))  # type: ignore[misc]  # bound in the loop
            results = answer["data"]["batch_results"]
            if len(results) != len(batch) or any(result.get("error") for result in results):
                raise MasterKeyError(f"the vault did not {what} all of {len(batch)} keys")
            found += results
        return found

    async def _ask(self, what: str, ask: Callable[[], Any], tries: int = _TRIES) -> Any:
        if time.monotonic() < self._away_until:
            raise MasterKeyAway(f"the vault was away a moment ago, and was not asked to {what}")
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._deadline_s):
                async for attempt in stamina.retry_context(
                    on=self._away, attempts=tries, timeout=None, wait_initial=0.05, wait_max=0.3
                ):
                    with attempt:
                        return await loop.run_in_executor(self._threads, self._signed, ask)
        except self._away as error:
            self._away_until = time.monotonic() + _AWAY_S
            # Its words may hold an address, and never what was sent; its type says enough.
            raise MasterKeyAway(f"the vault did not {what} in time: {type(error).__name__}") from None
        except self._refused as error:
            raise MasterKeyError(f"the vault refused to {what}: {type(error).__name__}") from None
        raise AssertionError("the retries end with an answer or an error")

    def _signed(self, ask: Callable[[], Any]) -> Any:
        self._client.token = _token(self._settings)
        return ask()


def _token(settings: SecretsSettings) -> str:
    if settings.vault_token is not None:
        return settings.vault_token.get_secret_value()
    path: Path | None = settings.vault_token_file
    assert path is not None, "the settings have checked it"
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeError) as error:
        raise MasterKeyError(f"the vault's token cannot be read from {path.name}: {type(error).__name__}") from None


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _readable(blob: bytes) -> str:
    try:
        return blob.decode("ascii")
    except UnicodeDecodeError:
        raise MasterKeyError("this was not wrapped by a vault") from None
