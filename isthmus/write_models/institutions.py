"""The catalogue of institutions, made of what all providers tell. One that a provider no longer tells stays, without that provider."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import timedelta

import structlog

from isthmus.domain.banking import BankProvider, ProviderFault, ProviderInstitution
from isthmus.domain.institutions import institution_id, plain_name
from isthmus.write_models.connection import Connection, Pool

log = structlog.get_logger(__name__)


async def refresh(pool: Pool, providers: Mapping[str, BankProvider], countries: Sequence[str]) -> dict[str, int]:
    """Ask each provider for each country. One that does not answer keeps what it told before. Returns how many each told."""
    told: dict[str, int] = {}
    for name, provider in providers.items():
        try:
            found = {one.reference: one for country in countries async for one in provider.institutions(country)}
        except ProviderFault as fault:
            log.warning("institutions are not refreshed", provider=name, why=str(fault))
            continue
        async with pool.acquire() as connection, connection.transaction():
            await _write(connection, name, list(found.values()))
        told[name] = len(found)
    return told


async def refresh_if_due(
    pool: Pool, providers: Mapping[str, BankProvider], countries: Sequence[str], every: timedelta
) -> None:
    """Where there is no catalogue yet, or it is older than that."""
    async with pool.acquire() as connection:
        due = await connection.fetchval(
            "select coalesce(max(refreshed_at) < now() - $1::interval, true) from institutions", every
        )
    if due and providers:
        await refresh(pool, providers, countries)


async def _write(connection: Connection, provider: str, found: Sequence[ProviderInstitution]) -> None:
    rows = await _with_ids(connection, provider, [one for one in found if one.countries])
    await connection.executemany(
        "insert into institutions (id, name, plain_name, countries, logo_url, capabilities) values ($1, $2, $3, $4, $5, $6) "
        "on conflict (id) do update set name = excluded.name, plain_name = excluded.plain_name, "
        "logo_url = coalesce(excluded.logo_url, institutions.logo_url), "
        "countries = (select array_agg(distinct c order by c) from unnest(institutions.countries || excluded.countries) c), "
        "capabilities = (select coalesce(array_agg(distinct c order by c), '{}') "
        "from unnest(institutions.capabilities || excluded.capabilities) c), "
        "refreshed_at = now()",
        [
            (key, one.name, plain_name(one.name), list(one.countries), one.logo_url, list(one.capabilities))
            for key, one in rows
        ],
    )
    await connection.executemany(
        "insert into institution_providers (provider, reference, institution_id) values ($1, $2, $3) "
        "on conflict (provider, reference) do update set institution_id = excluded.institution_id",
        [(provider, one.reference, key) for key, one in rows],
    )
    await connection.execute(
        "delete from institution_providers where provider = $1 and reference <> all($2::text[])",
        provider,
        [one.reference for one in found],
    )


async def _with_ids(
    connection: Connection, provider: str, found: Sequence[ProviderInstitution]
) -> list[tuple[str, ProviderInstitution]]:
    """Each keeps its id, whatever it is called later. Of two that one provider calls alike in one country each has its own."""
    rows = await connection.fetch(
        "select reference, institution_id from institution_providers where provider = $1 and reference = any($2::text[]) order by 1",
        provider,
        [one.reference for one in found],
    )
    owners: dict[str, str] = {}
    for row in rows:
        owners.setdefault(row["institution_id"], row["reference"])
    known = {reference: key for key, reference in owners.items()}
    for one in found:
        if one.reference in known:
            continue
        key = institution_id(one.name, one.countries[0])
        if owners.setdefault(key, one.reference) != one.reference:
            key = f"{key}-{hashlib.sha256(f'{provider} {one.reference}'.encode()).hexdigest()[:6]}"
        known[one.reference] = key
    return [(known[one.reference], one) for one in found]
