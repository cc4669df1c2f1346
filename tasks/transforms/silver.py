"""A Bronze item becomes a Silver row: the canonical, source-independent state of one entity. Pure.

A row is a function of one item and of the rules of its origin alone. Which of several versions of an entity counts is
decided by `version`, which orders by `updated_on` and then by content, so that items may arrive late, twice and in any
order. An item that is none of what a dataset holds (a run that is no deployment) becomes a tombstone too: it takes back
the row of an older version that was one.
"""

import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from config.catalog import BRONZE, BUILDS, CHANGES, DEPLOYMENTS, FAILURES, bronze
from tasks.transforms import counting, reading, silver_git, silver_github, silver_jenkins, silver_jira
from tasks.transforms.counting import Rules
from tasks.transforms.reading import Fields, Payload, RowError

Fold = Callable[[Payload, Rules], Fields | None]

MODULES: Final = (sys.modules[__name__], silver_git, silver_github, silver_jira, silver_jenkins, counting, reading)
"""The code that rows depend on."""

_NO_RULES: Final = Rules()


def _parts(upstream: str) -> tuple[str, str]:
    """Source and stream of a Bronze dataset."""
    source, _, stream = upstream.removeprefix(BRONZE).partition(".")
    return source, stream


def _revert(payload: Payload, rules: Rules) -> Fields | None:
    """GitHub's reverts are of commits, in git's shape, or of pull requests."""
    of_pull = payload.get("type") == "pull_revert"
    return silver_github.revert(payload, rules) if of_pull else silver_git.failure(payload, rules)


FOLDS: Final[Mapping[str, Mapping[str, Fold]]] = {
    CHANGES.name: {
        bronze("git", "commits"): silver_git.change,
        bronze("github", "commits"): silver_git.change,
        bronze("github", "pull_requests"): silver_github.pull_request,
    },
    DEPLOYMENTS.name: {
        bronze("git", "tags"): silver_git.deployment,
        bronze("github", "tags"): silver_git.deployment,
        bronze("github", "deployments"): silver_github.environment_deployment,
        bronze("github", "workflow_runs"): silver_github.run_deployment,
        bronze("github", "releases"): silver_github.release,
        bronze("jenkins", "builds"): silver_jenkins.deployment,
    },
    FAILURES.name: {
        bronze("git", "reverts"): silver_git.failure,
        bronze("github", "reverts"): _revert,
        bronze("github", "issues"): silver_github.issue,
        bronze("jira", "issues"): silver_jira.failure,
    },
    BUILDS.name: {
        bronze("github", "workflow_runs"): silver_github.run,
        bronze("jenkins", "builds"): silver_jenkins.build,
    },
}
"""By dataset, then by what it is made from."""

_PREFIXES: Final[Mapping[str, str]] = {
    bronze("github", "pull_requests"): "pull:",
    bronze("github", "deployments"): "deployment:",
    bronze("github", "workflow_runs"): "run:",
    bronze("github", "releases"): "release:",
    bronze("github", "issues"): "issue:",
    bronze("jira", "issues"): "jira:",
    bronze("jenkins", "builds"): "build:",
}
"""How the ids of rows begin: those of the sources are numbers, and the same ones for several streams."""

_FOLD_OF: Final = {dataset: {_parts(name): fold for name, fold in folds.items()} for dataset, folds in FOLDS.items()}
_PREFIX_OF: Final = {_parts(name): _PREFIXES.get(name, "") for folds in FOLDS.values() for name in folds}
"""By source and stream, as items have them."""


def row(dataset: str, item: Mapping[str, Any], rules: Rules = _NO_RULES) -> Fields:
    """The row of `dataset` that the Bronze document `item` says; a tombstone keeps the entity's place.

    A tombstone of an entity that is there, but none of what the dataset holds, has `none`.
    Raises RowError if the payload does not have the shape of its stream.
    """
    upstream = item["source"], item["stream"]
    id_ = _PREFIX_OF[upstream] + item["id"]
    head = {
        "_id": f"{item['origin']}|{id_}",
        "scope": item["origin"],
        "id": id_,
        "day": item["window"],
        "version": version(item["updated_on"], item["_id"]),
        "bronze": item["_id"],
    }
    if item.get("deleted"):
        return head | {"deleted": True}
    said = _FOLD_OF[dataset][upstream](item["payload"], rules)
    return head | ({"deleted": True, "none": True} if said is None else said)


def row_id(item: Mapping[str, Any]) -> str:
    """The id that the rows of the Bronze document `item` have."""
    return _PREFIX_OF[item["source"], item["stream"]] + str(item["id"])


def version(updated_on: datetime, content: str) -> str:
    """Sorts as text in the order of `updated_on`, then of content."""
    return f"{updated_on.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}".rjust(26, "0") + f"#{content}"


__all__ = ["FOLDS", "MODULES", "RowError", "row", "row_id", "version"]
