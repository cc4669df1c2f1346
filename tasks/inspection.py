"""What the checks found, as it is stored with each partition: for `touchstone check`, for runs, and for `status`."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from config import schema
from config.catalog import DELIVERIES, SWEEP
from config.settings import ConfigError
from quality.findings import Outcome, Severity
from quality.suites import Suite
from tasks import links
from tasks.context import Context
from tasks.ledger import Partition
from tasks.watched import HEAD

STYLES: Final = {
    Outcome.PASSED: "green", Outcome.EMPTY: "dim", Outcome.NOTED: "cyan", Outcome.WARNED: "yellow",
    Outcome.BROKEN: "magenta", Outcome.BLOCKED: "red",
}  # fmt: skip
SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Result:
    """What was found on one partition."""

    dataset: str
    scope: str
    day: date
    outcome: str
    report: dict[str, Any]
    proof: dict[str, Any] = field(default_factory=dict)

    @property
    def findings(self) -> list[dict[str, Any]]:
        """What is wrong with it."""
        return list(self.report.get("findings", ()))

    def document(self) -> dict[str, Any]:
        """For programs."""
        return {
            "dataset": self.dataset, "scope": self.scope, "day": self.day.isoformat(), "outcome": self.outcome,
            "rows": self.report.get("rows"), "findings": self.findings, "proof": self.proof,
        }  # fmt: skip


def results(
    context: Context,
    dataset: str,
    scopes: Sequence[str] | None = None,
    day: date | None = None,
    where: Mapping[str, Any] | None = None,
) -> Iterator[Result]:
    """What was found on the partitions of `dataset`, in order of scope and time; of those that match `where`."""
    if dataset == DELIVERIES.name:
        yield from _of_links(context, scopes, day)
        return
    where = {"dataset": dataset, "window": schema.start_of(day) if day else {"$type": "date"}, **(where or {})}
    if scopes:
        where["scope"] = {"$in": list(scopes)}
    fields = dict.fromkeys(("scope", "window", "report", "proof", "blocked.report", "error", "trust", "reasons"), 1)
    for one in context.db[schema.LEDGER].find(where, fields, sort=[("scope", 1), ("window", 1)]):
        held = one.get("blocked")
        report = (held or one).get("report") or {}
        outcome = Outcome.BLOCKED if held else report.get("outcome", "not checked")
        yield Result(dataset, one["scope"], one["window"].date(), str(outcome), report, one.get("proof", {}))


def _of_links(context: Context, scopes: Sequence[str] | None, day: date | None) -> Iterator[Result]:
    heads = context.db[schema.LEDGER].find({"dataset": DELIVERIES.name}, {"scope": 1}, sort=[("scope", 1)])
    days = (day, date.fromordinal(day.toordinal() + 1)) if day and day < date.max else None
    for scope in scopes or [head["scope"] for head in heads]:
        for at, one in sorted(links.manifest(context, scope, days).items()):
            report = dict((one.blocked or {}).get("report") or one.report or {})
            outcome = Outcome.BLOCKED if one.blocked else report.get("outcome", "not checked")
            yield Result(DELIVERIES.name, scope, at, str(outcome), report)


def held_back(context: Context) -> list[Result]:
    """All partitions that must not be published as they are."""
    ledger = context.db[schema.LEDGER]
    where = {"blocked.first": {"$exists": True}}
    found = [one for name in ledger.distinct("dataset", where) for one in results(context, name, where=where)]
    scopes = ledger.distinct("scope", {"dataset": DELIVERIES.name, "held": {"$gt": 0}})
    if scopes:
        found += [one for one in _of_links(context, scopes, None) if one.outcome == Outcome.BLOCKED]
    return found


def datasets(context: Context) -> list[str]:
    """Of which there are partitions."""
    return sorted(set(context.db[schema.LEDGER].distinct("dataset")) - {SWEEP})


def check(dataset: str, scopes: Sequence[str] | None, day: date | None, console: Console) -> bool:
    """Print what was found on `dataset`; False if a partition is blocked or a check broke.

    Raises ConfigError if there is no such dataset, MongoError.
    """
    context = Context.open("read")
    if dataset not in (known := datasets(context)):
        raise ConfigError(f"no dataset {dataset!r}; there are: {', '.join(known) or 'none yet, try touchstone run'}")
    suite = context.suite(dataset)
    found = list(results(context, dataset, scopes, day))
    for scope in scopes or ():
        if not context.db[schema.LEDGER].find_one({"dataset": dataset, "scope": scope}):
            there = sorted(context.db[schema.LEDGER].distinct("scope", {"dataset": dataset}) or ["none yet"])
            raise ConfigError(f"{dataset} has no scope {scope!r}; there are: {', '.join(there[:20])}")
    if not found:
        when = f" on {day}" if day else ""
        console.print(f"{dataset} has no window{when}: run `touchstone backfill` for it.", markup=False)
        return True
    if day is None:
        if note := context.ledger.find(Partition(dataset, HEAD)).get("note"):
            console.print(Text(note, "yellow"), soft_wrap=True)
        _print_overview(dataset, suite, found, console)
    else:
        for one in found:
            _print_partition(one, suite, console)
    bad = (Outcome.BLOCKED, Outcome.BROKEN)
    return not any(one.outcome in bad or any(f.get("broke") for f in one.findings) for one in found)


def as_json(dataset: str, scopes: Sequence[str] | None, day: date | None) -> str:
    """For programs: a list of partitions. Raises MongoError."""
    found = results(Context.open("read"), dataset, scopes, day)
    return json.dumps([one.document() for one in found], indent=1, default=str)


def _print_overview(dataset: str, suite: Suite, found: Sequence[Result], console: Console) -> None:
    outcomes = Counter(one.outcome for one in found)
    told = Text(f"{dataset}: {len(found):,} windows", "bold")
    for outcome, number in outcomes.most_common():
        told.append(f"  {number:,} {outcome}", STYLES.get(Outcome(outcome)) if outcome in list(Outcome) else "dim")
    console.print(told)
    table = Table(box=None, pad_edge=False, header_style="bold underline", padding=(0, 1, 0, 0))
    for heading, justify in (("rule", "left"), ("severity", "left"), ("windows", "right"), ("rows", "right"),
                             ("expected", "left"), ("last seen, observed", "left")):  # fmt: skip
        table.add_column(heading, justify=justify, no_wrap=heading == "rule")  # type: ignore[arg-type]
    by_rule = _by_rule(found)
    for name in dict.fromkeys([*(rule.name for rule in suite.rules), *by_rule]):
        hits = by_rule.get(name, [])
        rule = next((rule for rule in suite.rules if rule.name == name), None)
        severity = hits[-1][1]["severity"] if hits else str(rule.severity) if rule else ""
        last = f"{hits[-1][0].scope} {hits[-1][0].day}: {hits[-1][1]['observed']}" if hits else "holds"
        table.add_row(
            name, Text(severity, _severity(severity) if hits else "green"), f"{len(hits):,}",
            f"{sum(finding['rows'] for _, finding in hits):,}",
            Text(hits[-1][1]["expected"] if hits else ""), Text(last),
        )  # fmt: skip
    console.print(table)
    if not suite.rules and not by_rule:
        console.print("No rule is declared for it: see `[[suites]]` in config/touchstone.example.toml.", markup=False)


def _by_rule(found: Iterable[Result]) -> dict[str, list[tuple[Result, dict[str, Any]]]]:
    by_rule: dict[str, list[tuple[Result, dict[str, Any]]]] = {}
    for one in sorted(found, key=lambda one: one.day):
        for finding in one.findings:
            by_rule.setdefault(finding["rule"], []).append((one, finding))
    return by_rule


def _print_partition(one: Result, suite: Suite, console: Console) -> None:
    style = STYLES.get(Outcome(one.outcome), "") if one.outcome in list(Outcome) else "dim"
    rows = one.report.get("rows", 0)
    console.print(Text.assemble((f"{one.dataset} {one.scope} {one.day}", "bold"), ": ", (one.outcome, style),
                                f", {rows:,} rows"))  # fmt: skip
    if one.proof.get("state") and one.proof["state"] != "proven":
        console.print(f"  receipt: {one.proof['state']}, {one.proof['reason']}", markup=False, soft_wrap=True)
    elif one.outcome == Outcome.EMPTY:
        console.print("  no rows, and the receipt proves that there are none")
    broken = {finding["rule"]: finding for finding in one.findings}
    for rule in suite.rules if one.report.get("suite") == suite.version else ():
        if rule.name not in broken:
            console.print(Text.assemble("  ", ("ok", "green"), f"  {rule.name}"))
    for finding in one.findings:
        kind = "the check broke" if finding.get("broke") else finding["severity"]
        told = f"  {finding['rule']}: expected {finding['expected']}; {finding['observed']}"
        console.print(Text.assemble("  ", (kind, _severity(finding["severity"])), told), soft_wrap=True)
        if finding.get("why"):
            console.print(Text(f"      {finding['why']}", "dim"), soft_wrap=True)
        for example in finding["examples"]:
            told = f"      {example['key']}: {example['path']} = {example['value']}"
            console.print(told, markup=False, soft_wrap=True)


def _severity(severity: str) -> str:
    return {Severity.CRITICAL: "red", Severity.WARNING: "yellow"}.get(Severity(severity), "cyan")
