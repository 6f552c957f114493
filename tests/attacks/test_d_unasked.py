"""Row D9: what a stolen session, or a key that leaked, moves to an accomplice here without its person's answer."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.api.api_key_calls import create, program
from tests.api.conftest import Person, Served
from tests.api.test_payments import answer, balance, funded, initiate
from tests.attacks.count import Row


def test_d9_nothing_goes_to_an_accomplice_before_its_person_answered(
    served: Served, ada: Person, grace: Person, olga: Person, row: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(served.app.state.running.services.transfer_above, "EUR", Decimal(0))
    account, theirs = funded(ada, olga), grace.open()
    key = program(served, ada, create(ada, scopes=("READ", "WRITE"))["secret"])

    def tries(thief: Person) -> dict[str, Any]:
        payee = {"name": "Grace", "accountId": theirs}
        mine = {"name": "My savings", "accountId": theirs}
        return {
            "all": lambda: thief.transfer(account, theirs, "100.00"),
            "a little": lambda: thief.transfer(account, theirs, "0.01"),
            "as a payment": lambda: initiate(thief, account, "1.00", payee=payee),
            "as one's own, in name": lambda: initiate(thief, account, "1.00", payee=mine),
            "as one's own": lambda: initiate(thief, account, "1.00", payee={"ownAccountId": theirs}),
            "answered wrongly": lambda: answer(
                thief, initiate(thief, account, "1.00", payee=payee)["payment"]["challenge"]["id"], "x"
            ),
        }

    for name, thief in (("session", ada), ("key", key)):
        for how, attempt in tries(thief).items():
            if name == "key" and how == "answered wrongly":
                continue  # answers are not for keys (B7)
            with row.case((name, how)):
                done = attempt()
                assert done["errors"] or done["payment"]["state"] == "AWAITING_SCA"
                assert balance(grace, theirs) == ("0.00", "0.00")
    assert balance(ada, account)[0] == "100.00"
