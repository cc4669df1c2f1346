"""`touchstone metrics --explain`: the very deployments, changes and failures behind the numbers of a day.

They are read from the revision of the links that the published numbers were made from, so that they are those numbers'
own, even if the links have changed since. Names and addresses beside them are today's.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, TextIO

from config import schema
from config.catalog import CHANGES, DELIVERIES, DEPLOYMENTS, DORA_DAILY, FAILURES
from config.settings import ConfigError
from tasks import metrics
from tasks.context import Context
from tasks.ledger import Partition
from tasks.transforms import incidents
from tasks.transforms.gold import METRICS

Row = dict[str, Any]

_ABOUT: Final = {
    CHANGES.name: ("subject", "authored_ts", "merged_ts", "merge_sha", "url"),
    DEPLOYMENTS.name: ("name", "target", "started_ts", "environment", "url"),
    FAILURES.name: ("title", "status", "url"),
}
"""What is told of an entity beside its link."""
_INNER: Final = frozenset({"_id", "partition", "kind", "doomed_at", "link", "beside"})
_REVERTS: Final = {
    "change_fail_rate_revert_before_next": "failed_before_next",
    "change_fail_rate_revert_ever": "failed_ever",
    "failed_deployments_revert_ever": "failed_ever",
}
_RECOVERY: Final = "failed_deployment_recovery_time_median_seconds"


def told(scope: str, day: date) -> dict[str, Any]:
    """Everything about the day: `metrics`, `reasons`, `deployments`, `changes`, `failures`; and `behind`, per metric.

    `behind` names the `ref` of each entity that the number counts. Raises ConfigError if nothing is published,
    MongoError.
    """
    context = Context.open("read")
    document = context.ledger.find(Partition(DORA_DAILY.name, scope, day))
    published = context.db[schema.GOLD_ROWS].find_one({"_id": document.get("row_id")}) if document else None
    if published is None:
        raise ConfigError(f"{scope} {day}: nothing is published; try `touchstone backfill --from {day} --to {day}`")
    parts = dict(_parts(scope, document["inputs"]))
    rows = [row for part, revision in parts.items() for row in _rows(context, *part, day, revision)]
    _name(context, rows)
    kinds = {kind: [row for row in rows if row["kind"] == kind] for kind in ("deployment", "change", "failure")}
    only = (day, day + timedelta(days=1))
    is_linked = day in metrics.days_of(context, scope, only)
    return {
        "scope": scope,
        "day": day.isoformat(),
        "kind": published.get("kind"),
        "trust": published["trust"],
        "change_fail_rate_rule": published.get("change_fail_rate_rule"),
        "is_current": is_linked and not metrics.stale(context, scope, only),
        "metrics": {metric: published.get(metric) for metric in METRICS},
        "reasons": published["reasons"],
        "behind": _behind(published, kinds),
        **{f"{kind}s": [_shown(row) for row in found] for kind, found in kinds.items()},
    }


def write_json(explained: Mapping[str, Any], file: TextIO) -> None:
    """One object."""
    json.dump(explained, file, indent=1)
    file.write("\n")


def _parts(scope: str, inputs: Mapping[str, str]) -> Iterator[tuple[tuple[str, str | None], str]]:
    """Link scope and repository, and the revision, of each input that is one."""
    for name, revision in inputs.items():
        dataset, *part = name.split("|")
        if dataset == DELIVERIES.name:
            link, *repository = part or [scope]
            yield (link, repository[0] if repository else None), revision


def _rows(context: Context, link: str, repository: str | None, day: date, revision: str) -> Iterator[Row]:
    where = {"partition": schema.delivery_key(link, day.isoformat(), revision)}
    for row in context.db[schema.DELIVERY_ROWS].find(
        where if repository is None else where | {"repository": repository}
    ):
        yield {**row, "link": link}


def _name(context: Context, rows: Iterable[Row]) -> None:
    """Give each row its `ref`, and what Silver says of the entity that it is about."""
    wanted: dict[str, dict[str, list[Row]]] = {dataset: {} for dataset in _ABOUT}
    for row in rows:
        code = row.get("repository") or row["link"]
        row["deployment_ref"] = f"{row.get('origin') or code}|{row['deployment']}"
        match row["kind"]:
            case "deployment":
                dataset, row["ref"] = DEPLOYMENTS.name, row["deployment_ref"]
            case "change":
                dataset, row["ref"] = CHANGES.name, f"{code}|{row['change']}"
            case _ if "issue" in row:
                dataset, row["ref"] = FAILURES.name, f"{row['tracker']}|{row['issue']}"
            case _:
                dataset, row["ref"] = CHANGES.name, f"{code}|{row['reverted_by']}"
        wanted[dataset].setdefault(row["ref"], []).append(row)
    for dataset, by_ref in wanted.items():
        fields = dict.fromkeys(_ABOUT[dataset], 1)
        for found in context.db[dataset].find({"_id": {"$in": list(by_ref)}}, fields) if by_ref else ():
            name = found.pop("_id")
            for row in by_ref[name]:
                row["about"] = {key: value for key, value in found.items() if value not in {None, ""}}


def _behind(published: Mapping[str, Any], kinds: Mapping[str, list[Row]]) -> dict[str, list[str]]:
    """Per metric the entities that its number counts: those above the line, for a share."""
    deployments, changes, failures = kinds["deployment"], kinds["change"], kinds["failure"]
    rule = (published.get("change_fail_rate_rule") or "revert_before_next").partition(",")[0]
    chosen = f"failed_{rule.removeprefix('revert_')}"
    by_incident = rule in incidents.RULES
    behind = {metric: [row["ref"] for row in changes] for metric in METRICS if metric.startswith("change_lead")}
    behind["deployment_frequency"] = [row["ref"] for row in deployments]
    behind["changes_shipped"] = [row["ref"] for row in changes]
    for metric, flag in {**_REVERTS, **{f"change_fail_rate_{one}": f"failed_{one}" for one in incidents.RULES}}.items():
        behind[metric] = [row["ref"] for row in deployments if row.get(flag)]
    behind["change_fail_rate"] = [row["ref"] for row in deployments if row.get(chosen, row["failed_before_next"])]
    behind["deployment_rework_rate"] = [
        row["ref"] for row in deployments if row["rework"] or (by_incident and row.get(f"rework_{rule}"))
    ]
    behind[_RECOVERY] = [row["ref"] for row in failures if seconds(row, rule) is not None]
    return {metric: behind[metric] for metric in METRICS}


def seconds(row: Mapping[str, Any], rule: str) -> int | None:
    """How long what the row of a failure says took to mend, as the recovery time counts it; None: it does not."""
    if rule in incidents.RULES:
        if rule in row.get("rules", ()):
            return row["restore_seconds"]  # type: ignore[no-any-return]
        return None if row.get("beside") else row.get("recovery_seconds")
    return row.get("recovery_seconds")


def _shown(row: Row) -> Row:
    kept = {key: value for key, value in row.items() if key not in _INNER}
    for key in ("deployed_ts", "began_ts", "resolved_ts"):
        if isinstance(kept.get(key), int):
            kept[key.replace("_ts", "_at")] = datetime.fromtimestamp(kept[key], UTC).isoformat()
    return kept
