"""GoCardless' transactions (Bank Account Data) in our words: the Berlin Group's, with an id of GoCardless' own that stays.

The worked example of what a fourth provider's mapping takes: its form where it differs, and which id names a transaction.
"""

from __future__ import annotations

from dataclasses import replace

import msgspec

from isthmus.domain.bank_transactions import BankTransaction
from isthmus.integrations.banking import berlin_group
from isthmus.integrations.banking.reading import decoded, identifier


class GoCardlessTransaction(berlin_group.BerlinGroupTransaction, rename="camel"):
    internal_transaction_id: str | None = None


_DECODER = msgspec.json.Decoder(GoCardlessTransaction)


def decode(raw: bytes | msgspec.Raw) -> GoCardlessTransaction:
    """Raises MalformedTransaction."""
    return decoded(_DECODER, raw, "GoCardless'")


def canonical(told: GoCardlessTransaction, account: str, asset: str, raw: bytes, *, pending: bool) -> BankTransaction:
    """`pending`: as the list says that it is in; it has no id then. Raises MalformedTransaction."""
    one = berlin_group.canonical(told, account, asset, raw, pending=pending)
    return replace(one, reference=identifier(told.internal_transaction_id) or one.reference)


def read(body: bytes | msgspec.Raw, account: str, asset: str) -> list[BankTransaction]:
    """All movements of a whole answer. Raises MalformedTransaction."""
    lists = decoded(berlin_group.DOCUMENTS, body, "GoCardless'").transactions
    return [
        canonical(decode(raw), account, asset, bytes(raw), pending=pending)
        for raws, pending in ((lists.booked, False), (lists.pending, True))
        for raw in raws or ()
    ]
