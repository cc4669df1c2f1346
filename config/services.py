"""Which repositories, jobs and projects are one service, and by which rules links are made between them."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from config.section import Name, Section

SERVICE = "service:"
"""How the scopes of services begin."""
TEAM = "team:"
"""How the scopes of teams begin."""

FailRule = Literal["explicit", "revert_before_next", "revert_ever", "window", "last_deployment"]
"""By what a failure is laid to a deployment; see `tasks.transforms.gold`."""


class Service(Section):
    """What is deployed and fails as one."""

    name: Name
    repositories: tuple[str, ...] = ()
    """Origins of git and GitHub repositories."""
    jobs: tuple[str, ...] = ()
    """Full names of Jenkins jobs; a star stands for the rest of a name."""
    projects: tuple[str, ...] = ()
    """Origins of Jira projects; "OPS/checkout" only the issues of the component "checkout"."""
    environments: tuple[str, ...] = ()
    """Of a repository that deploys several services: only these environments; empty: all that are production."""
    tags: bool | None = None
    """Whether tags are deployments; absent: as GitHub's `counts` say, and those of git where there are no jobs."""

    @model_validator(mode="after")
    def _is_of_something(self) -> "Service":
        if not (self.repositories or self.jobs or self.projects):
            message = "name what it is made of: repositories, jobs or projects"
            raise ValueError(message)
        return self


class Dora(Section):
    """How the metrics are told."""

    changes: Literal["auto", "commits", "pull_requests"] = "auto"
    """What a change is; "auto": pull requests where a GitHub source fetches them, else commits."""
    change_fail_rate: FailRule = "last_deployment"
    """Which rule of the band is the change fail rate where failures come from issues."""
    window_hours: Annotated[float, Field(gt=0, le=24 * 90)] = 24.0
    """The rule "window": a failure that began so soon after a deployment is laid to it."""
