"""From which banks clients pay, and who speaks for each: one rail for every adapter."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rail:
    """`bank`: the sandbox's name for it; `institution`: ours. `serve`: which of the servers has the route to it, since a bank that two
    providers speak for is linked through the one that its server prefers. `asks`: how a payment is asked for there. `tops_up`: money can be
    brought here by it."""

    name: str
    bank: str
    institution: str
    country: str
    asset: str
    asks: str
    serve: int = 0
    tops_up: bool = False


RAILS = (
    Rail("truelayer", "harbour", "harbour-bank-gb", "GB", "GBP", "POST /truelayer/api/v3/payments", tops_up=True),
    Rail("yapily", "nordlicht", "nordlicht-bank-de", "DE", "EUR", "POST /yapily/payment"),
    # Plaid pays no dollars, and so nothing from the bank that it speaks for in `up`.
    Rail("plaid", "harbour", "harbour-bank-gb", "GB", "GBP", "POST /plaid/payment_initiation/payment/create", serve=1),
)
#: What can be brought here, and our own account at TrueLayer that it then comes into.
COLLECTING = {"GBP": "sandbox-merchant-gbp"}


def rail_of(number: int) -> Rail:
    """By turns."""
    return RAILS[number % len(RAILS)]


def routes_of(serve: int) -> list[str]:
    """As ISTHMUS_BANKING__ROUTES has them."""
    return [f"{rail.institution}={rail.name}" for rail in RAILS if rail.serve == serve]
