"""What a person does with incidents: look, acknowledge, silence, resolve. Each deed is kept with who and when."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from alerting import folding
from alerting.incidents import RANK, Incident, Kind, State, document
from alerting.store import Store, UnknownIncidentError
from config import mongo, schema, settings
from config.redaction import redacted
from tasks.cli_common import plain
from tasks.report import duration

STYLES: Final = {"critical": "bold red", "warning": "yellow", "info": "cyan"}
STATES: Final = {"open": "red", "ack": "cyan", "silenced": "magenta", "attached": "dim", "resolved": "green"}
WINDOWS: Final = 12
"""Failing windows that are shown one by one."""
_DIGEST: Final = re.compile(f"^{Kind.DIGEST}-")
"""Ids of digests. What a digest tells is no effect of it: it is only told once a day."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Which incidents a person wants to see; None asks for any."""

    dataset: str | None = None
    """A name, or the start of names and a star."""
    scope: str | None = None
    severity: str | None = None
    cause: str | None = None
    """Id, or the start of one: only what it causes, or tells together."""
    everything: bool = False
    """Resolved ones and effects too."""


@dataclass(frozen=True, slots=True)
class Listed:
    """What was found."""

    incidents: Sequence[Incident]
    total: int
    """How many there are, those that `incidents` has no room for included."""
    attached: int
    """Open ones that are left out because they are effects of others."""


def listed(asked: Asked, limit: int) -> Listed:
    """Those that were asked for: the worst first, then the newest. Raises ConfigError, MongoError."""
    db, store = _open()
    where = _where(asked, store)
    incidents: list[Incident] = []
    for level in sorted(RANK, key=lambda one: -RANK[one]):
        if "severity" in where and where["severity"] != level:
            continue
        if limit and len(incidents) >= limit:
            break
        incidents += store.listed({**where, "severity": str(level)}, limit - len(incidents) if limit else 0)
    count = db[schema.INCIDENTS].count_documents
    hidden = 0 if asked.everything or asked.cause else count({**where, "cause": {"$type": "string", "$not": _DIGEST}})
    return Listed(incidents, count(where), hidden)


def _where(asked: Asked, store: Store) -> dict[str, Any]:
    """As a query. Raises ConfigError if no incident begins with `asked.cause`."""
    where: dict[str, Any] = {} if asked.everything else {"open": True}
    if asked.dataset is not None:
        start = asked.dataset.removesuffix("*")
        name = {"$gte": start, "$lt": start + "\uffff"} if start != asked.dataset else asked.dataset
        where["key.dataset"] = name
    if asked.scope is not None:
        where["$or"] = [{"key.scope": asked.scope}, {"scopes": asked.scope}]
    if asked.severity is not None:
        where["severity"] = asked.severity
    if asked.cause is not None:
        try:
            where["cause"] = store.find(asked.cause).id
        except UnknownIncidentError as error:
            raise settings.ConfigError(f"incidents: {error}") from None
    elif not asked.everything:
        where |= {"cause": {"$in": [None, _DIGEST]}, "kind": {"$ne": str(Kind.DIGEST)}}
    return where


def found(ids: Sequence[str]) -> tuple[list[Incident], list[str]]:
    """The incidents whose ids begin so, each once, and why the others are not there. Raises ConfigError, MongoError."""
    _, store = _open()
    incidents: dict[str, Incident] = {}
    errors = []
    for start in ids:
        try:
            one = store.find(start)
        except UnknownIncidentError as error:
            errors.append(plain(error))
        else:
            incidents[one.id] = one
    return list(incidents.values()), errors


def acknowledge(ids: Sequence[str], by: str, note: str, console: Console) -> list[str]:
    """Somebody is at each of these; returns what could not be done. Raises ConfigError, MongoError."""
    now, note = datetime.now(UTC), redacted(note)
    return _each(ids, lambda one: folding.acknowledge(one, by, now, note), now, f"acknowledged by {by}", console)


def silence(ids: Sequence[str], until: datetime, by: str, reason: str, console: Console) -> list[str]:
    """Nobody is told of these until then; returns what could not be done. Raises ConfigError, MongoError."""
    now, reason = datetime.now(UTC), redacted(reason)
    told = f"silenced until {until:%Y-%m-%d %H:%M} UTC by {by}"
    return _each(ids, lambda one: folding.silence(one, until, by, now, reason), now, told, console)


def resolve(ids: Sequence[str], by: str, reason: str, console: Console) -> list[str]:
    """These are over; returns what could not be done. Raises ConfigError, MongoError."""
    now, reason = datetime.now(UTC), redacted(reason)
    return _each(ids, lambda one: folding.resolve(one, by, now, reason), now, f"resolved by {by}", console)


def _each(
    ids: Sequence[str], act: Callable[[Incident], Incident], now: datetime, told: str, console: Console
) -> list[str]:
    """Do `act` to each of them, once, and say so; returns why it could not be done to some."""
    _, store = _open()
    incidents, errors = found(ids)
    for one in incidents:
        try:
            after = store.change(one.id, act, now)
        except (UnknownIncidentError, ValueError) as error:
            errors.append(plain(error))
        else:
            line = f"{after.id} {plain(told)}: {plain(after.facts.title)}"
            console.print(line, markup=False, soft_wrap=True)
    return errors


def _open() -> tuple[schema.Db, Store]:
    loaded = settings.load()
    db = mongo.database(loaded)
    return db, Store.of(db, loaded)


def as_json(incidents: Sequence[Incident]) -> str:
    """For programs: a list of them, times as ISO 8601."""
    plainly = [{"id": one.id} | {k: v for k, v in document(one).items() if k != "_id"} for one in incidents]
    return json.dumps(plainly, indent=1, default=lambda moment: moment.isoformat())


def stands(incident: Incident, now: datetime) -> str:
    """How it stands, in a word."""
    if incident.state is not State.OPEN:
        return str(incident.state)
    if incident.cause is not None and not _DIGEST.match(incident.cause):
        return "attached"
    if incident.is_silenced(now):
        return "silenced"
    return "ack" if incident.acknowledged else "open"


def print_list(found_: Listed, now: datetime, console: Console) -> None:
    """One line each, and how many there are besides."""
    table = Table(box=None, pad_edge=False, header_style="bold underline", padding=(0, 1, 0, 0))
    for heading in ("id", "severity", "state", "since", "windows", "what"):
        table.add_column(heading, no_wrap=heading != "what")
    for one in found_.incidents:
        state = stands(one, now)
        age = duration((now - one.opened_at).total_seconds()) if one.opened_at else "-"
        table.add_row(
            one.id, Text(str(one.severity), STYLES[one.severity]), Text(state, STATES[state]), age, _range(one),
            Text(plain(one.facts.title)),
        )  # fmt: skip
    if found_.incidents:
        console.print(table)
    more = found_.total - len(found_.incidents)
    told = f"{found_.total:,} incidents{f', {more:,} more' if more else ''}." if found_.total else "No incidents."
    if found_.attached:
        told += f" {found_.attached:,} more are attached to others: --all shows them."
    console.print(told, markup=False)


def _range(incident: Incident) -> str:
    """The failing windows, in short."""
    windows = [one for one in incident.failing if one]
    if not windows:
        return "-"
    if len(windows) == 1:
        return windows[0]
    return f"{len(windows):,}{'+' if len(windows) >= folding.MARKS else ''}, last {windows[-1]}"


def print_one(incident: Incident, now: datetime, console: Console) -> None:
    """All of it."""
    db, store = _open()
    state = stands(incident, now)
    head = (
        (f"{incident.id}  ", "bold"),
        (str(incident.severity), STYLES[incident.severity]),
        "  ",
        (state, STATES[state]),
    )
    console.print(Text.assemble(*head, f"  {plain(incident.facts.title)}"), soft_wrap=True)
    for name, value in (*_facts(incident), *_life(incident, store)):
        if value:
            console.print(f"  {name}: {plain(value)}", markup=False, soft_wrap=True)
    if attached := db[schema.INCIDENTS].count_documents({"cause": incident.id, "open": True}):
        told = f"  attached: {attached:,} open incidents: touchstone incidents list --cause {incident.id}"
        console.print(told, markup=False, soft_wrap=True)
    console.print("  story:")
    for event in incident.story:
        by = f" ({event.by})" if event.by else ""
        line = f"{_time(event.at)} {event.what}{by}{f': {event.text}' if event.text else ''}"
        console.print(f"    {event.revision:>3}  {plain(line)}", markup=False, soft_wrap=True)
    for line in _told(incident, db, now):
        console.print(f"  {plain(line)}", markup=False, soft_wrap=True)
    console.print()


def _facts(incident: Incident) -> list[tuple[str, str]]:
    """What is wrong, and what follows."""
    key, facts = incident.key, incident.facts
    windows = [one for one in incident.failing if one]
    more = f", {len(windows) - WINDOWS:,} older" if len(windows) > WINDOWS else ""
    is_anomaly = incident.kind is Kind.ANOMALY
    return [
        ("dataset", key.dataset), ("scope", key.scope), ("check", f"{key.check} {key.measure}".strip()),
        ("kind", str(incident.kind)), ("expected", facts.expected), ("observed", facts.observed), ("why", facts.why),
        *(("accounts for it" if is_anomaly else "example", one) for one in facts.examples),
        ("failing windows", f"{len(windows):,}: {', '.join(windows[-WINDOWS:])}{more}" if windows else ""),
        ("metrics not to trust", ", ".join(incident.metrics)), ("of the scopes", ", ".join(incident.scopes)),
        ("next step", facts.command),
        ("if it was expected", f"touchstone detector feedback {incident.id} expected" if is_anomaly else ""),
    ]  # fmt: skip


def _life(incident: Incident, store: Store) -> list[tuple[str, str]]:
    """When it was what, what it comes from, and who has said what of it."""
    lines = [("opened", ", ".join(_time(at) for at in incident.openings))]
    if incident.resolved_at:
        lines.append(("resolved", _time(incident.resolved_at)))
    if incident.cause:
        try:
            lines.append(("caused by", f"{incident.cause}: {store.find(incident.cause).facts.title}"))
        except UnknownIncidentError:
            lines.append(("caused by", incident.cause))
    lines += [("causes", one) for one in incident.effects]
    if said := incident.acknowledged:
        lines.append(("acknowledged", f"{_time(said.at)} by {said.by}{f': {said.note}' if said.note else ''}"))
    if quiet := incident.silenced:
        why = f": {quiet.reason}" if quiet.reason else ""
        lines.append(("silenced", f"until {_time(quiet.until)} by {quiet.by}, {_time(quiet.at)}{why}"))
    return lines


def _told(incident: Incident, db: schema.Db, now: datetime) -> list[str]:
    """What was delivered where, and what is still owed."""
    lines = ["told: never"]
    if told := incident.told:
        where = f"in {told.channel}, message {told.ts}" if told.ts else f"in {told.channel}"
        how = f"({told.state}, {told.severity}), {_time(told.at)}, {where}"
        lines = [f"told: revision {told.revision} of {incident.revision} {how}"]
        if told.reminded_at:
            lines.append(f"reminded: {_time(told.reminded_at)}")
    kept = db[schema.INCIDENTS].find_one({"_id": incident.id}, {"owed_at": 1}) or {}
    if owed := kept.get("owed_at"):
        late = "owed since" if owed <= now else "told next, if nothing else happens,"
        lines.append(f"{late} {_time(owed)}")
    return lines


def _time(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
