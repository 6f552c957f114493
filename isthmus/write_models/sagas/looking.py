"""When a payment is looked at again: soon at first, hardly ever after days."""

from __future__ import annotations

from datetime import datetime, timedelta

from isthmus.domain.banking import OutcomeUnknown, ProviderFault, ProviderUnavailable

#: How long until a payment is sent again, by how often it was already; the last goes on.
LOOKS = tuple(timedelta(seconds=seconds) for seconds in (1, 2, 4, 8, 15, 30, 60, 300))
#: What is at the bank is looked at again after this part of its age, within these bounds;
_LOOK_PART, _LOOK_MIN, _LOOK_MAX = 4, timedelta(seconds=1), timedelta(minutes=5)
#: and what is old after that part, which goes beyond them: some banks never say the last word.
_OLD_PART, _OLD_MAX = 24, timedelta(hours=6)
#: What has left, or is to leave, and has not arrived for so long an operator is to look at.
ARRIVES_WITHIN = timedelta(days=7)
#: After so many submissions of which nothing is known an operator is to look.
UNKNOWN_MAX = 8


def next_look(made_at: datetime, now: datetime) -> timedelta:
    age = now - made_at
    return max(min(max(age / _LOOK_PART, _LOOK_MIN), _LOOK_MAX), min(age / _OLD_PART, _OLD_MAX))


def rest_of(fault: ProviderFault) -> timedelta:
    """For how long the provider wants to be left alone; no longer than what is looked at most seldom, whatever it says."""
    wait_s = fault.retry_after_s if isinstance(fault, ProviderUnavailable | OutcomeUnknown) else None
    return timedelta(seconds=min(wait_s or 0, _OLD_MAX.total_seconds()))
