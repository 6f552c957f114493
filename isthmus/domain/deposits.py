"""Fiat deposits that an operator settles: Dr bank · Cr user."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from isthmus.domain.accounts import AccountType, Direction, open_house_account
from isthmus.domain.identifiers import house_account_id
from isthmus.domain.journals import post
from isthmus.domain.ledger import Book, JournalDraft, JournalKind, LedgerEvent, Leg, apply
from isthmus.domain.personal import PersonalText
from isthmus.domain.refusals import AccountClosedRefusal, AccountNotFound, AssetMismatch, Refusal

_ACCOUNT = ("input", "accountId")


@dataclass(frozen=True)
class SettleDeposit:
    """`owner` is whose account it must be: a deposit never lands with someone else by a wrong id."""

    journal_id: UUID
    account_id: UUID
    owner: UUID
    amount: Decimal
    asset: str
    provider: str
    reference: PersonalText

    @property
    def person(self) -> UUID:
        """Whose key seals the text."""
        return self.owner


def bank_account_code(provider: str, asset: str) -> str:
    return f"bank:{provider}:{asset}"


def bank_account_id(wish: SettleDeposit) -> UUID:
    return house_account_id(bank_account_code(wish.provider, wish.asset))


def settle(book: Book, wish: SettleDeposit) -> Sequence[LedgerEvent] | Refusal:
    """Opens the bank's account in the chart the first time money arrives there."""
    state = book.get(wish.account_id)
    if state is None or state.account.owner != wish.owner:
        return AccountNotFound("There is no such account.", _ACCOUNT)
    if state.account.closed:
        return AccountClosedRefusal("The account is closed.", _ACCOUNT)
    if state.account.asset != wish.asset:
        return AssetMismatch(f"The account holds {state.account.asset}, not {wish.asset}.", _ACCOUNT)
    bank = bank_account_id(wish)
    after = dict(book)
    opened: Sequence[LedgerEvent] = []
    if bank not in after:
        code = bank_account_code(wish.provider, wish.asset)
        opened = open_house_account(bank, code, AccountType.ASSET, wish.asset, may_overdraw=False)
        apply(after, opened)
    legs = (
        Leg(bank, Direction.DEBIT, wish.amount, wish.asset),
        Leg(wish.account_id, Direction.CREDIT, wish.amount, wish.asset),
    )
    decided = post(after, JournalDraft(wish.journal_id, JournalKind.DEPOSIT, legs, wish.reference.ciphertext()))
    return decided if isinstance(decided, Refusal) else [*opened, *decided]
