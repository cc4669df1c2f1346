"""Looking at the ledger from outside: what is complete, stale, missing or failed, and why."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

from config import schema
from config.catalog import DELIVERIES, DORA_DAILY, ENTITIES
from config.settings import Collection
from quality.findings import Severity
from tasks import checks, entities, judged, links, metrics, scoping, watched
from tasks.context import Context
from tasks.ledger import Partition

Days = tuple[date, date]


class State(StrEnum):
    """How a partition stands."""

    COMPLETE = "complete"
    """Made from today's inputs by today's code."""
    STALE = "stale"
    """Published, but its inputs or its code have changed since, or the window was still open."""
    MISSING = "missing"
    """Never published."""
    FAILED = "failed"
    """The last attempt failed."""
    BLOCKED = "blocked"
    """What was made last breaks a critical rule; what was published before stays."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One partition and how it stands."""

    partition: Partition
    state: State
    proof: str
    why: str | None = None


def scopes(context: Context) -> list[str]:
    """Every scope of Gold that the configured sources feed: repositories, services, teams."""
    return sorted(scoping.known(context).gold)


def origins(context: Context) -> list[str]:
    """Every origin that they feed, also those that are in no service."""
    known = scoping.known(context)
    return sorted({*known.left, *(origin for link in known.links.values() for origin in link.origins)})


def gaps(context: Context, days: Days) -> list[Partition]:
    """The links, and the Gold partitions in [first, last), that are not complete."""
    known = scoping.known(context)
    found = [Partition(DELIVERIES.name, name) for name in known.links if links.is_stale(context, name)]
    for scope in known.gold:
        linked = metrics.days_of(context, scope, days)
        stale = {window.day for window in metrics.stale(context, scope, days) if window.why != checks.WORKED_ON}
        stale |= {day for day in schema.each_day(days) if day not in linked}
        found += [Partition(DORA_DAILY.name, scope, day) for day in sorted(stale)]
    return found


def scopes_of(context: Context, missing: Sequence[Partition]) -> list[str]:
    """The scopes of Gold that are `missing`, or made from links that are."""
    wanted = {one.scope for one in missing if one.dataset == DORA_DAILY.name}
    made = {one.scope for one in missing if one.dataset == DELIVERIES.name}
    gold = scoping.known(context).gold
    return [name for name, one in gold.items() if name in wanted or any(part.link in made for part in one.parts)]


def all_standings(context: Context) -> Iterator[Standing]:
    """How every partition of Touchstone's own datasets stands, layer by layer."""
    known = scoping.known(context)
    for origin in origins(context):
        yield from _of_origin(context, origin)
    for name in known.links:
        yield _of_links(context, name)
    for scope in known.gold:
        yield from _of_gold(context, scope)


def standings(context: Context, scope: str) -> Iterator[Standing]:
    """How every partition stands whose scope has that name."""
    known = scoping.known(context)
    yield from _of_origin(context, scope)
    if scope in known.links:
        yield _of_links(context, scope)
    if scope in known.gold:
        yield from _of_gold(context, scope)


def _of_origin(context: Context, scope: str) -> Iterator[Standing]:
    for name in context.db[schema.LEDGER].distinct("dataset", {"scope": scope, "dataset": {"$regex": r"^bronze\."}}):
        for document in context.ledger.windows(name, scope, ("proof", "receipt", "blocked.report")):
            yield _bronze(Partition(name, scope, document["window"].date()), document)
    for dataset in ENTITIES:
        stale = {window.day: window.why for window in entities.stale(context, dataset, scope)}
        yield from _windowed(context, dataset.name, scope, stale)


def _of_links(context: Context, scope: str) -> Standing:
    why = links.is_stale(context, scope)
    state = State.COMPLETE if why is None else State.MISSING if why == checks.MISSING else State.STALE
    held = sum(1 for day in links.manifest(context, scope).values() if day.blocked)
    if held and state is State.COMPLETE:
        state, why = State.BLOCKED, f"{held} of its days: see `touchstone check {DELIVERIES.name}`"
    return Standing(Partition(DELIVERIES.name, scope), state, "", why)


def _of_gold(context: Context, scope: str) -> Iterator[Standing]:
    published = context.ledger.windows(DORA_DAILY.name, scope, ())
    days = [document["window"].date() for document in published]
    if days:
        span = (days[0], days[-1] + timedelta(days=1))
        found = {window.day: window.why for window in metrics.stale(context, scope, span)}
        missing = dict.fromkeys(schema.each_day(span), "missing")
        yield from _windowed(
            context, DORA_DAILY.name, scope, {d: w for d, w in missing.items() if d not in days} | found
        )


def watched_standings(context: Context, datasets: Sequence[Collection]) -> Iterator[Standing]:
    """How every window of the watched collections stands, and what is to be said of each collection as a whole."""
    fields = ("revision", "inputs.phase", "code_version", "proof", "again", "unobserved", "error", "blocked.report")
    for dataset in datasets:
        known = watched.scopes(context, dataset.name)
        head = watched.head(context, dataset.name)
        if "error" in head and not known:  # else its windows say so
            yield Standing(Partition(dataset.name, watched.HEAD), State.FAILED, "", head["error"])
        elif head.get("note"):
            yield Standing(Partition(dataset.name, watched.HEAD), State.COMPLETE, "", head["note"])
        version = judged.code(context, dataset.name)
        for scope in known:
            for document in context.ledger.windows(dataset.name, scope, fields):
                yield _watched(Partition(dataset.name, scope, document["window"].date()), document, version)


def _watched(partition: Partition, document: schema.Document, version: str) -> Standing:
    proof = document.get("proof", {"state": "", "reason": None})
    if "error" in document:
        return Standing(partition, State.FAILED, proof["state"], document["error"])
    if "blocked" in document:
        return Standing(partition, State.BLOCKED, proof["state"], _rule(document))
    if "revision" not in document:
        return Standing(partition, State.MISSING, "", "not looked at yet")
    final = document["inputs"]["phase"] == judged.CLOSED and document["code_version"] == version
    stands = final and "again" not in document and "unobserved" not in document
    state = State.COMPLETE if stands else State.STALE
    return Standing(partition, state, proof["state"], proof["reason"])


def _bronze(partition: Partition, document: schema.Document) -> Standing:
    proof = document["proof"]
    if "blocked" in document:
        return Standing(partition, State.BLOCKED, proof["state"], _rule(document))
    if proof["state"] == "failed":
        return Standing(partition, State.FAILED, "failed", proof["reason"])
    until = document["receipt"].get("covered_until", document["window"])
    still_open = document["window"] < until < document["window"] + schema.DAY
    return Standing(partition, State.STALE if still_open else State.COMPLETE, proof["state"], proof["reason"])


def _windowed(context: Context, dataset: str, scope: str, stale: dict[date, str]) -> Iterator[Standing]:
    seen = set()
    fields = ("revision", "proof.state", "trust", "error", "reasons", "blocked.report")
    for document in context.ledger.windows(dataset, scope, fields):
        day = document["window"].date()
        seen.add(day)
        proof = document.get("trust") or document.get("proof", {}).get("state", "")
        reason = document.get("error") or stale.get(day)
        if document.get("error"):
            state = State.FAILED
        elif "blocked" in document and day not in stale:
            state, reason = State.BLOCKED, _rule(document)
        elif "revision" not in document:
            state = State.MISSING
        else:
            state = State.STALE if day in stale else State.COMPLETE
        if reason is None and document.get("reasons"):
            reason = next(iter(document["reasons"].values()))
        yield Standing(Partition(dataset, scope, day), state, proof, reason)
    for day in sorted(stale.keys() - seen):
        yield Standing(Partition(dataset, scope, day), State.MISSING, "", stale[day])


def _rule(document: schema.Document) -> str:
    """The rules that hold the window back."""
    findings = document["blocked"]["report"].get("findings", ())
    return "the rule " + ", ".join(sorted({one["rule"] for one in findings if one["severity"] == Severity.CRITICAL}))
