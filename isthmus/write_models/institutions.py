"""The catalogue of institutions, made of what all providers tell. One that a provider no longer tells stays, without that provider."""

from __future__ import annotations

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
    rows = [(institution_id(one.name, one.countries[0]), one) for one in found if one.countries]
    await connection.executemany(
        "insert into institutions (id, name, plain_name, countries, logo_url, capabilities) values ($1, $2, $3, $4, $5, $6) "
        "on conflict (id) do update set name = excluded.name, logo_url = coalesce(excluded.logo_url, institutions.logo_url), "
        "countries = (select array_agg(distinct c order by c) from unnest(institutions.countries || excluded.countries) c), "
        "capabilities = (select array_agg(distinct c order by c) from unnest(institutions.capabilities || excluded.capabilities) c), "
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
