"""Slack's mrkdwn as spans, for those who draw it. Pure.

Only what messages of incidents use, and what data may try: code, bold, italic, strike, and `<...>` signs.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final


class Style(StrEnum):
    """How a span looks."""

    PLAIN = "plain"
    BOLD = "bold"
    ITALIC = "italic"
    STRIKE = "strike"
    CODE = "code"
    BLOCK = "block"
    DATE = "date"
    MENTION = "mention"
    LINK = "link"


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of text in one style."""

    style: Style
    text: str
    """As it is read: without signs and entities."""
    target: str = ""
    """Of a link."""


_TOKEN: Final = re.compile(
    r"```\n?(?P<block>.*?)\n?```|`(?P<code>[^`\n]+)`|<(?P<sign>[^<>\n]+)>"
    r"|(?<!\w)\*(?P<bold>[^*\n]+)\*(?!\w)|(?<!\w)_(?P<italic>[^_\n]+)_(?!\w)|(?<!\w)~(?P<strike>[^~\n]+)~(?!\w)",
    re.DOTALL,
)
_ENTITY: Final = re.compile("&(amp|lt|gt);")
_CHARACTERS: Final = {"amp": "&", "lt": "<", "gt": ">"}


def spans(text: str) -> Iterator[Span]:
    """`text` of a mrkdwn object."""
    at = 0
    for found in _TOKEN.finditer(text):
        if before := text[at : found.start()]:
            yield Span(Style.PLAIN, plain(before))
        at = found.end()
        style, inner = str(found.lastgroup), found[str(found.lastgroup)]
        yield _signed(inner) if style == "sign" else Span(Style(style), plain(inner))
    if rest := text[at:]:
        yield Span(Style.PLAIN, plain(rest))


def plain(text: str) -> str:
    """`text` with its entities read, as in a plain_text object."""
    return _ENTITY.sub(lambda found: _CHARACTERS[found[1]], text)


def seen(text: str) -> str:
    """`text` with what cannot be seen made visible, so that it can do nothing where it is drawn."""
    return "".join(one if one == "\n" or one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)


def readable(text: dict[str, Any]) -> list[Span]:
    """The spans of a text object of either type."""
    if text.get("type") == "mrkdwn":
        return list(spans(str(text["text"])))
    return [Span(Style.PLAIN, plain(str(text["text"])))]


def _signed(inner: str) -> Span:
    what, _, label = inner.partition("|")
    if what.startswith("!date^"):
        _, seconds, shape = [*what.split("^", 2), "", ""][:3]
        return Span(Style.DATE, _date(seconds, shape) or plain(label))
    if what.startswith("!subteam^"):
        return Span(Style.MENTION, f"@{plain(label or what.removeprefix('!subteam^'))}")
    if what.startswith(("!", "@", "#")):
        return Span(Style.MENTION, f"{what[0].replace('!', '@')}{plain(label or what[1:])}")
    return Span(Style.LINK, plain(label or what), plain(what))


def _date(seconds: str, shape: str) -> str:
    """As Slack shows it to a reader whose clock is UTC."""
    try:
        at = datetime.fromtimestamp(int(seconds), UTC)
    except (ValueError, OverflowError, OSError):
        return ""
    shown = {"{date_short_pretty}": f"{at:%b} {at.day}, {at.year}", "{time}": f"{at:%H:%M}"}
    for key, value in shown.items():
        shape = shape.replace(key, value)
    return shape
