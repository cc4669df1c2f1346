"""What Slack is told of an incident, as the keyword arguments of chat.postMessage. Pure.

One root message an incident, which is edited as it changes; what has happened since goes into its thread. Nothing is
an attachment, as Slack folds those away behind "Show more": the colour is the sign in the header. Each text has a limit
of its own (see `parts`), so that a message is within Slack's whatever the data is: 50 blocks, 12,000 characters in all.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from alerting.incidents import GROUPS, Incident, Kind, State
from alerting.reasons import Reason
from alerting.slack import parts
from alerting.slack import text as say
from alerting.slack.parts import DONE, Block
from quality.findings import Severity

Payload = dict[str, Any]

EVENT: Final = "touchstone_incident"
"""`metadata.event_type` of each message; its payload is the key by which a message is found again."""

SIGN: Final = {Severity.CRITICAL: "🔴", Severity.WARNING: "🟠", Severity.INFO: "🔵"}
GROUP_SIGN: Final = {Kind.STORM: "🌩️", Kind.DIGEST: "🗞️"}
WORD: Final = {Reason.OPENED: "opened", Reason.WORSENED: "worsened", Reason.REOPENED: "open again"}
LOUD: Final = frozenset({Reason.WORSENED, Reason.REOPENED, Reason.REMINDER})
"""Replies that the channel sees too: an edited message and a reply in a thread ring for nobody."""
FALLBACK: Final = 300
"""Characters of a title where notifications show it."""


def root(incident: Incident, now: datetime, *, page_url: str | None = None, mention: Sequence[str] = ()) -> Payload:
    """The message of an incident as it stands now; also of a storm or a digest.

    mention: ids of people (U..., W...) and groups (S...), "here" or "channel"; others are left out.
    """
    title = say.plain(incident.facts.title, parts.HEADER - 20)
    blocks = [parts.header(f"{_sign(incident)} {title}")]
    if incident.state is not State.RESOLVED:
        blocks += parts.mentioned(mention)
    if incident.state is State.RESOLVED and incident.kind in GROUPS:
        blocks += _ending(incident)
    elif incident.kind in GROUPS:
        blocks += _group(incident)
    elif incident.state is State.RESOLVED:
        blocks += _resolved(incident)
    else:
        blocks += _open(incident, now)
    return _payload(
        incident, "root", f"{_sign(incident)} {_named(incident)}", [*blocks, parts.footer(incident, page_url)]
    )


def reply(incident: Incident, reason: Reason, now: datetime, *, mention: Sequence[str] = ()) -> Payload:
    """What has happened since the last telling, for the thread; of a reminder, that it is still open.

    What is worse than before, and a reminder, is shown in the channel too (`reply_broadcast`).
    """
    known = incident.told.revision if incident.told else 0
    events = [event for event in incident.story if event.revision > known]
    opened = incident.openings[-1] if incident.openings else now
    if reason is Reason.REMINDER:
        head = f"⏰ Open for {say.lasted(now - opened)}, and nobody has acknowledged it"
    elif reason is Reason.RESOLVED:
        head = f"{DONE} Resolved after {say.lasted((incident.resolved_at or now) - opened)}"
    else:
        head = f"{SIGN[incident.severity]} {incident.severity.capitalize()}, {WORD.get(reason, 'changed')}"
    blocks = [*parts.mentioned(mention), parts.section(f"*{head}*: {say.prose(incident.facts.title, parts.VALUE)}")]
    blocks += parts.story(events)
    if reason in LOUD:
        blocks += parts.next_step(incident)
    part = "reminder" if reason is Reason.REMINDER else "reply"
    payload = _payload(incident, part, f"{head}: {_named(incident)}", [*blocks, parts.footer(incident, None)])
    return payload | ({"reply_broadcast": True} if reason in LOUD else {})


def direct(name: str, title: str, text: str, *, at: datetime, over: bool = False) -> Payload:
    """What is told without MongoDB, e.g. that it is down; `over`: that it is there again, under a key of its own."""
    sign = DONE if over else SIGN[Severity.CRITICAL]
    body = say.prose(text, parts.SECTION - 200)
    blocks = [
        parts.header(f"{sign} {say.plain(title, parts.HEADER - 20)}"),
        parts.section(f"{body}\n{parts.at(at)}" if body else parts.at(at)),
        parts.context(f"{say.code(name, parts.ID)} · told directly: the incidents could not be asked"),
    ]
    return _message(f"{sign} {say.prose(title, FALLBACK)}", blocks, (name, int(over), "direct"))


def smaller(payload: Payload) -> Payload | None:
    """`payload` one step poorer, after Slack has refused it as it is; None if nothing is left to leave out.

    First the header, the first facts and the footer remain, then only the line that notifications show; and in each
    case who is mentioned.
    """
    blocks = payload.get("blocks") or []
    if not blocks:
        return None
    sections = [block for block in blocks if block["type"] == "section" and not parts.is_mention(block)]
    first = next((block for block in sections if "fields" in block), sections[0] if sections else None)
    named = [block for block in blocks if parts.is_mention(block)]
    kept = [one for one in blocks if one["type"] in ("header", "context") or one is first or one in named]
    if len(kept) == len(blocks):
        line = " ".join([*(block["text"]["text"] for block in named), payload["text"]])
        return {key: value for key, value in payload.items() if key != "blocks"} | {"text": line}
    return {**payload, "blocks": kept}


def _open(incident: Incident, now: datetime) -> Iterator[Block]:
    wrong = [("Since", parts.since(incident)), *parts.windows(incident.failing), *parts.untrusted(incident)]
    yield parts.fields([*parts.place(incident), *wrong])
    yield from parts.meaning(incident)
    yield from parts.examples(incident)
    yield from parts.effects(incident)
    yield from parts.handled(incident, now)
    yield from parts.next_step(incident)
    yield from parts.feedback(incident)


def _resolved(incident: Incident) -> Iterator[Block]:
    fields = parts.place(incident)
    if incident.openings and (until := incident.resolved_at):
        since = incident.openings[-1]
        fields += [("Since", parts.at(since)), ("Until", parts.at(until)), ("Lasted", say.lasted(until - since))]
    yield parts.fields(fields)
    yield from _ending(incident)


def _ending(incident: Incident) -> Iterator[Block]:
    last = next((event for event in reversed(incident.story) if event.what == "resolved"), None)
    if last:
        by = f" (by {say.prose(last.by, parts.NAME)})" if last.by else ""
        yield parts.section(f"*What resolved it*\n{say.prose(last.text, parts.VALUE) or 'No reason was given'}{by}")


def _group(incident: Incident) -> Iterator[Block]:
    """Many incidents as one: counts, a line each, and how to list all."""
    facts = incident.facts
    counts = [say.prose(line, 2 * parts.LINE) for line in facts.observed[: parts.SECTION].splitlines()]
    yield from parts.packed([line for line in counts if line][:8])
    yield from parts.packed(parts.bullets(facts.examples, parts.LINES))
    if why := say.prose(facts.why, parts.VALUE):
        yield parts.section(why)
    yield from parts.next_step(incident, "All of them")


def _sign(incident: Incident) -> str:
    """How bad it is, at a glance and in a word."""
    if incident.state is State.RESOLVED:
        return f"{DONE} Resolved:"
    if incident.kind in GROUPS:
        return GROUP_SIGN[incident.kind]
    return f"{SIGN[incident.severity]} {incident.severity.capitalize()}:"


def _named(incident: Incident) -> str:
    """Its title and where it is: all that a notification shows."""
    title, key = incident.facts.title, incident.key
    place = [one for one in (key.dataset, key.scope) if one and one not in title]
    if incident.kind in GROUPS or not place:
        return say.prose(title, FALLBACK)
    return f"{say.prose(title, FALLBACK)} ({', '.join(say.prose(one, parts.NAME) for one in place)})"


def _payload(incident: Incident, part: str, fallback: str, blocks: list[Block]) -> Payload:
    return _message(fallback, blocks, (incident.id, incident.revision, part))


def _message(fallback: str, blocks: list[Block], key: tuple[str, int, str]) -> Payload:
    name, revision, part = key
    payload = {"incident": name, "revision": revision, "part": part}
    return {
        "text": fallback,
        "blocks": blocks,
        "metadata": {"event_type": EVENT, "event_payload": payload},
        "unfurl_links": False,
        "unfurl_media": False,
        "parse": "none",
        "link_names": False,
    }
