"""What is kept of an issue, and of whom nothing is."""

import copy
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from config.section import ConfigError
from tasks.sources.git_payloads import pseudonym
from tasks.sources.jira import payloads
from tasks.sources.jira.jql import narrowing, quoted
from tests.tasks.sources.jira.board import RECORDED

KEY = b"a key"


def test_a_recorded_issue_is_kept_raw() -> None:
    recorded = RECORDED[0]
    item = payloads.item(recorded, "EE", payloads.updated_on(recorded), None)
    issue = item.payload["issue"]
    assert (item.source, item.stream, item.origin, item.id) == ("jira", "issues", "EE", "10070")
    assert item.updated_on == datetime(2021, 3, 28, 8, 5, 54, 576000, tzinfo=UTC)
    assert issue["key"] == "EE-8"
    assert issue["fields"] == {name: one for name, one in recorded["fields"].items() if name != "lastViewed"}
    assert list(issue["changelog"]) == ["histories"]
    by_id = {one["id"]: one for one in recorded["changelog"]["histories"]}
    assert {one["id"]: one for one in issue["changelog"]["histories"]} == by_id


def test_the_order_in_which_a_history_comes_makes_no_other_item() -> None:
    turned = copy.deepcopy(RECORDED[0])
    turned["changelog"]["histories"].reverse()
    at = payloads.updated_on(turned)
    assert payloads.item(turned, "EE", at, KEY).payload == payloads.item(RECORDED[0], "EE", at, KEY).payload


def test_people_are_hidden_in_the_history_too() -> None:
    cloud, server = copy.deepcopy(RECORDED[1]), copy.deepcopy(RECORDED[1])
    ann = {"accountId": "a1b2c3d4", "displayName": "Ann Archer", "accountType": "atlassian"}
    cloud["fields"]["assignee"] = ann
    cloud["changelog"]["histories"][0]["items"] = [
        {"field": "assignee", "from": "a1b2c3d4", "fromString": "Ann Archer", "to": "x9", "toString": "Bob Baker"},
        {"field": "Approver", "to": "[a1b2c3d4]", "toString": "Ann Archer", "tmpToAccountId": "a1b2c3d4"},
        {"field": "Sponsor", "to": "a1b2c3d4", "toString": "Ann Archer"},
        {"field": "status", "from": "1", "fromString": "Open", "to": "2", "toString": "Done"},
    ]
    bob = {"name": "bbaker", "key": "JIRAUSER17", "displayName": "Bob Baker", "avatarUrls": {}, "active": True}
    server["fields"]["reporter"] = bob
    server["changelog"]["histories"][0]["items"] = [
        {"field": "reporter", "to": "JIRAUSER17", "toString": "Bob Baker"},
    ]
    for record in (cloud, server):
        text = json.dumps(dict(payloads.item(record, "K5", payloads.updated_on(record), KEY).payload))
        assert not [one for one in ("Ann", "Bob", "a1b2c3d4", "bbaker", "JIRAUSER17", "Person") if one in text]
    kept = payloads.item(cloud, "K5", payloads.updated_on(cloud), KEY).payload["issue"]
    first = kept["changelog"]["histories"]
    items = [one for entry in first for one in entry["items"]]
    assert {"field": "status", "from": "1", "fromString": "Open", "to": "2", "toString": "Done"} in items
    assert kept["fields"]["assignee"]["person"] == pseudonym(b"a1b2c3d4", KEY)
    assert pseudonym(b"a1b2c3d4", KEY) in [one.get("from") for one in items]


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (None, "it is no object"),
        ("unavailable", "it is no object"),
        ({"key": "OPS-1"}, "it has no id"),
        ({"id": 17}, "it has no id"),
        ({"id": "abc"}, "it has no id"),
        ({"id": "17"}, "it has no date of its last update"),
        ({"id": "17", "fields": {"updated": None}}, "it has no date of its last update"),
        ({"id": "17", "fields": {"updated": "yesterday"}}, "it has no date of its last update"),
        ({"id": "17", "fields": {"updated": "2026-01-01T00:00:00"}}, "it has no date of its last update"),
        ({"id": "17", "fields": []}, "it has no date of its last update"),
    ],
)
def test_what_is_no_issue_is_set_aside_as_it_came(record: Any, why: str) -> None:
    with pytest.raises(payloads.ShapeError, match=why):
        (payloads.number_of(record), payloads.updated_on(record))
    aside = payloads.rejected(record, "OPS", why, KEY)
    assert json.loads(aside.raw) == record
    assert (aside.origin, aside.stream, aside.reason) == ("OPS", "issues", why)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("OPS", '"OPS"'), ('a"b', r'"a\"b"'), ("a\\b", r'"a\\b"'), ("a\nb", r'"a\nb"'), ("a\x00b", r'"a\u0000b"')],
)
def test_texts_in_jql_cannot_end_early(text: str, expected: str) -> None:
    assert quoted(text) == expected


@pytest.mark.parametrize(
    "jql", ["", "issuetype in (Incident, Bug)", 'summary ~ "a) or (b"', "text ~ 'order by'", r'summary ~ "\" )"']
)
def test_the_users_jql_may_be_anything_that_stays_within_its_parentheses(jql: str) -> None:
    assert narrowing(jql, "sources.x.jql") == jql


@pytest.mark.parametrize(
    "jql", ["a = 1) OR (project = SECRET", "(a = 1", "a = 1 ORDER  BY key", 'summary ~ "open', "a = ')"]
)
def test_jql_that_would_break_out_of_them_is_refused(jql: str) -> None:
    with pytest.raises(ConfigError, match=r"sources\.x\.jql"):
        narrowing(jql, "sources.x.jql")
