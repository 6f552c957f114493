"""Refusals of payments, of what authorises them, and of whom they pay."""

from __future__ import annotations

from datetime import datetime

import strawberry

from isthmus.resolvers.money import Money
from isthmus.resolvers.sca_states import ScaChallengeState
from isthmus.resolvers.user_error import UserError


@strawberry.type(description="There is no such payment of yours.")
class PaymentNotFound(UserError):
    pass


@strawberry.type(description="It is too late to take the payment back: the bank may have it.")
class PaymentNotCancellable(UserError):
    pass


@strawberry.type(description="The payee's account cannot be one. Not remembered: mend it and use the same key.")
class PayeeAccountInvalid(UserError):
    pass


@strawberry.type(description="No payment of that id waits for your judgement: nobody judges their own. Not remembered.")
class PaymentNotInReview(UserError):
    pass


@strawberry.type(description="There is no such case, or it is not about money in suspense. Not remembered.")
class ReconciliationCaseNotFound(UserError):
    pass


@strawberry.type(description="No payment of that id waits for you to look into it: nobody decides on their own.")
class PaymentNotParked(UserError):
    pass


@strawberry.type(description="The provider definitely says otherwise. Not remembered.")
class PaymentContradicted(UserError):
    pass


@strawberry.type(
    description="It was confirmed or replaced, or something was heard of the payment since. Propose it anew."
)
class PaymentProposalOver(UserError):
    pass


@strawberry.type(description="It was confirmed, or another took its place. Look at the case, and propose it anew.")
class CaseProposalOver(UserError):
    pass


@strawberry.type(description="Another operator is to confirm what you proposed, or what would be yours.")
class SecondOperatorNeeded(UserError):
    pass


@strawberry.type(description="A case is not closed while its money is in suspense. Not remembered.")
class MoneyInSuspense(UserError):
    pass


@strawberry.type(description="More than may be paid at once, or in a day. Not remembered.")
class LimitExceeded(UserError):
    limit: Money = strawberry.field(
        description="How much may be paid: at once, or from one midnight (UTC) to the next."
    )
    used: Money = strawberry.field(description="What counts towards it already: paid, or waiting to be answered for.")
    resets_at: datetime | None = strawberry.field(
        description="When it counts from nothing again; null where it is the limit of one payment, which never does."
    )


@strawberry.type(description="The answer is not accepted. It is the same whatever was wrong with it.")
class ScaRejected(UserError):
    attempts_left: int = strawberry.field(
        description="How many wrong answers are left; 0 where this challenge takes none any more."
    )
    challenge_state: ScaChallengeState | None = strawberry.field(
        description="Where the challenge stands; null where there is no such challenge of yours."
    )


@strawberry.type(description="Too many wrong answers: nothing can be authorised for a while. Not remembered.")
class ScaBlocked(UserError):
    #: Never null, as that of TooManyCodes.
    resets_at: datetime | None = strawberry.field(description="When answers are taken again; never null here.")


@strawberry.type(description="A challenge has to be answered first. Not remembered.")
class ScaRequired(UserError):
    threshold: Money | None = strawberry.field(
        description="Most that goes to another person without one, at once; null where it is not about money."
    )


@strawberry.type(description="You cannot be asked in that way. Not remembered.")
class ScaMethodUnavailable(UserError):
    pass


@strawberry.type(
    description="As many codes were sent to you as may be in a while. Not remembered: wait, or answer with a device or an app."
)
class TooManyCodes(UserError):
    #: Never null, and said to be so as that of LimitExceeded is: one operation may ask for both by that name.
    resets_at: datetime | None = strawberry.field(description="When the next one would be sent; never null here.")


@strawberry.type(description="There is no such device of yours.")
class DeviceNotFound(UserError):
    pass


@strawberry.type(description="What the device answered is not accepted, whatever was wrong with it. Not remembered.")
class DeviceRefused(UserError):
    pass


@strawberry.type(description="There are as many devices as one may have. Remove one that is not needed.")
class TooManyDevices(UserError):
    pass


@strawberry.type(description="There is no such payee that you saved.")
class PayeeNotFound(UserError):
    pass


@strawberry.type(description="You saved this payee already, with this account. Not remembered.")
class PayeeExists(UserError):
    pass
