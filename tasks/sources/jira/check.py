"""Looks at a Jira before the first run, and says in words what it saw."""

from collections.abc import Iterator
from typing import Any, Final

from config.sources import Jira, JiraProject
from quality.receipts import SKEW_SECONDS
from tasks.sources.contract import Finding
from tasks.sources.git_payloads import pseudonym
from tasks.sources.http import Http, HttpError, Reason, Trace
from tasks.sources.jira.access import api, issue_path, record, there
from tasks.sources.jira.jql import narrowing, quoted
from tasks.sources.jira.payloads import STREAM
from tasks.sources.jira.search import count
from tasks.sources.jira.sweep import told_zone

_NEEDED: Final = "BROWSE_PROJECTS"


def check(section: Jira, http: Http, pseudonym_key: bytes | None = None) -> list[Finding]:
    """What was seen, in the order in which it was looked at; without a token that is accepted only that.

    Whose the token is, is said by a pseudonym, or not at all without `pseudonym_key`.
    """
    trace = Trace(STREAM)
    found: list[Finding] = []
    try:
        found.append(_token(section, http, trace, pseudonym_key))
        found += _zone(section, http, trace)
        found.append(_edition(section, http, trace))
        for project in section.projects:
            found += _project(section, project, http, trace)
        if section.canary:
            found.append(_canary(section, section.canary, http, trace))
    except HttpError as error:
        token = error.reason is Reason.REFUSED and not found
        return [*found, Finding("token" if token else "Jira", ok=False, text=str(error))]
    return [*found, _clock(trace), *_limit(trace)]


def _token(section: Jira, http: Http, trace: Trace, key: bytes | None) -> Finding:
    told = record(http.get(api(section, "myself"), trace=trace))
    who = told.get("accountId") or told.get("emailAddress") or told.get("name")
    whose = f", of {pseudonym(str(who).encode(), key)}" if key is not None and who else ""
    ok = bool(who) and told.get("active") is not False
    return Finding("token", ok, f"accepted{whose}" if ok else f"accepted{whose}, but its user is not active")


def _zone(section: Jira, http: Http, trace: Trace) -> Iterator[Finding]:
    told = told_zone(http.get(api(section, "myself"), trace=trace))
    if told is None:
        text = f"Jira does not tell; times are written in {section.timezone}"
        yield Finding("time zone", ok=True, text=text)
    elif told == section.timezone:
        yield Finding("time zone", ok=True, text=f"{told}, as configured")
    else:
        text = f'Jira reads times in {told}, which is used: set timezone = "{told}" in place of {section.timezone}'
        yield Finding("time zone", ok=False, text=text)


def _edition(section: Jira, http: Http, trace: Trace) -> Finding:
    told = record(http.get(api(section, "serverInfo"), trace=trace))
    kind, version = str(told.get("deploymentType") or "unknown"), str(told.get("version") or "unknown")
    right = "cloud" if kind.lower() == "cloud" else "data_center"
    text = f"{kind}, version {version}"
    if right != section.edition:
        return Finding("edition", ok=False, text=f'{text}: set edition = "{right}"')
    return Finding("edition", ok=True, text=text)


def _project(section: Jira, project: JiraProject, http: Http, trace: Trace) -> Iterator[Finding]:
    what = f"project {project.project}"
    if there(http, api(section, f"project/{project.project}"), {}, trace) is None:
        text = "not there, or hidden from this token: check its key, and grant the user Browse Projects"
        yield Finding(what, ok=False, text=text)
        return
    asked = {"projectKey": project.project, "permissions": _NEEDED}
    answer = there(http, api(section, "mypermissions"), asked, trace)
    if answer is not None and not _granted(record(answer)):
        yield Finding(what, ok=False, text="visible, but its issues are not: grant the user Browse Projects")
        return
    try:
        yield Finding(what, ok=True, text=f"visible, with {_count(section, project, http, trace)}")
    except HttpError as error:
        yield Finding(what, ok=False, text=f"visible, but its issues cannot be searched: {error}")


def _granted(told: Any) -> bool:
    permissions = told.get("permissions")
    needed = permissions.get(_NEEDED) if isinstance(permissions, dict) else None
    return not isinstance(needed, dict) or needed.get("havePermission") is not False


def _count(section: Jira, project: JiraProject, http: Http, trace: Trace) -> str:
    narrowed = narrowing(section.jql, f"sources.{section.name}.jql")
    jql = f"project = {quoted(project.project)}" + (f" AND ({narrowed})" if narrowed else "")
    about = "about " if section.edition == "cloud" else ""
    return f"{about}{count(section, http, jql, trace)} issues"


def _canary(section: Jira, canary: str, http: Http, trace: Trace) -> Finding:
    seen = there(http, issue_path(section, canary), {"fields": "updated"}, trace) is not None
    text = "visible" if seen else "not visible to this token: check what its user may see"
    return Finding(f"canary {canary}", seen, text)


def _clock(trace: Trace) -> Finding:
    skew = trace.clock_skew_seconds
    if skew is None:
        return Finding("clock", ok=True, text="Jira does not tell its time")
    direction = "ahead of" if skew > 0 else "behind"
    text = f"{abs(skew):.0f} s {direction} ours" if abs(skew) >= 1 else "as ours"
    return Finding("clock", abs(skew) <= SKEW_SECONDS, text if abs(skew) <= SKEW_SECONDS else f"{text}: set the clocks")


def _limit(trace: Trace) -> Iterator[Finding]:
    if trace.rate_limit_remaining is not None:
        left = trace.rate_limit_remaining
        yield Finding("rate limit", left > 0, f"{left} requests left")
