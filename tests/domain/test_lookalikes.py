"""A new payee that looks like somebody who was paid before is flagged, with whom; who was paid at that account before is not."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.domain.lookalikes import Flagged, KnownPayee, PayeeWarning, flagged, mixes_scripts

LOOKS, NEW, MIXED = (
    PayeeWarning.LOOKS_LIKE_ANOTHER_PAYEE,
    PayeeWarning.NEW_ACCOUNT_FOR_KNOWN_PAYEE,
    PayeeWarning.MIXED_SCRIPTS,
)
HERE, THERE = "IBAN GB29NWBK60161331926819", "IBAN DE89370400440532013000"
#: Latin letters, each with one of another script that looks the same.
TWINS = {"a": "а", "c": "с", "e": "е", "o": "о", "p": "р", "x": "х", "y": "у", "i": "і", "s": "ѕ", "k": "κ"}
#: Without m and r no title and no company's form is among them.
letters = st.text(alphabet="abcdefghijklnopqstuvwxyz", min_size=4, max_size=10)
names = st.tuples(letters, letters).map(" ".join)


def among(name: str, *known: str, account: str = THERE) -> tuple[PayeeWarning, ...]:
    return flagged(name, account, [KnownPayee(one, HERE) for one in known]).warnings


def test_what_looks_like_a_known_payee_is_told_apart_from_a_known_one_with_a_new_account() -> None:
    assert among("Paypa1 Europe", "Paypal Europe") == (LOOKS,), "a digit for a letter"
    assert among("Раураl Europe", "Paypal Europe") == (LOOKS, MIXED), "Cyrillic for Latin"
    assert among("Mаx Power", "Max Power") == (LOOKS, MIXED), "Cyrillic that sounds the same, too"
    assert among("Jonh Smith", "John Smith") == (LOOKS,), "swapped"
    assert among("Bihsop", "Bishop") == (LOOKS,), "in a short name one swap is one letter"
    assert among("Acme Tradlng Ltd", "ACME Trading Limited") == (LOOKS,)
    assert among("smith, john", "John Smith") == (NEW,)
    assert among("Владимир Петров", "Vladimir Petrov") == (NEW,), "the same by its sound"
    assert among("Jane Smith", "John Smith") == ()
    assert among("Bob", "Rob") == (), "in a short name every letter counts"
    assert among("Anybody") == ()


def test_of_several_known_ones_the_one_that_the_first_warning_is_about_is_named() -> None:
    known = [
        KnownPayee("Ada Love", HERE),
        KnownPayee("Jon Smythe", HERE),
        KnownPayee("John Smith", "SCAN 200000 00000001"),
    ]

    found = flagged("Jon Smyth", THERE, known)

    assert (found.warnings, found.resembles) == ((LOOKS,), known[1])


def test_a_word_of_two_scripts_is_flagged_and_a_name_of_two_scripts_is_not() -> None:
    assert mixes_scripts("Pаypal")
    assert not mixes_scripts("ООО Google")
    assert not mixes_scripts("Müller-Lüdenscheidt 3M")


@settings(max_examples=50)
@given(names, st.data())
def test_a_letter_that_only_looks_the_same_never_passes_unseen(name: str, data: st.DataObject) -> None:
    places = [place for place, letter in enumerate(name) if letter in TWINS]
    if not places:
        return
    changed = data.draw(st.sets(st.sampled_from(places), min_size=1))
    forged = "".join(TWINS[letter] if place in changed else letter for place, letter in enumerate(name))

    found = flagged(forged, THERE, [KnownPayee(name, HERE)])

    assert found.warnings[0] is LOOKS
    assert found.resembles == KnownPayee(name, HERE)


@settings(max_examples=50)
@given(names, st.data())
def test_one_letter_that_is_changed_left_out_or_put_in_is_flagged(name: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(name) - 1))
    letter = data.draw(st.sampled_from(["", "q", name[place] + "q"]))
    forged = name[:place] + letter + name[place + 1 :]

    assert name == forged or among(forged, name) != ()


@given(names, st.lists(names, max_size=5))
def test_who_was_paid_at_this_account_before_is_no_news(name: str, others: list[str]) -> None:
    known = [KnownPayee(other, HERE) for other in others]

    assert flagged(name, THERE, [*known, KnownPayee(name, THERE)]) == Flagged()


def test_the_same_british_account_is_no_news_in_whichever_form_it_was_paid() -> None:
    iban, number = HERE, "SCAN 601613 31926819"

    assert flagged("Jo", number, [KnownPayee("Jo", iban)]) == Flagged()
    assert flagged("Jo", iban, [KnownPayee("Jo", number)]) == Flagged()
    assert flagged("Jo", iban, [KnownPayee("Jo", "SCAN 601613 31926810")]).warnings == (NEW,)


@given(st.text(max_size=40), st.lists(st.text(max_size=40), max_size=4))
def test_any_text_has_an_answer_that_names_whom_its_warnings_are_about(name: str, known: list[str]) -> None:
    found = flagged(name, THERE, [KnownPayee(one, HERE) for one in known])

    assert (found.resembles is not None) == bool({LOOKS, NEW} & set(found.warnings))
