"""Which handler serves which command about consents and accounts at banks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from isthmus.domain import (
    bank_accounts,
    consent_events,
    consents,
)
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
from isthmus.write_models.handling import Handler, Loaded, Needs


def _consent(loaded: Loaded, wish: Any) -> consent_events.Consent | None:
    return consent_events.fold(loaded.streams.get(wish.consent_id, ()))


def _bank_accounts(loaded: Loaded, keys: Iterable[UUID]) -> dict[UUID, bank_accounts.BankAccount | None]:
    return {key: bank_accounts.fold(loaded.streams.get(key, ())) for key in keys}


def _consents_stream(wish: Any) -> Needs:
    return Needs(streams=frozenset({wish.consent_id}))


def _consent_in_time(wish: Any) -> Needs:
    return Needs(streams=frozenset({wish.consent_id}), time=True)


BANK_HANDLERS: Mapping[type, Handler] = {
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
    UnlinkBankAccounts: Handler(
        lambda wish: Needs(streams=frozenset(wish.bank_account_ids)),
        lambda loaded, wish: bank_accounts.unlink(_bank_accounts(loaded, wish.bank_account_ids), wish),
    ),
}
