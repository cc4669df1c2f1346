"""Nobody's name is stored: people are told by the shape of what says who they are."""

import json
from typing import Any

import pytest

from tasks.sources.git_payloads import pseudonym
from tasks.sources.people import hidden, written

KEY = b"a key of pseudonyms"


@pytest.mark.parametrize(
    ("person", "identity", "kept"),
    [
        ({"login": "ann", "id": 7, "html_url": "https://hub.example/ann", "type": "User"}, "ann", {"type": "User"}),
        ({"name": "Ann", "email": "Ann@example.invalid", "date": "now"}, "ann@example.invalid", {"date": "now"}),
        ({"accountId": "5b10", "displayName": "Ann", "active": True, "avatarUrls": {}}, "5b10", {"active": True}),
        ({"name": "ann", "key": "JIRAUSER1", "displayName": "Ann", "avatarUrls": {}}, "ann", {}),
        ({"fullName": "Ann", "absoluteUrl": "https://ci.example/user/ann"}, "Ann", {}),
    ],
)  # fmt: skip
def test_a_person_becomes_a_keyed_hash(person: dict[str, Any], identity: str, kept: dict[str, Any]) -> None:
    found = hidden({"rows": [{"who": person}]}, KEY)["rows"][0]["who"]
    assert found == {"person": pseudonym(identity.encode(), KEY), **kept}
    assert hidden(person, None) == person


@pytest.mark.parametrize(
    "other", [{"name": "main"}, {"name": "v1", "key": "x"}, {"fullName": "team/api"}, {"email": None, "name": None}]
)
def test_what_is_no_person_stays(other: dict[str, Any]) -> None:
    assert hidden(other, KEY) == other


def test_texts_that_name_people_are_hidden_too() -> None:
    assert hidden({"authorEmail": "ann@example.invalid"}, KEY) == {
        "authorEmail": pseudonym(b"ann@example.invalid", KEY)
    }


def deep(levels: int) -> dict[str, Any]:
    record: dict[str, Any] = {"login": "ann"}
    for _ in range(levels):
        record = {"a": record}
    return {"id": 7, "user": {"login": "ann"}, "a": record}


def test_what_is_nested_too_deeply_is_a_bad_record_and_names_nobody() -> None:
    """A sweep that ended of it would end of it each time."""
    with pytest.raises(ValueError, match="nested too deeply"):
        hidden(deep(5000), KEY)
    assert json.loads(written(deep(5000), KEY)) == {"id": 7}
    assert b"ann" not in written(deep(3), KEY)
