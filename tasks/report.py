"""What people and programs read: metrics, the state of every dataset, and why a window stands as it does."""

import csv
import json
import platform
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from importlib.metadata import version
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from config import schema, settings
from config.catalog import DELIVERIES, DORA_DAILY, SWEEP
from config.settings import ConfigError
from quality import drift, quarantine
from tasks import inspection, metrics, scoping, survey, watched
from tasks import links as deliveries
from tasks.context import Context
from tasks.ledger import Partition
from tasks.survey import State
from tasks.transforms.gold import METRICS, VERSION

COLUMNS: Final = ("scope", "day", *METRICS, "trust", "incidents")
_NOT_COMPUTED: Final = "not computed: run `touchstone backfill` for this day"
EXAMPLES: Final = 3
REASONS: Final = 5
DRIFTS: Final = 10


def rows(start: date, end: date, scopes: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """One per scope and day, both ends included; a day that was never published is there too, as unknown.

    Raises ConfigError, MongoError.
    """
    context = Context.open("read")
    known = survey.scopes(context)
    for scope in scopes or ():
        if scope not in known:
            raise ConfigError(f"no scope {scope!r}; there are: {', '.join(known) or 'none yet, try touchstone run'}")
    days = [date.fromordinal(number) for number in range(start.toordinal(), end.toordinal() + 1)]
    for scope in sorted(scopes or known):
        window = {"$gte": schema.start_of(start), "$lte": schema.start_of(end)}
        kind = str(scoping.gold(context, scope).kind)
        found = {row["day"].date(): row for row in _published(context, scope, window)}
        for day in days:
            row = found.get(
                day, {"trust": "unknown", "coverage": 0.0, "reasons": dict.fromkeys(METRICS, _NOT_COMPUTED)}
            )
            yield {
                "scope": scope,
                "day": day.isoformat(),
                "kind": row.get("kind", kind),
                **{metric: row.get(metric) for metric in METRICS},
                "change_fail_rate_rule": row.get("change_fail_rate_rule"),
                "trust": row["trust"],
                "coverage": row["coverage"],
                "reasons": row["reasons"],
                "incidents": row.get("incidents", []),
            }


def _published(context: Context, scope: str, window: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The view's rows; matched on the ledger's own keys first, which its index serves."""
    return iter(
        context.db[schema.LEDGER].aggregate(
            [{"$match": {"dataset": DORA_DAILY.name, "scope": scope, "window": window}}, *schema.GOLD_VIEW]
        )
    )


def write_csv(lines: Iterable[dict[str, Any]], file: TextIO) -> None:
    """Comma-separated, nulls empty, seconds unrounded, ids of incidents apart by blanks."""
    writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows({**line, "incidents": " ".join(line["incidents"])} for line in lines)


def write_json(lines: Iterable[dict[str, Any]], file: TextIO) -> None:
    """A list of objects; `reasons` tells per metric why it is null."""
    json.dump(list(lines), file, indent=1)
    file.write("\n")


def print_table(lines: Sequence[dict[str, Any]], console: Console) -> None:
    """For people, a table for each scope: days on which nothing happened, or is known, are left out and counted."""
    if not lines:
        console.print("Nothing to show yet: try `touchstone run`, or `touchstone backfill` for the past.")
    for scope, of_scope in groupby(lines, key=itemgetter("scope")):
        _print_scope(scope, list(of_scope), console)


def _print_scope(scope: str, lines: Sequence[dict[str, Any]], console: Console) -> None:
    table = Table(title=Text(f"DORA metrics of {scope}", "bold"), title_justify="left", box=None, padding=(0, 1, 0, 0),
                  pad_edge=False, header_style="bold underline")  # fmt: skip
    table.add_column("day", no_wrap=True)
    for heading in ("deploys", "changes", "lead p50", "lead p90", "failed", "recovery", "rework"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("trust", no_wrap=True)
    quiet = 0
    for line in lines:
        if line["trust"] == "proven" and not line["deployment_frequency"]:
            quiet += 1
        if line["trust"] == "unknown" or (line["trust"] == "proven" and not line["deployment_frequency"]):
            continue
        table.add_row(
            line["day"], number(line["deployment_frequency"]), number(line["changes_shipped"]),
            duration(line["change_lead_time_median_seconds"]), duration(line["change_lead_time_p90_seconds"]),
            percent(line[_failed(line)]),
            duration(line["failed_deployment_recovery_time_median_seconds"]), percent(line["deployment_rework_rate"]),
            trust(line),
        )  # fmt: skip
    if table.row_count:
        console.print(table)
    else:
        console.print(Text(f"DORA metrics of {scope}", "bold"))
    if quiet:
        console.print(f"{quiet:,} {'more ' if table.row_count else ''}days without a deployment, each proven.")
    for reason, when in _by_days((reason, line["day"]) for line in lines for reason in _doubts(line)):
        console.print(f"not known ({when}): {reason}", markup=False)
    for name, when in _by_days((name, line["day"]) for line in lines for name in line["incidents"]):
        console.print(f"incident {name} is open ({when}): `touchstone incidents show {name}`", markup=False)
    console.print()


def _failed(line: dict[str, Any]) -> str:
    """Which fail rate is shown: the widest by revert, unless the rule is another one."""
    by_revert = line["change_fail_rate_rule"] in {None, "revert_before_next"}
    return "change_fail_rate_revert_ever" if by_revert else "change_fail_rate"


def _doubts(line: dict[str, Any]) -> set[str]:
    return set() if line["trust"] == "proven" else set(line["reasons"].values())


def _by_days(pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """What is said of the most days, and of which, in words."""
    found: dict[str, list[str]] = {}
    for what, day in pairs:
        found.setdefault(what, []).append(day)
    for what, days in sorted(found.items(), key=lambda pair: -len(pair[1]))[:REASONS]:
        yield what, days[0] if len(days) == 1 else f"{len(days):,} days, {days[0]} to {days[-1]}"


def trust(line: dict[str, Any]) -> Text:
    """The trust of a day, coloured."""
    style = {"proven": "green", "partial": "yellow", "unknown": "red"}[line["trust"]]
    share = f" {line['coverage']:.0%}" if line["trust"] == "partial" else ""
    return Text(line["trust"] + share, style)


def number(value: float | None) -> str:
    """A count; "?" where it is not known."""
    return "?" if value is None else f"{value:,}"


def percent(value: float | None) -> str:
    """A share of 1."""
    return "-" if value is None else f"{value:.1%}"


_UNITS: Final = (("d", 86_400), ("h", 3_600), ("min", 60))


def duration(seconds: float | None) -> str:
    """Seconds in the largest unit that fits."""
    if seconds is None:
        return "-"
    for unit, size in _UNITS:
        if abs(seconds) >= size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:,.0f} s"


def summary() -> dict[str, Any]:
    """Per dataset the number of windows in each state, with examples of those that are not well.

    Raises ConfigError, MongoError.
    """
    context = Context.open("read")
    datasets: dict[str, dict[str, Any]] = {}
    ours = survey.all_standings(context)
    for standings in (ours, survey.watched_standings(context, context.settings.datasets)):
        for standing in standings:
            scope = standing.partition.scope
            entry = datasets.setdefault(
                standing.partition.dataset,
                {**{str(state): 0 for state in State}, "unproven": 0, "why": {}},
            )
            entry[str(standing.state)] += 1 if scope != watched.HEAD else 0
            if standing.proof in ("unproven", "failed", "unknown", "partial"):
                entry["unproven"] += 1
            if standing.why:
                why = entry["why"].setdefault(standing.why, {"windows": 0, "examples": []})
                why["windows"] += 1
                if len(why["examples"]) < EXAMPLES:
                    day = standing.partition.day.isoformat() if standing.partition.day else "all"
                    why["examples"].append(f"{scope} {day}".strip())
    return {
        "scopes": survey.scopes(context),
        "silver_only": dict(scoping.known(context).left),
        "datasets": datasets,
        "sweeps": _sweeps(context),
        "checks": _checks(context),
        "aside": _aside(context),
        "drift": [drift.told(one) for one in drift.listed(context.db)],
    }


def _sweeps(context: Context) -> list[dict[str, Any]]:
    return [
        {"unit": one["scope"], "swept_at": one.get("swept_at"), "items": one.get("rows"), "error": one.get("error")}
        for one in context.db[schema.LEDGER].find({"dataset": SWEEP}, sort=[("scope", 1)])
    ]


def _aside(context: Context) -> dict[str, Any]:
    """What is set aside and open: how much, by dataset and rule, with examples."""
    collection = context.db[schema.QUARANTINE]
    open_ = {"state": str(quarantine.State.OPEN)}
    group = {"_id": {"dataset": "$dataset", "rule": "$rule"}, "records": {"$sum": 1}, "reason": {"$first": "$reason"},
             "place": {"$first": "$place"}, "id": {"$first": "$_id"}}  # fmt: skip
    found = collection.aggregate([{"$match": open_}, {"$group": group}, {"$sort": {"records": -1, "_id": 1}}])
    rules = [
        {
            "dataset": one["_id"].get("dataset"), "rule": one["_id"].get("rule"), "records": one["records"],
            "example": {"id": one["id"], "place": one["place"], "reason": one["reason"]},
        }
        for one in found
    ]  # fmt: skip
    return {"records": sum(one["records"] for one in rules), "rules": rules}


def _checks(context: Context) -> dict[str, dict[str, int]]:
    """Per dataset how many of its windows came out how."""
    outcomes: dict[str, dict[str, int]] = {}
    for dataset in inspection.datasets(context):
        counted = Counter(one.outcome for one in inspection.results(context, dataset))
        outcomes[dataset] = dict(sorted(counted.items()))
    return outcomes


def print_summary(state: dict[str, Any], console: Console) -> None:
    """`summary` for people."""
    table = Table(title="Windows by dataset", title_justify="left", header_style="bold")
    table.add_column("dataset", no_wrap=True)
    for heading in (*State, "unproven"):
        table.add_column(str(heading), justify="right")
    for name, entry in state["datasets"].items():
        table.add_row(name, *(f"{entry[str(heading)]:,}" for heading in (*State, "unproven")))
    console.print(table)
    for name, entry in state["datasets"].items():
        for why, where in entry["why"].items():
            more = ", ..." if where["windows"] > len(where["examples"]) else ""
            console.print(f"{name}: {where['windows']:,} x {why} ({', '.join(where['examples'])}{more})", markup=False)
    for sweep in state["sweeps"]:
        at = f"swept {sweep['swept_at']:%Y-%m-%d %H:%M} UTC" if sweep["swept_at"] else "never swept"
        failed = f"; the last sweep failed: {sweep['error']}" if sweep["error"] else ""
        console.print(f"{sweep['unit']}: {at}{failed}", markup=False)
    for origin, kind in state["silver_only"].items():
        console.print(f"{origin} ({kind}) is in no service: no metrics are made of it; name it in one of [[services]]",
                      markup=False)  # fmt: skip
    _print_quality(state, console)
    if not state["datasets"]:
        console.print("Nothing has run yet: try `touchstone run`.")


def _print_quality(state: dict[str, Any], console: Console) -> None:
    bad = ("noted", "warned", "broken", "blocked")
    for dataset, outcomes in state["checks"].items():
        if told := ", ".join(f"{outcomes[outcome]:,} {outcome}" for outcome in bad if outcomes.get(outcome)):
            console.print(f"{dataset}: {told}: see `touchstone check {dataset}`", markup=False, style="yellow")
    if state["aside"]["records"]:
        console.print(f"{state['aside']['records']:,} records are set aside:", style="yellow")
        for one in state["aside"]["rules"]:
            example = one["example"]
            where = one["dataset"] or example["place"]
            told = f"  {one['records']:,} x {where}, rule {one['rule']}: {example['reason']} ({example['id'][:10]})"
            console.print(told, markup=False, soft_wrap=True)
    for told in state["drift"][:DRIFTS]:
        console.print(f"schema drift: {told}", markup=False, soft_wrap=True)
    if len(state["drift"]) > DRIFTS:
        console.print(f"{len(state['drift']) - DRIFTS:,} more: see `touchstone status --json`")


def explain(dataset: str, window: date, scopes: Sequence[str] | None, console: Console) -> bool:
    """Tell how the window of each scope stands; False if there is no such window. Raises ConfigError, MongoError."""
    context = Context.open("read")
    found = False
    foreign = dataset in {one.name for one in context.settings.datasets}
    for scope in scopes or (watched.scopes(context, dataset) if foreign else _all(context)):
        whole = dataset == DELIVERIES.name
        partition = Partition(dataset, scope, None if whole else window)
        document = context.ledger.find(partition)
        if not document:
            continue
        found = True
        standings = (
            survey.watched_standings(context, context.settings.datasets)
            if foreign
            else survey.standings(context, scope)
        )
        standing = next(
            (one for one in standings if one.partition == partition),
            survey.Standing(partition, State.STALE, "", "the configured sources no longer feed it"),
        )
        gold = dataset == DORA_DAILY.name and not foreign
        day = (metrics.days_of if gold else deliveries.manifest)(context, scope).get(window)
        _explain(document, standing, day, console)
    if not found:
        told = f"no window {window} of {dataset} in the ledger; `touchstone status` shows what there is"
        console.print(told, markup=False)
    return found


def _all(context: Context) -> list[str]:
    """All that any dataset of ours is of."""
    return sorted({*survey.origins(context), *survey.scopes(context)})


def _explain(
    document: schema.Document, standing: survey.Standing, linked: deliveries.Day | None, console: Console
) -> None:
    style = "green" if standing.state is State.COMPLETE else "yellow" if standing.state is State.STALE else "red"
    console.print(Text.assemble((standing.partition.key, "bold"), ": ", (str(standing.state), style)))
    if standing.why:
        console.print(f"  because {standing.why}", markup=False)
    for key in ("revision", "rows", "code_version", "fence", "owner", "lease_until", "run_id", "published_at"):
        if document.get(key) is not None:
            console.print(f"  {key}: {document[key]}", markup=False)
    for upstream, revision in document.get("inputs", {}).items():
        console.print(f"  made from {upstream} @ {revision}", markup=False)
    if document["dataset"] == DORA_DAILY.name and linked:
        console.print(f"  today {DELIVERIES.name} @ {linked.revision}", markup=False)
        for stream, proof in linked.proofs.items():
            why = f", {proof['reason']}" if proof["reason"] else ""
            console.print(f"  {stream}: {proof['state']}{why}", markup=False)
    for key in ("proof", "receipt", "reasons"):
        for name, value in (document.get(key) or {}).items():
            console.print(f"  {key}.{name}: {value}", markup=False)
    console.print()


def print_versions(console: Console) -> None:
    """Ours, and those of what we stand on."""
    console.print(f"touchstone {version('touchstone-dq')}, definitions {VERSION}, python {platform.python_version()}")
    for name in ("luigi", "pymongo", "great-expectations", "scikit-learn", "slack-sdk"):
        console.print(f"{name} {version(name)}")
    loaded = settings.load()
    console.print(
        f"configuration {loaded.config_file or 'none'}; MongoDB {'by URI' if loaded.mongo.uri else 'embedded'}"
    )
