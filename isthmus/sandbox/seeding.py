"""What the banks' customers have and do, drawn from the seed: the same seed and the same time give the same book."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from uuid import UUID

from isthmus.sandbox.book import BOOKED, PENDING, Account, Book, Customer, Movement
from isthmus.sandbox.clock import iso, read_iso

#: How far back a customer's history goes where nothing else is said, and how long a card payment stays pending at most.
HISTORY_DAYS = 90
_PENDING_DAYS_MAX = 3


@dataclass(frozen=True)
class Bank:
    """`code`: the bank's four letters in an IBAN, where its country has them."""

    id: str
    name: str
    country: str
    currency: str
    code: str


BANKS: dict[str, Bank] = {
    bank.id: bank
    for bank in (
        Bank("harbour", "Harbour Bank", "GB", "GBP", "HARB"),
        Bank("nordlicht", "Nordlicht Bank", "DE", "EUR", "37040044"),
        Bank("prairie", "First Prairie", "US", "USD", ""),
    )
}

_MERCHANTS = (
    ("Corner Grocery", "GROCERIES", 400, 9_000),
    ("Blue Bottle Coffee", "EATING_OUT", 250, 900),
    ("Metro Transit", "TRANSPORT", 180, 1_200),
    ("Page & Leaf Books", "SHOPPING", 700, 6_500),
    ("City Power", "BILLS", 3_000, 14_000),
    ("Northwind Rail", "TRAVEL", 1_500, 24_000),
    ("Streamline Video", "ENTERTAINMENT", 799, 1_799),
)
_EMPLOYER = "Meridian Works Ltd"
_PEOPLE = (("jo", "Jo Hartley"), ("maria", "Maria Ostrowska"), ("blocked", "Bernd Blocked"))
#: Everybody's, at every bank of the sandbox.
PASSWORD = "sandbox"  # noqa: S105 - no secret: docs/sandbox.md tells it


class Seeding:
    """Makes the book's first entries, and those that the passing of time brings."""

    def __init__(self, book: Book, seed: int, history_days: int = HISTORY_DAYS) -> None:
        self._book = book
        self.seed = seed
        self._history_days = history_days

    def begin(self, now: datetime) -> None:
        """Nothing, where the book has begun before."""
        if self._book.fact("seed") is not None:
            return
        with self._book.writing():
            self._book.set_fact("seed", str(self.seed))
            for bank in BANKS.values():
                for username, full_name in _PEOPLE:
                    customer = Customer(self.draw_id(bank.id, username), bank.id, username, PASSWORD, full_name)
                    self._book.add_customer(customer)
                    self.open_account(customer, "Current account", now, busy=3)
                    self.open_account(customer, "Savings", now, busy=0)

    def open_account(
        self, customer: Customer, name: str, now: datetime, *, busy: int, history_days: int | None = None
    ) -> Account:
        """`history_days`: how far back something happened; as far as with everybody else, by default."""
        bank = BANKS[customer.bank]
        account_id = self.draw_id(customer.id, name)
        number = f"{int(account_id[:8], 16) % 10**8:08d}"
        sort_code = "200000" if bank.country == "GB" else None
        account = Account(
            id=account_id,
            customer=customer.id,
            bank=bank.id,
            name=name,
            kind="CURRENT" if busy else "SAVINGS",
            currency=bank.currency,
            iban=_iban(bank, number),
            sort_code=sort_code,
            number=number,
            opening=100_000 + int(account_id[8:12], 16),
            grown_to=iso(_midnight(now - timedelta(days=history_days or self._history_days))),
            busy=busy,
        )
        self._book.add_account(account)
        return account

    def grow(self, now: datetime) -> list[str]:
        """Everything that happened up to `now`. Returns the accounts that something happened to."""
        touched: dict[str, None] = {}
        with self._book.writing():
            for account in self._book.accounts():
                if movements := self._days(account, now):
                    self._book.add_movements(movements)
                    touched[account.id] = None
            touched |= dict.fromkeys(one.account for one in self._book.book_due(now))
        return list(touched)

    def _days(self, account: Account, now: datetime) -> list[Movement]:
        """Whole days only, so that it makes no difference how often this is asked."""
        day, today = read_iso(account.grown_to), _midnight(now)
        movements: list[Movement] = []
        while day < today:
            movements += self._day(account, day, now)
            day += timedelta(days=1)
        if movements or day > read_iso(account.grown_to):
            self._book.grown(account.id, iso(day))
        return movements

    def _day(self, account: Account, day: datetime, now: datetime) -> list[Movement]:
        if not account.busy:
            return []
        chance = random.Random(f"{self.seed}|{account.id}|{day.date()}")
        made = []
        for n in range(chance.randint(0, account.busy)):
            name, category, low, high = chance.choice(_MERCHANTS)
            at = day + timedelta(seconds=chance.randint(6 * 3_600, 23 * 3_600))
            books_at = at + timedelta(days=chance.randint(0, _PENDING_DAYS_MAX), hours=2)
            made.append(
                self._movement(account, at, -chance.randint(low, high), name, "CARD", category, books_at, now, n)
            )
        if day.day == 25:
            at = day + timedelta(hours=5)
            made.append(self._movement(account, at, 285_000, _EMPLOYER, "SALARY", "INCOME", at, now, 99))
        return made

    def _movement(
        self,
        account: Account,
        at: datetime,
        amount: int,
        name: str,
        reference: str,
        category: str,
        books_at: datetime,
        now: datetime,
        n: int,
    ) -> Movement:
        booked = books_at <= now
        return Movement(
            id=self.draw_id(account.id, iso(at), str(n)),
            account=account.id,
            at=iso(at),
            amount=amount,
            currency=account.currency,
            name=name,
            reference=reference,
            category=category,
            counterparty_account=None,
            state=BOOKED if booked else PENDING,
            books_at=iso(books_at),
            booked_at=iso(books_at) if booked else None,
        )

    def draw_id(self, *parts: str) -> str:
        return UUID(bytes=hashlib.sha256("|".join((str(self.seed), *parts)).encode()).digest()[:16]).hex


def _midnight(at: datetime) -> datetime:
    return datetime.combine(at.astimezone(UTC).date(), time(tzinfo=UTC))


def _iban(bank: Bank, number: str) -> str | None:
    """ISO 13616: the check digits are 98 minus the rest of the rearranged number by 97."""
    if bank.country == "US":
        return None
    body = f"{bank.code}200000{number}" if bank.country == "GB" else f"{bank.code}{number:0>10}"
    digits = "".join(str(int(each, 36)) for each in f"{body}{bank.country}00")
    return f"{bank.country}{98 - int(digits) % 97:02d}{body}"
