"""Names of people and companies, compared as banks do: in whichever script, order and spelling they were written.

A name is transliterated, put in lower case, freed of titles and marks, and its words are sorted. Equal words are a match. An initial
with the same surname, all words of the one among those of the other, or texts that are nearly the same are close. Whoever has the
surname alone in common, or another first name, is somebody else.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum

from anyascii import anyascii

#: From this likeness on two names are close: Smlth is (0.90), Jane for John Smith is not (0.80).
_CLOSE_MIN = 0.85
#: Of a name that is looked for within others: its letters, and those of each of its words.
_HIDDEN_MIN, _HIDDEN_WORD_MIN = 10, 4
_TITLES = frozenset({"mr", "mrs", "ms", "miss", "mx", "dr", "prof", "sir", "dame", "herr", "frau", "mme", "mlle"})
_FORMS = {"limited": "ltd", "incorporated": "inc", "corporation": "corp", "company": "co"}
_APOSTROPHES = dict.fromkeys(map(ord, "'’‘`´ʼʹʻ\""))
#: What is taken for a Latin letter by whoever looks at it: Cyrillic, Greek, digits.
_LOOKS = str.maketrans(
    {
        "а": "a", "в": "b", "с": "c", "ԁ": "d", "е": "e", "һ": "h", "і": "i", "ј": "j", "к": "k", "м": "m", "н": "h", "о": "o",
        "р": "p", "ԛ": "q", "ѕ": "s", "т": "t", "у": "y", "ѵ": "v", "ԝ": "w", "х": "x",
        "α": "a", "ε": "e", "η": "n", "ι": "i", "κ": "k", "ν": "v", "ο": "o", "ρ": "p", "τ": "t", "υ": "u", "χ": "x",
        "0": "o", "1": "l", "5": "s",
    }
)  # fmt: skip


class Likeness(StrEnum):
    MATCH = "MATCH"
    CLOSE = "CLOSE"
    NONE = "NONE"


def words(name: str) -> tuple[str, ...]:
    """Sorted, in ASCII; nothing is left of a name that is titles alone."""
    return tuple(sorted(written(name)))


def written(name: str) -> tuple[str, ...]:
    """As `words`, in the order that they were written in."""
    plain = anyascii(name.translate(_APOSTROPHES)).lower().translate(_APOSTROPHES)
    parted = "".join(letter if letter.isalnum() else " " for letter in plain).split()
    return tuple(_FORMS.get(word, word) for word in parted if word not in _TITLES)


def looks(name: str) -> str:
    """What one reads who looks at it: letters of other scripts taken for the Latin ones that they look like."""
    return name.lower().translate(_LOOKS)


def readings(name: str) -> tuple[tuple[str, ...], ...]:
    """By sound and by look: who hides a name behind letters that only look the same hides it from one of them."""
    sounded, seen = words(name), words(looks(name))
    return (sounded,) if sounded == seen else (sounded, seen)


def runs(name: str) -> tuple[str, ...]:
    """Its letters alone, run together, by sound and by look: where its words begin and end is for whoever writes it to say."""
    letters = "".join(one for one in name if unicodedata.category(one)[0] in "LMNZ")
    return tuple(dict.fromkeys("".join(written(text)) for text in (letters, looks(letters))))


def hides(run: str, name: Sequence[str]) -> bool:
    """Whether a name's letters are those of the run, in whatever order, or its words are in it. Short names are in many others."""
    whole = "".join(name)
    if len(run) == len(whole) and sorted(run) == sorted(whole):
        return True
    known = len(name) > 1 and len(whole) >= _HIDDEN_MIN and min(map(len, name)) >= _HIDDEN_WORD_MIN
    return known and all(word in run for word in name)


def likeness(one: Sequence[str], other: Sequence[str]) -> Likeness:
    """Of two names' words."""
    if not one or not other:
        return Likeness.NONE
    if tuple(one) == tuple(other):
        return Likeness.MATCH
    close = _initialled(one, other) or _within(one, other) or _ratio(" ".join(one), " ".join(other)) >= _CLOSE_MIN
    return Likeness.CLOSE if close else Likeness.NONE


def _initialled(one: Sequence[str], other: Sequence[str]) -> bool:
    """J Smith and John Smith: the same words but for those of which the one has an initial."""
    if len(one) != len(other) or len(one) < 2:
        return False
    rest, others = list((Counter(one) - Counter(other)).elements()), list((Counter(other) - Counter(one)).elements())
    if len(rest) == len(one):
        return False
    return all(
        mine[0] == theirs[0] and 1 in (len(mine), len(theirs))
        for mine, theirs in zip(sorted(rest), sorted(others), strict=True)
    )


def _within(one: Sequence[str], other: Sequence[str]) -> bool:
    fewer, more = sorted((Counter(one), Counter(other)), key=Counter.total)
    return fewer.total() >= 2 and fewer <= more


def _ratio(one: str, other: str) -> float:
    """Twice the longest common subsequence in the lengths of both: 1 for the same, 0 for nothing in common."""
    length = len(one) + len(other)
    # Letters in common bound it from above, and take no time: most names end here.
    if 2 * (Counter(one) & Counter(other)).total() < _CLOSE_MIN * length:
        return 0.0
    row = [0] * (len(other) + 1)
    for letter in one:
        before = 0
        for n, theirs in enumerate(other, 1):
            before, row[n] = row[n], before + 1 if letter == theirs else max(row[n], row[n - 1])
    return 2 * row[-1] / length
