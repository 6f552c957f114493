"""What linking and syncing keep beside the events: authorisations under way, who serves an institution, which accounts a link has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import msgspec

from isthmus.domain.banking import Begun, Link, LinkToken, RedirectTo
from isthmus.domain.consent_events import Consent, fold
from isthmus.domain.institutions import Institution, is_institution_id
from isthmus.domain.secrets import LinkSecrets
from isthmus.write_models.connection import Connection
from isthmus.write_models.event_store import load_stream

_CONTEXT = b"bank authorisation"


class _Kept(msgspec.Struct, frozen=True, omit_defaults=True):
    institution: str
    country: str
    redirect_uri: str
    state: str
    verifier: str
    scopes: tuple[str, ...] = ()
    reference: str | None = None
    url: str | None = None
    token: str | None = None
    hosted_url: str | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True)
class Underway:
    """An authorisation that a person is on their way with."""

    link: Link
    begun: Begun


async def find_institution(connection: Connection, institution_id: str) -> Institution | None:
    if not is_institution_id(institution_id):
        return None
    row = await connection.fetchrow(
        "select i.id, i.name, i.countries, i.logo_url, i.capabilities, "
        "(select json_object_agg(p.provider, p.reference) from institution_providers p where p.institution_id = i.id)::text as providers "
        "from institutions i where i.id = $1",
        institution_id,
    )
    if row is None:
        return None
    providers = msgspec.json.decode(row["providers"] or "{}", type=dict[str, str])
    return Institution(
        row["id"], row["name"], tuple(row["countries"]), providers, row["logo_url"], tuple(row["capabilities"])
    )


async def find_consent(connection: Connection, consent_id: UUID) -> Consent | None:
    return fold(await load_stream(connection, consent_id))


async def keep_underway(connection: Connection, secrets: LinkSecrets, underway: Underway) -> None:
    link, begun = underway.link, underway.begun
    shown = begun.authorization
    kept = _Kept(
        link.institution,
        link.country,
        link.redirect_uri,
        link.state,
        link.verifier,
        link.scopes,
        begun.reference,
        url=shown.url if isinstance(shown, RedirectTo) else None,
        token=shown.token if isinstance(shown, LinkToken) else None,
        hosted_url=shown.hosted_url if isinstance(shown, LinkToken) else None,
        expires_at=shown.expires_at,
    )
    (sealed,) = await secrets.seal_many(connection, link.consent_id, link.person, [msgspec.json.encode(kept)], _CONTEXT)
    await connection.execute(
        "insert into bank_authorisations (consent_id, sealed) values ($1, $2) "
        "on conflict (consent_id) do update set sealed = excluded.sealed, begun_at = now()",
        link.consent_id,
        sealed,
    )


async def find_underway(
    connection: Connection, secrets: LinkSecrets, consent_id: UUID, person: UUID
) -> Underway | None:
    sealed = await connection.fetchval("select sealed from bank_authorisations where consent_id = $1", consent_id)
    if sealed is None:
        return None
    (plain,) = await secrets.open_many(connection, consent_id, [sealed], _CONTEXT)
    if plain is None:
        return None
    kept = msgspec.json.decode(plain, type=_Kept)
    link = Link(
        consent_id,
        person,
        kept.institution,
        kept.country,
        kept.redirect_uri,
        kept.state,
        kept.verifier,
        kept.scopes,
        begun_as=kept.reference,
    )
    if kept.url is not None:
        return Underway(link, Begun(RedirectTo(kept.url, kept.expires_at), kept.reference))
    assert kept.token is not None, "it is one or the other"
    return Underway(link, Begun(LinkToken(kept.token, kept.expires_at, kept.hosted_url), kept.reference))


async def forget_underway(connection: Connection, consent_id: UUID) -> None:
    await connection.execute("delete from bank_authorisations where consent_id = $1", consent_id)


async def oldest_balance(connection: Connection, consent_id: UUID) -> datetime | None:
    """When the link's balances were told. None where one was not, or is outdated."""
    found: datetime | None = await connection.fetchval(
        "select case when bool_or(m.outdated or m.as_of is null) then null else min(m.as_of) end from bank_accounts a "
        "join bank_account_mirrors m on m.account_id = a.id where a.consent_id = $1 and a.linked",
        consent_id,
    )
    return found


async def accounts_of(connection: Connection, consent_id: UUID) -> Sequence[UUID]:
    rows = await connection.fetch(
        "select id from bank_accounts where consent_id = $1 and linked order by id", consent_id
    )
    return [row["id"] for row in rows]
