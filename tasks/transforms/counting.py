"""What of a source counts as a deployment, as production, as a failure: the rules of the configuration. Pure."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from config import catalog
from config.section import Section
from config.settings import Settings
from config.sources import GitHub, GitHubCounts, Jenkins, JenkinsCounts, Jira, JiraCounts

FINISHED: Final = ("SUCCESS", "FAILURE")
"""Results of a build that ran to its end; any other is none."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What is configured for one origin; None where no such source has it."""

    github: GitHubCounts | None = None
    jira: JiraCounts | None = None
    jenkins: JenkinsCounts | None = None


_USED: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    catalog.DEPLOYMENTS.name: {
        "github": ("deployments", "production", "workflows", "releases", "prereleases", "tags"),
        "jenkins": ("deployments", "production"),
    },
    catalog.FAILURES.name: {"github": ("failures",), "jira": ("failures", "labels", "started", "deployment")},
    catalog.BUILDS.name: {"github": ("production", "workflows"), "jenkins": ("deployments", "production")},
}
"""On which rules the rows of a dataset depend."""


def rules(settings: Settings, origin: str) -> Rules:
    """What the configuration says of `origin`. If two sources of a kind have it, the first."""
    found: dict[str, Any] = {}
    for source in settings.sources:
        match source:
            case GitHub() if any(one.origin == origin for one in source.repositories):
                found.setdefault("github", source.counts)
            case Jira() if any(one.origin == origin for one in source.projects):
                found.setdefault("jira", source.counts)
            case Jenkins() if any(is_job(pattern, origin) for pattern in source.jobs):
                found.setdefault("jenkins", source.counts)
    return Rules(**found)


def version(dataset: str, of: Rules) -> str:
    """A short hash of those of the rules that rows of `dataset` depend on; empty if there are none."""
    used = {
        kind: {name: getattr(counts, name) for name in names}
        for kind, names in _USED.get(dataset, {}).items()
        if isinstance(counts := getattr(of, kind), Section)
    }
    return hashlib.sha256(json.dumps(used, sort_keys=True).encode()).hexdigest()[:8] if used else ""


def is_job(pattern: str, name: str) -> bool:
    """Whether the entry `pattern` of `jobs` is, or finds, the job of the full name `name`."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name) is not None


def fits(pattern: str, *names: str) -> bool:
    """Whether `pattern` is found in one of `names`."""
    return any(re.search(pattern, name) for name in names)


def is_deployment(build: Mapping[str, Any], parts: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a build is a deployment: it is one by its name, or a part of it is (a stage, a job) that has run.

    `type` is "DEPLOYMENT" or "", `result` of the parts SUCCESS, FAILURE, or none.
    """
    return build["type"] == "DEPLOYMENT" or any(
        part["type"] == "DEPLOYMENT" and part["result"] in FINISHED for part in parts
    )


def environment(build: Mapping[str, Any], parts: Iterable[Mapping[str, Any]]) -> str:
    """Where it deploys to: what it says itself, else the most important environment of the parts that have run."""
    if build["environment"]:
        return str(build["environment"])
    found = {part["environment"] for part in parts if part["result"] in FINISHED}
    return next((one for one in ("PRODUCTION", "STAGING", "TESTING") if one in found), "")
