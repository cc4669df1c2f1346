"""Text without the secrets of the URLs in it: what servers and drivers say often names the address that was asked.

One place for all, as what one place forgets to hide is what leaks. Rather hides too much than too little. Pure.
"""

import re
from typing import Final

_WORD: Final = re.compile(r"\S+")
_SECRET: Final = re.compile(
    r"""
    ([?&;\#] [\w.~%-]* (?: token | secret | password | passwd | pwd | signature | credential
                         | (?: api | access | private | secret | account ) [_-]? key | (?<=[?&;\#]) (?: key | sig ) ) =)
    ([^&\s"<>]+)
    """,
    re.IGNORECASE | re.VERBOSE,
)
"""A query parameter whose name says that its value is secret: `token`, `access_token`, `apiKey`, `X-Amz-Signature`."""


def redacted(text: str) -> str:
    """`text` with *** in place of all credentials of URLs, and of the values of secret query parameters.

    A password may hold any character that is not white space, so what is hidden begins after a word's first "://" and
    ends before its last "@". Takes time in proportion to the text.
    """
    return _WORD.sub(lambda word: _masked(_SECRET.sub(_hidden, word[0])), text)


def _hidden(found: re.Match[str]) -> str:
    """An "@" of the value is kept: there may be a password around it."""
    return f"{found[1]}***{'@' if '@' in found[2] else ''}"


def _masked(word: str) -> str:
    at, end = word.find("://"), word.rfind("@")
    return f"{word[: at + 3]}***{word[end:]}" if 0 <= at < end else word
