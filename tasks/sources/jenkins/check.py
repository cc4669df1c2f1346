"""Looks at a Jenkins before the first run, and says in words what it saw."""

from collections.abc import Iterator, Mapping
from typing import Final

from config.sources import Jenkins
from quality.receipts import SKEW_SECONDS
from tasks.sources.contract import Finding, SourceError
from tasks.sources.git_payloads import pseudonym
from tasks.sources.http import Http, HttpError, Reason, Trace
from tasks.sources.jenkins.api import job_path, job_tree, number_in
from tasks.sources.jenkins.jobs import find, is_pattern
from tasks.sources.jenkins.listing import about
from tasks.sources.jenkins.payloads import STREAM

_NAMED: Final = 3
"""Jobs of a pattern that are named."""


def check(section: Jenkins, http: Http, pseudonym_key: bytes | None = None) -> list[Finding]:
    """What was seen, in the order in which it was looked at; without a Jenkins that answers only that.

    Whose the token is, is said by a pseudonym, or not at all without `pseudonym_key`.
    """
    trace = Trace(STREAM)
    try:
        found = list(_token(section, http, trace, pseudonym_key))
    except HttpError as error:
        return [Finding("token" if error.reason is Reason.REFUSED else "Jenkins", ok=False, text=str(error))]
    jobs: list[str] = []
    found += [_unit(unit, http, trace, jobs) for unit in section.jobs]
    if section.stages:
        found += _stages(jobs, http, trace)
    return [*found, _clock(trace)]


def _token(section: Jenkins, http: Http, trace: Trace, key: bytes | None) -> Iterator[Finding]:
    answer = http.get("whoAmI/api/json", {"tree": "name,anonymous,authenticated"}, trace=trace)
    told = answer.content if isinstance(answer.content, Mapping) else {}
    if told.get("anonymous") is not False or told.get("authenticated") is not True:
        without = "there is none: what is asked is what everybody may see"
        text = "not accepted, Jenkins takes us for nobody: check user and token" if section.secret() else without
        yield Finding("token", ok=section.secret() is None, text=text)
    else:
        who = told.get("name")
        whose = f", of {pseudonym(str(who).encode(), key)}" if key is not None and who else ""
        yield Finding("token", ok=True, text=f"accepted{whose}")
    version = answer.headers.get("x-jenkins")
    unknown = "it does not say which version it is: check that the address is that of a Jenkins"
    yield Finding("Jenkins", ok=version is not None, text=unknown if version is None else f"version {version[:40]}")


def _unit(unit: str, http: Http, trace: Trace, jobs: list[str]) -> Finding:
    """Whether its jobs are visible; adds them to `jobs`."""
    what = f"job {unit}"
    try:
        if is_pattern(unit):
            found = find(http, unit, trace).jobs
            jobs += found
            more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
            text = f"{len(found)} jobs: {', '.join(found[:_NAMED])}{more}" if found else "no job fits that is visible"
            return Finding(what, bool(found), text)
        answer = http.get(f"{job_path(unit)}api/json", job_tree(0, 1), trace=trace)
        about(answer, unit)
    except HttpError as error:
        if error.reason is Reason.GONE:
            text = "not there, or hidden from this token: check its full name, and grant the user Job/Read"
            return Finding(what, ok=False, text=text)
        return Finding(what, ok=False, text=str(error))
    except SourceError as error:
        return Finding(what, ok=False, text=str(error))
    jobs.append(unit)
    first, following = number_in(answer.content, "firstBuild"), answer.content["nextBuildNumber"]
    kept = "no builds are kept" if first is None else f"builds {first} to {following - 1} are kept"
    return Finding(what, ok=True, text=f"visible; {kept}")


def _stages(jobs: list[str], http: Http, trace: Trace) -> Iterator[Finding]:
    """Whether the stages of the newest build of some pipeline can be read."""
    for name in jobs:
        try:
            answer = http.get(f"{job_path(name)}api/json", job_tree(0, 1), trace=trace)
            newest = number_in(answer.content, "lastBuild")
            if newest is None or not about(answer, name).is_pipeline:
                continue
            http.get(f"{job_path(name)}{newest}/wfapi/describe", trace=trace)
        except HttpError as error:
            lacking = 'install the plugin "Pipeline: REST API" in Jenkins, or set stages = false'
            text = f"not there: {lacking}" if error.reason is Reason.GONE else str(error)
            yield Finding("stages", ok=False, text=text)
        else:
            yield Finding("stages", ok=True, text=f"those of {name} can be read")
        return
    yield Finding("stages", ok=True, text="no pipeline has a build yet, whose stages could be read")


def _clock(trace: Trace) -> Finding:
    skew = trace.clock_skew_seconds
    if skew is None:
        return Finding("clock", ok=True, text="Jenkins does not tell its time")
    direction = "ahead of" if skew > 0 else "behind"
    text = f"{abs(skew):.0f} s {direction} ours" if abs(skew) >= 1 else "as ours"
    return Finding("clock", abs(skew) <= SKEW_SECONDS, text if abs(skew) <= SKEW_SECONDS else f"{text}: set the clocks")
