"""Accounts at banks that people pay from: whose they are, who speaks for them, and what asking the bank needs."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import msgspec

from isthmus.domain.bank_payments import BankWish, PayerAccount
from isthmus.domain.bank_texts import ACCOUNT_CONTEXT, AccountText
from isthmus.domain.banking import ProviderUnavailable
from isthmus.domain.paying import PaymentOrder
from isthmus.domain.secrets import LinkSecrets
from isthmus.write_models.connection import Connection


@dataclass(frozen=True)
class BankPayer:
    account_id: UUID
    owner: UUID
    consent_id: UUID
    institution_id: str
    provider: str
    asset: str
    linked: bool


async def find_payer(connection: Connection, account_id: UUID) -> BankPayer | None:
    row = await connection.fetchrow(
        "select id, owner, consent_id, institution_id, provider, asset, linked from bank_accounts where id = $1",
        account_id,
    )
    return None if row is None else BankPayer(*row.values())


async def bank_wish(
    connection: Connection,
    secrets: LinkSecrets,
    account_id: UUID,
    provider: str,
    order: PaymentOrder,
    return_uri: str,
    state: str,
) -> BankWish:
    """Raises ProviderUnavailable where the provider does not speak for the bank now."""
    row = await connection.fetchrow(
        "select a.owner, p.reference as institution, i.countries[1] as country, m.link_id, m.reference, m.sealed "
        "from bank_accounts a join institutions i on i.id = a.institution_id "
        "join institution_providers p on p.institution_id = i.id and p.provider = $2 "
        "left join bank_account_mirrors m on m.account_id = a.id where a.id = $1 order by p.reference limit 1",
        account_id,
        provider,
    )
    if row is None:
        raise ProviderUnavailable(f"{provider} does not speak for the bank now")
    payer = None
    if row["sealed"] is not None:
        (plain,) = await secrets.open_many(connection, row["link_id"], [row["sealed"]], ACCOUNT_CONTEXT)
        if plain is not None:
            told = msgspec.json.decode(plain, type=AccountText)
            payer = PayerAccount(row["reference"], told.i, told.k)
    return BankWish(order, row["institution"], row["country"], row["owner"], return_uri, state, payer)
