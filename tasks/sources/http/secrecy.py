"""What a server says may hold the credential that it was given: it is hidden before anybody reads it. Pure."""

from base64 import b64decode
from collections.abc import Iterator, Mapping
from urllib.parse import quote

from quality.extractions import line

_SHORTEST = 6
"""Characters: what is shorter hides nothing but the sense of a text."""


def shown(text: str, credential: Mapping[str, str], most: int = 150) -> str:
    """`text` as one line of at most `most` characters, without any part of `credential`, which are headers."""
    for secret in sorted(set(_secrets(credential)), key=len, reverse=True):
        text = text.replace(secret, "***")
    return line(text, most)


def _secrets(credential: Mapping[str, str]) -> Iterator[str]:
    for value in credential.values():
        words = [value, *value.split()]
        for word in words:
            for secret in (word, *_uncoded(word)):
                if len(secret) >= _SHORTEST:
                    yield secret
                    yield quote(secret, safe="")


def _uncoded(word: str) -> tuple[str, ...]:
    """Of Basic: name and password."""
    try:
        name, colon, password = b64decode(word, validate=True).decode().partition(":")
    except ValueError:
        return ()
    return (f"{name}:{password}", password) if colon else ()
