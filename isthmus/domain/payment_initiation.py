"""How a payment begins: from an account here its money is reserved, or it ends at once where a rule will not have it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from isthmus.domain import accounts_here, compliance, journals, own_accounts, sca, step_up
from isthmus.domain.accounts import AccountType, Direction, open_house_account
from isthmus.domain.compliance import Limits, Ruling, Verdict
from isthmus.domain.dynamic_link import Purpose
from isthmus.domain.exemptions import NO_EXEMPTIONS, NOBODY_KNOWN, ExemptionRules, Standing, Unproven, exempt
from isthmus.domain.identifiers import house_account_id
from isthmus.domain.ledger import (
    Book,
    JournalDraft,
    JournalKind,
    LedgerEvent,
    Leg,
    apply,
)
from isthmus.domain.payment_events import (
    PaymentAuthorised,
    PaymentEvent,
    PaymentExempted,
    PaymentInitiated,
    PaymentRejected,
    PaymentScreened,
    Source,
    clearing_code,
    hold_id_of,
)
from isthmus.domain.payment_payees import PayeeCheck, payee_checked
from isthmus.domain.payments import Decision
from isthmus.domain.personal import PersonalText
from isthmus.domain.refusals import (
    AccountClosedRefusal,
    AccountFrozenRefusal,
    AccountNotFound,
    AssetMismatch,
    InsufficientFunds,
    Refusal,
)

REFERENCE_LENGTH_MAX = 18
_FROM, _AMOUNT = ("input", "fromAccountId"), ("input", "amount")


@dataclass(frozen=True)
class InitiatePayment:
    payment_id: UUID
    challenge_id: UUID
    owner: UUID
    source: Source
    from_account_id: UUID
    provider: str
    amount: Decimal
    asset: str
    payee_name: PersonalText
    payee_account: PersonalText
    reference: PersonalText | None
    digest: str
    method: sca.Method
    expires_at: datetime
    verdict: Verdict
    limits: Limits
    exemptions: ExemptionRules = NO_EXEMPTIONS
    standing: Standing = NOBODY_KNOWN
    #: What the payer is told of the payee; None where nobody was asked.
    payee_check: PayeeCheck | None = None
    matched_name: PersonalText | None = None
    resembles_name: PersonalText | None = None
    resembles_account: PersonalText | None = None
    batch_id: UUID | None = None
    line: int = 0
    #: The payer's own account here that it is for.
    credits: UUID | None = None
    #: Who is paid, where they were named by that.
    saved_payee_id: UUID | None = None
    #: The account here that is paid, as somebody else's.
    pays: UUID | None = None

    @property
    def person(self) -> UUID:
        """Whose key seals the texts."""
        return self.owner

    @property
    def clearing_id(self) -> UUID:
        return house_account_id(clearing_code(self.provider, self.asset))


def initiate(
    book: Book, guard: sca.Guard, used: Decimal, wish: InitiatePayment, now: datetime, before: Unproven | None = None
) -> Decision:
    """From an account here the money is reserved now; from a bank's it is asked for once the person has answered. `used`: of the
    person's limit for the day; `before`: what they were not asked for. One that compliance refuses is recorded, with neither money
    reserved nor a challenge; one that a rule exempts is authorised at once, without a challenge."""
    if (no := step_up.blocked(guard, now)) is not None:
        return no
    about, verdict = (wish.payment_id, wish.owner), wish.verdict
    begun = made(book, used, wish, now, held=verdict.ruling is not Ruling.REFUSE)
    if isinstance(begun, Refusal):
        return begun
    if verdict.ruling is Ruling.REFUSE:
        return [*begun, PaymentRejected(*about, compliance.REFUSED)]
    # What a bank asks for it asks itself, and what an operator is to judge is answered for first.
    ours = wish.source is Source.OWN and verdict.ruling is Ruling.ALLOW
    standing = replace(wish.standing, own=own_accounts.is_own(book, wish))
    let = exempt(wish.exemptions, standing, wish.asset, wish.amount, before or Unproven()) if ours else None
    if let is not None:
        exempted = PaymentExempted(*about, wish.asset, wish.amount, let.rule, let.version)
        return [*begun, exempted, PaymentAuthorised(*about, f"EXEMPTION {let.rule}")]
    return [
        *begun,
        sca.ScaChallengeIssued(
            wish.challenge_id,
            wish.owner,
            Purpose.PAYMENT,
            wish.payment_id,
            wish.digest,
            wish.method,
            wish.expires_at,
        ),
    ]


def made(
    book: Book, used: Decimal, wish: InitiatePayment, now: datetime, *, held: bool
) -> list[PaymentEvent | LedgerEvent] | Refusal:
    """The payment, screened, within the limits, and its money reserved where it is `held`: before anybody is asked."""
    own = wish.source is Source.OWN
    reserved = _reserve(book, wish) if own else []
    if isinstance(reserved, Refusal):
        return reserved
    # What a person brings here, or moves here, is theirs before and after: limits are for what leaves them.
    over = compliance.limit_fault(wish.limits, wish.asset, wish.amount, used, now) if wish.credits is None else None
    if over is not None:
        return over
    verdict = wish.verdict
    screened = PaymentScreened(wish.payment_id, wish.owner, verdict.ruling, verdict.rule, verdict.list_version)
    return [*(reserved if held else []), _initiated(wish, held=held and own), *payee_checked(wish), screened]


def _initiated(wish: InitiatePayment, *, held: bool) -> PaymentInitiated:
    return PaymentInitiated(
        wish.payment_id,
        wish.owner,
        wish.source,
        wish.from_account_id,
        wish.provider,
        wish.asset,
        wish.amount,
        wish.payee_name.ciphertext(),
        wish.payee_account.ciphertext(),
        wish.reference.ciphertext() if wish.reference else None,
        wish.digest,
        wish.challenge_id,
        hold_id_of(wish.payment_id) if held else None,
        wish.batch_id,
        wish.line,
        wish.credits,
        wish.pays,
    )


def _reserve(book: Book, wish: InitiatePayment) -> Sequence[LedgerEvent] | Refusal:
    source = book.get(wish.from_account_id)
    if source is None or source.account.owner != wish.owner:
        return AccountNotFound("There is no such account.", _FROM)
    if source.account.closed:
        return AccountClosedRefusal("The account is closed.", _FROM)
    if source.account.asset != wish.asset:
        return AssetMismatch(f"The account holds {source.account.asset}, not {wish.asset}.", (*_AMOUNT, "asset"))
    fault = own_accounts.account_fault(book, wish) if wish.credits is not None else None
    if wish.pays is not None:
        fault = accounts_here.account_fault(book, wish)
    if fault is not None:
        return fault
    # Somebody else's account is told of nothing before it is paid: that money is on its way to them would be anybody's to show.
    after, opened, here = dict(book), list[LedgerEvent](), wish.credits
    if here is None and wish.clearing_id not in after:
        # What is on its way stands there below zero until the bank's account is credited for it.
        code = clearing_code(wish.provider, wish.asset)
        opened += open_house_account(wish.clearing_id, code, AccountType.ASSET, wish.asset, may_overdraw=True)
        apply(after, opened)
    legs = (
        Leg(wish.from_account_id, Direction.DEBIT, wish.amount, wish.asset),
        Leg(here or wish.clearing_id, Direction.CREDIT, wish.amount, wish.asset),
    )
    kind = JournalKind.PAYMENT if here is None else JournalKind.INTERNAL_TRANSFER
    draft = JournalDraft(hold_id_of(wish.payment_id), kind, legs)
    decided = journals.reserve(after, draft, None)
    match decided:
        case InsufficientFunds():
            return replace(decided, path=_AMOUNT)
        case AccountFrozenRefusal():
            return replace(decided, path=_FROM)
        case Refusal():
            return decided
        case _:
            return [*opened, *decided]
