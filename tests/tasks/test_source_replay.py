"""Recorded files: what is an item, what is set aside, and what a file proves."""

import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tasks.sources.contract import Item, Rejected, SourceError, Swept
from tasks.sources.replay import ReplaySource
from tests.harness import NOW, commit, revert, tag

Recorded = Callable[..., ReplaySource]
ENVELOPE: dict[str, Any] = {
    "source": "github", "stream": "pull_requests", "origin": "acme/api", "id": "17",
    "updated_on": "2024-01-02T03:04:05+02:00", "payload": {"$where": 1, "a.b": 2, "nested": {"ä": [None]}},
}  # fmt: skip


def swept(source: ReplaySource, cursor: Any = None) -> tuple[list[Item], list[Rejected], Swept]:
    parts = list(source.sweep("files", cursor, NOW))
    last = parts[-1]
    assert isinstance(last, Swept)
    return (
        [part for part in parts if isinstance(part, Item)],
        [part for part in parts if isinstance(part, Rejected)],
        last,
    )


def test_both_formats_become_items(recorded: Recorded) -> None:
    """git_events by their types; the envelope with its own names, and its time in UTC."""
    items, rejected, _ = swept(recorded([commit("a"), tag("v1", "a", 1), revert("b", "a", 2), ENVELOPE]))
    assert [(item.source, item.stream) for item in items] == [
        ("git", "commits"), ("git", "tags"), ("git", "reverts"), ("github", "pull_requests"),
    ]  # fmt: skip
    assert items[3].updated_on == datetime(2024, 1, 2, 1, 4, 5, tzinfo=UTC)
    assert items[3].payload == ENVELOPE["payload"]
    assert rejected == []


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("garbage", "not JSON"),
        ('{"type": "commit", "repo": "acme/api"', "not JSON"),
        ("[1, 2]", "not a JSON object"),
        ("[" * 100_000, "nested too deep"),
        ({"type": "merge"}, "`type` should be one of"),
        (commit("a") | {"sha": None}, "`sha` should be a text"),
        (commit("a") | {"commit_ts": "yesterday"}, "`commit_ts` should be whole seconds"),
        (commit("a") | {"repo": "acme|api"}, "`repo` should be"),
        (ENVELOPE | {"payload": "x"}, "`payload` should be an object"),
        (ENVELOPE | {"updated_on": "2024-01-02T03:04:05"}, "has no zone"),
        (ENVELOPE | {"updated_on": "0001-01-01T00:00:00+14:00"}, "outside of the years"),
        (ENVELOPE | {"stream": "../etc"}, "letters, digits"),
        (ENVELOPE | {"id": 17}, "`id` should be a text"),
    ],
)
def test_a_bad_line_is_set_aside_with_its_place_and_the_rest_goes_on(
    recorded: Recorded, line: Any, reason: str
) -> None:
    """Nothing is lost: the bytes are kept, and the lines before and after are read."""
    source = recorded([commit("a"), line, commit("b")])
    items, rejected, _ = swept(source)
    assert len(items) == 2
    assert [one.place for one in rejected] == ["events.jsonl:2"]
    assert reason in rejected[0].reason
    assert rejected[0].raw == (line if isinstance(line, str) else json.dumps(line)).encode() + b"\n"


def test_a_torn_line_still_says_where_it_belongs(recorded: Recorded) -> None:
    """So that one window is doubtful instead of all of them."""
    text = json.dumps(tag("v1", "a", 1))[:-30]
    _, (rejected,), _ = swept(recorded([commit("a"), text]))
    assert (rejected.origin, rejected.stream) == ("acme/api", "tags")
    assert rejected.updated_on == datetime(2024, 1, 2, tzinfo=UTC)


def test_gzip_is_told_by_its_content_and_a_torn_file_says_so(tmp_path: Path) -> None:
    """The items before the tear are read; the tear is set aside as a doubt about everything in the file."""
    body = gzip.compress(b"".join(json.dumps(commit(f"c{n}")).encode() + b"\n" for n in range(2000)))
    path = tmp_path / "events.dat"
    path.write_bytes(body[: len(body) // 2])
    items, rejected, _ = swept(ReplaySource("history", [str(path)]))
    assert 0 < len(items) < 2000
    assert "breaks off" in rejected[-1].reason
    path.write_bytes(body)
    assert len(swept(ReplaySource("history", [str(path)]))[0]) == 2000


def test_a_file_proves_the_days_from_its_first_item_to_its_last(recorded: Recorded) -> None:
    """And nothing about what came after: a recording does not know."""
    _, _, last = swept(recorded([commit("a", "", 3.5), commit("b", "", 1.5)]))
    (coverage,) = last.coverages
    assert coverage.start == datetime(2024, 1, 2, tzinfo=UTC)
    assert coverage.end == datetime(2024, 1, 5, tzinfo=UTC)
    assert coverage.streams == ("commits", "reverts", "tags")


def test_unchanged_files_are_not_read_again(recorded: Recorded, tmp_path: Path) -> None:
    source = recorded([commit("a")])
    _, _, first = swept(source)
    items, _, again = swept(source, first.cursor)
    assert (items, again.unchanged, again.coverages) == ([], True, first.coverages)
    with (tmp_path / "events.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(commit("b")) + "\n")
    items, _, changed = swept(source, again.cursor)
    assert (len(items), changed.unchanged, changed.whole) == (2, False, True)


def test_only_new_files_are_read_until_an_old_one_changes(tmp_path: Path) -> None:
    """A file a day costs a file a day; a rewritten or removed one is a reason to look at everything again."""

    def write(name: str, *events: Any) -> None:
        (tmp_path / name).write_text("".join(json.dumps(event) + "\n" for event in events), encoding="utf-8")

    source = ReplaySource("history", [str(tmp_path / "*.jsonl")])
    write("1.jsonl", commit("a", "", 1.5), "garbage")
    _, rejected, first = swept(source)
    assert len(rejected) == 1
    write("2.jsonl", commit("b", "", 3.5))
    items, rejected, second = swept(source, first.cursor)
    assert ([item.payload for item in items], rejected, second.whole) == ([commit("b", "", 3.5)], [], False)
    (coverage,) = second.coverages
    assert (coverage.start, coverage.end) == (datetime(2024, 1, 2, tzinfo=UTC), datetime(2024, 1, 5, tzinfo=UTC))
    assert coverage.evidence == {"items": 2}
    assert swept(source, second.cursor)[2].unchanged
    write("1.jsonl", commit("a", "", 1.5), commit("c", "", 1.6))
    items, rejected, third = swept(source, second.cursor)
    assert (len(items), rejected, third.whole) == (3, [], True)
    (tmp_path / "2.jsonl").unlink()
    items, _, fourth = swept(source, third.cursor)
    assert (len(items), fourth.whole, fourth.coverages[0].end) == (2, True, datetime(2024, 1, 3, tzinfo=UTC))


def test_no_file_is_an_error_that_says_which(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no file matches .*nothing\*\.jsonl; check `paths`"):
        swept(ReplaySource("history", [str(tmp_path / "nothing*.jsonl")]))
