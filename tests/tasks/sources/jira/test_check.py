"""What a person is told before the first run, and shown of the newest issues."""

from datetime import timedelta

import pytest

from config.section import ConfigError
from tasks.sources.contract import SourceError
from tasks.sources.jira.access import opened
from tasks.sources.jira.check import check
from tests.tasks.sources.faulty import FaultyServer
from tests.tasks.sources.jira.board import START, TOKEN, USER, Board
from tests.tasks.sources.jira.reading import Reader, section_of

HOUR = timedelta(hours=1)


def findings(board: Board, server: FaultyServer, **more: object) -> dict[str, tuple[bool, str]]:
    section = section_of(board, server.url, **more)
    with opened(section, lambda: board.now) as http:
        return {one.what: (one.ok, one.text) for one in check(section, http, b"key")}


def test_a_jira_that_is_well(board: Board, server: FaultyServer) -> None:
    for hour in range(3):
        board.make(START - hour * HOUR)
    found = findings(board, server, canary="OPS-1")
    assert all(ok for ok, _ in found.values()), found
    assert list(found) == ["token", "time zone", "edition", "project OPS", "canary OPS-1", "clock"]
    assert "3 issues" in found["project OPS"][1]
    assert USER not in str(found)


def test_what_is_wrong_is_named_with_the_remedy(board: Board, server: FaultyServer) -> None:
    board.make()
    board.zone, board.skew = "Europe/Berlin", timedelta(minutes=-20)
    other = "data_center" if board.edition == "cloud" else "cloud"
    section = section_of(board, server.url, canary="OPS-9", projects=["OPS", "NONE"])
    with opened(section, lambda: board.now) as http:
        found = {one.what: one for one in check(section, http)}
    assert {name for name, one in found.items() if not one.ok} == {"time zone", "project NONE", "canary OPS-9", "clock"}
    assert 'timezone = "Europe/Berlin"' in found["time zone"].text
    assert "1200 s behind" in found["clock"].text
    board.edition = other
    with opened(section, lambda: board.now) as http:
        found = {one.what: one for one in check(section, http)}
    assert f'edition = "{other}"' in found["edition"].text


def test_a_token_that_is_refused_is_all_that_is_told(board: Board, server: FaultyServer) -> None:
    found = findings(board, server, token=TOKEN[::-1])
    assert list(found) == ["token"]
    assert not found["token"][0]
    assert TOKEN[::-1] not in found["token"][1]


def test_jql_that_jira_does_not_understand_is_told(board: Board, server: FaultyServer) -> None:
    board.make()
    ok, text = findings(board, server, jql="colour = green")["project OPS"]
    assert not ok
    assert "colour" in text


def test_a_sample_is_of_the_newest_and_touches_nothing(board: Board, reader: Reader) -> None:
    board.granted = 2
    for hour in range(9):
        board.make(START - hour * HOUR)
    assert [item.id for item in reader.source.sample("OPS", "issues", 5)] == [f"1000{n}" for n in range(5)]
    assert len(list(reader.source.sample("OPS", "issues", 50))) == 9
    with pytest.raises(SourceError, match="no such stream"):
        next(iter(reader.source.sample("OPS", "builds", 5)))


def test_without_a_token_nothing_is_asked(
    board: Board, server: FaultyServer, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JIRA_TOKEN", raising=False)
    reader.more = {"token": ""}
    board.make()
    with pytest.raises(SourceError, match="set JIRA_TOKEN"):
        reader.sweep()
    assert not server.requests


def test_jql_that_cannot_be_narrowed_by_is_refused_at_once(reader: Reader) -> None:
    reader.more = {"jql": "a = 1 ORDER BY key"}
    with pytest.raises(ConfigError):
        _ = reader.source


@pytest.mark.parametrize("fault", ["401", "login_page", "500", "json_cut_off", "301_elsewhere", "429_absurd"])
def test_the_token_is_told_to_nobody_else(
    board: Board, server: FaultyServer, reader: Reader, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    board.make()
    reader.more = {"requests": {"retries": 1, "longest_wait_seconds": 0}}
    server.inject(fault, path="/search", times=9)
    said = [repr(reader.source), repr(section_of(board, server.url))]
    with caplog.at_level("DEBUG"):
        try:
            said.append(repr(reader.sweep()))
        except SourceError as error:
            said.append(f"{error!r} {error.__cause__!r}")
    assert server.applied[fault]
    text = "".join([*said, caplog.text])
    assert TOKEN not in text
    assert not [one for one in server.strays if "authorization" in one.headers]
