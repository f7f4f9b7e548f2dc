"""Texts that users write: what of them can be kept and shown."""

from collections.abc import Sequence

from resolvers.errors import TextInvalid


def fault(text: str, what: str, *, least: int = 0, most: int) -> str | None:
    """Return what is wrong with the text as a sentence; null if nothing is. Lengths are in characters."""
    if not least <= len(text) <= most:
        return f"{what} has {least} to {most} characters."
    if "\0" in text or (not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text)):
        return f"{what} must not hold the character NUL, nor half of a surrogate pair."
    return None


def problems(text: str, what: str, path: Sequence[str], *, least: int, most: int) -> list[TextInvalid]:
    """Return what is wrong with the text of an input field, if anything is."""
    sentence = fault(text, what, least=least, most=most)
    return [] if sentence is None else [TextInvalid(message=sentence, path=path)]
