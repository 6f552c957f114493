"""Rows of the mirror, read and written: sealed under the key of the link that brought them, many at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec

from isthmus.domain.bank_texts import RAW_CONTEXT, TRANSACTION_CONTEXT, TransactionText, text_of_transaction
from isthmus.domain.bank_transactions import (
    BankTransaction,
    BankTransactionStatus,
    Counterparty,
    MalformedTransaction,
)
from isthmus.domain.consent_events import Consent
from isthmus.domain.secrets import LinkSecrets
from isthmus.write_models.bank_matching import WINDOW_DAYS, Row, plan
from isthmus.write_models.bank_mirror import Known
from isthmus.write_models.bank_update import Update
from isthmus.write_models.connection import Connection

_COLUMNS = (
    "id, account_id, link_id, provider, reference, was_reference, amount, asset, status, booked_at, booked_on, value_on, made_on, "
    "category, sealed, raw"
)
# What is gone is looked at only as far back as anything that is told now can be its booking.
_SEEN = f"""
select {_COLUMNS} from bank_transactions where account_id = $1 and (status = 'PENDING'
    or (status = 'VOIDED' and booked_at >= $4) or (status = 'POSTED' and booked_on > $5)
    or (provider = $2 and (reference = any($3::text[]) or was_reference = any($3::text[]))))"""
_CHANGED = """
update bank_transactions set link_id = $2, reference = $3, was_reference = $4, amount = $5, status = $6, booked_at = $7, booked_on = $8,
    value_on = $9, made_on = $10, category = $11, sealed = $12, raw = $13, provider = $14 where id = $1"""


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
        since = update.booked_since(name)
        rows = await _rows(
            connection, secrets, consent, account.account_id, name, _Sought.of(told[name], removed[name], since)
        )
        made = plan(
            consent.provider,
            account.account_id,
            rows,
            told[name],
            removed[name],
            whole_pending=name in update.whole_pending,
            booked_since=since,
        )
        await _insert(connection, secrets, consent, await _unused(connection, made.fresh))
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


@dataclass(frozen=True)
class _Sought:
    """Which rows an update may be about: those of its names, those that went since `gone_since`, those booked after `booked_since`."""

    references: list[str]
    gone_since: datetime
    booked_since: date | None

    @classmethod
    def of(cls, told: Sequence[BankTransaction], removed: Sequence[str], booked_since: date | None) -> _Sought:
        references = {one.reference for one in told} | {one.posts for one in told} | set(removed)
        first = min((one.booked_on for one in told if one.booked_on is not None), default=date.max)
        gone_since = datetime.combine(first, time(), UTC) - timedelta(days=WINDOW_DAYS + 1)
        return cls(sorted(one for one in references if one), gone_since, booked_since)


async def _rows(
    connection: Connection, secrets: LinkSecrets, consent: Consent, account_id: UUID, name: str, sought: _Sought
) -> list[Row]:
    """What cannot be opened any more (its link was deleted) is nobody's row."""
    found = await connection.fetch(
        _SEEN, account_id, consent.provider, sought.references, sought.gone_since, sought.booked_since
    )
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
            foreign=row["provider"] != consent.provider,
        )
        for row, text, raw in zip(found, texts, raws, strict=True)
        if text is not None
    ]


async def _unused(connection: Connection, rows: Sequence[Row]) -> list[Row]:
    """A row that has another name by now keeps its id: what comes anew under its first name gets another."""
    used = {
        row["id"]
        for row in await connection.fetch(
            "select id from bank_transactions where id = any($1::uuid[])", [row.row_id for row in rows]
        )
    }
    return [replace(row, row_id=uuid4()) if row.row_id in used else row for row in rows]


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
                consent.provider,
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
    if day is None:
        raise MalformedTransaction("a transaction has no day")
    return datetime.combine(day, time(), UTC)
