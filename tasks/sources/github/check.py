"""What a person is told about the token, the repositories and the clock before the first sweep."""

from typing import Any

from config.sources import GitHub, GitHubRepository
from quality.receipts import SKEW_SECONDS
from tasks.sources.contract import Finding
from tasks.sources.git_payloads import pseudonym
from tasks.sources.github.access import scopes
from tasks.sources.http import Answer, Http, HttpError, Trace

_FIRST = {
    "pull_requests": "pulls", "commits": "commits", "deployments": "deployments", "workflow_runs": "actions/runs",
    "releases": "releases", "tags": "git/matching-refs/tags", "issues": "issues",
}  # fmt: skip
"""Where each stream is asked for."""
_EMPTY = 409
"""What an empty repository answers where commits are asked for."""


def check(section: GitHub, http: Http, pseudonym_key: bytes | None = None) -> list[Finding]:
    """What is well and what is not, in the order in which it is to be mended.

    Whose the token is, is said by a pseudonym, or not at all without `pseudonym_key`. Raises nothing.
    """
    trace = Trace("")
    try:
        limits = http.get("rate_limit", trace=trace)
    except HttpError as error:
        if error.status == 404:  # noqa: PLR2004 - an Enterprise server without limits
            return [Finding("token", ok=True, text="the server has no rate limit"), *_repositories(section, http)]
        return [Finding("token", ok=False, text=str(error))]
    return [_token(section, http, limits, pseudonym_key), _rest(limits), _clock(trace), *_repositories(section, http)]


def _token(section: GitHub, http: Http, limits: Answer, key: bytes | None) -> Finding:
    granted = scopes(limits)
    if section.app is not None:
        return Finding("token", ok=True, text=f"accepted: installation {section.app.installation} of the App")
    kind = "fine-grained: it does not tell its permissions" if granted is None else f"scopes: {', '.join(granted)}"
    try:
        user: Any = http.get("user", trace=Trace("")).content
    except HttpError:
        return Finding("token", ok=True, text=f"accepted; {kind}")
    whose = f", of {pseudonym(str(user.get('login')).encode(), key)}" if key is not None and user.get("login") else ""
    return Finding("token", ok=True, text=f"accepted{whose}; {kind}")


def _rest(limits: Answer) -> Finding:
    core: Any = limits.content.get("resources", {}).get("core", {})
    left, of = core.get("remaining"), core.get("limit")
    ok = not isinstance(left, int) or left > 0
    return Finding("rate limit", ok=ok, text=f"{left} of {of} requests are left in this hour")


def _clock(trace: Trace) -> Finding:
    skew = trace.clock_skew_seconds
    if skew is None:
        return Finding("clock", ok=True, text="the server does not tell its time")
    direction = "ahead of" if skew > 0 else "behind"
    return Finding(
        "clock", ok=abs(skew) <= SKEW_SECONDS, text=f"the server is {abs(skew):.0f} s {direction} this machine"
    )


def _repositories(section: GitHub, http: Http) -> list[Finding]:
    return [finding for place in section.repositories for finding in _repository(section, http, place)]


def _repository(section: GitHub, http: Http, place: GitHubRepository) -> list[Finding]:
    try:
        answer = http.get(f"repos/{place.repository}", trace=Trace(""))
    except HttpError as error:
        return [Finding(place.origin, ok=False, text=f"not visible: {error}")]
    content: Any = answer.content
    private, name = bool(content.get("private")), str(content.get("full_name"))
    renamed = name.lower() != place.repository.lower()
    granted = scopes(answer)
    lacking = private and granted is not None and "repo" not in granted
    found = [Finding(place.origin, ok=not lacking, text=_seen(name, private=private, lacking=lacking))]
    if renamed:
        found.append(Finding(place.origin, ok=True, text=f"it was renamed: write {name} into the configuration"))
    found += [
        _stream(http, place, stream, has_issues=bool(content.get("has_issues", True))) for stream in section.streams
    ]
    return found + _canary(section, http, place)


def _seen(name: str, *, private: bool, lacking: bool) -> str:
    kind = "private" if private else "public"
    return f"{name} is visible, {kind}" + ("; the token lacks the scope repo" if lacking else "")


def _stream(http: Http, place: GitHubRepository, stream: str, *, has_issues: bool) -> Finding:
    what = f"{place.origin} {stream}"
    try:
        http.get(f"repos/{place.repository}/{_FIRST[stream]}", {"per_page": 1}, trace=Trace(""))
    except HttpError as error:
        if error.status == _EMPTY:
            return Finding(what, ok=True, text="readable; the repository is empty")
        if stream == "issues" and not has_issues:
            return Finding(what, ok=True, text="issues are switched off there")
        return Finding(what, ok=False, text=str(error))
    return Finding(what, ok=True, text="readable")


def _canary(section: GitHub, http: Http, place: GitHubRepository) -> list[Finding]:
    if section.canary is None:
        return []
    what = f"{place.origin} canary"
    try:
        http.get(f"repos/{place.repository}/issues/{section.canary}", trace=Trace(""))
    except HttpError as error:
        return [Finding(what, ok=False, text=f"#{section.canary}, which must be visible, is not: {error}")]
    return [Finding(what, ok=True, text=f"#{section.canary} is visible")]
