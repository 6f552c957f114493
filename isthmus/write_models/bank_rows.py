"""Rows of the mirror, read and written: sealed under the key of the link that brought them, many at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from isthmus.domain.bank_texts import RAW_CONTEXT, TRANSACTION_CONTEXT, TransactionText, text_of_transaction
from isthmus.domain.bank_transactions import BankTransaction, BankTransactionStatus, Counterparty
from isthmus.domain.consents import Consent
from isthmus.domain.secrets import LinkSecrets
from isthmus.write_models.bank_matching import Row, plan
from isthmus.write_models.bank_mirror import Known
from isthmus.write_models.connection import Connection

if TYPE_CHECKING:
    from isthmus.write_models.bank_sync import Update

_COLUMNS = (
    "id, account_id, link_id, provider, reference, was_reference, amount, asset, status, booked_at, booked_on, value_on, made_on, "
    "category, sealed, raw"
)
_SEEN = f"""
select {_COLUMNS} from bank_transactions where account_id = $1 and
    (status in ('PENDING', 'VOIDED') or (provider = $2 and (reference = any($3::text[]) or was_reference = any($3::text[]))))"""
_CHANGED = """
update bank_transactions set link_id = $2, reference = $3, was_reference = $4, amount = $5, status = $6, booked_at = $7, booked_on = $8,
    value_on = $9, made_on = $10, category = $11, sealed = $12, raw = $13 where id = $1"""


async def write_update(
    connection: Connection, secrets: LinkSecrets, consent: Consent, known: Mapping[str, Known], update: Update
) -> None:
    """All of an update, inside the caller's transaction, in which nobody else writes this link."""
    told: dict[str, list[BankTransaction]] = defaultdict(list)
    removed: dict[str, list[str]] = defaultdict(list)
    for one in update.changed:
        told[one.account].append(one)
    for gone in update.removed:
        removed[gone.account].append(gone.reference)
    for name in sorted(told.keys() | removed.keys() | update.whole_pending):
        account = known.get(name)
        if account is None:
            continue  # an account that the bank no longer shows
        references = {one.reference for one in told[name] if one.reference} | {
            one.posts for one in told[name] if one.posts
        }
        rows = await _rows(
            connection, secrets, consent, account.account_id, name, sorted(references | set(removed[name]))
        )
        made = plan(
            consent.provider,
            account.account_id,
            rows,
            told[name],
            removed[name],
            whole_pending=name in update.whole_pending,
        )
        await _insert(connection, secrets, consent, made.fresh)
        await _change(connection, secrets, consent, made.changed)
        if made.voided:
            await connection.execute(
                "update bank_transactions set status = 'VOIDED' where id = any($1::uuid[])", made.voided
            )
        if made.fresh:
            await connection.execute(
                "update bank_account_mirrors set transactions = "
                "(select count(*) from bank_transactions where account_id = $1) where account_id = $1",
                account.account_id,
            )


async def _rows(
    connection: Connection,
    secrets: LinkSecrets,
    consent: Consent,
    account_id: UUID,
    name: str,
    references: Sequence[str],
) -> list[Row]:
    """What cannot be opened any more (its link was deleted) is nobody's row."""
    found = await connection.fetch(_SEEN, account_id, consent.provider, list(references))
    texts = await secrets.open_across(
        connection, [(row["link_id"], row["sealed"]) for row in found], TRANSACTION_CONTEXT
    )
    raws = await secrets.open_across(connection, [(row["link_id"], row["raw"]) for row in found], RAW_CONTEXT)
    return [
        Row(
            UUID(str(row["id"])),
            account_id,
            row["reference"] if row["provider"] == consent.provider else None,
            row["was_reference"] if row["provider"] == consent.provider else None,
            row["status"],
            _told(row, name, text, raw or b""),
        )
        for row, text, raw in zip(found, texts, raws, strict=True)
        if text is not None
    ]


async def _insert(connection: Connection, secrets: LinkSecrets, consent: Consent, rows: Sequence[Row]) -> None:
    if not rows:
        return
    texts, raws = await _sealed(connection, secrets, consent, rows)
    records = [
        (
            row.row_id,
            row.account_id,
            consent.consent_id,
            consent.provider,
            row.reference,
            row.was_reference,
            row.told.amount,
            row.told.asset,
            row.status,
            _instant(row.told),
            row.told.booked_on,
            row.told.value_on,
            row.told.made_on,
            row.told.category,
            text,
            raw,
        )
        for row, text, raw in zip(rows, texts, raws, strict=True)
    ]
    await connection.copy_records_to_table("bank_transactions", records=records, columns=_COLUMNS.split(", "))


async def _change(connection: Connection, secrets: LinkSecrets, consent: Consent, rows: Sequence[Row]) -> None:
    if not rows:
        return
    texts, raws = await _sealed(connection, secrets, consent, rows)
    await connection.executemany(
        _CHANGED,
        [
            (
                row.row_id,
                consent.consent_id,
                row.reference,
                row.was_reference,
                row.told.amount,
                row.status,
                _instant(row.told),
                row.told.booked_on,
                row.told.value_on,
                row.told.made_on,
                row.told.category,
                text,
                raw,
            )
            for row, text, raw in zip(rows, texts, raws, strict=True)
        ],
    )


async def _sealed(
    connection: Connection, secrets: LinkSecrets, consent: Consent, rows: Sequence[Row]
) -> tuple[list[bytes], list[bytes]]:
    plains = [msgspec.json.encode(text_of_transaction(row.told)) for row in rows]
    about = (connection, consent.consent_id, consent.owner)
    texts = await secrets.seal_many(*about, plains, TRANSACTION_CONTEXT)
    return texts, await secrets.seal_many(*about, [row.told.raw for row in rows], RAW_CONTEXT)


def _told(row: Any, name: str, text: bytes, raw: bytes) -> BankTransaction:
    kept = msgspec.json.decode(text, type=TransactionText)
    posted = row["status"] == "POSTED"
    return BankTransaction(
        name,
        row["reference"],
        row["amount"],
        row["asset"],
        BankTransactionStatus.POSTED if posted else BankTransactionStatus.PENDING,
        row["booked_on"],
        row["value_on"],
        row["made_on"],
        kept.d,
        Counterparty(kept.n, kept.a, kept.r),
        row["category"],
        row["was_reference"] if posted else None,
        raw=raw,
    )


def _instant(one: BankTransaction) -> datetime:
    """When it is told for: the instant, where it lies on the day that is told; else that day's beginning, in UTC."""
    day = one.day
    if one.at is not None and (day is None or one.at.astimezone(UTC).date() == day):
        return one.at
    assert day is not None, "a dialect tells a day or an instant"
    return datetime.combine(day, time(), UTC)
