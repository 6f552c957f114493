"""New payees that look like somebody the person paid before: another account under a name that one takes for a known one.

Two names are the same where they sound the same: transliterated, in whatever order. They look alike where letters of another script stand
for Latin ones, or where one or two letters differ. This only warns: many people have nearly the same name.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from isthmus.domain.names import looks, words, written
from isthmus.domain.payees import same_account

#: Letters that may differ between names that are so long, their blanks counted. In shorter ones every letter counts.
_ONE_FROM, _TWO_FROM = 5, 9
_SCRIPTS = ("LATIN", "CYRILLIC", "GREEK")


class PayeeWarning(StrEnum):
    LOOKS_LIKE_ANOTHER_PAYEE = "LOOKS_LIKE_ANOTHER_PAYEE"
    NEW_ACCOUNT_FOR_KNOWN_PAYEE = "NEW_ACCOUNT_FOR_KNOWN_PAYEE"
    MIXED_SCRIPTS = "MIXED_SCRIPTS"


@dataclass(frozen=True)
class KnownPayee:
    """Somebody the person paid before, or saved. `account`: in its one form (`payees.py`)."""

    name: str = field(repr=False)
    account: str = field(repr=False)


@dataclass(frozen=True)
class Flagged:
    """`resembles`: which known payee the first warning is about."""

    warnings: tuple[PayeeWarning, ...] = ()
    resembles: KnownPayee | None = None


def flagged(name: str, account: str, known: Iterable[KnownPayee]) -> Flagged:
    """Of the known ones those come first that are named first. Whoever was paid at this very account is no news."""
    others = list(known)
    mixed = (PayeeWarning.MIXED_SCRIPTS,) if mixes_scripts(name) else ()
    if any(same_account(one.account, account) for one in others):
        return Flagged(mixed)
    alike = next((one for one in others if _imitates(name, one.name)), None)
    same = next((one for one in others if _same(name, one.name) and not _imitates(name, one.name)), None)
    warnings: tuple[PayeeWarning, ...] = ()
    if alike is not None:
        warnings += (PayeeWarning.LOOKS_LIKE_ANOTHER_PAYEE,)
    if same is not None:
        warnings += (PayeeWarning.NEW_ACCOUNT_FOR_KNOWN_PAYEE,)
    return Flagged(warnings + mixed, alike or same)


def _same(name: str, known: str) -> bool:
    sounded = words(name)
    return sounded != () and sounded == words(known)


def _imitates(name: str, known: str) -> bool:
    """Another name that looks the same or nearly so, or the same one in letters of another script that look the same."""
    if not _same(name, known):
        return _alike(looks(name), looks(known))
    return _scripts(name) != _scripts(known) and words(looks(name)) == words(looks(known))


def mixes_scripts(name: str) -> bool:
    """Whether letters of several scripts are in one word: nobody is named so."""
    return any(len(_scripts(word)) > 1 for word in name.split())


def _scripts(text: str) -> set[str]:
    return {_script(letter) for letter in text} - {""}


def _script(letter: str) -> str:
    if not letter.isalpha():
        return ""
    named = unicodedata.name(letter, "")
    return next((script for script in _SCRIPTS if named.startswith(script)), "")


def _alike(one: str, other: str) -> bool:
    """In the order that the words were written in, or in any: a first letter that is changed sorts its word to another place."""
    return any(_near(" ".join(order(one)), " ".join(order(other))) for order in (written, words))


def _near(mine: str, theirs: str) -> bool:
    length = min(len(mine), len(theirs))  # of nothing at all every name is far
    most = 2 if length >= _TWO_FROM else 1 if length >= _ONE_FROM else 0
    return length > 0 and _distance(mine, theirs, most) <= most


def _distance(one: str, other: str, most: int) -> int:
    """Letters to put in, take out, change, or swap with their neighbour; anything over `most` is as good as any other."""
    if abs(len(one) - len(other)) > most:
        return most + 1
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        ahead = [i]
        for j, theirs in enumerate(other, 1):
            cost = min(row[j] + 1, ahead[j - 1] + 1, row[j - 1] + (letter != theirs))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == theirs:
                cost = min(cost, before[j - 2] + 1)
            ahead.append(cost)
        if min(ahead) > most + 1:
            return most + 1
        before, row = row, ahead
    return row[-1]
