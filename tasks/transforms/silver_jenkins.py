"""Rows of Jenkins' builds. Pure.

Jenkins tells times in milliseconds since 1970, and results in capitals: SUCCESS, FAILURE, ABORTED, UNSTABLE, NOT_BUILT.
A build that is still running has a result at times, which does not count.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from config.sources import JenkinsCounts
from tasks.transforms.counting import Rules, environment, fits, is_deployment
from tasks.transforms.reading import PRODUCTION, Fields, Payload, RowError, member, members, text, text_or, whole

_DEFAULT: Final = JenkinsCounts()
_RESULTS: Final = {"success": "SUCCESS", "failure": "FAILURE", "failed": "FAILURE", "aborted": "FAILURE"}
_OUTCOMES: Final = {"SUCCESS": "success", "FAILURE": "failure", "": ""}


def build(payload: Payload, rules: Rules) -> Fields:
    """A build, whatever it did."""
    counts = rules.jenkins or _DEFAULT
    raw = member(payload, "build")
    number, start = whole(raw, "number"), whole(raw, "timestamp", "milliseconds since 1970")
    duration = max(0, whole(raw, "duration", "milliseconds")) if raw.get("duration") is not None else 0
    name = f"{text(member(payload, 'job'), 'fullName')}#{number}"
    building = bool(raw.get("building"))
    original = text_or(raw, "result")
    result = "" if building else _RESULTS.get(original.casefold(), "")
    actions = members(raw, "actions")
    revisions = list(_revisions(actions))
    first = revisions[0] if revisions else {"sha": "", "branch": "", "repository_url": None}
    return {
        "kind": "build",
        "name": name,
        "title": name,
        "number": number,
        "attempt": 1,
        "created_ts": start // 1000,
        "started_ts": start // 1000,
        "finished_ts": None if building else (start + duration) // 1000,
        "duration_seconds": None if building else duration / 1000,
        "queued_seconds": _queued(actions),
        "status": "IN_PROGRESS" if building else "DONE",
        "result": result,
        "original_status": "true" if building else "false",
        "original_result": original,
        **first,
        "revisions": revisions,
        "event": _event(actions),
        "commits": list(dict.fromkeys(_commits(raw))),
        "stages": [_stage(one, result, original, counts) for one in members(payload, "stages")],
        "environment": _environment(counts, name),
        "type": _type(counts, name),
        "url": text_or(raw, "url"),
    }


def deployment(payload: Payload, rules: Rules) -> Fields | None:
    """A build that deploys: its job is called so, or a stage of it that was carried out."""
    counts = rules.jenkins or _DEFAULT
    made = build(payload, rules)
    if not is_deployment(made, made["stages"]):
        return None
    where = environment(made, made["stages"])
    if not where and any(fits(counts.production, value) for value in _parameters(payload)):
        where = PRODUCTION
    return {
        "kind": "build",
        "target": made["sha"],
        "deployed_ts": made["started_ts"] if made["finished_ts"] is None else made["finished_ts"],
        "started_ts": made["started_ts"],
        "environment": where,
        "production": where == PRODUCTION,
        "result": "pending" if made["status"] == "IN_PROGRESS" else _OUTCOMES[made["result"]],
        "name": made["name"],
        "url": made["url"],
        "repository_url": made["repository_url"],
        "revisions": made["revisions"],
        "commits": made["commits"],
    }


def _stage(stage: Payload, result: str, original: str, counts: JenkinsCounts) -> Fields:
    """A stage has the result of its build, unless it was not carried out."""
    name, status = text_or(stage, "name"), text_or(stage, "status")
    start, duration = whole(stage, "startTimeMillis"), max(0, whole(stage, "durationMillis"))
    return {
        "id": text(stage, "id"),
        "name": name,
        "status": "DONE" if status.casefold() == "success" else "OTHER",
        "result": "" if status == "NOT_EXECUTED" else result,
        "original_status": status,
        "original_result": original,
        "started_ts": start // 1000,
        "finished_ts": (start + duration) // 1000,
        "duration_seconds": duration // 1000,
        "environment": _environment(counts, name),
        "type": _type(counts, name),
    }


def _type(counts: JenkinsCounts, name: str) -> str:
    return "DEPLOYMENT" if _is_named(counts.deployments, name) else ""


def _environment(counts: JenkinsCounts, name: str) -> str:
    return PRODUCTION if _is_named(counts.production, name) else ""


def _is_named(pattern: str, name: str) -> bool:
    """Builds are looked at with and without their number: a pattern may end with the job's name."""
    return fits(pattern, name, name.rpartition("#")[0] or name)


def _revisions(actions: list[Payload]) -> Iterator[Fields]:
    """What was checked out: one for each remote of each repository, in the order of Jenkins."""
    for action in actions:
        built = member(action, "lastBuiltRevision")
        if not built:
            continue
        sha = text_or(action, "mercurialRevisionNumber") or text_or(built, "SHA1")
        branches = members(built, "branch")
        branch = text_or(branches[0], "name") if branches else ""
        urls = action.get("remoteUrls") or []
        if not isinstance(urls, list):
            raise RowError("build.actions.remoteUrls", urls, "a list of texts")
        for url in urls:
            if isinstance(url, str) and url:
                yield {"sha": sha, "branch": branch, "repository_url": url}


def _commits(raw: Payload) -> Iterator[str]:
    """Of the change sets; freestyle jobs have one, pipelines several."""
    for changes in (*members(raw, "changeSets"), member(raw, "changeSet")):
        for one in members(changes, "items"):
            if isinstance(sha := one.get("commitId"), str):
                yield sha


def _event(actions: list[Payload]) -> str:
    """The kind of the first cause, e.g. "UserIdCause": what it says in words names people."""
    for action in actions:
        for cause in members(action, "causes"):
            if isinstance(kind := cause.get("_class"), str):
                return kind.replace("$", ".").rpartition(".")[2]
    return ""


def _queued(actions: list[Payload]) -> float | None:
    for action in actions:
        waited: Any = action.get("queuingDurationMillis")
        if isinstance(waited, int):
            return waited / 1000
    return None


def _parameters(payload: Payload) -> Iterator[str]:
    for action in members(payload, "build.actions"):
        for one in members(action, "parameters"):
            value = one.get("value") if isinstance(one, Mapping) else None
            if isinstance(value, str):
                yield value
