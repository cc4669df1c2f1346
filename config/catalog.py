"""The datasets, and which is made from which.

Bronze datasets are not listed: each (source, stream) that is met has one, named by `bronze`.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Dataset:
    """One named collection of Silver or Gold."""

    name: str
    upstream: tuple[str, ...]
    """The datasets whose revisions are its inputs."""


BRONZE = "bronze."
"""How the names of Bronze datasets begin."""

LAYERS = (BRONZE, "silver.", "gold.")
"""How the names of Touchstone's own datasets begin."""

SWEEP = "sweep"
"""Dataset name of the ledger documents that hold cursors: one per source and unit, whole history."""


def bronze(source: str, stream: str) -> str:
    """The Bronze dataset of one stream."""
    return f"{BRONZE}{source}.{stream}"


CHANGES = Dataset(
    "silver.changes", (bronze("git", "commits"), bronze("github", "commits"), bronze("github", "pull_requests"))
)
DEPLOYMENTS = Dataset(
    "silver.deployments",
    (
        bronze("git", "tags"),
        bronze("github", "deployments"),
        bronze("github", "workflow_runs"),
        bronze("github", "releases"),
        bronze("github", "tags"),
        bronze("jenkins", "builds"),
    ),
)
FAILURES = Dataset(
    "silver.failures",
    (bronze("git", "reverts"), bronze("github", "reverts"), bronze("github", "issues"), bronze("jira", "issues")),
)
BUILDS = Dataset("silver.builds", (bronze("github", "workflow_runs"), bronze("jenkins", "builds")))
LINKED = (CHANGES, DEPLOYMENTS, FAILURES)
"""The entities that metrics are made from."""
ENTITIES = (*LINKED, BUILDS)
"""One row per entity, folded from its Bronze versions."""

DELIVERIES = Dataset("silver.deliveries", tuple(dataset.name for dataset in LINKED))
"""What each deployment delivered and what failed of it: the links between the entities, by day of the deployment."""

DORA_DAILY = Dataset("gold.dora_daily", (DELIVERIES.name,))


def upstream(dataset: str) -> frozenset[str]:
    """All datasets that `dataset` is made from, and what they are made from."""
    made = {one.name: one.upstream for one in (*ENTITIES, DELIVERIES, DORA_DAILY)}
    found: set[str] = set()
    new = set(made.get(dataset, ()))
    while new:
        found |= new
        new = {above for one in new for above in made.get(one, ())} - found
    return frozenset(found)
