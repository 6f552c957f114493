"""Which handler serves which command: those of accounts and the ledger are here, the others in modules of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from isthmus.domain import (
    accounts,
    api_keys,
    deposits,
    internal_transfers,
    journals,
    ledger,
)
from isthmus.domain.accounts import CloseAccount, FreezeAccount, OpenAccount, RenameAccount, UnfreezeAccount
from isthmus.domain.api_keys import MakeApiKey, RevokeApiKey
from isthmus.domain.deposits import SettleDeposit
from isthmus.domain.holds import PostHold, PostLinked, ReserveFunds, ReverseJournal, VoidHold
from isthmus.domain.internal_transfers import TransferInternally
from isthmus.domain.refusals import UnknownAsset
from isthmus.write_models.bank_handlers import BANK_HANDLERS
from isthmus.write_models.handling import Decision, Handler, Loaded, Needs
from isthmus.write_models.parked_handlers import PARKED_HANDLERS
from isthmus.write_models.payment_handlers import PAYMENT_HANDLERS, guard, step_up
from isthmus.write_models.reconciliation_handlers import RECONCILIATION_HANDLERS


def _open(loaded: Loaded, wish: OpenAccount) -> Decision:
    if wish.asset not in loaded.assets:
        return UnknownAsset(f"{wish.asset} is not an asset that can be held here.", ("input", "asset"))
    return accounts.open_account(wish)


def _close(loaded: Loaded, wish: CloseAccount) -> Decision:
    state = loaded.book.get(wish.account_id)
    return accounts.close(loaded.account(wish.account_id), state is not None and state.empty, wish)


def _reverse(loaded: Loaded, wish: ReverseJournal) -> Decision:
    reference = wish.reference.ciphertext() if wish.reference else None
    original = loaded.posted.get(wish.original_id)
    return journals.reverse(loaded.book, original, wish.original_id in loaded.reversed, wish.journal_id, reference)


def _account(wish: Any) -> Needs:
    return Needs(frozenset({wish.account_id}))


def _own_account(wish: Any) -> Needs:
    return Needs(owned=frozenset({(wish.account_id, wish.owner)}))


def _drafts(*drafts: ledger.JournalDraft) -> Needs:
    return Needs(frozenset(leg.account_id for draft in drafts for leg in draft.legs))


HANDLERS: Mapping[type, Handler] = {
    OpenAccount: Handler(lambda _: Needs(), _open),
    RenameAccount: Handler(_own_account, lambda loaded, wish: accounts.rename(loaded.account(wish.account_id), wish)),
    FreezeAccount: Handler(_account, lambda loaded, wish: accounts.freeze(loaded.account(wish.account_id), wish)),
    UnfreezeAccount: Handler(_account, lambda loaded, wish: accounts.unfreeze(loaded.account(wish.account_id))),
    CloseAccount: Handler(_own_account, _close),
    TransferInternally: Handler(
        lambda wish: Needs(frozenset({wish.to_account_id}), owned=frozenset({(wish.from_account_id, wish.payer)})),
        lambda loaded, wish: internal_transfers.transfer(loaded.book, wish),
    ),
    SettleDeposit: Handler(
        lambda wish: Needs(frozenset({wish.account_id, deposits.bank_account_id(wish)})),
        lambda loaded, wish: deposits.settle(loaded.book, wish),
    ),
    ReserveFunds: Handler(
        lambda wish: replace(_drafts(wish.draft), time=wish.expires_at is not None),
        lambda loaded, wish: journals.reserve(loaded.book, wish.draft, wish.expires_at),
    ),
    PostHold: Handler(
        lambda wish: Needs(holds=frozenset({wish.hold_id}), time=True),
        lambda loaded, wish: journals.post_hold(
            loaded.book, loaded.holds.get(wish.hold_id), wish.journal_id, wish.legs, loaded.now
        ),
    ),
    VoidHold: Handler(
        lambda wish: Needs(holds=frozenset({wish.hold_id}), time=True),
        lambda loaded, wish: journals.void_hold(loaded.book, loaded.holds.get(wish.hold_id), wish.reason, loaded.now),
    ),
    PostLinked: Handler(
        lambda wish: _drafts(*wish.drafts), lambda loaded, wish: journals.post_linked(loaded.book, wish.drafts)
    ),
    ReverseJournal: Handler(lambda wish: Needs(reversing=frozenset({wish.original_id})), _reverse),
    MakeApiKey: Handler(
        lambda wish: replace(step_up(wish), key_owners=frozenset({wish.owner})),
        lambda loaded, wish: api_keys.make(loaded.live_keys.get(wish.owner, ()), guard(loaded, wish), wish, loaded.now),
    ),
    RevokeApiKey: Handler(
        lambda wish: Needs(streams=frozenset({wish.api_key_id})),
        lambda loaded, wish: api_keys.revoke(api_keys.fold(loaded.streams.get(wish.api_key_id, ())), wish),
    ),
    **BANK_HANDLERS,
    **PAYMENT_HANDLERS,
    **PARKED_HANDLERS,
    **RECONCILIATION_HANDLERS,
}
