"""Every amount comes out of every dialect as it went in, and nothing but a transaction or its refusal comes out of anything."""

from __future__ import annotations

import random
from contextlib import suppress
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.domain.bank_transactions import BankTransaction, BankTransactionStatus, MalformedTransaction
from isthmus.domain.banking import ProviderConsent
from isthmus.integrations.banking.categories import of_plaid, of_truelayer
from isthmus.integrations.banking.statuses import CONSENTS, consent_state
from tests.integrations.banking.dialects import DIALECTS

names = pytest.mark.parametrize("name", DIALECTS)
#: Thirteen digits before the point: the most that all standards have a form for. A float tells fifteen to seventeen in all.
MOST = Decimal(10) ** 13
_PLACES = {"JPY": 0, "GBP": 2, "KWD": 3}


@st.composite
def amounts(draw: st.DrawFn) -> tuple[Decimal, str]:
    asset = draw(st.sampled_from(sorted(_PLACES)))
    places = _PLACES[asset]
    most = int(MOST.scaleb(places)) - 1
    minor, out = draw(st.integers(0, most)), draw(st.booleans())
    written = draw(st.integers(0, places))  # fewer places than there could be
    amount = Decimal(minor // 10 ** (places - written)).scaleb(-written)
    return (-amount if out else amount), asset


@names
@given(told=amounts())
def test_an_amount_survives_exactly(name: str, told: tuple[Decimal, str]) -> None:
    amount, asset = told
    one = DIALECTS[name].one(DIALECTS[name].written(amount, asset), asset)
    assert one.amount == amount
    assert -one.amount.as_tuple().exponent == _PLACES[asset]  # type: ignore[operator]  # finite
    assert one.direction == ("DEBIT" if amount < 0 else "CREDIT")
    assert not (one.amount.is_zero() and one.amount.is_signed())


@names
def test_digits_that_a_float_would_lose(name: str) -> None:
    amount = Decimal("-9007199254740.993")
    assert Decimal(str(float(amount))) != amount
    assert DIALECTS[name].one(DIALECTS[name].written(amount, "KWD"), "KWD").amount == amount


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def _try(name: str, raw: bytes) -> None:
    with suppress(MalformedTransaction):
        one = DIALECTS[name].one(raw, "GBP")
        assert isinstance(one, BankTransaction)
        assert one.amount.is_finite()
        assert one.status in BankTransactionStatus
        assert one.asset == "GBP"


@names
@given(raw=st.binary(max_size=200))
def test_bytes_are_refused_or_read(name: str, raw: bytes) -> None:
    _try(name, raw)


@names
@given(seed=st.integers(0, 2**32), value=_values)
def test_a_field_that_is_anything_is_refused_or_read(name: str, seed: int, value: object) -> None:
    """Some field of a transaction that was right, at any depth, becomes something else."""
    picked = random.Random(seed)
    told = picked.choice(_WHOLE[name])
    raw = msgspec.json.encode(_changed(msgspec.json.decode(told), picked, value))
    _try(name, raw)


@names
@given(seed=st.integers(0, 2**32), byte=st.integers(0, 255))
def test_a_byte_that_is_another_is_refused_or_read(name: str, seed: int, byte: int) -> None:
    picked = random.Random(seed)
    told = bytearray(picked.choice(_WHOLE[name]))
    told[picked.randrange(len(told))] = byte
    _try(name, bytes(told))


def _changed(told: object, picked: random.Random, value: object) -> object:
    if isinstance(told, dict) and told:
        key = picked.choice(sorted(told))
        return {**told, key: _changed(told[key], picked, value)}
    if isinstance(told, list) and told:
        place = picked.randrange(len(told))
        return [_changed(one, picked, value) if n == place else one for n, one in enumerate(told)]
    return value


_WHOLE = {
    name: [
        one.raw.replace(b'"acc-gbp"', b'"acc"').replace(b'"acc-eur"', b'"acc"').replace(b"EUR", b"GBP")
        for one in dialect.golden()
        if one.asset in ("GBP", "EUR")
    ]
    for name, dialect in DIALECTS.items()
}


@names
def test_what_is_changed_in_these_tests_is_read_as_it_stands(name: str) -> None:
    """Otherwise they would only ever see refusals."""
    assert all(DIALECTS[name].one(raw, "GBP") for raw in _WHOLE[name])


_words = st.sampled_from(sorted({word for words in CONSENTS.values() for word in words})) | st.text(max_size=40)


@given(provider=st.sampled_from(sorted(CONSENTS)) | st.text(max_size=12), word=_words)
def test_every_word_for_a_consent_means_something(provider: str, word: str) -> None:
    state = consent_state(provider, word)
    assert isinstance(state, ProviderConsent)
    if word not in CONSENTS.get(provider, {}):
        assert state is ProviderConsent.UNKNOWN


@given(primary=st.text(), detailed=st.text(), classification=st.lists(st.text(), max_size=3))
def test_every_category_is_one_of_ours(primary: str, detailed: str, classification: list[str]) -> None:
    assert of_plaid(primary, detailed).isupper()
    assert (of_truelayer(classification) is None) == (classification == [])
