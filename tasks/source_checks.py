"""`touchstone sources check`: each source is asked what it must answer before a first run can go well."""

import glob
from collections.abc import Iterator
from typing import Final

from config.section import ConfigError
from config.settings import Settings
from config.sources import AnySource, Api, Git, GitHub, Jenkins, Jira, Replay
from quality.extractions import line
from tasks.sources import git_commands, registry
from tasks.sources.contract import Finding, SourceError

GIT_SECONDS: Final = 60.0
_RETRIES: Final = 1
_WAIT_SECONDS: Final = 10.0
"""A person is waiting for the answer: what a run would sit out is told at once."""

MISSHAPEN: Final = (LookupError, TypeError, AttributeError, ValueError)
"""What comes of answers that are well-formed and of something else: here nothing is stored, so they are only told."""


def findings(settings: Settings, source: AnySource) -> Iterator[Finding]:
    """What was looked at, as it is known. A source without a usable credential is a finding too."""
    try:
        yield from _findings(settings, source)
    except (SourceError, ConfigError) as error:
        yield Finding("credential", ok=False, text=str(error))
    except MISSHAPEN as error:
        yield Finding("answers", ok=False, text=misshapen(error))


def misshapen(error: Exception) -> str:
    """In words that another server than expected answers, or sends what it should not."""
    said = line(f"{type(error).__name__}: {error}")
    return f"what it answers has another shape than it should: check address and kind of the source ({said})"


def _findings(settings: Settings, source: AnySource) -> Iterator[Finding]:
    match source:
        case Replay():
            yield from _files(source)
        case Git():
            yield from _repositories(source)
        case GitHub() | Jira() | Jenkins():
            yield from checked(brisk(source), registry.pseudonym_key(settings))


def brisk(section: Api) -> Api:
    """`section`, with requests that give up soon."""
    asked = section.requests
    soon = {
        "retries": min(asked.retries, _RETRIES),
        "longest_wait_seconds": min(asked.longest_wait_seconds, _WAIT_SECONDS),
    }
    return section.model_copy(update={"requests": asked.model_copy(update=soon)})


def checked(section: Api, key: bytes | None) -> list[Finding]:
    """What the connector of `section` finds; `key` is that of pseudonyms. Raises SourceError, ConfigError.

    A connector is imported only where there is one of its kind.
    """
    match section:
        case GitHub():
            from tasks.sources.github import access as github  # noqa: PLC0415
            from tasks.sources.github.check import check as check_github  # noqa: PLC0415

            with github.connect(section) as http:
                return check_github(section, http, key)
        case Jira():
            from tasks.sources.jira import access as jira  # noqa: PLC0415
            from tasks.sources.jira.check import check as check_jira  # noqa: PLC0415

            with jira.opened(section) as http:
                return check_jira(section, http, key)
        case Jenkins():
            from tasks.sources.jenkins import api as jenkins  # noqa: PLC0415
            from tasks.sources.jenkins.check import check as check_jenkins  # noqa: PLC0415

            with jenkins.connect(section) as http:
                return check_jenkins(section, http, key)


def _files(source: Replay) -> Iterator[Finding]:
    for path in source.paths:
        found = glob.glob(path)  # noqa: PTH207 - a pattern from anywhere
        text = f"{len(found):,} files" if found else "no file fits; look at the path, which is relative to the file"
        yield Finding(path, ok=bool(found), text=text)


def _repositories(source: Git) -> Iterator[Finding]:
    for one in source.repositories:
        try:
            git_commands.Git(one.origin, one.url, GIT_SECONDS).run("ls-remote", "--quiet", "--", one.url, "HEAD")
        except SourceError as error:
            yield Finding(one.origin, ok=False, text=str(error))
        else:
            yield Finding(one.origin, ok=True, text="can be read")
