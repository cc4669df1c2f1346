"""Text without secrets: what servers and drivers say often names the address that was asked, or how.

Hidden are the credentials of URLs, the values of what is named a secret, and what looks like a token of a known kind.
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


_TOKEN: Final = re.compile(
    r"\b(?:gh[pousr]_\w{10,}|github_pat_\w{10,}|glpat-[\w.-]{10,}|(?:xox[a-z]|xapp)-[\w-]{6,})", re.IGNORECASE
)
"""What looks like a token of GitHub, GitLab or Slack."""
_NAMED: Final = re.compile(
    r"""
    (   \b (?: (?:proxy-)? authorization ["']? \s*[:=]\s* ["']? (?:(?:bearer|basic|digest|token)\s+)?
             | (?:bearer|basic) \s+ (?= [\w.~+/=*-]* (?: [\d_~+/=] | (?-i:[a-z][A-Z]) ) ) )
      | (?<![\w.-]) [\w.-]* (?:password|passwd|pwd|secret|(?:api|access|private|secret|account)[_-]?key)
            (?: \s*=\s* ["'] | = | ["'] \s*[:=]\s* ["'] )
      | (?<![\w.-]) [\w.-]* token (?: \s*=\s* ["']? | ["'] \s*[:=]\s* ["'] ) (?=[^\s"'&,;:@?\#<>()\[\]{}]{8})
      | hooks\.slack\.com/(?:services|workflows|triggers)/
    )
    ( (?<=["']) [^"'\n]+ | [^\s"'&,;<>()\[\]{}]+ )
    """,
    re.IGNORECASE | re.VERBOSE,
)
"""A secret by its name: `Authorization: Bearer x`, `password=x`, `'private_token': 'x'`. Of what is named a token only
what is long: others are counted, or parsed."""


def redacted(text: str) -> str:
    """`text` with *** in place of all secrets: see above.

    The password of a URL may hold any character that is not white space, so what is hidden begins after a word's first
    "://" and ends before its last "@". Takes time in proportion to the text.
    """
    shown = _WORD.sub(lambda word: _masked(_SECRET.sub(_hidden, word[0])), text)
    return _NAMED.sub(lambda found: found[1] + _WORD.sub("***", found[2]), _TOKEN.sub("***", shown))


def _hidden(found: re.Match[str]) -> str:
    """An "@" of the value is kept: there may be a password around it."""
    return f"{found[1]}***{'@' if '@' in found[2] else ''}"


def _masked(word: str) -> str:
    at, end = word.find("://"), word.rfind("@")
    return f"{word[: at + 3]}***{word[end:]}" if 0 <= at < end else word
