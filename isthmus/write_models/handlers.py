"""Which handler serves which command: what it needs to see, and the domain function that decides.

A handler is pure: the unit of work locks and loads what `needs` names, so that a batch of commands is decided in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from isthmus.domain import (
    accounts,
    api_keys,
    bank_accounts,
    consent_events,
    consents,
    deposits,
    internal_transfers,
    journals,
    ledger,
    payment_review,
    payments,
    sca,
    sca_answers,
    sca_devices,
)
from isthmus.domain.accounts import CloseAccount, FreezeAccount, OpenAccount, RenameAccount, UnfreezeAccount
from isthmus.domain.api_keys import MakeApiKey, RevokeApiKey
from isthmus.domain.bank_accounts import LinkBankAccounts, TagBankTransaction, UnlinkBankAccounts
from isthmus.domain.consents import (
    AuthoriseConsent,
    BeginAuthorisation,
    DeleteLink,
    FailConsent,
    MindConsentEnd,
    RecordConsentNews,
    RequestConsent,
    ReturnFromBank,
    RevokeConsent,
)
from isthmus.domain.deposits import SettleDeposit
from isthmus.domain.events import Event
from isthmus.domain.holds import PostHold, PostLinked, ReserveFunds, ReverseJournal, VoidHold
from isthmus.domain.internal_transfers import TransferInternally
from isthmus.domain.ledger import AccountState, Hold, JournalPosted
from isthmus.domain.money import Asset
from isthmus.domain.payment_review import RefusePayment, ReleasePayment
from isthmus.domain.payments import (
    CancelPayment,
    ExpirePayment,
    InitiatePayment,
    RecordPaymentNews,
    StartSubmission,
)
from isthmus.domain.refusals import Refusal, UnknownAsset
from isthmus.domain.sca_answers import AnswerScaChallenge
from isthmus.domain.sca_devices import BeginDevice, CompleteDevice, RemoveDevice
from isthmus.write_models.spending import Spent


@dataclass(frozen=True)
class Needs:
    """`owned`: accounts with who must own them. Another person's is not even locked: nobody else's wish may hold up hers."""

    accounts: frozenset[UUID] = frozenset()
    owned: frozenset[tuple[UUID, UUID]] = frozenset()
    holds: frozenset[UUID] = frozenset()
    reversing: frozenset[UUID] = frozenset()
    #: Things without a row to lock: their streams are read, and whoever appends to one at the same time is a conflict.
    streams: frozenset[UUID] = frozenset()
    #: People whose API keys are counted: one at a time.
    key_owners: frozenset[UUID] = frozenset()
    #: People whose payments of today are counted: one at a time. Wants `time`, too.
    spenders: frozenset[UUID] = frozenset()
    #: What is decided or begun ends at an instant: `Loaded.now` must be one that all processes agree on.
    time: bool = False


@dataclass
class Loaded:
    """What the unit of work locked and read; brought forward by each command of the batch that is accepted.

    `now` is the database's where a command's `Needs.time` says so; else this process's, and of use for metadata only.
    """

    assets: Mapping[str, Asset]
    now: datetime
    book: dict[UUID, AccountState] = field(default_factory=dict)
    holds: dict[UUID, Hold] = field(default_factory=dict)
    posted: dict[UUID, JournalPosted] = field(default_factory=dict)
    reversed: set[UUID] = field(default_factory=set)
    streams: dict[UUID, list[Event]] = field(default_factory=dict)
    live_keys: dict[UUID, set[UUID]] = field(default_factory=dict)
    spent: Spent = field(default_factory=Spent)

    def account(self, account_id: UUID) -> accounts.Account | None:
        state = self.book.get(account_id)
        return state.account if state else None


Decision = Sequence[Event] | Refusal


@dataclass(frozen=True)
class Handler:
    needs: Callable[[Any], Needs]
    decide: Callable[[Loaded, Any], Decision]


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


def _consent(loaded: Loaded, wish: Any) -> consent_events.Consent | None:
    return consent_events.fold(loaded.streams.get(wish.consent_id, ()))


def _bank_accounts(loaded: Loaded, keys: Iterable[UUID]) -> dict[UUID, bank_accounts.BankAccount | None]:
    return {key: bank_accounts.fold(loaded.streams.get(key, ())) for key in keys}


def _consents_stream(wish: Any) -> Needs:
    return Needs(streams=frozenset({wish.consent_id}))


def _consent_in_time(wish: Any) -> Needs:
    return Needs(streams=frozenset({wish.consent_id}), time=True)


def _payment(loaded: Loaded, payment_id: UUID) -> payments.Payment | None:
    return payments.fold(loaded.streams.get(payment_id, ()))


def _device(loaded: Loaded, device_id: UUID | None) -> sca_devices.Device | None:
    return None if device_id is None else sca_devices.fold(loaded.streams.get(device_id, ()))


def _challenge(loaded: Loaded, wish: Any) -> sca.Challenge | None:
    return sca.fold(loaded.streams.get(wish.challenge_id, ()))


def _guard(loaded: Loaded, wish: Any) -> sca.Guard:
    return sca.fold_guard(loaded.streams.get(sca.guard_id_of(wish.owner), ()), loaded.now)


def _held(loaded: Loaded, wish: Any) -> Hold | None:
    return loaded.holds.get(payments.hold_id_of(wish.payment_id))


def _initiate_needs(wish: InitiatePayment) -> Needs:
    guard, spenders = frozenset({sca.guard_id_of(wish.owner)}), frozenset({wish.owner})
    if wish.source is payments.Source.BANK:
        return Needs(streams=guard, spenders=spenders, time=True)
    owned = frozenset({(wish.from_account_id, wish.owner)})
    return Needs(frozenset({wish.clearing_id}), owned=owned, streams=guard, spenders=spenders, time=True)


def _initiate(loaded: Loaded, wish: InitiatePayment) -> Decision:
    used = loaded.spent.by(wish.owner, wish.asset)
    return payments.initiate(loaded.book, _guard(loaded, wish), used, wish, loaded.now)


def _release(loaded: Loaded, wish: ReleasePayment) -> Decision:
    payment, challenge = _payment(loaded, wish.payment_id), _challenge(loaded, wish)
    return payment_review.release(loaded.book, payment, challenge, wish)


def _refuse(loaded: Loaded, wish: RefusePayment) -> Decision:
    payment, challenge = _payment(loaded, wish.payment_id), _challenge(loaded, wish)
    return payment_review.refuse(loaded.book, _held(loaded, wish), payment, challenge, wish, loaded.now)


def _payment_needs(wish: Any) -> Needs:
    hold = frozenset({payments.hold_id_of(wish.payment_id)})
    return Needs(holds=hold, streams=frozenset({wish.payment_id, wish.challenge_id}), time=True)


def _answer_needs(wish: AnswerScaChallenge) -> Needs:
    signer = {wish.device_id} if wish.device_id is not None else set()
    streams = frozenset({wish.challenge_id, wish.subject_id, sca.guard_id_of(wish.owner), *signer})
    account = wish.from_account_id
    owned = frozenset({(account, wish.owner)}) if account is not None else frozenset[tuple[UUID, UUID]]()
    return Needs(owned=owned, streams=streams, time=True)


def _answer(loaded: Loaded, wish: AnswerScaChallenge) -> Decision:
    challenge, guard = _challenge(loaded, wish), _guard(loaded, wish)
    subject = _payment(loaded, wish.subject_id) or _device(loaded, wish.subject_id)
    signer = _device(loaded, wish.device_id)
    return sca_answers.answer(loaded.book, challenge, guard, subject, signer, wish, loaded.now)


def _cancel(loaded: Loaded, wish: CancelPayment) -> Decision:
    payment, challenge = _payment(loaded, wish.payment_id), _challenge(loaded, wish)
    return payments.cancel(loaded.book, _held(loaded, wish), payment, challenge, wish, loaded.now)


def _expire(loaded: Loaded, wish: ExpirePayment) -> Decision:
    payment, challenge = _payment(loaded, wish.payment_id), _challenge(loaded, wish)
    return payments.expire(loaded.book, _held(loaded, wish), payment, challenge, loaded.now)


def _start_submission(loaded: Loaded, wish: StartSubmission) -> Decision:
    payment, challenge = _payment(loaded, wish.payment_id), _challenge(loaded, wish)
    return payments.start_submission(loaded.book, _held(loaded, wish), payment, challenge, wish, loaded.now)


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
        lambda wish: Needs(key_owners=frozenset({wish.owner})),
        lambda loaded, wish: api_keys.make(loaded.live_keys.get(wish.owner, ()), wish),
    ),
    RevokeApiKey: Handler(
        lambda wish: Needs(streams=frozenset({wish.api_key_id})),
        lambda loaded, wish: api_keys.revoke(api_keys.fold(loaded.streams.get(wish.api_key_id, ())), wish),
    ),
    RequestConsent: Handler(lambda _: Needs(), lambda _, wish: consents.request(wish)),
    BeginAuthorisation: Handler(
        _consents_stream, lambda loaded, wish: consents.begin_authorisation(_consent(loaded, wish), wish)
    ),
    ReturnFromBank: Handler(
        _consents_stream, lambda loaded, wish: consents.return_from_bank(_consent(loaded, wish), wish)
    ),
    AuthoriseConsent: Handler(_consents_stream, lambda loaded, wish: consents.authorise(_consent(loaded, wish), wish)),
    RecordConsentNews: Handler(
        _consent_in_time, lambda loaded, wish: consents.record_news(_consent(loaded, wish), wish, loaded.now)
    ),
    FailConsent: Handler(_consents_stream, lambda loaded, wish: consents.fail(_consent(loaded, wish), wish)),
    RevokeConsent: Handler(_consents_stream, lambda loaded, wish: consents.revoke(_consent(loaded, wish), wish)),
    DeleteLink: Handler(_consents_stream, lambda loaded, wish: consents.delete_link(_consent(loaded, wish), wish)),
    MindConsentEnd: Handler(
        _consent_in_time, lambda loaded, wish: consents.mind_end(_consent(loaded, wish), loaded.now)
    ),
    LinkBankAccounts: Handler(
        lambda wish: Needs(streams=frozenset(one.bank_account_id for one in wish.found)),
        lambda loaded, wish: bank_accounts.link(
            _bank_accounts(loaded, [one.bank_account_id for one in wish.found]), wish
        ),
    ),
    TagBankTransaction: Handler(
        lambda wish: Needs(streams=frozenset({wish.bank_transaction_id})), lambda _, wish: bank_accounts.tag(wish)
    ),
    InitiatePayment: Handler(_initiate_needs, _initiate),
    AnswerScaChallenge: Handler(_answer_needs, _answer),
    ReleasePayment: Handler(_payment_needs, _release),
    RefusePayment: Handler(_payment_needs, _refuse),
    BeginDevice: Handler(
        lambda wish: Needs(streams=frozenset({sca.guard_id_of(wish.owner)}), time=True),
        lambda loaded, wish: sca_devices.begin(_guard(loaded, wish), wish, loaded.now),
    ),
    CompleteDevice: Handler(
        lambda wish: Needs(streams=frozenset({wish.device_id, wish.challenge_id}), time=True),
        lambda loaded, wish: sca_devices.complete(
            _device(loaded, wish.device_id), _challenge(loaded, wish), wish, loaded.now
        ),
    ),
    RemoveDevice: Handler(
        lambda wish: Needs(streams=frozenset({wish.device_id})),
        lambda loaded, wish: sca_devices.remove(_device(loaded, wish.device_id), wish),
    ),
    CancelPayment: Handler(_payment_needs, _cancel),
    ExpirePayment: Handler(_payment_needs, _expire),
    StartSubmission: Handler(_payment_needs, _start_submission),
    RecordPaymentNews: Handler(
        lambda wish: Needs(
            holds=frozenset({payments.hold_id_of(wish.payment_id)}), streams=frozenset({wish.payment_id}), time=True
        ),
        lambda loaded, wish: payments.record_news(
            loaded.book, _held(loaded, wish), _payment(loaded, wish.payment_id), wish, loaded.now
        ),
    ),
    UnlinkBankAccounts: Handler(
        lambda wish: Needs(streams=frozenset(wish.bank_account_ids)),
        lambda loaded, wish: bank_accounts.unlink(_bank_accounts(loaded, wish.bank_account_ids), wish),
    ),
}
