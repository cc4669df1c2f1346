"""Where records come from: recorded files, git repositories, GitHub, Jira, Jenkins, and what of them counts as what.

A token is read when it is needed, from the environment or a file, and is in no section that could be printed.
"""

import os
import re
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from config.alerts import SafeUrl, Zone
from config.section import ConfigError, Name, Section

Origin = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^|\x00-\x1f]+$")]
"""What a place of a source is called here, and so the scope of its metrics."""


def _is_pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        message = f"{text!r} is no regular expression: {error}"
        raise ValueError(message) from None
    return text


Pattern = Annotated[str, AfterValidator(_is_pattern)]
"""A regular expression of Python's, looked for anywhere in the text; "" fits everything, "(?!)" nothing."""


class Replay(Section):
    """Recorded items from files: JSON Lines, plain or gzip."""

    type: Literal["replay"]
    name: Name
    paths: Annotated[tuple[str, ...], Field(min_length=1)]


class Repository(Section):
    """One git repository."""

    origin: Origin
    url: Annotated[str, Field(min_length=1)]
    """Any path or URL that git accepts."""


class Git(Section):
    """git repositories, read with the real git."""

    type: Literal["git"]
    name: Name
    repositories: Annotated[tuple[Repository, ...], Field(min_length=1)]
    timeout_seconds: Annotated[float, Field(gt=0)] = 600.0


class Requests(Section):
    """How an HTTP API is asked."""

    timeout_seconds: Annotated[float, Field(gt=0, le=600)] = 30.0
    retries: Annotated[int, Field(ge=0, le=20)] = 5
    """Further tries of one request."""
    longest_wait_seconds: Annotated[float, Field(ge=0, le=7200)] = 300.0
    """A rate limit that resets later ends the sweep; the next one goes on where it stopped."""
    answer_megabytes: Annotated[int, Field(ge=1, le=1024)] = 64
    concurrency: Annotated[int, Field(ge=1, le=64)] = 8
    """Requests under way at once."""
    reserve: Annotated[int, Field(ge=0)] = 50
    """Of GitHub's rate limit: so many requests are left to others who use the token."""


class _Api(Section):
    """What the APIs have in common."""

    type: str
    name: Name
    since: date
    """Nothing older is fetched; metrics of the days before are unknown."""
    token: Annotated[SecretStr | None, BeforeValidator(lambda value: None if value == "" else value)] = None
    """Better in the environment, or in `token_file`."""
    token_variable: Annotated[str | None, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] = None
    """Name of the environment variable that holds the token; absent: GITHUB_TOKEN, JIRA_TOKEN, JENKINS_TOKEN."""
    token_file: Path | None = None
    requests: Requests = Requests()

    @property
    def variable(self) -> str:
        """Where in the environment the token is looked for."""
        return self.token_variable or f"{self.type.upper()}_TOKEN"

    def secret(self) -> str | None:
        """The token, if there is one. Raises ConfigError if `token_file` cannot be read."""
        if value := os.environ.get(self.variable, "").strip():
            return value
        if self.token is not None:
            return self.token.get_secret_value()
        return None if self.token_file is None else read_secret(self.token_file, f"sources.{self.name}.token_file")


def read_secret(path: Path, key: str) -> str:
    """What is in `path`, without the white space around it. Raises ConfigError that names `key`."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigError(f"{key}: {path} cannot be read: {reason}") from None


class GitHubRepository(Section):
    """One repository of GitHub."""

    repository: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$")]
    """Owner and name."""
    origin: Origin
    """What it is called here; the same as that of its `git` source, where there is one."""


def _named(value: Any) -> Any:
    """A repository written as a text is called here as it is there."""
    return {"repository": value, "origin": value} if isinstance(value, str) else value


class App(Section):
    """An installation of a GitHub App, in place of a token."""

    id: Annotated[str, BeforeValidator(str), Field(min_length=1)]
    """The App's id or client id."""
    installation: Annotated[int, Field(ge=1)]
    key_file: Path
    """Its private key, PEM."""


class GitHubCounts(Section):
    """What of GitHub counts as what."""

    deployments: tuple[Literal["environments", "workflows", "releases", "tags"], ...] = ("environments",)
    """GitHub's deployments to environments, runs of workflows, releases, tags: one of these, or several together."""
    production: Pattern = r"(?i)prod|\blive\b"
    """Names of environments that are production; for workflows: of the run, where `workflows` fits too."""
    workflows: Pattern = r"(?i)deploy|release to prod"
    """Names of workflows whose successful runs are deployments."""
    releases: Pattern = ""
    """Names of tags of the releases that count; drafts never do."""
    prereleases: bool = False
    tags: Pattern = ""
    failures: Pattern = r"(?i)^(incident|outage|sev(erity)?[-: ]?[0-2])"
    """Labels of issues that are failures in production."""


_FETCHED_AS: dict[str, str] = {
    "environments": "deployments", "workflows": "workflow_runs", "releases": "releases", "tags": "tags",
}  # fmt: skip
Stream = Literal["pull_requests", "commits", "deployments", "workflow_runs", "releases", "tags", "issues"]


class GitHub(_Api):
    """Repositories of GitHub, or of a GitHub Enterprise server."""

    type: Literal["github"]
    base_url: SafeUrl = "https://api.github.com/"
    """GitHub Enterprise: https://HOST/api/v3/"""
    repositories: Annotated[tuple[Annotated[GitHubRepository, BeforeValidator(_named)], ...], Field(min_length=1)]
    app: App | None = None
    streams: Annotated[tuple[Stream, ...], Field(min_length=1)] = (
        "pull_requests", "commits", "deployments", "workflow_runs", "releases", "tags", "issues",
    )  # fmt: skip
    recheck_days: Annotated[int, Field(ge=0, le=90)] = 30
    """How far back what can change without notice is looked at again: runs that are run again, deleted entities."""
    canary: Annotated[int, Field(ge=1)] | None = None
    """Number of an issue or pull request that the token must be able to see."""
    counts: GitHubCounts = GitHubCounts()

    @model_validator(mode="after")
    def _fits_together(self) -> "GitHub":
        _apart([one.origin for one in self.repositories], "repositories")
        for counted in self.counts.deployments if "deployments" in self.counts.model_fields_set else ():
            stream = _FETCHED_AS[counted]
            if stream not in self.streams:
                message = f"streams: counts.deployments names {counted!r}, so {stream!r} must be fetched"
                raise ValueError(message)
        return self


class JiraCounts(Section):
    """What of Jira counts as what."""

    failures: Pattern = r"(?i)^(incident|outage|production (bug|defect))"
    """Types of issues that are failures in production."""
    labels: Pattern = "(?!)"
    """Labels of issues that are, whatever their type."""
    started: Annotated[str, Field(min_length=1)] = "created"
    """The field that says when the failure began, e.g. customfield_10200."""
    deployment: str | None = None
    """The field that names the deployment that failed: its id, version, or commit."""


class JiraProject(Section):
    """One project of Jira."""

    project: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,254}$")]
    """Its key."""
    origin: Origin


def _keyed(value: Any) -> Any:
    return {"project": value, "origin": value} if isinstance(value, str) else value


class Jira(_Api):
    """Projects of Jira."""

    type: Literal["jira"]
    base_url: SafeUrl
    edition: Literal["cloud", "data_center"] = "cloud"
    user: str | None = None
    """Cloud: the e-mail address that the token is of. Data Center: absent, if that is a personal access token."""
    projects: Annotated[tuple[Annotated[JiraProject, BeforeValidator(_keyed)], ...], Field(min_length=1)]
    jql: str = ""
    """Narrows what is fetched, e.g. "issuetype in (Incident, Bug)"."""
    timezone: Zone = "UTC"
    """That of the user of the token: JQL reads times in it. What Jira itself says of that user wins, if it does."""
    recheck_days: Annotated[int, Field(ge=0, le=90)] = 30
    """How far back deleted issues are looked for."""
    canary: str | None = None
    """Key of an issue that the token must be able to see."""
    counts: JiraCounts = JiraCounts()

    @model_validator(mode="after")
    def _can_work(self) -> "Jira":
        _apart([one.origin for one in self.projects], "projects")
        if self.edition == "cloud" and self.user is None:
            message = "user: Jira Cloud takes a token together with the e-mail address of its user"
            raise ValueError(message)
        return self


class JenkinsCounts(Section):
    """What of Jenkins counts as what."""

    deployments: Pattern = r"(?i)deploy"
    """Full names of jobs, or names of stages, whose successful builds are deployments."""
    production: Pattern = ""
    """Full names of jobs, names of stages, or values of parameters that are production; "": all deployments are."""


class Jenkins(_Api):
    """Jobs of a Jenkins."""

    type: Literal["jenkins"]
    base_url: SafeUrl
    user: str | None = None
    jobs: Annotated[tuple[Annotated[str, Field(min_length=1, pattern=r"^[^|\x00-\x1f]+$")], ...], Field(min_length=1)]
    """Full names ("team/api/main"); a star stands for whatever is in a folder or multibranch project ("team/*")."""
    stages: bool = False
    """Fetch the stages of pipelines too (one request for each build; needs the Pipeline: REST API plugin)."""
    recheck_days: Annotated[int, Field(ge=0, le=90)] = 30
    counts: JenkinsCounts = JenkinsCounts()

    @model_validator(mode="after")
    def _jobs_are_apart(self) -> "Jenkins":
        _apart(self.jobs, "jobs")
        return self


def _apart(names: Sequence[str], what: str) -> None:
    if twice := {name for name in names if names.count(name) > 1}:
        message = f"{what}: {min(twice)!r} is there twice"
        raise ValueError(message)


Api = GitHub | Jira | Jenkins
"""The sources that are asked over HTTP."""
AnySource = Annotated[Replay | Git | GitHub | Jira | Jenkins, Field(discriminator="type")]
