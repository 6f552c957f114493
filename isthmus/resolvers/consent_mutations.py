"""Linking a bank, and ending that: wishes about consents."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import strawberry
from strawberry import UNSET

from isthmus.domain.banking import Credential, LinkToken, RedirectTo
from isthmus.domain.personal import PersonalText
from isthmus.domain.refusals import BankTransactionNotFound, InvalidInput, Refusal
from isthmus.domain.validation import first_fault, key_fault, text_fault
from isthmus.graphql.context import AppInfo
from isthmus.graphql.ids import bank_transaction_key, consent_key
from isthmus.graphql.scalars import Position
from isthmus.resolvers.consents import BankConsent, consent_of
from isthmus.resolvers.transactions import Transaction, bank_transaction_of
from isthmus.resolvers.wishes import INPUT, KEY, Payload, envelope_of, refused
from isthmus.write_models.envelope import Done, Refused
from isthmus.write_models.link_wishes import Linked

_TEXT_MAX = 2_048
_TAGS_MAX, _TAG_MAX = 20, 50


@strawberry.type(description="The person is to be sent to the bank's own page.")
class RedirectAuthorization:
    url: str = strawberry.field(description="Where. They come back to the `redirectUri`, with a code and the state.")
    expires_at: datetime | None = strawberry.field(
        description="When the address is of no use any more, where it says so."
    )


@strawberry.type(description="The provider's own component is to be opened.")
class LinkTokenAuthorization:
    link_token: str = strawberry.field(description="What it is opened with. It gives a public token.")
    expires_at: datetime | None = strawberry.field(description="When the token is of no use any more.")
    hosted_url: str | None = strawberry.field(
        description="Where the component can be had as a page, for those who want no other."
    )


BankAuthorization = Annotated[
    RedirectAuthorization | LinkTokenAuthorization,
    strawberry.union("BankAuthorization", description="How the person gets to their bank."),
]


@strawberry.input(description="A bank to be linked.")
class StartBankLinkInput:
    institution_id: strawberry.ID = strawberry.field(description="The institution's id.")
    redirect_uri: str = strawberry.field(
        description="Where the person comes back to: one that is registered, to the letter."
    )
    idempotency_key: str = strawberry.field(description=KEY)


@strawberry.input(description="What a person came back with: a code with its state, or a public token.")
class BankCredentialInput:
    code: str | None = strawberry.field(
        default=UNSET, description="The code of the redirect (`code`; `one-time-token` from Yapily)."
    )
    state: str | None = strawberry.field(
        default=UNSET, description="The state of the redirect (`state`; `application-user-id` from Yapily)."
    )
    public_token: str | None = strawberry.field(default=UNSET, description="What the provider's component gave.")


@strawberry.input(description="A link to be completed.")
class CompleteBankLinkInput:
    consent_id: strawberry.ID = strawberry.field(description="The consent's id.")
    credential: BankCredentialInput = strawberry.field(description="What the person came back with.")


@strawberry.input(description="A consent to be prolonged.")
class RenewBankConsentInput:
    consent_id: strawberry.ID = strawberry.field(description="The consent's id.")
    redirect_uri: str = strawberry.field(
        description="Where the person comes back to: one that is registered, to the letter."
    )
    idempotency_key: str = strawberry.field(description=KEY)


@strawberry.input(description="A consent to be taken back.")
class RevokeBankConsentInput:
    consent_id: strawberry.ID = strawberry.field(description="The consent's id.")
    idempotency_key: str = strawberry.field(description=KEY)


@strawberry.input(description="A link to be deleted, with all it brought.")
class DeleteBankLinkInput:
    consent_id: strawberry.ID = strawberry.field(description="The consent's id.")
    idempotency_key: str = strawberry.field(description=KEY)


@strawberry.input(description="A bank to be read now.")
class RefreshBankLinkInput:
    consent_id: strawberry.ID = strawberry.field(description="The consent's id.")


@strawberry.input(description="Words of its owner for a bank transaction, in place of those from before.")
class TagBankTransactionInput:
    transaction_id: strawberry.ID = strawberry.field(description="The transaction's id.")
    tags: list[str] = strawberry.field(description="The words: 20 at most, of 50 characters at most.")
    idempotency_key: str = strawberry.field(description=KEY)


@strawberry.type(description="What became of the wish to link a bank.")
class StartBankLinkPayload(Payload):
    consent: BankConsent | None = strawberry.field(description="The consent; null when refused.")
    authorization: BankAuthorization | None = strawberry.field(
        description="How the person gets to their bank; null when refused, or when they have been there."
    )


@strawberry.type(description="What became of the wish to complete a link.")
class CompleteBankLinkPayload(Payload):
    consent: BankConsent | None = strawberry.field(description="The consent; null when refused.")


@strawberry.type(description="What became of the wish to prolong a consent.")
class RenewBankConsentPayload(Payload):
    consent: BankConsent | None = strawberry.field(description="The consent; null when refused.")
    authorization: BankAuthorization | None = strawberry.field(
        description="How the person gets to their bank; null when refused, or when the wish was enough."
    )


@strawberry.type(description="What became of the wish to take a consent back.")
class RevokeBankConsentPayload(Payload):
    consent: BankConsent | None = strawberry.field(description="The consent; null when refused.")


@strawberry.type(description="What became of the wish to delete a link.")
class DeleteBankLinkPayload(Payload):
    consent: BankConsent | None = strawberry.field(description="What is left of the consent; null when refused.")


@strawberry.type(description="What became of the wish to read a bank now.")
class RefreshBankLinkPayload(Payload):
    consent: BankConsent | None = strawberry.field(description="The consent; null when refused.")


@strawberry.type(description="What became of the wish to tag a transaction.")
class TagBankTransactionPayload(Payload):
    transaction: Transaction | None = strawberry.field(description="The transaction; null when refused.")


@strawberry.type
class ConsentMutations:
    @strawberry.mutation(description="Ask for a consent: the answer says where the person gives it.")
    async def start_bank_link(
        self, info: AppInfo, input: Annotated[StartBankLinkInput, strawberry.argument(description=INPUT)]
    ) -> StartBankLinkPayload:
        fault = first_fault(key_fault(input.idempotency_key), _uri_fault(input.redirect_uri))
        if fault is not None:
            return await refused(info, StartBankLinkPayload, fault, "consent", authorization=None)
        envelope = envelope_of(
            info,
            mutation="startBankLink",
            key=input.idempotency_key,
            body={"institution_id": input.institution_id, "redirect_uri": input.redirect_uri},
        )
        answer = await info.context.services.banking.start(
            info.context.caller.person_id, input.institution_id, input.redirect_uri, envelope
        )
        if isinstance(answer, Refused):
            return await refused(info, StartBankLinkPayload, answer.refusal, "consent", answer, authorization=None)
        return StartBankLinkPayload(authorization=_authorization(answer), **await _answer(info, answer))

    @strawberry.mutation(description="Give what the person came back with; the same again is safe.")
    async def complete_bank_link(
        self, info: AppInfo, input: Annotated[CompleteBankLinkInput, strawberry.argument(description=INPUT)]
    ) -> CompleteBankLinkPayload:
        given = input.credential
        fault = _credential_fault(given)
        if fault is not None:
            return await refused(info, CompleteBankLinkPayload, fault, "consent")
        credential = Credential(given.code or None, given.public_token or None)
        key = consent_key(input.consent_id)
        shown = credential.code or credential.public_token or ""
        envelope = envelope_of(
            info,
            mutation="completeBankLink",
            key=info.context.services.banking.key_of(input.consent_id, shown, given.state or None),
            body={"consent_id": input.consent_id},
        )
        answer = await info.context.services.banking.complete(
            info.context.caller.person_id, key, credential, given.state or None, envelope
        )
        if isinstance(answer, Refused):
            return await refused(info, CompleteBankLinkPayload, answer.refusal, "consent", answer)
        return CompleteBankLinkPayload(**await _answer(info, answer))

    @strawberry.mutation(description="Prolong a consent, with its history and its accounts' ids.")
    async def renew_bank_consent(
        self, info: AppInfo, input: Annotated[RenewBankConsentInput, strawberry.argument(description=INPUT)]
    ) -> RenewBankConsentPayload:
        fault = first_fault(key_fault(input.idempotency_key), _uri_fault(input.redirect_uri))
        if fault is not None:
            return await refused(info, RenewBankConsentPayload, fault, "consent", authorization=None)
        envelope = envelope_of(
            info,
            mutation="renewBankConsent",
            key=input.idempotency_key,
            body={"consent_id": input.consent_id, "redirect_uri": input.redirect_uri},
        )
        answer = await info.context.services.banking.renew(
            info.context.caller.person_id, consent_key(input.consent_id), input.redirect_uri, envelope
        )
        if isinstance(answer, Refused):
            return await refused(info, RenewBankConsentPayload, answer.refusal, "consent", answer, authorization=None)
        return RenewBankConsentPayload(authorization=_authorization(answer), **await _answer(info, answer))

    @strawberry.mutation(
        description="Take a consent back: the bank is not read any more, and told so. What it told is kept."
    )
    async def revoke_bank_consent(
        self, info: AppInfo, input: Annotated[RevokeBankConsentInput, strawberry.argument(description=INPUT)]
    ) -> RevokeBankConsentPayload:
        fault = key_fault(input.idempotency_key)
        if fault is not None:
            return await refused(info, RevokeBankConsentPayload, fault, "consent")
        key = consent_key(input.consent_id)
        envelope = envelope_of(
            info, mutation="revokeBankConsent", key=input.idempotency_key, body={"consent_id": input.consent_id}
        )
        outcome = await info.context.services.banking.revoke(info.context.caller.person_id, key, envelope)
        if isinstance(outcome, Refused):
            return await refused(info, RevokeBankConsentPayload, outcome.refusal, "consent", outcome)
        return RevokeBankConsentPayload(**await _answer(info, Linked(key, outcome)))

    @strawberry.mutation(
        description="Delete a link: the consent is taken back, and all that it brought is destroyed for good. The ledger is not touched."
    )
    async def delete_bank_link(
        self, info: AppInfo, input: Annotated[DeleteBankLinkInput, strawberry.argument(description=INPUT)]
    ) -> DeleteBankLinkPayload:
        fault = key_fault(input.idempotency_key)
        if fault is not None:
            return await refused(info, DeleteBankLinkPayload, fault, "consent")
        key = consent_key(input.consent_id)
        envelope = envelope_of(
            info, mutation="deleteBankLink", key=input.idempotency_key, body={"consent_id": input.consent_id}
        )
        outcome = await info.context.services.banking.delete(info.context.caller.person_id, key, envelope)
        if isinstance(outcome, Refused):
            return await refused(info, DeleteBankLinkPayload, outcome.refusal, "consent", outcome)
        return DeleteBankLinkPayload(**await _answer(info, Linked(key, outcome)))

    @strawberry.mutation(
        description="Have a bank read now, as its customer wishes: `consent.sync` shows how far it is."
    )
    async def refresh_bank_link(
        self, info: AppInfo, input: Annotated[RefreshBankLinkInput, strawberry.argument(description=INPUT)]
    ) -> RefreshBankLinkPayload:
        key = consent_key(input.consent_id)
        refusal = await info.context.services.banking.refresh(info.context.caller.person_id, key)
        if refusal is not None:
            return await refused(info, RefreshBankLinkPayload, refusal, "consent")
        end = await info.context.services.read.log.end()
        return RefreshBankLinkPayload(**await _answer(info, Linked(key, Done((), end))))

    @strawberry.mutation(description="Put words of your own to a bank transaction. They stay when it is booked.")
    async def tag_bank_transaction(
        self, info: AppInfo, input: Annotated[TagBankTransactionInput, strawberry.argument(description=INPUT)]
    ) -> TagBankTransactionPayload:
        fault = first_fault(key_fault(input.idempotency_key), _tags_fault(input.tags))
        if fault is not None:
            return await refused(info, TagBankTransactionPayload, fault, "transaction")
        key = bank_transaction_key(input.transaction_id)
        if await info.context.loaders.bank_transactions.load(key) is None:
            missing = BankTransactionNotFound("There is no such transaction.", ("input", "transactionId"))
            return await refused(info, TagBankTransactionPayload, missing, "transaction")
        envelope = envelope_of(
            info,
            mutation="tagBankTransaction",
            key=input.idempotency_key,
            body={"transaction_id": input.transaction_id, "tags": input.tags},
        )
        outcome = await info.context.services.banking.tag(
            info.context.caller.person_id, key, PersonalText("\n".join(input.tags)), envelope
        )
        if isinstance(outcome, Refused):
            return await refused(info, TagBankTransactionPayload, outcome.refusal, "transaction", outcome)
        row = await info.context.loaders.bank_transactions.clear(key).load(key)
        return TagBankTransactionPayload(
            transaction=None if row is None else bank_transaction_of(row),
            position=Position(outcome.position),
            replayed=outcome.replayed,
            errors=[],
        )


async def _answer(info: AppInfo, linked: Linked) -> dict[str, Any]:
    row = await info.context.loaders.consents.load(linked.consent_id)
    return {
        "consent": None if row is None else consent_of(row),
        "position": Position(linked.outcome.position),
        "replayed": linked.outcome.replayed,
        "errors": [],
    }


def _authorization(linked: Linked) -> RedirectAuthorization | LinkTokenAuthorization | None:
    match linked.authorization:
        case RedirectTo(url, expires_at):
            return RedirectAuthorization(url=url, expires_at=expires_at)
        case LinkToken(token, expires_at, hosted_url):
            return LinkTokenAuthorization(link_token=token, expires_at=expires_at, hosted_url=hosted_url)
        case None:
            return None


def _uri_fault(uri: str) -> Refusal | None:
    path = ("input", "redirectUri")
    if len(uri) > _TEXT_MAX:
        return InvalidInput(f"The address is longer than {_TEXT_MAX} characters.", path)
    return text_fault(uri, path)


def _credential_fault(given: BankCredentialInput) -> Refusal | None:
    path = ("input", "credential")
    by_code, by_token = bool(given.code) and bool(given.state), bool(given.public_token)
    if by_code == by_token or (by_token and (given.code or given.state)):
        return InvalidInput("Give a code with its state, or a public token, and not both.", path)
    texts = [text for text in (given.code, given.state, given.public_token) if text]
    if any(len(text) > _TEXT_MAX for text in texts):
        return InvalidInput(f"It is longer than {_TEXT_MAX} characters.", path)
    return first_fault(*(text_fault(text, path) for text in texts))


def _tags_fault(tags: list[str]) -> Refusal | None:
    path = ("input", "tags")
    if len(tags) > _TAGS_MAX:
        return InvalidInput(f"There are more than {_TAGS_MAX} tags.", path)
    if any(not tag.strip() or len(tag) > _TAG_MAX or "\n" in tag for tag in tags):
        return InvalidInput(f"A tag is a line of 1 to {_TAG_MAX} characters.", path)
    return first_fault(*(text_fault(tag, path) for tag in tags))
