"""A Bronze item becomes a Silver row: the canonical, source-independent state of one entity. Pure.

A row is a function of one item alone. Which of several versions of an entity counts is decided by `version`, which
orders by `updated_on` and then by content, so that items may arrive late, twice and in any order.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from config import catalog

Payload = Mapping[str, Any]


class RowError(ValueError):
    """The payload lacks what the row needs. Carries the path and the value."""

    def __init__(self, path: str, value: Any, expected: str) -> None:
        super().__init__(f"{path} should be {expected}, is {type(value).__name__}")
        self.path = path
        self.value = value


def change(payload: Payload) -> dict[str, Any]:
    """A commit."""
    return {
        "parents": _texts(payload, "parents"),
        "authored_ts": _seconds(payload, "author_ts"),
        "committed_ts": _seconds(payload, "commit_ts"),
        "author": payload.get("author"),
        "subject": payload.get("subject"),
    }


def deployment(payload: Payload) -> dict[str, Any]:
    """A tag: the rule for git-derived data is that one tag is one deployment."""
    return {"target": _text(payload, "target"), "deployed_ts": _seconds(payload, "tag_ts")}


def failure(payload: Payload) -> dict[str, Any]:
    """A revert: the rule for git-derived data is that what is reverted had failed."""
    return {
        "reverted_by": _text(payload, "sha"),
        "reverted": _text(payload, "reverted_sha_raw"),
        "reverted_ts": _seconds(payload, "commit_ts"),
    }


FOLDS: Final[Mapping[str, Callable[[Payload], dict[str, Any]]]] = {
    catalog.CHANGES.name: change,
    catalog.DEPLOYMENTS.name: deployment,
    catalog.FAILURES.name: failure,
}


def row(dataset: str, item: Mapping[str, Any]) -> dict[str, Any]:
    """The row of `dataset` that the Bronze document `item` says; a tombstone keeps the entity's place.

    Raises RowError if the payload does not have the shape of its stream.
    """
    head = {
        "_id": f"{item['origin']}|{item['id']}",
        "scope": item["origin"],
        "id": item["id"],
        "day": item["window"],
        "version": version(item["updated_on"], item["_id"]),
        "bronze": item["_id"],
    }
    if item.get("deleted"):
        return head | {"deleted": True}
    return head | FOLDS[dataset](item["payload"])


def version(updated_on: datetime, content: str) -> str:
    """Sorts as text in the order of `updated_on`, then of content."""
    return f"{updated_on.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}".rjust(26, "0") + f"#{content}"


def _text(payload: Payload, path: str) -> str:
    value = payload.get(path)
    if not isinstance(value, str):
        raise RowError(path, value, "a text")
    return value


def _texts(payload: Payload, path: str) -> list[str]:
    value = payload.get(path)
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise RowError(path, value, "a list of texts")
    return value


def _seconds(payload: Payload, path: str) -> int:
    value = payload.get(path)
    if not isinstance(value, int) or isinstance(value, bool):
        raise RowError(path, value, "whole seconds since 1970")
    return value
