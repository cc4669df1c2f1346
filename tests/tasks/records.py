"""Records in the shapes of payloads, cut to what is looked at."""

from datetime import UTC, datetime
from typing import Any

from config.sources import GitHubCounts
from tasks.transforms.counting import Rules

SHA = "a" * 40
CREATED, T = "2026-03-02T10:00:00Z", int(datetime(2026, 3, 2, 10, tzinfo=UTC).timestamp())


def deployment(*states: tuple[str, int], environment: str = "production") -> dict[str, Any]:
    """states: newest first, each with its minute."""
    return {
        "deployment": {"id": 7, "sha": SHA, "ref": "main", "environment": environment, "created_at": CREATED},
        "statuses": [{"state": state, "created_at": f"2026-03-02T10:{minute:02}:00Z"} for state, minute in states],
    }


RUN = {
    "id": 7, "name": "Deploy to production", "head_branch": "main", "head_sha": SHA, "run_number": 3, "run_attempt": 1,
    "event": "push", "status": "completed", "conclusion": "success", "display_title": "x", "created_at": CREATED,
    "run_started_at": "2026-03-02T10:01:00Z", "updated_at": "2026-03-02T10:11:00Z",
    "html_url": "https://github.com/acme/api/actions/runs/7",
}  # fmt: skip
BY_WORKFLOW = Rules(github=GitHubCounts(deployments=("workflows",)))


def jira(**fields: Any) -> dict[str, Any]:
    told = {"issuetype": {"name": "Incident"}, "created": "2026-03-02T11:00:00.000+0100", "summary": "Down",
            "status": {"name": "Done", "id": "3", "statusCategory": {"key": "done"}}, **fields}  # fmt: skip
    turn = {"created": "2026-03-02T10:40:00.000+0000", "items": [{"field": "status", "to": "3"}]}
    return {
        "issue": {
            "key": "OPS-7", "self": "https://j.example/rest/api/3/issue/7", "fields": told,
            "changelog": {"histories": [turn]},
        }
    }  # fmt: skip


def build(name: str = "team/deploy-api", stages: list[dict[str, Any]] | None = None, **change: Any) -> dict[str, Any]:
    revision = {"lastBuiltRevision": {"SHA1": SHA, "branch": [{"name": "origin/main"}]}, "remoteUrls": ["git@x:a.git"]}
    raw = {"number": 7, "timestamp": T * 1000 + 900, "duration": 60_200, "building": False, "result": "SUCCESS",
           "actions": [{}, revision], "changeSets": [{"items": [{"commitId": "d" * 40}]}], **change}  # fmt: skip
    return {"job": {"fullName": name, "name": name, "_class": ""}, "build": raw, "stages": stages or []}


def stage(name: str, status: str = "SUCCESS") -> dict[str, Any]:
    return {"id": "1", "name": name, "status": status, "startTimeMillis": T * 1000, "durationMillis": 1500}
