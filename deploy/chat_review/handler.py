"""Reviews the messages of Amazon IVS Chat rooms: an AWS Lambda function of this file and `words.txt`, and no package.

Amazon waits 200 ms for an answer and then does what the room's `fallbackResult` says. Therefore everything that can be
is made at import, and a review walks over the message once, a bounded number of steps at each place.

A censored text has as many code points as the original, so that it never exceeds the room's longest message: an answer
that does is invalid, and the uncensored text could be delivered. Censoring a censored text changes nothing.

Neither the message nor its sender is ever logged, and nothing is raised.
"""

import os
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

# Beside the reason a message is denied, nobody is told anything.
REASON: Final = "The message holds words that are not said here."
_MASK: Final = "*"

# Look-alikes of Latin letters that have no decomposition in Unicode; after it, accents are gone and all is lower case.
_LOOKALIKES: Final[Mapping[int, str]] = {
    ord(pair[0]): pair[1]
    for pairs in (
        "аa вb еe кk мm нh оo рp сc тt уy хx іi јj ѕs ԁd ԛq ԝw һh ѵv ɡg",
        "αa βb εe ιi κk νv οo ρp τt υu χx ηn γy ωw μu",
        "ᴀa ʙb ᴄc ᴅd ᴇe ꜰf ɢg ʜh ɪi ᴊj ᴋk ʟl ᴍm ɴn ᴏo ᴘp ʀr ꜱs ᴛt ᴜu ᴠv ᴡw ʏy ᴢz",
        "øo łl đd ðd ħh ıi ŧt ƒf ǝe ɐa ɔc ʇt ɹr ʍw",
    )
    for pair in pairs.split()
}
# Digits and symbols that stand for letters: each may also be what it is.
_LEET: Final[Mapping[str, str]] = dict(
    pair.split("=")
    for pairs in (
        "0=o 1=il 2=z 3=e 4=a 5=s 6=gb 7=t 8=b 9=g",
        "@=a $=s !=il |=il +=t (=c <=c #=h €=e £=l ¢=c ¡=i §=s ©=c ®=r ×=x",
    )
    for pair in pairs.split()
)
# What `*` in a word stands for, as in `f*ck`.
_VOWELS: Final = "aeiou"
# Letters that stand for others too.
_ALSO: Final = {"I": "il", "l": "li", "v": "vu", "V": "vu"}
# Letters and symbols that show nothing.
_BLANKS: Final = frozenset("\u115f\u1160\u3164\uffa0\u2800")
# Emoji of letters: squares, circles, and the halves of flags.
_LETTER_BLOCKS: Final = (0x1F150, 0x1F170, 0x1F1E6)

# Of one letter in a row, no word has more than three.
_LONGEST_RUN: Final = 3
# Pieces of which one disguised word may be made: `f!u!c!k!i!n!g` has thirteen.
_MOST_PIECES: Final = 16


class _Is(IntEnum):
    """What a code point is; letters have `options`, the letters each may stand for."""

    NOTHING = 0
    PUNCTUATION = 1
    SPACE = 2
    LETTERS = 3
    LEET = 4


class _Gap(IntEnum):
    """What stands between two pieces, the strongest if several do."""

    NONE = 0
    PUNCTUATION = 1
    SPACE = 2
    MASK = 3


@lru_cache(maxsize=4096)
def _folded(character: str) -> tuple[_Is, tuple[str, ...]]:
    """Return what a code point is, and of a letter, or several in one, what they may stand for."""
    if character in _BLANKS or unicodedata.category(character) in ("Cf", "Mn", "Me"):
        return _Is.NOTHING, ()
    if character.isspace():
        return _Is.SPACE, ()
    if character in _ALSO:
        return _Is.LETTERS, (_ALSO[character],)
    for first in _LETTER_BLOCKS:
        if 0 <= ord(character) - first < 26:  # noqa: PLR2004 - letters of the alphabet
            return _Is.LETTERS, (chr(ord("a") + ord(character) - first),)
    plain = unicodedata.normalize("NFKD", character).casefold()
    if plain in _LEET:
        return _Is.LEET, (_LEET[plain],)
    plain = unicodedata.normalize("NFKD", plain).translate(_LOOKALIKES)
    # Of what Unicode takes apart into letters and more, as in `℀`, the letters count.
    letters = tuple(each for each in plain if each.isalpha() or unicodedata.category(each) == "Mc")
    return (_Is.LETTERS, letters) if letters else (_Is.PUNCTUATION, ())


class _Trie:
    """Words by their letters; node 0 is the beginning of all."""

    def __init__(self) -> None:
        self.children: list[dict[str, int]] = [{}]
        self.letters = [""]
        self.ends: list[bool] = [False]
        self.open_ends: list[bool] = [False]

    def add(self, letters: Sequence[str], *, open_end: bool) -> None:
        node = 0
        for letter in letters:
            if letter not in self.children[node]:
                self.children[node][letter] = len(self.children)
                self.children.append({})
                self.letters.append(letter)
                self.ends.append(False)
                self.open_ends.append(False)
            node = self.children[node][letter]
        self.ends[node] = True
        self.open_ends[node] |= open_end

    def begins(self, options: str) -> bool:
        """Tell whether any word begins with one of the letters."""
        return any(letter in self.children[0] for letter in options)

    def step(self, nodes: Iterable[int], options: str) -> set[int]:
        """Return where the next letter leads: on, or, if it repeats the last one, nowhere else."""
        reached = set()
        for node in nodes:
            children = self.children[node]
            for letter in options:
                if letter in children:
                    reached.add(children[letter])
                if letter == self.letters[node]:
                    reached.add(node)
        return reached


@dataclass(slots=True)
class _Piece:
    """Letters without anything between them, or one digit or symbol that may stand for a letter.

    `first` and `last` are code points of the message. Letters that stand apart and are the same are one piece.
    """

    letters: list[str]
    first: int
    last: int
    gap: _Gap
    leet: bool
    digit: bool
    apart: int = 1
    spaced: bool = False

    @property
    def single(self) -> bool:
        return len(self.letters) == 1 or self.apart > 1


class Reviewer:
    """Finds the words of a list in messages."""

    def __init__(self, lines: Iterable[str]) -> None:
        """Learn the list.

        Raises:
            ValueError: An entry is no word.
        """
        self._words, self._parts = _Trie(), _Trie()
        for number, line in enumerate(lines, 1):
            entry = line.partition("#")[0].strip()
            if entry:
                self._add(entry, number)

    def _add(self, entry: str, number: int) -> None:
        word = entry.strip("*")
        folded = [_folded(character) for character in word]
        letters = [options[0] for _, found in folded for options in found]
        if len(letters) <= 1 or any(kind not in (_Is.LETTERS, _Is.NOTHING) for kind, _ in folded):
            raise ValueError(f"line {number} is no word of letters")
        if entry.startswith("*"):
            self._parts.add(letters, open_end=True)
        else:
            self._words.add(letters, open_end=entry.endswith("*"))

    def censored(self, text: str) -> str:
        """Return the text with the words it should not hold masked; of the same number of code points."""
        pieces = _pieces(text)
        masked = list(text)
        for first, last in self._found(pieces):
            for place in range(pieces[first].first, pieces[last].last + 1):
                if not text[place].isspace():
                    masked[place] = _MASK
        return "".join(masked)

    def _found(self, pieces: Sequence[_Piece]) -> Iterator[tuple[int, int]]:
        """Yield first and last piece of each word that is found."""
        for index, piece in enumerate(pieces):
            letters = piece.letters
            if letters[0] is _VOWELS:
                # What a `*` hides stands between two letters.
                continue
            if self._words.begins(letters[0]):
                yield from _matches(self._words, pieces, index, 0)
            for offset, options in enumerate(letters):
                if self._parts.begins(options) and (not offset or options != letters[offset - 1]):
                    yield from _matches(self._parts, pieces, index, offset)


def _matches(trie: _Trie, pieces: Sequence[_Piece], start: int, offset: int) -> Iterator[tuple[int, int]]:
    """Yield the pieces of the words that begin at a letter of a piece."""
    nodes = {0}
    singles = several = leets = 0
    solid = spaced = False
    for index in range(start, min(start + _MOST_PIECES, len(pieces))):
        piece, begun = pieces[index], index > start
        if begun and piece.gap is _Gap.MASK:
            return
        spaced |= piece.spaced or (begun and piece.gap is _Gap.SPACE)
        solid |= not piece.digit
        leets += piece.leet
        singles += 0 if piece.leet or not piece.single else piece.apart
        several += not piece.leet and not piece.single
        if spaced and (leets or several > 1):
            # Words that happen to stand beside each other, as in `the pen is`.
            return
        reached, opened = nodes, False
        for options in piece.letters if begun else piece.letters[offset:]:
            reached = trie.step(reached, options)
            if not reached:
                break
            opened |= not piece.leet and any(trie.open_ends[node] for node in reached)
        if (opened or any(trie.ends[node] for node in reached)) and solid and (not spaced or singles > 1):
            yield start, index
        # A symbol inside a word may stand for a letter, or for nothing.
        nodes = reached | nodes if piece.leet and begun else reached
        if not nodes:
            return


def _pieces(text: str) -> list[_Piece]:
    pieces: list[_Piece] = []
    current: _Piece | None = None
    gap = _Gap.NONE
    kinds = [_folded(character) for character in text]
    for place, (kind, letters) in enumerate(kinds):
        if kind is _Is.LETTERS and current is not None:
            current.last = place
            for options in letters:
                _extend(current.letters, options)
        elif kind is _Is.LETTERS:
            current = _Piece([], place, place, gap, leet=False, digit=False)
            for options in letters:
                _extend(current.letters, options)
            pieces.append(current)
            gap = _Gap.NONE
        elif kind is _Is.LEET or (text[place] == _MASK and _is_disguise(kinds, place)):
            current = None
            found = list(letters) or [_VOWELS]
            pieces.append(_Piece(found, place, place, gap, leet=True, digit=text[place].isdecimal()))
            gap = _Gap.NONE
        elif text[place] == _MASK:
            current, gap = None, _Gap.MASK
        elif kind is not _Is.NOTHING:
            current = None
            gap = max(gap, _Gap.SPACE if kind is _Is.SPACE else _Gap.PUNCTUATION)
    return _joined(pieces)


def _is_disguise(kinds: list[tuple[_Is, tuple[str, ...]]], place: int) -> bool:
    """Tell whether a `*` hides a letter: between two others. What this module has masked never stands so."""
    around = kinds[place - 1 : place] + kinds[place + 1 : place + 2]
    return [kind for kind, _ in around] == [_Is.LETTERS, _Is.LETTERS]


def _extend(letters: list[str], options: str) -> None:
    if letters[-_LONGEST_RUN:] != [options] * _LONGEST_RUN:
        letters.append(options)


def _joined(pieces: Sequence[_Piece]) -> list[_Piece]:
    """Make one piece of the same letter said several times, as in `f f f u u c k` and `a$$$$`."""
    joined: list[_Piece] = []
    for piece in pieces:
        last = joined[-1] if joined else None
        same = last is not None and piece.letters[:1] == last.letters[:1] and piece.gap is not _Gap.MASK
        if last is not None and same and len(piece.letters) == 1 and last.single and piece.leet is last.leet:
            _extend(last.letters, piece.letters[0])
            last.last = piece.last
            last.apart += 1
            last.spaced |= piece.gap is _Gap.SPACE
            last.digit &= piece.digit
        else:
            joined.append(piece)
    return joined


def _load() -> Reviewer | None:
    try:
        return Reviewer(Path(__file__).with_name("words.txt").read_text("utf-8").splitlines())
    except (OSError, ValueError):
        # An exception here would be logged at every start, and each message would wait for one.
        return None


REVIEWER: Final = _load()
DENY: Final = os.environ.get("CHAT_REVIEW_MODE", "censor").strip().lower() == "deny"
ALLOW_ON_FAULT: Final = os.environ.get("CHAT_REVIEW_ON_FAULT", "deny").strip().lower() == "allow"


def handler(event: Any, _context: Any = None) -> dict[str, Any]:
    """Answer a review request of IVS Chat. Source: IVS Chat user guide, "Chat Message Review Handler"."""
    return answer(event, REVIEWER, deny=DENY, allow_on_fault=ALLOW_ON_FAULT)


def answer(event: Any, reviewer: Reviewer | None, *, deny: bool, allow_on_fault: bool) -> dict[str, Any]:
    """Review the message of a request; `deny` refuses what would else be censored, and no reviewer is a fault."""
    try:
        if reviewer is None:
            raise ValueError("no list of words")  # noqa: TRY301 - one place decides about faults
        return _reviewed(event, reviewer, deny=deny)
    except Exception:  # noqa: BLE001 - whatever it is, Amazon gets an answer, and the log does not get the message
        content = event.get("Content") if isinstance(event, dict) else None
        if allow_on_fault and isinstance(content, str) and content:
            return {"ReviewResult": "ALLOW", "Content": content}
        return {"ReviewResult": "DENY", "Content": _MASK, "Attributes": {"Reason": "The message was not reviewed."}}


def _reviewed(event: Any, reviewer: Reviewer, *, deny: bool) -> dict[str, Any]:
    content = event["Content"]
    if not isinstance(content, str) or not content:
        raise ValueError("no message")
    censored = reviewer.censored(content)
    if deny and censored != content:
        return {"ReviewResult": "DENY", "Content": censored, "Attributes": {"Reason": REASON}}
    result: dict[str, Any] = {"ReviewResult": "ALLOW", "Content": censored}
    # What is not sent back is lost.
    attributes = event.get("Attributes")
    if isinstance(attributes, dict):
        result["Attributes"] = attributes
    return result


if __name__ == "__main__":
    # To try a list: python handler.py 'what somebody might say'
    for said in sys.argv[1:]:
        sys.stdout.write(f"{handler({'Content': said})}\n")
