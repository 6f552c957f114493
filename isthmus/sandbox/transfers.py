"""What a bank does with a payment that was authorised: money leaves the payer's account, and comes into the payee's if that is here too."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

from isthmus.sandbox.answers import World, text
from isthmus.sandbox.book import BOOKED, Account, Movement
from isthmus.sandbox.clock import iso


@dataclass(frozen=True)
class Transfer:
    """`to`: an IBAN, or sort code and number as one text; "" where that is nobody's business. `amount`: minor units, above nothing."""

    id: str
    amount: int
    currency: str
    payee: str
    to: str
    reference: str

    @property
    def shown(self) -> str:
        return f"{text(self.amount)} {self.currency}"


def current_account(world: World, customer: str, currency: str) -> Account | None:
    """Which one a payment is taken from."""
    some = world.book.accounts_of(customer)
    return next((one for one in some if one.kind == "CURRENT" and one.currency == currency), None)


def payer_account(world: World, customer: str, currency: str, *named: str | None) -> Account | None:
    """The account that is named, by IBAN or by sort code and number as one text, if it is the customer's. The current one where none is."""
    if not any(named):
        return current_account(world, customer, currency)
    for one in world.book.accounts_of(customer):
        if (one.iban in named or f"{one.sort_code}{one.number}" in named) and one.currency == currency:
            return one
    return None


def pay(world: World, account: Account, transfer: Transfer) -> bool:
    """False where the account does not have as much; nothing has happened then. A transfer is made once, however often it is asked for."""
    if world.book.movement(f"{transfer.id}-out") is not None:
        return True
    if world.book.balances(account.id)[1] < transfer.amount:
        return False
    now = iso(world.clock.now())
    out = Movement(
        id=f"{transfer.id}-out",
        account=account.id,
        at=now,
        amount=-transfer.amount,
        currency=transfer.currency,
        name=transfer.payee,
        reference=transfer.reference,
        category="TRANSFER",
        counterparty_account=transfer.to or None,
        state=BOOKED,
        books_at=now,
        booked_at=now,
    )
    movements = [out]
    if (payee := _here(world, transfer)) is not None:
        payer = world.book.customer_by_id(account.customer)
        assert payer is not None, "an account has a customer"
        came = replace(out, id=f"{transfer.id}-in", account=payee.id, amount=transfer.amount, name=payer.full_name)
        movements.append(replace(came, counterparty_account=account.iban))
    world.book.add_movements(movements)
    world.tell([one.account for one in movements])
    return True


def receive(world: World, transfer: Transfer, payer: str) -> None:
    """Money from elsewhere comes into the payee's account, if that is here. Once, however often it is asked for."""
    payee = _here(world, transfer)
    if payee is None or world.book.movement(f"{transfer.id}-in") is not None:
        return
    now = iso(world.clock.now())
    came = Movement(
        id=f"{transfer.id}-in",
        account=payee.id,
        at=now,
        amount=transfer.amount,
        currency=transfer.currency,
        name=payer,
        reference=transfer.reference,
        category="TRANSFER",
        counterparty_account=None,
        state=BOOKED,
        books_at=now,
        booked_at=now,
    )
    world.book.add_movements([came])
    world.tell([payee.id])


def transferred(world: World, account: Account) -> int:
    """What came and went by payments, in minor units: apart from what happens in the account by itself."""
    moved = world.book.movements(account.id, states=(BOOKED,))
    return sum(one.amount for one in moved if one.id.endswith(("-in", "-out")))


def _here(world: World, transfer: Transfer) -> Account | None:
    for one in world.book.accounts():
        if transfer.to in (one.iban, f"{one.sort_code}{one.number}") and one.currency == transfer.currency:
            return one
    return None


def identified(account: str) -> list[dict[str, str]]:
    """What is in `Transfer.to` and in a movement, type by type."""
    if is_iban(account):
        return [{"type": "IBAN", "identification": account}]
    code, number = account[:6], account[6:]
    return [{"type": "SORT_CODE", "identification": code}, {"type": "ACCOUNT_NUMBER", "identification": number}]


def minor_of(amount: object) -> int | None:
    """Minor units, above nothing. JSON numbers of two places come through a float and back unharmed."""
    if isinstance(amount, bool) or not isinstance(amount, (int, float)):
        return None
    minor = Decimal(str(amount)) * 100
    return int(minor) if minor.is_finite() and 0 < minor < 10**15 and minor == minor.to_integral_value() else None


def is_iban(text: object) -> bool:
    """ISO 13616: rearranged, and letters as numbers, it leaves 1 when divided by 97."""
    if not isinstance(text, str) or not 15 <= len(text) <= 34 or not (text.isascii() and text.isalnum()):
        return False
    if not (text[:2].isalpha() and text[2:4].isdigit() and text == text.upper()):
        return False
    return int("".join(str(int(each, 36)) for each in text[4:] + text[:4])) % 97 == 1
