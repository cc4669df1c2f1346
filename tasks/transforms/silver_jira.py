"""Rows of Jira's issues: those that are failures in production. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from config.sources import JiraCounts
from tasks.transforms.counting import Rules, fits
from tasks.transforms.reading import (
    Fields,
    Payload,
    member,
    members,
    moment,
    moment_or_none,
    names,
    text,
    text_or,
    texts,
    title,
)

_DEFAULT: Final = JiraCounts()
_STATUSES: Final = {"done": "DONE", "new": "TODO"}


def failure(payload: Payload, rules: Rules) -> Fields | None:
    """An issue whose type or labels say that something failed in production."""
    counts = rules.jira or _DEFAULT
    issue = member(payload, "issue")
    fields = member(issue, "fields")
    kind, labels = text_or(fields, "issuetype.name"), texts(fields, "labels") if fields.get("labels") else []
    if not (fits(counts.failures, kind) or fits(counts.labels, *labels)):
        return None
    key = text(issue, "key")
    status = _STATUSES.get(text_or(fields, "status.statusCategory.key"), "IN_PROGRESS")
    created = moment(fields, "created")
    began = moment_or_none(fields, counts.started)
    return {
        "kind": "incident",
        "key": key,
        "title": title(fields, "summary"),
        "type": kind,
        "started_ts": created if began is None else began,
        "created_ts": created,
        "resolved_ts": _resolved(issue, fields, status),
        "status": status,
        "original_status": text_or(fields, "status.name"),
        "priority": text_or(fields, "priority.name"),
        "deployment": counts.deployment and (_reference(fields.get(counts.deployment)) or None),
        "components": names(fields, "components"),
        "labels": labels,
        "url": _page(text_or(issue, "self"), key),
        "reverted_by": None,
        "reverted": None,
        "reverted_ts": None,
    }


def _resolved(issue: Payload, fields: Payload, status: str) -> int | None:
    """When it was resolved; where a workflow sets no resolution, when it came into the status that it is done in."""
    resolved = moment_or_none(fields, "resolutiondate")
    if resolved is not None or status != "DONE":
        return resolved
    if (changed := moment_or_none(fields, "statuscategorychangedate")) is not None:
        return changed
    now = member(fields, "status").get("id")
    turns = [
        moment(history, "created")
        for history in members(issue, "changelog.histories")
        for item in members(history, "items")
        if item.get("field") == "status" and item.get("to") == now
    ]
    return max(turns, default=None)


def _reference(value: Any) -> str:
    """What a field says, in text: fields hold texts, numbers, versions, options, or lists of them."""
    if isinstance(value, list):
        return ", ".join(filter(None, map(_reference, value)))
    if isinstance(value, Mapping):
        return next((str(value[key]) for key in ("name", "value", "key", "id") if value.get(key)), "")
    return "" if value is None or isinstance(value, bool) else str(value).strip()


def _page(address: str, key: str) -> str:
    """The issue's page for a person, told from its address in the API."""
    base, found, _ = address.partition("/rest/")
    return f"{base}/browse/{key}" if found else ""
