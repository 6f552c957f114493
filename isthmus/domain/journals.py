"""What may be posted, reserved, resolved and reversed: decisions over the book of locked accounts.

Each function takes the book and a wish and gives events, or a typed refusal; none changes anything. Told elsewhere: the shapes of
journals and holds in `ledger.py`; who may ask in `internal_transfers.py` and `deposits.py`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from operator import attrgetter
from uuid import UUID

from isthmus.domain.accounts import AccountFrozen, AccountUnfrozen, Direction, FreezeReason
from isthmus.domain.ledger import (
    ZERO,
    Book,
    Figures,
    Hold,
    HoldVoided,
    JournalDraft,
    JournalKind,
    JournalPosted,
    JournalReserved,
    LedgerEvent,
    Leg,
    VoidReason,
    apply,
)
from isthmus.domain.money import Money, add, subtract
from isthmus.domain.personal import Sealed
from isthmus.domain.refusals import (
    AccountClosedRefusal,
    AccountFrozenRefusal,
    AccountNotFound,
    AlreadyResolved,
    AlreadyReversed,
    AssetMismatch,
    ExceedsHold,
    HoldNotDue,
    InsufficientFunds,
    InvalidAmount,
    JournalNotFound,
    Refusal,
    Unbalanced,
)

_POSTED, _RESERVED, _RELEASED = object(), object(), object()


def post(book: Book, draft: JournalDraft) -> Sequence[LedgerEvent] | Refusal:
    fault = _legs_fault(book, draft.legs)
    if fault is not None:
        return fault
    figures = _figures(book, posted=draft.legs)
    fault = _movement_fault(book, figures)
    if fault is not None:
        return fault
    posted = JournalPosted(draft.journal_id, draft.kind, draft.legs, figures, draft.reference, linked=draft.linked)
    return [posted, *_thawed(book, figures)]


def post_linked(book: Book, drafts: Sequence[JournalDraft]) -> Sequence[LedgerEvent] | Refusal:
    """All of them or none: each is decided on what the ones before it leave."""
    after = dict(book)
    events: list[LedgerEvent] = []
    for draft in drafts:
        decided = post(after, draft)
        if isinstance(decided, Refusal):
            return decided
        apply(after, decided)
        events.extend(decided)
    return events


def reserve(book: Book, draft: JournalDraft, expires_at: datetime | None) -> Sequence[LedgerEvent] | Refusal:
    fault = _legs_fault(book, draft.legs)
    if fault is not None:
        return fault
    figures = _figures(book, reserved=draft.legs)
    fault = _movement_fault(book, figures)
    if fault is not None:
        return fault
    return [
        JournalReserved(draft.journal_id, draft.kind, draft.legs, figures, draft.reference, expires_at, draft.linked)
    ]


def post_hold(
    book: Book, hold: Hold | None, journal_id: UUID, legs: tuple[Leg, ...] | None, now: datetime
) -> Sequence[LedgerEvent] | Refusal:
    """Post a hold, whole (`legs` None) or in part; what is not posted is released."""
    if hold is None:
        return JournalNotFound("There is no such hold.")
    expires_at = hold.reserved.expires_at
    if hold.resolved or (expires_at is not None and now >= expires_at):
        return AlreadyResolved("The hold was posted or voided before, or its time is over.")
    posting = hold.reserved.legs if legs is None else legs
    fault = _legs_fault(book, posting)
    if fault is not None:
        return fault
    held = _sums(hold.reserved.legs)
    if any(amount > held.get(key, ZERO) for key, amount in _sums(posting).items()):
        return ExceedsHold("A hold cannot be posted for more than it holds.")
    figures = _figures(book, posted=posting, released=hold.reserved.legs)
    reserved = hold.reserved
    posted = JournalPosted(
        journal_id, reserved.kind, posting, figures, reserved.reference, resolves=reserved.journal_id
    )
    return [posted, *_thawed(book, figures)]


def void_hold(book: Book, hold: Hold | None, reason: VoidReason, now: datetime) -> Sequence[LedgerEvent] | Refusal:
    if hold is None:
        return JournalNotFound("There is no such hold.")
    if hold.resolved:
        return AlreadyResolved("The hold was posted or voided before.")
    expires_at = hold.reserved.expires_at
    if reason is VoidReason.EXPIRED and (expires_at is None or now < expires_at):
        return HoldNotDue("The hold's time is not over yet.")
    figures = _figures(book, released=hold.reserved.legs)
    return [HoldVoided(hold.reserved.journal_id, reason, figures), *_thawed(book, figures)]


def reverse(
    book: Book, original: JournalPosted | None, reversed_before: bool, journal_id: UUID, reference: Sealed | None
) -> Sequence[LedgerEvent] | Refusal:
    """The mirror of a journal. It may take an account below zero: that account is then frozen, not hidden."""
    if original is None:
        return JournalNotFound("There is no such journal.")
    if reversed_before:
        return AlreadyReversed("The journal was reversed before.")
    if original.reverses is not None:
        return AlreadyReversed("A reversal is not reversed: post what is meant.")
    legs = tuple(replace(leg, direction=leg.direction.opposite) for leg in original.legs)
    fault = _legs_fault(book, legs)
    if fault is not None:
        return fault
    figures = _figures(book, posted=legs)
    posted = JournalPosted(journal_id, JournalKind.REVERSAL, legs, figures, reference, reverses=original.journal_id)
    frozen = [
        AccountFrozen(after.account_id, after.owner, FreezeReason.OVERDRAWN)
        for after in figures
        if (state := book[after.account_id]).floor is not None
        and subtract(after.posted, after.pending_out) < state.floor
    ]
    # Frozen first: the balance row takes floor NULL, frozen and the new figures in one statement either way.
    return [*frozen, posted, *_thawed(book, figures)]


def _legs_fault(book: Book, legs: Sequence[Leg]) -> Refusal | None:
    if not legs or any(not leg.amount.is_finite() or leg.amount <= 0 for leg in legs):
        return InvalidAmount("Every leg of a journal moves more than zero.")
    totals: dict[str, Decimal] = defaultdict(lambda: ZERO)
    for leg in legs:
        state = book.get(leg.account_id)
        if state is None:
            return AccountNotFound("There is no such account.")
        if state.account.asset != leg.asset:
            return AssetMismatch(f"The account holds {state.account.asset}, not {leg.asset}.")
        if state.account.closed:
            return AccountClosedRefusal("The account is closed.")
        signed = leg.amount if leg.direction is Direction.DEBIT else leg.amount.copy_negate()
        totals[leg.asset] = add(totals[leg.asset], signed)
    if any(totals.values()):
        return Unbalanced("Debits and credits differ.")
    return None


def _sums(legs: Sequence[Leg]) -> dict[tuple[UUID, Direction], Decimal]:
    sums: dict[tuple[UUID, Direction], Decimal] = defaultdict(lambda: ZERO)
    for leg in legs:
        key = (leg.account_id, leg.direction)
        sums[key] = add(sums[key], leg.amount)
    return sums


def _figures(
    book: Book, *, posted: Sequence[Leg] = (), reserved: Sequence[Leg] = (), released: Sequence[Leg] = ()
) -> tuple[Figures, ...]:
    """The accounts touched, in id order, after the legs are posted, reserved or released."""
    #: account -> how its posted, pending_in and pending_out change.
    changes: dict[UUID, list[Decimal]] = {}
    for kind, legs in ((_POSTED, posted), (_RESERVED, reserved), (_RELEASED, released)):
        for leg in legs:
            inward = leg.direction is book[leg.account_id].account.account_type.normal_balance
            if kind is _POSTED:
                place, change = 0, leg.amount if inward else leg.amount.copy_negate()
            else:
                place, change = 1 if inward else 2, leg.amount if kind is _RESERVED else leg.amount.copy_negate()
            change_of = changes.setdefault(leg.account_id, [ZERO, ZERO, ZERO])
            change_of[place] = add(change_of[place], change)
    figures = []
    for account_id in sorted(changes, key=attrgetter("int")):
        state = book[account_id]
        posted_change, in_change, out_change = changes[account_id]
        figures.append(
            Figures(
                account_id,
                state.account.owner,
                state.account.asset,
                posted=add(state.posted, posted_change),
                pending_in=add(state.pending_in, in_change),
                pending_out=add(state.pending_out, out_change),
                version=state.version + 1,
                posted_change=posted_change,
                pending_in_change=in_change,
                pending_out_change=out_change,
            )
        )
    return tuple(figures)


def _movement_fault(book: Book, figures: Sequence[Figures]) -> Refusal | None:
    """What takes from an account must not be frozen there, and must leave it at or above its floor."""
    for after in figures:
        state = book[after.account_id]
        available = subtract(after.posted, after.pending_out)
        if available >= state.available:
            continue
        if state.account.frozen:
            return AccountFrozenRefusal("The account is frozen: it only receives.")
        if state.floor is not None and available < state.floor:
            required = subtract(state.available, available)
            return InsufficientFunds(
                "There is not enough available in the account.",
                available=Money(state.available, after.asset),
                required=Money(required, after.asset),
            )
    return None


def _thawed(book: Book, figures: Sequence[Figures]) -> list[LedgerEvent]:
    """Accounts that a reversal froze below zero and that this movement brings back to zero or above."""
    return [
        AccountUnfrozen(after.account_id, after.owner, FreezeReason.OVERDRAWN)
        for after in figures
        if FreezeReason.OVERDRAWN in book[after.account_id].account.freezes
        and subtract(after.posted, after.pending_out) >= 0
    ]
