"""Questions in JQL. Pure.

JQL knows times to the minute only, and reads them in the time zone of the user who asks. Where clocks are set back it
cannot tell an hour from the next: such minutes are never written, and the range around them is one slot.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from config.section import ConfigError

_MINUTE: Final = timedelta(minutes=1)
_WORDS: Final = re.compile(r"\border\s+by\b", re.IGNORECASE)
_QUOTED: Final = re.compile(r"""(["'])(?:\\.|(?!\1)[^\\])*\1""", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Slot:
    """The shortest range of time that JQL can name, [start, end)."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Query:
    """Which issues are meant, and in which zone Jira reads times."""

    project: str
    """Its key."""
    narrowed: str
    """By the user's own JQL; empty if it is not."""
    zone: ZoneInfo

    def since(self, start: datetime, end: datetime | None = None) -> str:
        """What was updated in [start, end), in order; both begin a slot."""
        parts = [f"project = {quoted(self.project)}", *([f"({self.narrowed})"] if self.narrowed else [])]
        parts.append(f"updated >= {quoted(self._local(start))}")
        if end is not None:
            parts.append(f"updated < {quoted(self._local(end))}")
        return f"{' AND '.join(parts)} ORDER BY updated ASC, id ASC"

    def only(self, number: str) -> str:
        """The issue of this id, if it is one of those that are meant."""
        parts = [f"id = {int(number)}", f"project = {quoted(self.project)}"]
        return " AND ".join([*parts, *([f"({self.narrowed})"] if self.narrowed else [])])

    def slot(self, at: datetime) -> Slot:
        """The one that `at` lies in."""
        start = at.astimezone(UTC).replace(second=0, microsecond=0)
        end = start + _MINUTE
        while not self._is_plain(start):
            start -= _MINUTE
        while not self._is_plain(end):
            end += _MINUTE
        return Slot(start, end)

    def _local(self, at: datetime) -> str:
        return at.astimezone(self.zone).strftime("%Y-%m-%d %H:%M")

    def _is_plain(self, at: datetime) -> bool:
        """Whether the local time means this moment and no other."""
        local = at.astimezone(self.zone).replace(tzinfo=None)
        return len({local.replace(tzinfo=self.zone, fold=fold).astimezone(UTC) for fold in (0, 1)}) == 1


def quoted(text: str) -> str:
    """As a string of JQL."""
    return '"' + "".join(_escaped(text)) + '"'


def _escaped(text: str) -> Iterator[str]:
    named = {"\\": r"\\", '"': r"\"", "\n": r"\n", "\r": r"\r", "\t": r"\t"}
    for letter in text:
        yield named.get(letter) or (letter if letter.isprintable() else f"\\u{ord(letter):04x}")


def narrowing(jql: str, key: str) -> str:
    """The user's JQL, fit to stand in parentheses. Raises ConfigError, naming `key`, if it would break out of them."""
    bare = _QUOTED.sub("''", jql)
    if _WORDS.search(bare):
        raise ConfigError(f"{key}: ORDER BY is ours to say: leave it out")
    depth = 0
    for letter in bare.replace("''", ""):
        depth += (letter == "(") - (letter == ")")
        if depth < 0 or letter in "\"'":
            break
    if depth or any(letter in bare.replace("''", "") for letter in "\"'"):
        raise ConfigError(f"{key}: its parentheses or quotation marks do not match")
    return jql.strip()
