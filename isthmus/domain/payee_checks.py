"""Confirmation of payee: whether an account is held in the name that a person wrote, as the bank that has it says.

EU 2024/886 (verification of payee) and the United Kingdom's confirmation of payee: the payer is told before they authorise, and may go on
whatever the answer is. The name that the bank has is told where the written one is close to it, and nowhere else: it is personal data
of somebody who was not asked. Nobody waits long for it, and no payment depends on it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Protocol

from isthmus.domain.lookalikes import Flagged
from isthmus.domain.names import Likeness, likeness, readings
from isthmus.domain.payees import PayeeAccount

#: Longest that anybody waits for a check.
ANSWER_WITHIN = timedelta(seconds=1.5)


class PayeeMatch(StrEnum):
    MATCH = "MATCH"
    CLOSE_MATCH = "CLOSE_MATCH"
    NO_MATCH = "NO_MATCH"
    UNAVAILABLE = "UNAVAILABLE"


@dataclass(frozen=True)
class PayeeAnswer:
    """`holder`: the name that the bank has, where it says so."""

    match: PayeeMatch
    holder: str | None = field(default=None, repr=False)


UNAVAILABLE = PayeeAnswer(PayeeMatch.UNAVAILABLE)


class PayeeVerification(Protocol):
    async def check(self, account: PayeeAccount, name: str) -> PayeeAnswer:
        """Never raises for what is outside: where nobody can say, or nobody says in time, it is UNAVAILABLE."""
        ...


@dataclass(frozen=True)
class CheckedPayee:
    """What a person is told of a payee: the bank's answer, and what of it looks odd beside those whom they paid before."""

    answer: PayeeAnswer
    flagged: Flagged


def tellable(answer: PayeeAnswer, name: str) -> PayeeAnswer:
    """What may be told. A name goes out with a close match alone, and where it is close by our own reading, too: a provider that gives
    away whole names would tell them to whoever asks."""
    if answer.match is not PayeeMatch.CLOSE_MATCH or answer.holder is None:
        return PayeeAnswer(answer.match)
    near = any(
        likeness(mine, theirs) is not Likeness.NONE for mine in readings(name) for theirs in readings(answer.holder)
    )
    return answer if near else PayeeAnswer(answer.match)


def advice(match: PayeeMatch) -> str | None:
    """What it means, for people; None where there is nothing to warn of."""
    match match:
        case PayeeMatch.MATCH:
            return None
        case PayeeMatch.CLOSE_MATCH:
            return "The name is close to the one that the account is held in, and not the same. Look at it again before you pay."
        case PayeeMatch.NO_MATCH:
            return (
                "The account is not held in this name. You may pay all the same, but the money may go to somebody else than you mean, "
                "and may not come back."
            )
        case PayeeMatch.UNAVAILABLE:
            return "Nobody could say whether the account is held in this name. Ask whom you pay, in another way than they wrote to you."
