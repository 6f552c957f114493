"""The tables of saved payees and of what payers were told of a payee, and how one's own payees are found again."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from isthmus.domain.events import Event
from isthmus.domain.lookalikes import KnownPayee
from isthmus.domain.payees import PayeeAccount
from isthmus.domain.payment_events import PaymentPayeeChecked, PaymentState
from isthmus.domain.personal import PersonalTexts, Sealed
from isthmus.domain.saved_payees import PayeeRemoved, PayeeRequested, PayeeSaved, SavedPayeeEvent, payee_digest
from isthmus.write_models.connection import Connection

#: So many of a person's latest payments, and as many saved payees, are looked at for one that a new payee looks like.
_KNOWN_MAX = 300
_AUTHORISED = (PaymentState.AUTHORISED, PaymentState.SUBMITTED, PaymentState.EXECUTED, PaymentState.SETTLED)


async def write(connection: Connection, events: Sequence[Event], now: datetime) -> None:
    """Before the flush, as everything but the flush is."""
    for event in events:
        if isinstance(event, SavedPayeeEvent):
            await _payee(connection, event, now)
        elif isinstance(event, PaymentPayeeChecked):
            await connection.execute(
                "insert into payee_checks (payment_id, result, matched_name, warnings, resembles_name, resembles_account) "
                "values ($1, $2, $3, $4, $5, $6)",
                event.payment_id,
                event.result,
                _text(event.matched_name),
                list(event.warnings),
                _text(event.resembles_name),
                _text(event.resembles_account),
            )


def _text(sealed: Sealed | None) -> str | None:
    return None if sealed is None else str(sealed)


async def _payee(connection: Connection, event: SavedPayeeEvent, now: datetime) -> None:
    match event:
        case PayeeRequested():
            await connection.execute(
                "insert into payees (id, owner, name, account, fingerprint, digest, state, challenge_id) "
                "values ($1, $2, $3, $4, $5, $6, 'REQUESTED', $7)",
                event.payee_id,
                event.owner,
                str(event.name),
                str(event.account),
                event.fingerprint,
                event.digest,
                event.challenge_id,
            )
        case PayeeSaved():
            await connection.execute(
                "update payees set state = 'SAVED', saved_at = $2 where id = $1", event.payee_id, now
            )
        case PayeeRemoved():
            await connection.execute("update payees set state = 'REMOVED' where id = $1", event.payee_id)


async def is_trusted(
    connection: Connection, texts: PersonalTexts, owner: UUID, name: str, account: PayeeAccount
) -> bool:
    """Whether the person saved exactly this payee: what is asked about is held against what they answered for, as the log has it, so that a
    row which somebody changed is trusted by nobody. In the caller's transaction."""
    key = await _key(connection, texts, owner)
    if key is None:
        return False
    rows = await connection.fetch(
        "select s.id, m.data->>'digest' as digest from saved_payees s "
        "join event_store m on m.aggregate_id = s.id and m.type = 'PayeeRequested' where s.owner = $1 and s.fingerprint = $2 "
        "and exists (select from event_store e where e.aggregate_id = s.id and e.type = 'PayeeSaved') "
        "and not exists (select from event_store e where e.aggregate_id = s.id and e.type = 'PayeeRemoved')",
        owner,
        _fingerprint(key, name, account),
    )
    return any(hmac.compare_digest(payee_digest(row["id"], owner, name, account.text()), row["digest"]) for row in rows)


async def fingerprint_of(
    connection: Connection, texts: PersonalTexts, owner: UUID, name: str, account: PayeeAccount
) -> str:
    """What a payee is found by, under a key that is the person's own; it is made the first time."""
    key = await _key(connection, texts, owner)
    if key is None:
        (sealed,) = await texts.seal_many(connection, [(owner, secrets.token_hex(32))])
        # Two at once: one key wins, both use it. One that does not open any more is of before its person was erased.
        before = await connection.fetchval("select key from payee_keys where owner = $1", owner)
        await connection.execute(
            "insert into payee_keys (owner, key) values ($1, $2) on conflict (owner) do update set key = $2 "
            "where payee_keys.key = $3",
            owner,
            str(sealed),
            before,
        )
        key = await _key(connection, texts, owner)
    if key is None:
        raise LookupError("the person's key was destroyed just now")
    return _fingerprint(key, name, account)


async def known_payees(connection: Connection, texts: PersonalTexts, owner: UUID) -> list[KnownPayee]:
    """Whom the person saved, and whom they authorised payments to, the latest first; each once."""
    saved = await connection.fetch(
        "select name, account from saved_payees where owner = $1 order by id desc limit $2", owner, _KNOWN_MAX
    )
    paid = await connection.fetch(
        "select payee_name as name, payee_account as account from payments where owner = $1 and state = any($2) "
        "and credits_account_id is null order by id desc limit $3",
        owner,
        list(_AUTHORISED),
        _KNOWN_MAX,
    )
    sealed = [text for row in (*saved, *paid) for text in (row["name"], row["account"])]
    if not sealed:
        return []
    opened = await texts.open_many(connection, sealed)
    pairs = zip(opened[::2], opened[1::2], strict=True)
    return list(
        dict.fromkeys(KnownPayee(name, account) for name, account in pairs if name is not None and account is not None)
    )


async def _key(connection: Connection, texts: PersonalTexts, owner: UUID) -> bytes | None:
    sealed = await connection.fetchval("select key from payee_keys where owner = $1", owner)
    if sealed is None:
        return None
    (opened,) = await texts.open_many(connection, [sealed])
    return None if opened is None else bytes.fromhex(opened)


def _fingerprint(key: bytes, name: str, account: PayeeAccount) -> str:
    return hmac.digest(key, f"{account.text()} {name}".encode(), hashlib.sha256).hex()
