"""The part of `isthmus doctor` that looks at what is kept secret: the master key or the vault, and our certificates at providers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg

from isthmus.cli.doctor import Finding, Status, within_deadline
from isthmus.integrations.secrets.certificates import (
    CertificateError,
    Pair,
    client_pair,
    client_tls,
    signing_pair,
)
from isthmus.integrations.secrets.file_master_key import FileMasterKey
from isthmus.integrations.secrets.master_key import MasterKey, MasterKeyAway, MasterKeyError
from isthmus.integrations.secrets.opening import open_master_key
from isthmus.integrations.secrets.sealed_keys import SealedKeys, is_sealed
from isthmus.runtime.endpoints import resolve
from isthmus.settings import ProviderCertificates, Settings

#: As the alerts have it (docs/runbook.md).
_TICKET, _CALL = timedelta(days=30), timedelta(days=7)
#: A token of a vault that ends sooner and that nobody renews.
_SOON = timedelta(days=1)
_PAGE = "docs/secrets.md"


async def examine_secrets(settings: Settings) -> list[Finding]:
    findings = [await _vault(settings)] if settings.secrets.provider == "vault" else [_file(settings)]
    if not settings.secrets.certificates:
        return findings
    sealed = await _sealed(settings)
    for provider, files in sorted(settings.secrets.certificates.items()):
        findings += _certificates(provider, files, sealed)
    return findings


def _file(settings: Settings) -> Finding:
    path, check = settings.master_key_file, "master key"
    if not path.exists():
        if settings.database.url is None:
            return Finding(check, "ok", f"{path} will be made at the first start")
        told = f"{path} is not there: the first process that starts makes a new one"
        remedy = f"where this database was used before, bring its key from your backup first ({_PAGE})"
        return Finding(check, "warning", told, remedy)
    if path.stat().st_mode & 0o077:
        return Finding(check, "problem", f"{path} can be read by other users of this machine", f"chmod 600 {path}")
    try:
        FileMasterKey(path)
    except MasterKeyError as error:
        return Finding(check, "problem", str(error), f"bring the file back from your backup ({_PAGE})")
    return Finding(check, "ok", f"{path} can be read by its owner only")


async def _vault(settings: Settings) -> Finding:
    told = settings.secrets
    check = "vault"

    async def look() -> Finding:
        from isthmus.integrations.secrets.transit import Transit  # only where there is one

        transit = Transit(told)
        try:
            lasts_s = await transit.token_lasts_s()
        except MasterKeyAway as error:
            return Finding(
                check, "problem", str(error), "see that it runs, is unsealed, and ISTHMUS_SECRETS__VAULT_URL is right"
            )
        except MasterKeyError as error:
            remedy = "give it a token that is valid: ISTHMUS_SECRETS__VAULT_TOKEN_FILE, or ISTHMUS_SECRETS__VAULT_TOKEN"
            return Finding(check, "problem", f"its token is not valid: {error}", remedy)
        try:
            key = await transit.key()
        except MasterKeyError as error:
            remedy = f"make the key {told.vault_key} with derived=true, and let the token's policy read it ({_PAGE})"
            return Finding(check, "problem", str(error), remedy)
        found = f"answers, the key {told.vault_key} is there (versions {key.oldest} to {key.newest})"
        if lasts_s is not None and lasts_s < _SOON.total_seconds() and told.vault_token_file is None:
            remedy = "let an agent renew it: ISTHMUS_SECRETS__VAULT_TOKEN_FILE"
            return Finding(check, "warning", f"{found}; its token ends in {lasts_s} s", remedy)
        return Finding(check, "ok", found)

    return await within_deadline(check, look, "see that it runs, and that ISTHMUS_SECRETS__VAULT_URL is right")


async def _sealed(settings: Settings) -> SealedKeys | None:
    """None where the master key is not at hand; what is wrong with it is told elsewhere."""
    certificates = settings.secrets.certificates.values()
    if not any(_is_sealed(path) for files in certificates for _, path in _keys_of(files)):
        return None
    try:
        url = resolve(settings, need=()).database_url
        if settings.secrets.provider == "vault" and not url:
            return None
        master: MasterKey = await open_master_key(settings, url, create=False)
    except (MasterKeyError, OSError, asyncpg.PostgresError):
        return None
    return SealedKeys(master)


def _certificates(provider: str, files: ProviderCertificates, sealed: SealedKeys | None) -> Iterator[Finding]:
    """One that ended, or does not fit its key, is refused by the provider in words that do not say so."""
    now = datetime.now(UTC)
    for purpose, key in _keys_of(files):
        check = f"{provider} {purpose} certificate"
        try:
            if purpose == "client":
                client_tls(provider, files, now, sealed)  # that OpenSSL takes it, too
            pair = (client_pair if purpose == "client" else signing_pair)(provider, files, now, sealed)
        except CertificateError as error:
            remedy = f"bring the right files, or correct ISTHMUS_SECRETS__CERTIFICATES ({_PAGE})"
            yield Finding(check, "problem", str(error), remedy)
            continue
        assert pair is not None, "its key is set"
        yield _told(check, pair, now)
        if not _is_sealed(key):
            remedy = f"`isthmus secrets seal {key} --provider {provider} --purpose {purpose}`"
            yield Finding(f"{provider} {purpose} key", "warning", f"{key.name} is in plain text", remedy)


def _told(check: str, pair: Pair, now: datetime) -> Finding:
    if pair.expires_at is None:
        return Finding(check, "ok", "none, the provider knows the bare key")
    left = pair.expires_at - now
    found = f"fits its key, {left.days} days left"
    if left > _TICKET:
        return Finding(check, "ok", found)
    status: Status = "warning" if left > _CALL else "problem"
    return Finding(check, status, found, "have another issued, replace the files, start the processes again")


def _keys_of(files: ProviderCertificates) -> Iterator[tuple[str, Path]]:
    if files.client_key is not None:
        yield "client", files.client_key
    if files.signing_key is not None:
        yield "signing", files.signing_key


def _is_sealed(path: Path) -> bool:
    try:
        return is_sealed(path.read_bytes())
    except OSError:
        return False
