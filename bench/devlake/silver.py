"""Records through the connectors' payload functions and Silver's folds, as the product would take them."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from bench.devlake.tables import Case
from config.catalog import BUILDS, CHANGES, FAILURES
from config.sources import GitHubCounts, JenkinsCounts, JiraCounts
from tasks.sources.github import payloads as github
from tasks.sources.jenkins import payloads as jenkins
from tasks.sources.jira import payloads as jira
from tasks.transforms import silver
from tasks.transforms.counting import Rules

NOTHING: Final = "(?!)"


Build = tuple[jenkins.About, Mapping[str, Any], list[Any] | None]
"""Its job, the record, its stages."""


class Made(NamedTuple):
    """A row of ours, and the item that it was made from."""

    row: Mapping[str, Any]
    payload: Mapping[str, Any]
    updated_on: datetime
    raw: Mapping[str, Any]


def runs(case: Case, *, production: bool) -> list[Made]:
    """Builds from GitHub's runs. production: by the pattern of the case, else by none, as one of theirs does."""
    rules = Rules(
        github=GitHubCounts(
            deployments=("workflows",),
            workflows=case.patterns.get("DEPLOYMENT") or NOTHING,
            production=case.patterns.get("PRODUCTION", "") if production else "",
        )
    )
    return _newest(
        _made(
            BUILDS.name, "github", "workflow_runs", str(raw["id"]), github.raw(raw, None), raw["updated_at"], raw, rules
        )
        for raw, _ in case.raw("_api_runs")
    )


def pulls(case: Case) -> list[Made]:
    """Changes from GitHub's pull requests; those that are not merged have `none`."""
    return _newest(
        _made(
            CHANGES.name, "github", "pull_requests", str(raw["number"]), github.pull(raw, (), (), None),
            raw["updated_at"], raw, Rules(),
        )
        for raw, _ in case.raw("_api_pull_requests")
    )  # fmt: skip


def github_issues(case: Case, failures: str) -> list[Made]:
    """Failures from GitHub's issues; `failures` is the pattern of labels."""
    rules = Rules(github=GitHubCounts(failures=failures))
    return _newest(
        _made(
            FAILURES.name, "github", "issues", str(raw["number"]), {"issue": github.raw(raw, None)},
            raw["updated_at"], raw, rules,
        )
        for raw, _ in case.raw("_github_api_issues")
    )  # fmt: skip


def jira_issues(case: Case) -> list[Made]:
    """Failures from Jira's issues: all of them, whatever their type."""
    found = []
    for raw, _ in case.raw("_jira_api_issues"):
        item = jira.item(raw, str(case.options.get("BoardId")), jira.updated_on(raw), None)
        found.append(
            _made(
                FAILURES.name, "jira", "issues", item.id, item.payload, item.updated_on, raw,
                Rules(jira=JiraCounts(failures="")),
            )
        )  # fmt: skip
    return _newest(found)


def builds(case: Case, records: Iterable[Build], *, production: bool) -> list[Made]:
    """Builds from Jenkins'."""
    rules = Rules(
        jenkins=JenkinsCounts(
            deployments=case.patterns.get("DEPLOYMENT") or NOTHING,
            production=case.patterns.get("PRODUCTION", "") if production else "",
        )
    )
    found = []
    for about, raw, stages in records:
        item = jenkins.item(about, raw, stages, None)
        made = _made(BUILDS.name, "jenkins", "builds", item.id, item.payload, item.updated_on, raw, rules, item.origin)
        found.append(made)
    return _newest(found)


def _made(  # noqa: PLR0913, PLR0917 - the parts of an item
    dataset: str, source: str, stream: str, id_: str, payload: Mapping[str, Any], updated: datetime | str,
    raw: Mapping[str, Any], rules: Rules, origin: str = "case",
) -> Made:  # fmt: skip
    moment = datetime.fromisoformat(updated) if isinstance(updated, str) else updated
    content = hashlib.sha256(json.dumps(payload, sort_keys=True).encode()).hexdigest()
    item = {
        "_id": content,
        "source": source,
        "stream": stream,
        "origin": origin,
        "id": id_,
        "window": moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0),
        "updated_on": moment,
        "payload": payload,
    }
    return Made(silver.row(dataset, item, rules), payload, moment, raw)


def _newest(made: Iterable[Made]) -> list[Made]:
    """Of several versions of an entity the one that Silver keeps."""
    found: dict[str, Made] = {}
    for one in made:
        name = one.row["_id"]
        if name not in found or found[name].row["version"] < one.row["version"]:
            found[name] = one
    return list(found.values())
