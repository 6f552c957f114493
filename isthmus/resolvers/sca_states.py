"""Where a challenge stands, as payments and refusals both say it."""

from __future__ import annotations

from enum import Enum

import strawberry


@strawberry.enum(description="Where a challenge stands.")
class ScaChallengeState(Enum):
    PENDING = strawberry.enum_value("PENDING", description="It waits to be answered.")
    PASSED = strawberry.enum_value("PASSED", description="It was answered rightly, once.")
    FAILED = strawberry.enum_value("FAILED", description="It was answered wrongly too often, or the bank said no.")
    EXPIRED = strawberry.enum_value("EXPIRED", description="Nobody answered it in time.")
    INVALIDATED = strawberry.enum_value(
        "INVALIDATED", description="It was taken back, or what would have been sent is not what it was bound to."
    )
