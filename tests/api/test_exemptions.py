"""A payment that a rule exempts, through the API: authorised at once, with the rule's name and without a challenge."""

from __future__ import annotations

from decimal import Decimal

import pytest

from isthmus.domain.exemptions import ExemptionRules, LowValue
from tests.api.conftest import Person, Served
from tests.api.test_payments import funded, initiate, shown

RULES = ExemptionRules("v1", low_value={"EUR": LowValue(Decimal(30), Decimal(100), 5)})


def test_an_exempted_payment_comes_back_authorised_and_says_by_which_rule(
    served: Served, ada: Person, olga: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = funded(ada, olga)
    assert initiate(ada, account, "1.00")["payment"]["state"] == "AWAITING_SCA", "nothing is exempted unless told"
    monkeypatch.setattr(served.app.state.running.services.payments, "_exemptions", RULES)

    payment = initiate(ada, account, "1.00")["payment"]

    assert (payment["state"], payment["challenge"], payment["failure"]) == ("AUTHORISED", None, None)
    assert [step["state"] for step in shown(ada, payment["id"])["history"]] == ["AWAITING_SCA", "AUTHORISED"]
    told = ada.ask("query($id: ID!) { node(id: $id) { ... on Payment { exemption } } }", {"id": payment["id"]})
    assert told["node"]["exemption"] == "low-value"
    assert initiate(ada, account, "30.01")["payment"]["challenge"]["state"] == "PENDING"
