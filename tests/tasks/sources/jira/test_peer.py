"""A client of Jira that nobody here wrote reads the same from the same server."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from jira import JIRA

from tests.tasks.sources.faulty import FaultyServer
from tests.tasks.sources.jira.board import START, TOKEN, USER, Board
from tests.tasks.sources.jira.reading import Reader

HOUR = timedelta(hours=1)


@pytest.fixture
def peer(board: Board, server: FaultyServer) -> Iterator[JIRA]:
    version = {"rest_api_version": "3" if board.edition == "cloud" else "2"}
    options: dict[str, Any] = {"server": server.url.rstrip("/"), **version}
    if board.edition == "cloud":
        client = JIRA(options=options, basic_auth=(USER, TOKEN), max_retries=0)
    else:
        client = JIRA(options=options, token_auth=TOKEN, max_retries=0)
    yield client
    client.close()  # type: ignore[no-untyped-call]


def test_another_client_reads_the_same_issues_fields_and_histories(board: Board, reader: Reader, peer: JIRA) -> None:
    board.granted = 30
    for hour in range(120):
        board.make(START - hour * HOUR, history=hour % 9, project="WEB" if hour % 7 == 0 else "OPS")
    board.edit("10011", summary="Ünïcode “quotes” \u2028 and \\ slashes")
    reader.key = None
    reader.sweep()
    jql = 'project = "OPS" ORDER BY updated ASC'
    theirs = peer.search_issues(jql, maxResults=False, fields="*all,-comment,-worklog,-attachment", expand="changelog")
    assert {issue.id for issue in theirs} == reader.there()
    for issue in theirs:
        ours = reader.items[issue.id].payload["issue"]
        fields = {name: value for name, value in issue.raw["fields"].items() if name != "lastViewed"}
        assert (ours["key"], ours["fields"]) == (issue.key, fields)
        assert len(ours["changelog"]["histories"]) == len(issue.changelog.histories)


def test_it_reads_no_longer_histories_than_ours(board: Board, reader: Reader, peer: JIRA) -> None:
    """Of a long history a search of Cloud shows only a part, to everybody."""
    board.make(START - HOUR, history=130)
    reader.sweep()
    ours = reader.items["10000"].payload["issue"]["changelog"]["histories"]
    theirs = peer.issue("10000", expand="changelog").raw["changelog"]
    assert len(ours) == theirs["total"] == 130
