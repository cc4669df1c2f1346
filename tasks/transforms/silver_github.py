"""Rows of GitHub's pull requests, deployments, workflow runs, releases and issues. Pure.

Sources of what a word means: docs.github.com, REST API, "Deployment statuses" and "Workflow runs". None instead of a
row: the item is none of what the dataset holds.
"""

import re
from typing import Final

from config.sources import GitHubCounts
from tasks.transforms.counting import Rules, fits
from tasks.transforms.reading import (
    PRODUCTION,
    Fields,
    Payload,
    member,
    members,
    moment,
    moment_or_none,
    names,
    seconds,
    text,
    text_or,
    title,
    who,
    whole,
)

_DEFAULT: Final = GitHubCounts()
_SHA: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_RESULTS: Final = {
    "success": "SUCCESS", "failure": "FAILURE", "cancelled": "FAILURE", "timed_out": "FAILURE",
    "startup_failure": "FAILURE",
}  # fmt: skip
_DONE: Final = frozenset(("completed", *_RESULTS))
_UNDER_WAY: Final = frozenset(("in_progress", "queued", "waiting", "pending"))
_OUTCOMES: Final = {"success": "success", "failure": "failure", "error": "failure"}
"""Of a deployment's status; what is under way has none, and "inactive" only says that another one came after it."""


def pull_request(payload: Payload, _: Rules) -> Fields | None:
    """A pull request, once it is merged."""
    pull = member(payload, "pull")
    merged = moment_or_none(pull, "merged_at")
    if merged is None:
        return None
    author, created = who(pull, "user"), moment(pull, "created_at")
    commits = members(payload, "commits")
    reviews = [
        moment(one, "submitted_at")
        for one in members(payload, "reviews")
        if one.get("submitted_at") and (author is None or who(one, "user") != author)
    ]
    return {
        "kind": "pull_request",
        "number": whole(pull, "number"),
        "subject": text_or(pull, "title"),
        "author": author,
        "parents": [],
        "authored_ts": min((seconds(one, "author_ts") for one in commits), default=created),
        "created_ts": created,
        "first_review_ts": min(reviews, default=None),
        "committed_ts": merged,
        "merged_ts": merged,
        "merge_sha": text_or(pull, "merge_commit_sha"),
        "base": text_or(pull, "base.ref"),
        "base_sha": text_or(pull, "base.sha"),
        "head": text_or(pull, "head.ref"),
        "head_sha": text_or(pull, "head.sha"),
        "commits": [text(one, "sha") for one in commits],
        "labels": names(pull, "labels"),
        "draft": bool(pull.get("draft")),
        "url": text_or(pull, "html_url"),
    }


def environment_deployment(payload: Payload, rules: Rules) -> Fields | None:
    """A deployment to an environment, with the outcome that its statuses tell."""
    counts = rules.github or _DEFAULT
    if "environments" not in counts.deployments:
        return None
    raw, statuses = member(payload, "deployment"), members(payload, "statuses")
    environment = text_or(raw, "environment")
    started = moment(raw, "created_at")
    result, ended = _outcome(statuses)
    return {
        "kind": "environment",
        "target": text_or(raw, "sha"),
        "deployed_ts": started if ended is None else ended,
        "started_ts": started,
        "environment": environment,
        "production": fits(counts.production, environment),
        "result": result,
        "name": text_or(raw, "ref"),
        "url": text_or(raw, "url"),
        "repository_url": None,
        "commits": [],
    }


def _outcome(statuses: list[Payload]) -> tuple[str, int | None]:
    """What the newest statuses say, and since when: a success that is said again is no later one."""
    told = sorted(((moment(one, "created_at"), text_or(one, "state").casefold()) for one in statuses), reverse=True)
    telling = [(at, state) for at, state in told if state != "inactive"]
    if not telling:
        return ("" if told else "pending"), None
    result = _OUTCOMES.get(telling[0][1])
    if result is None:
        return "pending", None
    since = telling[0][0]
    for at, state in telling:
        if _OUTCOMES.get(state) != result:
            break
        since = at
    return result, since


def run(payload: Payload, rules: Rules) -> Fields:
    """A run of a workflow, as a build. A newer attempt is a newer version of it."""
    counts = rules.github or _DEFAULT
    created, updated = moment(payload, "created_at"), moment(payload, "updated_at")
    started = moment_or_none(payload, "run_started_at")
    original, conclusion = text_or(payload, "status"), text_or(payload, "conclusion")
    state = original.casefold()
    under_way = state in _UNDER_WAY
    name, branch = text_or(payload, "name"), text_or(payload, "head_branch")
    page = text_or(payload, "html_url")
    attempt = 1 if payload.get("run_attempt") is None else whole(payload, "run_attempt")
    return {
        "kind": "workflow",
        "name": name,
        "title": text_or(payload, "display_title"),
        "number": whole(payload, "run_number"),
        "attempt": attempt,
        "created_ts": created,
        "started_ts": started,
        "finished_ts": None if under_way else updated,
        "duration_seconds": None if under_way or started is None else updated - started,
        "queued_seconds": started - created if started is not None and attempt == 1 else None,
        "status": "IN_PROGRESS" if under_way else "DONE" if state in _DONE else "OTHER",
        "result": _RESULTS.get(conclusion.casefold(), ""),
        "original_status": original,
        "original_result": conclusion,
        "sha": text_or(payload, "head_sha"),
        "branch": branch,
        "event": text_or(payload, "event"),
        "commits": [],
        "repository_url": page.partition("/actions/")[0] or None,
        "stages": [],
        "environment": PRODUCTION if fits(counts.production, name, branch) else "",
        "type": "DEPLOYMENT" if fits(counts.workflows, name) else "",
        "url": page,
    }


def run_deployment(payload: Payload, rules: Rules) -> Fields | None:
    """A run of a workflow that deploys."""
    counts = rules.github or _DEFAULT
    if "workflows" not in counts.deployments or not fits(counts.workflows, text_or(payload, "name")):
        return None
    made = run(payload, rules)
    result = {"SUCCESS": "success", "FAILURE": "failure"}.get(made["result"], "")
    return {
        "kind": "workflow",
        "target": made["sha"],
        "deployed_ts": made["created_ts"] if made["finished_ts"] is None else made["finished_ts"],
        "started_ts": made["created_ts"] if made["started_ts"] is None else made["started_ts"],
        "environment": made["environment"],
        "production": made["environment"] == PRODUCTION,
        "result": "pending" if made["status"] == "IN_PROGRESS" else result,
        "name": made["name"],
        "url": made["url"],
        "repository_url": made["repository_url"],
        "commits": [],
    }


def release(payload: Payload, rules: Rules) -> Fields | None:
    """A release that is published. Its commit is known by the tag, unless it was made of a sha."""
    counts = rules.github or _DEFAULT
    tag, published = text_or(payload, "tag_name"), moment_or_none(payload, "published_at")
    is_out = published is not None and not payload.get("draft")
    is_meant = counts.prereleases or not payload.get("prerelease")
    if "releases" not in counts.deployments or not (is_out and is_meant and fits(counts.releases, tag)):
        return None
    commitish = text_or(payload, "target_commitish")
    return {
        "kind": "release",
        "target": commitish if _SHA.fullmatch(commitish) else "",
        "deployed_ts": published,
        "started_ts": published,
        "environment": "",
        "production": True,
        "result": "success",
        "name": tag,
        "url": text_or(payload, "html_url"),
        "repository_url": None,
        "commits": [],
    }


def revert(payload: Payload, _: Rules) -> Fields:
    """A pull request that reverts another one."""
    return {
        "kind": "pull_revert",
        "reverted_pull": whole(payload, "reverts"),
        "reverted_by": text(payload, "merge_sha"),
        "reverted": None,
        "reverted_ts": seconds(payload, "merged_ts"),
        "started_ts": None,
    }


def issue(payload: Payload, rules: Rules) -> Fields | None:
    """An issue whose labels say that something failed in production."""
    counts = rules.github or _DEFAULT
    raw = member(payload, "issue")
    labels = names(raw, "labels")
    if raw.get("pull_request") or not fits(counts.failures, *(labels or [""])):
        return None
    number, state, created = whole(raw, "number"), text_or(raw, "state"), moment(raw, "created_at")
    return {
        "kind": "incident",
        "key": str(number),
        "title": title(raw, "title"),
        "type": "",
        "started_ts": created,
        "created_ts": created,
        "resolved_ts": moment_or_none(raw, "closed_at"),
        "status": "DONE" if state.casefold() == "closed" else "TODO",
        "original_status": state,
        "priority": "",
        "deployment": None,
        "components": [],
        "labels": labels,
        "url": text_or(raw, "html_url"),
        "reverted_by": None,
        "reverted": None,
        "reverted_ts": None,
    }
