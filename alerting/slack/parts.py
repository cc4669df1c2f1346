"""The parts of a message: pieces of Block Kit, each within Slack's limits whatever the data is. Pure.

Limits: 150 characters in a header, 3,000 in a section, 2,000 in a field (docs.slack.dev/reference/block-kit/blocks).
"""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from alerting import impact
from alerting.folding import MARKS
from alerting.incidents import Event, Incident, Kind
from alerting.slack import text as say

Block = dict[str, Any]

HEADER: Final = 140
NAME: Final = 200
VALUE: Final = 600
COMMAND: Final = 900
EXAMPLES: Final = 3
EXAMPLE: Final = 240
EFFECTS: Final = 8
METRICS: Final = 12
SOUND: Final = 2
"""Metrics that are not affected, up to which they are named instead of the others."""
SCOPES: Final = 5
LINE: Final = 160
LINES: Final = 34
"""Of a storm or digest; the command beside them lists all."""
SECTION: Final = 2900
EVENTS: Final = 8
MENTIONS: Final = 20
LINK: Final = 500
ID: Final = 60
EVERY: Final = "*"
"""The scope of what is about all of them."""
DONE: Final = "✅"
EVENT_SIGN: Final = {
    "opened": "▶️", "changed": "✏️", "worsened": "🔺", "eased": "🔻", "reopened": "🔁", "resolved": DONE,
    "acknowledged": "👀", "silenced": "🔕", "unsilenced": "🔔",
}  # fmt: skip
_USER: Final = re.compile(r"[UW][A-Z0-9]{2,20}")
_GROUP: Final = re.compile(r"S[A-Z0-9]{2,20}")
_MENTION: Final = r"<(?:!here|!channel|@[UW][A-Z0-9]{2,20}|!subteam\^S[A-Z0-9]{2,20})>"
_NAMED: Final = re.compile(f"{_MENTION}(?: {_MENTION})*")


def header(text: str) -> Block:
    """The title; `text` is ready for plain_text."""
    return {"type": "header", "text": {"type": "plain_text", "text": text, "emoji": False}}


def section(text: str) -> Block:
    """A paragraph; `text` is ready for mrkdwn."""
    return {"type": "section", "text": _mrkdwn(text)}


def fields(pairs: Sequence[tuple[str, str]]) -> Block:
    """Names and values in two columns; the values are ready for mrkdwn."""
    return {"type": "section", "fields": [_mrkdwn(f"*{name}*\n{value}") for name, value in pairs]}


def context(text: str) -> Block:
    """Small print; `text` is ready for mrkdwn."""
    return {"type": "context", "elements": [_mrkdwn(text)]}


def _mrkdwn(text: str) -> dict[str, Any]:
    """`verbatim`: Slack makes no link and no mention of what merely looks like one."""
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def place(incident: Incident) -> list[tuple[str, str]]:
    """Where it is, as fields."""
    key = incident.key
    check = f"{key.check} of {key.measure}" if key.measure else key.check
    scope = "all" if key.scope == EVERY else key.scope
    named = (("Dataset", key.dataset), ("Scope", scope), ("Check", check))
    return [(name, say.code(value, NAME)) for name, value in named]


def since(incident: Incident) -> str:
    """When it was opened last, and how often: no span of time, which would be wrong by the time it is read."""
    if not incident.openings:
        return "just now"
    times = len(incident.openings)
    return at(incident.openings[-1]) + (f"\nopened {times} times" if times > 1 else "")


def at(moment: datetime) -> str:
    """In the reader's zone and in UTC, which the windows are in."""
    return f"{say.moment(moment)} ({say.utc(moment)})"


def windows(failing: Sequence[str]) -> list[tuple[str, str]]:
    """How many windows are wrong, the first and the last, as a field; nothing if it is not about windows."""
    days = [say.prose(window, ID) for window in failing if window]
    if not days:
        return []
    more = " or more" if len(days) >= MARKS else ""
    return [("Windows that fail", days[0] if len(days) == 1 else f"{len(days)}{more}: {days[0]} to {days[-1]}")]


def untrusted(incident: Incident) -> list[tuple[str, str]]:
    """Which metrics are not to be trusted, and of which scopes, as a field."""
    if not incident.metrics:
        return []
    scopes = _listed([say.code(one, LINE) for one in incident.scopes[:SCOPES]], len(incident.scopes))
    return [("Do not trust", _metrics(incident.metrics) + (f" of {scopes}" if scopes else ""))]


def meaning(incident: Incident) -> Iterator[Block]:
    """Expected against observed, and what it means."""
    facts = incident.facts
    compared = [("Expected", say.prose(facts.expected, VALUE)), ("Observed", say.prose(facts.observed, VALUE))]
    if told := [(name, value) for name, value in compared if value]:
        yield fields(told)
    if why := say.prose(facts.why, VALUE):
        yield section(f"*What it means*\n{why}")


def _metrics(metrics: Sequence[str]) -> str:
    """Their names, or if most of all metrics are among them those that are not."""
    sound = [say.code(one, ID) for one in impact.ALL if one not in metrics]
    if len(sound) <= SOUND and set(metrics) <= set(impact.ALL):
        return f"all metrics but {', '.join(sound)}" if sound else "all metrics"
    return _listed([say.code(one, ID) for one in metrics[:METRICS]], len(metrics))


def examples(incident: Incident) -> Iterator[Block]:
    """A few rows that are wrong, as code."""
    shown = [" ".join(say.seen(one[: 2 * EXAMPLE]).split()) for one in incident.facts.examples[:EXAMPLES]]
    lines = [one if len(one) <= EXAMPLE else one[: EXAMPLE - 1] + say.ELLIPSIS for one in shown if one]
    if lines:
        name = "Examples" if len(lines) > 1 else "Example"
        name = "What accounts for it" if incident.kind is Kind.ANOMALY else name
        yield section(f"*{name}*\n{say.block(chr(10).join(lines), EXAMPLES * EXAMPLE + 100)}")


def effects(incident: Incident) -> Iterator[Block]:
    """What it causes, a line each."""
    if incident.effects:
        lines = bullets(incident.effects, EFFECTS)
        yield section("\n".join([f"*Also caused by this* ({len(incident.effects)})", *lines]))


def bullets(texts: Sequence[str], most: int) -> list[str]:
    """The first of `texts` as lines of mrkdwn, and how many are left out."""
    lines = [f"• {say.prose(one, LINE)}" for one in texts[:most]]
    return [*lines, f"• _and {len(texts) - most} more_"] if len(texts) > most else lines


def handled(incident: Incident, now: datetime) -> Iterator[Block]:
    """Who is at it, and until when nobody wants to hear of it."""
    lines = []
    if said := incident.acknowledged:
        note = f": {say.prose(said.note, VALUE)}" if said.note else ""
        lines.append(f"👀 *Acknowledged* by {say.prose(said.by, NAME)}, {say.moment(said.at)}{note}")
    if incident.is_silenced(now) and (quiet := incident.silenced):
        why = f": {say.prose(quiet.reason, VALUE)}" if quiet.reason else ""
        lines.append(f"🔕 *Silenced* by {say.prose(quiet.by, NAME)} until {say.moment(quiet.until)}{why}")
    if lines:
        yield section("\n".join(lines))


def next_step(incident: Incident, title: str = "Next step") -> Iterator[Block]:
    """A command that can be copied as it is; never one that had to be changed to be shown."""
    command = incident.facts.command
    if not command:
        return
    if not say.is_exact(command, COMMAND):
        command = f"touchstone incidents show {incident.id}"
    yield section(f"*{title}*\n{say.block(command, COMMAND)}")


def feedback(incident: Incident) -> Iterator[Block]:
    """How to tell the detector what an anomaly was: it learns from either."""
    if incident.kind is Kind.ANOMALY:
        command = say.block(f"touchstone detector feedback {incident.id} expected", COMMAND)
        yield section(f"*If it was expected* (else say `fault`: then these days never teach)\n{command}")


def story(events: Sequence[Event]) -> Iterator[Block]:
    """What has happened, newest last."""
    lines = [f"_{len(events) - EVENTS} earlier changes are left out_"] if len(events) > EVENTS else []
    for event in events[-EVENTS:]:
        by = f" by {say.prose(event.by, ID)}" if event.by else ""
        text = f": {say.prose(event.text, LINE)}" if event.text else ""
        sign = EVENT_SIGN.get(event.what, "•")
        lines.append(f"{sign} {say.moment(event.at)} *{say.prose(event.what, ID // 2)}*{by}{text}")
    if lines:
        yield section("\n".join(lines))


def footer(incident: Incident, page_url: str | None) -> Block:
    """Which incident, as it stood when, and where there is more."""
    told = f"incident {say.code(incident.id, ID)} · revision {incident.revision}"
    address = re.sub(r"[\s<>|\"`]", "", say.seen(page_url or "")).replace("&", "&amp;")
    return context(f"{told} · <{address}|status page>" if address and len(address) <= LINK else told)


def mentioned(mention: Sequence[str]) -> Iterator[Block]:
    """Whoever is named by configuration; never anybody by data."""
    named = []
    for one in mention[:MENTIONS]:
        if one in ("here", "channel"):
            named.append(f"<!{one}>")
        elif _USER.fullmatch(one):
            named.append(f"<@{one}>")
        elif _GROUP.fullmatch(one):
            named.append(f"<!subteam^{one}>")
    if named:
        yield section(" ".join(dict.fromkeys(named)))


def is_mention(block: Block) -> bool:
    """Whether it is the block of those who are mentioned; data never is, as its angle brackets are escaped."""
    return block["type"] == "section" and _NAMED.fullmatch(block.get("text", {}).get("text", "")) is not None


def packed(lines: Sequence[str]) -> Iterator[Block]:
    """Sections that hold `lines`, as few as can be."""
    part: list[str] = []
    for line in lines:
        if part and sum(2 * len(one) + 1 for one in (*part, line)) > SECTION:
            yield section("\n".join(part))
            part = []
        part.append(line)
    if part:
        yield section("\n".join(part))


def _listed(shown: Sequence[str], of: int) -> str:
    return ", ".join(shown) + (f" and {of - len(shown)} more" if of > len(shown) else "")
