"""What of a challenge is shown to whom: operators see payments that are judged or parked with their challenges."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from isthmus.resolvers.sca import DecoupledChallenge, RedirectChallenge

ADA, OLGA = uuid4(), uuid4()


class Texts:
    async def load(self, sealed: str) -> str:
        return f"opened {sealed}"


async def shown(of: type, field: str, to: UUID) -> Any:
    """A field of Ada's challenge, as that person reads it."""
    challenge = SimpleNamespace(
        row=SimpleNamespace(owner=ADA, state="PENDING"), payment=SimpleNamespace(device="device", url="url")
    )
    context = SimpleNamespace(sight=SimpleNamespace(person=to), loaders=SimpleNamespace(texts=Texts()))
    fields = cast(Any, of).__strawberry_definition__.fields
    resolver = next(one.base_resolver for one in fields if one.name == field)
    return await resolver.wrapped_func(challenge, SimpleNamespace(context=context))


@pytest.mark.parametrize(
    ("of", "field", "mine", "theirs"),
    [
        (DecoupledChallenge, "device_label", "opened device", ""),
        (RedirectChallenge, "url", "opened url", None),
    ],
)
async def test_where_a_bank_asks_its_customer_nobody_else_learns(
    of: type, field: str, mine: str, theirs: str | None
) -> None:
    assert await shown(of, field, ADA) == mine
    assert await shown(of, field, OLGA) == theirs
