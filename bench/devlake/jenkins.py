"""Our rows of Jenkins in the columns of DevLake's tables."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, Final

from bench.devlake.silver import Made, builds
from bench.devlake.tables import Case, View, at
from tasks.sources.jenkins.payloads import About

_PIPELINE: Final = "org.jenkinsci.plugins.workflow.job.WorkflowJob"


def tool_builds(case: Case, table: str) -> View:
    """Builds as they were extracted; whether they have stages is told only once it was looked up."""
    return View(
        ("full_name",),
        [
            {
                "full_name": row["name"],
                "job_name": made.payload["job"]["name"],
                "job_path": "".join(f"job/{part}/" for part in row["scope"].split("/")[:-1]),
                "duration": made.payload["build"]["duration"],
                "number": row["number"],
                "result": row["original_result"],
                "start_time": at(row["started_ts"]),
                **({"has_stages": bool(row["stages"])} if "after_enrich" in table else {}),
            }
            for made, row in _made(case)
        ],
    )


def tool_commits(case: Case, _: str) -> View:
    """What was checked out for each build, as it was extracted."""
    return View(("build_name", "repo_url"), [_named(one, "build_name", one["name"]) for one in _revisions(case)])


def pipeline_commits(case: Case, _: str) -> View:
    """What was checked out for each build."""
    return View(
        ("pipeline_id", "repo_url"),
        [
            _named(one, "pipeline_id", _build_id(case, one["name"]))
            | {"display_title": one["title"], "url": one["url"]}
            for one in _revisions(case)
        ],
    )


def pipelines(case: Case, _: str) -> View:
    """Builds in the domain model."""
    return View(("id",), [_pipeline(case, row) | {"name": row["name"]} for _, row in _made(case)])


def build_tasks(case: Case, table: str) -> View:
    """Builds without stages, which are their own only task."""
    name = case.options.get("JobFullName")
    return View(
        ("id",),
        [
            _pipeline(case, row) | {"name": name, "pipeline_id": _build_id(case, row["name"])}
            for _, row in _made(case, production="no_prod" not in table)
            if not row["stages"]
        ],
    )


def stage_tasks(case: Case, table: str) -> View:
    """Stages in the domain model."""
    return View(
        ("id",),
        [
            _outcome(stage)
            | {
                "id": f"jenkins:JenkinsStage:{case.connection}:{row['name']}:{stage['id']}",
                "name": stage["name"],
                "pipeline_id": _build_id(case, row["name"]),
                "duration_sec": stage["duration_seconds"],
            }
            for _, row in _made(case, production="no_prod" not in table)
            for stage in row["stages"]
        ],
    )


def tool_stages(case: Case, _: str) -> View:
    """Stages as they were extracted, whosever build they are of."""
    return View(
        ("build_name", "id"),
        [
            {
                "build_name": row["name"],
                "id": stage["id"],
                "name": stage["name"],
                "status": stage["original_status"],
            }
            for _, row in _made(case, whole=False)
            for stage in row["stages"]
        ],
    )


def _pipeline(case: Case, row: Mapping[str, Any]) -> dict[str, Any]:
    return _outcome(row) | {
        "id": _build_id(case, row["name"]),
        "duration_sec": row["duration_seconds"],
        "created_date": at(row["created_ts"]),
        "cicd_scope_id": f"jenkins:JenkinsJob:{case.connection}:{case.options.get('JobFullName')}",
    }


def _outcome(row: Mapping[str, Any]) -> dict[str, Any]:
    same = ("result", "status", "original_result", "original_status", "type", "environment")
    times = {"started_date": at(row["started_ts"]), "finished_date": at(row["finished_ts"])}
    return {name: row[name] for name in same} | times


def _revisions(case: Case) -> Iterator[Mapping[str, Any]]:
    for _, row in _made(case):
        for one in row["revisions"]:
            yield {**one, "name": row["name"], "title": row["title"], "url": row["url"]}


def _named(one: Mapping[str, Any], column: str, name: str) -> dict[str, Any]:
    return {column: name, "repo_url": one["repository_url"], "commit_sha": one["sha"], "branch": one["branch"]}


def _build_id(case: Case, name: str) -> str:
    return f"jenkins:JenkinsBuild:{case.connection}:{name}"


def _made(case: Case, *, production: bool = True, whole: bool = True) -> list[tuple[Made, Mapping[str, Any]]]:
    """whole: only builds of the case's job; else stages of others too, each with as much of a build as it needs."""
    stages = _stages(case)
    records = [(about, raw, stages.pop(f"{about.full_name}#{raw['number']}", None)) for about, raw in _records(case)]
    for name, of in () if whole else stages.items():
        job, _, number = name.rpartition("#")
        raw = {"number": int(number), "timestamp": of[0]["startTimeMillis"], "duration": 0}
        records.append((_about(job), raw, of))
    return [(one, one.row) for one in builds(case, records, production=production)]


def _records(case: Case) -> Iterator[tuple[About, Mapping[str, Any]]]:
    """Builds as Jenkins tells them: recorded, or put together again from a table of theirs."""
    whole = str(case.options.get("JobFullName", ""))
    recorded = case.raw("_builds")
    for raw, asked in recorded:
        name = str(asked["FullName"]) if asked.get("Class") == _PIPELINE else whole
        yield _about(name), raw
    for row in () if recorded else case.table("_tool_jenkins_builds"):
        job, _, number = row["full_name"].rpartition("#")
        if job == whole or job.startswith(f"{whole}/"):
            told = {"number": int(number), "timestamp": int(row["timestamp"]), "duration": int(float(row["duration"]))}
            yield _about(job), {**told, "result": row["result"], "building": False}


def _stages(case: Case) -> dict[str, list[Any]]:
    """The stages of each build, by its name."""
    found: dict[str, list[Any]] = defaultdict(list)
    recorded = case.raw("_stages")
    for raw, asked in recorded:
        found[str(asked["FullName"])].append(raw)
    for row in () if recorded else case.table("_tool_jenkins_stages"):
        found[row["build_name"]].append(
            {
                "id": row["id"],
                "name": row["name"],
                "status": row["status"],
                "startTimeMillis": int(row["start_time_millis"]),
                "durationMillis": int(row["duration_millis"]),
            }
        )
    return found


def _about(full_name: str) -> About:
    return About(full_name, full_name, full_name.rpartition("/")[2], "")
