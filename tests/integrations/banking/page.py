"""docs/bank-transactions.md, made of the golden files, the malformed ones and the maps that the product uses.

Example: python -m tests.integrations.banking.page > docs/bank-transactions.md
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from isthmus.integrations.banking import categories, fdx, obie, yapily_transactions
from isthmus.integrations.banking.statuses import CONSENTS
from tests.integrations.banking.dialects import HERE, canonical, malformed, untold


class _Number(str):
    """A JSON number, as it was written."""

    __slots__ = ()


@dataclass(frozen=True)
class _Says:
    """Where a dialect says what. `status` is None where the list that a transaction is in says it."""

    title: str
    amount: Sequence[str]
    days: Sequence[str]
    id: Sequence[str]
    status: str | None = None
    words: Mapping[str, Any] | None = None


_BERLIN_DAYS, _BERLIN_AMOUNT = ("bookingDate", "valueDate"), ("transactionAmount.amount",)
SAYS = {
    "plaid": _Says(
        "Plaid", ("amount",), ("date", "authorized_date"), ("transaction_id", "pending_transaction_id"), "pending"
    ),
    "truelayer": _Says(
        "TrueLayer",
        ("amount", "transaction_type"),
        ("timestamp",),
        ("normalised_provider_transaction_id", "transaction_id"),
    ),
    "yapily": _Says(
        "Yapily",
        ("amount",),
        ("date", "bookingDateTime", "valueDateTime"),
        ("id",),
        "status",
        yapily_transactions.STATUSES,
    ),
    "obie": _Says(
        "OBIE",
        ("Amount.Amount", "CreditDebitIndicator"),
        ("BookingDateTime", "ValueDateTime"),
        ("TransactionId",),
        "Status",
        obie.STATUSES,
    ),
    "berlin_group": _Says("Berlin Group", _BERLIN_AMOUNT, _BERLIN_DAYS, ("transactionId",)),
    "gocardless": _Says("GoCardless", _BERLIN_AMOUNT, _BERLIN_DAYS, ("internalTransactionId", "transactionId")),
    "fdx": _Says(
        "FDX",
        ("amount", "debitCreditMemo"),
        ("transactionTimestamp", "postedTimestamp"),
        ("transactionId",),
        "status",
        fdx.STATUSES,
    ),
}

_HEAD = """<!-- Made by `python -m tests.integrations.banking.page` from what the tests use; a test compares it. -->
# Bank transactions

Every provider, and every bank behind one, tells of the same movements in its own dialect. Each dialect has a module in
`isthmus/integrations/banking/` that makes one transaction of it (`isthmus/domain/bank_transactions.py`):

- the amount is exact, with just the places of its currency; **negative is money out**;
- the status is `PENDING` or `POSTED`; `booked_on` is there once it is posted, `value_on` and `made_on` as far as they are told;
- days are the bank's own: half past midnight in Berlin stays that day, though in UTC it is the day before;
- what a dialect does not say is none, never a guess; the JSON that came is kept beside it, encrypted.

The tables below are made of the files in `tests/integrations/banking/golden/`, in which the same movements are told in every dialect.
A test reads them all and wants identical rows.
"""
_FOURTH = """## A provider more

GoCardless Bank Account Data is the worked example (account information only, agreements of 90 days); what its mapping took:

1. `gocardless_transactions.py`: a form where it differs from the Berlin Group's (`internalTransactionId`), and which id names a
   transaction. Pending ones have none: they are known again by amount, day and name.
2. its words for a consent in `statuses.py`; one that is missing there is `UNKNOWN`, which is recorded and parked;
3. `golden/gocardless.json`, what it cannot tell in `untold.json`, what is to be refused in `malformed/gocardless.json`, and a row in
   `dialects.py` of the same folder: the tests then hold it to what holds for all.

The adapter that speaks to it is told in [banking.md](banking.md#another-provider).
"""


def page() -> str:
    parts = [
        _HEAD,
        _amounts(),
        _statuses(),
        _days(),
        _ids(),
        _untold(),
        _refused(),
        _categories(),
        _consents(),
        _FOURTH,
    ]
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def _amounts() -> str:
    wanted = ("t-rent", "t-refund", "t-yen", "t-fee", "t-dinar")
    ours = [f"`{row['amount']}` {row['asset']}" for row in _rows(wanted)]
    lines = [[says.title, *(_told(name, one, says.amount) for one in wanted)] for name, says in SAYS.items()]
    heads = ["rent, out", "a refund, in", "in yen, out", "a fee, out", "in dinars, out"]
    return "## Amounts and signs\n\n" + _table(["", *heads], [["**ours**", *ours], *lines])


def _statuses() -> str:
    lines = []
    for name, says in SAYS.items():
        told = [_status(name, says, reference) for reference in ("t-card-pending", "t-card")]
        words = sorted(says.words or {})
        lines.append([says.title, *told, ", ".join(f"`{word}`" for word in words) or "-"])
    ours = [f"`{row['status']}`" for row in _rows(("t-card-pending", "t-card"))]
    passed = ", ".join(f"`{word}`" for word in sorted(obie.NO_MOVEMENT))
    table = _table(["", "pending", "posted", "every word that is known"], [["**ours**", *ours, ""], *lines])
    more = (
        f"\nA word that is not known is refused. OBIE's {passed} are passed over in a whole answer: no money moved.\n"
    )
    return "## Statuses\n\n" + table + more


def _days() -> str:
    wanted = ("t-card-pending", "t-card")
    ours = [
        ", ".join(f"{day} `{row[day]}`" for day in ("made_on", "booked_on", "value_on") if row[day])
        for row in _rows(wanted)
    ]
    lines = [[says.title, *(_told(name, one, says.days) for one in wanted)] for name, says in SAYS.items()]
    return (
        "## Days\n\nA card is used on the 21st, which is booked on the 23rd with the 24th as value date.\n\n"
        + _table(["", "while it is pending", "once it is posted"], [["**ours**", *ours], *lines])
    )


def _ids() -> str:
    wanted = ("t-card-pending", "t-card")
    lines = [[says.title, *(_told(name, one, says.id) for one in wanted)] for name, says in SAYS.items()]
    return "## Names for a transaction\n\nThe first that is there is the reference.\n\n" + _table(
        ["", "pending", "posted"], lines
    )


def _untold() -> str:
    lines = [
        [
            SAYS[name].title,
            ", ".join(f"`{gap['field']}`" + (f" ({gap['of']})" if gap["of"] != "every" else "") for gap in gaps),
        ]
        for name, gaps in untold().items()
    ]
    return "## What a dialect has no place for\n\n" + _table(["", "always none, or of these"], lines)


def _refused() -> str:
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name in SAYS:
        for case in malformed(name):
            reason = "what was told is not of the dialect's form" if "form" in case["reason"] else case["reason"]
            found[reason][case["what"]].append(SAYS[name].title)
    lines = [
        [reason, "; ".join(what if len(by) == len(SAYS) else f"{what} ({', '.join(by)})" for what, by in cases.items())]
        for reason, cases in sorted(found.items())
    ]
    head = "## What is refused\n\nAn answer with one of these is not taken at all. The reason never says what stood there.\n\n"
    return head + _table(["reason", "as in"], lines)


def _categories() -> str:
    sources = (categories.PLAID, categories.PLAID_DETAILED), (categories.TRUELAYER, categories.TRUELAYER_DETAILED)
    lines = [
        [f"`{ours}`", *(", ".join(f"`{word}`" for word in _words_for(ours, maps)) or "-" for maps in sources)]
        for ours in categories.Category
    ]
    head = "## Categories\n\nPlaid's `personal_finance_category` and TrueLayer's `transaction_classification`; a word that is not known\n"
    return head + "is `OTHER`. The other dialects tell none.\n\n" + _table(["ours", "Plaid", "TrueLayer"], lines)


def _consents() -> str:
    states = list(dict.fromkeys(state for words in CONSENTS.values() for state in words.values()))
    titles = [SAYS[name].title for name in CONSENTS]
    lines = [
        [
            f"`{state}`",
            *(", ".join(f"`{word}`" for word in _words_for(state, [words])) or "-" for words in CONSENTS.values()),
        ]
        for state in states
    ]
    head = "## Words for a consent\n\nOne that is not here is `UNKNOWN`: it is recorded, somebody is alerted, and nothing follows.\n\n"
    return head + _table(["ours", *titles], lines)


# -- what the files say -----------------------------------------------------------------------------------------------------------


def _rows(references: Iterable[str]) -> list[dict[str, Any]]:
    every = canonical()
    return [every[reference] for reference in references]


def _told(name: str, reference: str, paths: Sequence[str]) -> str:
    """Those of the paths that are there, as they are written."""
    _, told = _find(name, reference)
    found = [(path, _at(told, path)) for path in paths]
    return "<br>".join(f"`{path}: {_written(value)}`" for path, value in found if value is not None) or "-"


def _status(name: str, says: _Says, reference: str) -> str:
    where, _ = _find(name, reference)
    return f"in the list `{where}`" if says.status is None else _told(name, reference, [says.status])


def _find(name: str, reference: str) -> tuple[str, dict[str, Any]]:
    """The transaction, and the name of the list (or of what holds it) that it is in."""
    whole = json.loads(
        (HERE / "golden" / f"{name}.json").read_text(encoding="utf-8"), parse_float=_Number, parse_int=_Number
    )
    row = canonical()[reference]
    for where, told in _transactions(whole, ""):
        ids = [_at(told, path) for path in SAYS[name].id]
        first = next((one for one in ids if one is not None), None)
        if first == reference or (first is None and where == "pending" and row["status"] == "PENDING"):
            return where, told
    raise LookupError(f"{name} does not tell of {reference}")


def _transactions(told: object, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(told, dict):
        for key, value in told.items():
            yield from _transactions(value, key if key in ("booked", "pending") else where)
    elif isinstance(told, list):
        for one in told:
            if isinstance(one, dict):
                yield where, one


def _at(told: object, path: str) -> object:
    for key in path.split("."):
        told = told.get(key) if isinstance(told, dict) else None
    return told


def _written(value: object) -> str:
    return value if isinstance(value, _Number) else json.dumps(value, ensure_ascii=False)


def _words_for(ours: str, maps: Iterable[Mapping[str, str]]) -> list[str]:
    return [word for words in maps for word, meant in words.items() if meant == ours]


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


if __name__ == "__main__":
    sys.stdout.write(page())
