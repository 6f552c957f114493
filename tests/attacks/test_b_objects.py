"""Row B1: somebody else's things, asked for at every place of the schema that takes an id."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import asyncpg

from isthmus.auth.scopes import Role
from isthmus.graphql.ids import decode
from tests.api.conftest import Person, Served, deposit
from tests.api.test_authorisation import plain
from tests.attacks.count import Row
from tests.attacks.operations import (
    CALLS,
    MAY_NAME_ANOTHERS,
    NEVER_READ,
    Call,
    id_places,
    nested_id_places,
    root_fields,
)
from tests.attacks.victim import Things, hostile_ids, missing, nothing_changes


def test_b1_every_operation_and_every_place_for_an_id_is_attacked() -> None:
    """The table is the schema's, neither more nor less."""
    assert CALLS.keys() == {name for name, _ in root_fields()}
    for name, found in root_fields():
        assert sorted(CALLS[name].ids) == sorted(id_places(found)), name
    assert list(nested_id_places()) == []


def test_b1_what_is_hers_answers_as_what_does_not_exist(
    served: Served, ada: Person, hers: Things, olga: Person, row: Row
) -> None:
    """Byte for byte, but for the correlation id; and nothing is written."""
    mine = ada.open()
    deposit(olga, mine, "20.00")
    attacker = {Role.CUSTOMER: ada, Role.OPERATOR: olga}
    for operation, call in CALLS.items():
        for place, kind in call.ids.items():
            if operation.startswith("Subscription") or (operation, place) in MAY_NAME_ANOTHERS | NEVER_READ:
                continue  # row B4 subscribes; paying her is no attack
            for role, person in attacker.items():
                if role is Role.OPERATOR and call.role is Role.CUSTOMER:
                    continue  # operators look at everyone's things, by their office
                hostile = [
                    (name, id)
                    for name, id in hostile_ids(hers, kind)
                    if role is not Role.OPERATOR or id != hers.account
                ]

                def attempt(id: Any, call: Call = call, place: str = place, person: Person = person) -> Any:
                    return plain(person.post(call.document, call.filled(place, id, mine)))

                with nothing_changes(served), ThreadPoolExecutor(6) as at_once:
                    reference = attempt(missing(kind, hers))
                    answers = at_once.map(attempt, [id for _, id in hostile])
                    for (name, _), answer in zip(hostile, answers, strict=True):
                        with row.case((operation, place, role, name)):
                            assert answer == reference
    assert hers.nodes["account"] not in str(ada.ask("{ viewer { accounts { edges { node { id } } } } }"))


def test_b1_an_id_of_the_wrong_shape_is_refused_before_anything_runs(
    served: Served, ada: Person, hers: Things, row: Row
) -> None:
    mine = ada.open()
    shapes: list[Any] = [1.5, True, False, {}, {"id": hers.account}, [[hers.account]], [hers.account, hers.account]]
    with nothing_changes(served):
        for operation, call in CALLS.items():
            for place in call.ids:
                for shape in shapes:
                    if operation.startswith("Subscription"):
                        continue
                    with row.case((operation, place, shape)):
                        served.statements.clear()
                        assert ada.refused(call.document, call.filled(place, shape, mine)) == "BAD_USER_INPUT"
                        assert served.statements == []


async def test_b1_a_strangers_wish_waits_for_no_row_of_hers(
    served: Served, ada: Person, hers: Things, row: Row
) -> None:
    """Her rows are locked by somebody: a wish that is none of their business neither waits for them nor takes them."""
    mine = await asyncio.to_thread(ada.open)
    decoded = decode(hers.account)
    assert decoded is not None
    connection = await asyncpg.connect(served.database_url)
    try:
        async with connection.transaction():
            await connection.execute("select from account_balances where account_id = $1 for update", decoded[1][0])
            for operation, call in CALLS.items():
                for place, kind in call.ids.items():
                    if not operation.startswith("Mutation") or (operation, place) in MAY_NAME_ANOTHERS | NEVER_READ:
                        continue
                    async with asyncio.timeout(3.5):  # a wait for the lock would end at 4 s
                        filled = call.filled(place, hers.nodes.get(kind), mine)
                        answer = await asyncio.to_thread(ada.post, call.document, filled)
                    with row.case((operation, place)):
                        assert "UNAVAILABLE" not in answer.text
                        assert "CONFLICT" not in answer.text
    finally:
        await connection.close()
