"""Text of data as it may stand in a Slack message. Pure.

Slack reads `& < >` as its own signs, `*_~` and backticks as formatting, `:name:` as an emoji and a `>` at the start of
a line as a quotation. What comes from data shall do none of that, nor hide in characters that nobody sees, nor turn
the line around. Each function says how long its result is at most, in UTF-16 units after escaping: the strictest way in
which Slack may count.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

ELLIPSIS: Final = "…"
UNSEEN: Final = "\N{REPLACEMENT CHARACTER}"
"""Stands for a character that is not shown, so that one sees that there is one."""

_UNSEEN: Final = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5"
    "\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufeff\uffa0\ufff0-\ufffb"
    "\U000110bd\U000110cd\U00013430-\U0001345f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""Unicode's Cc, Cf, Cs, Zl and Zp but the line feed, and the letters that look like nothing."""
_MARK: Final = "[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe00-\ufe0f\ufe20-\ufe2f]"
_PILE: Final = re.compile(f"({_MARK}{{4}}){_MARK}+")
"""Marks piled on one letter until they cover the lines around it."""
_ESCAPED: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_BACKTICK: Final = "\N{MODIFIER LETTER GRAVE ACCENT}"
_FENCE: Final = re.compile("`{3,}")
_SIGN: Final = re.compile(r"(?<![^\W_])[*_~]+|[*_~]+(?![^\W_])")
"""Formatting begins and ends at the border of a word: `snake_case` needs no care."""
_SIGNS: Final = str.maketrans(
    {"*": "\N{ASTERISK OPERATOR}", "_": "\N{MODIFIER LETTER LOW MACRON}", "~": "\N{TILDE OPERATOR}"}
)
_EMOJI: Final = re.compile(r":(?=[a-z0-9_+'-]*[a-z][a-z0-9_+'-]*:)", re.IGNORECASE)
_COLON: Final = "\N{RATIO}"
_QUOTE: Final = re.compile(r"^(?=>)")


def seen(text: str) -> str:
    """`text` with what cannot be seen made visible, line feeds kept."""
    plain = text.replace("\r\n", "\n").replace("\r", "\n").replace("\t", "    ")
    return _PILE.sub(r"\1", _UNSEEN.sub(UNSEEN, plain))


def plain(text: str, limit: int) -> str:
    """One line for a plain_text object; at most `limit` units."""
    return _cut(_line(text, limit), limit)


def prose(text: str, limit: int) -> str:
    """One line in mrkdwn that formats nothing and mentions nobody; at most `limit` units."""
    tame = _SIGN.sub(lambda found: found[0].translate(_SIGNS), _line(text, limit).replace("`", _BACKTICK))
    tame = _QUOTE.sub("\N{NO-BREAK SPACE}", _EMOJI.sub(_COLON, tame))
    return _cut(tame, limit)


def code(text: str, limit: int) -> str:
    """A value in a line of mrkdwn, set as code; at most `limit` units."""
    line = _line(text, limit).replace("`", _BACKTICK)
    return f"`{_cut(line, limit - 2)}`" if line else "(empty)"


def block(text: str, limit: int) -> str:
    """Lines set as code in mrkdwn; at most `limit` units, which are more than 8."""
    lines = _FENCE.sub(lambda found: _BACKTICK * len(found[0]), seen(text[: 2 * limit])).strip("\n")
    return f"```\n{_cut(lines, limit - 8)}\n```"


def is_exact(text: str, limit: int) -> bool:
    """Whether `block` shows it as it is: what is to be copied and run must not be changed or cut."""
    return bool(text) and block(text, limit) == f"```\n{_escaped(text)}\n```"


def moment(at: datetime) -> str:
    """A time as each reader's own clock shows it; UTC where it cannot."""
    at = at.astimezone(UTC)
    return f"<!date^{int(at.timestamp())}^{{date_short_pretty}} {{time}}|{utc(at)}>"


def utc(at: datetime) -> str:
    """A time to the minute, with its zone."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def lasted(span: timedelta) -> str:
    """How long, in its two largest units: "3 d 4 h", "12 min"."""
    minutes = max(0, int(span.total_seconds() // 60))
    days, hours, minutes = minutes // 1440, minutes % 1440 // 60, minutes % 60
    if days:
        return f"{days} d {hours} h" if hours else f"{days} d"
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{minutes} min" if minutes else "less than a minute"


def _line(text: str, limit: int) -> str:
    """What of `text` can matter, on one line."""
    return " ".join(seen(text[: 4 * limit]).split())


def _cut(text: str, limit: int) -> str:
    """`text` escaped; with an ellipsis at its end if it would be longer than `limit`."""
    if text.isascii() and len(escaped := _escaped(text)) <= limit:
        return escaped
    room, kept = limit - 1, 0
    for character in text:
        room -= _units(character)
        if room < 0:
            break
        kept += 1
    rest = text[kept:]
    if len(rest) == 1 and _units(rest) + sum(map(_units, text[:kept])) <= limit:
        kept, rest = kept + 1, ""
    return _escaped(text[:kept].rstrip() if rest else text) + (ELLIPSIS if rest else "")


def _units(character: str) -> int:
    return len(_ESCAPED.get(character, character)) + (character > "\uffff")


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
