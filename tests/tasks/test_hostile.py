"""Hostile lines inside a good file: each is stored as it was given, or kept to the byte; none stops the run."""

import json
import math
import os
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import bson
import pytest
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config import schema
from quality import quarantine
from tasks import aside
from tasks.context import Context
from tasks.sources.replay import ReplaySource
from tests.harness import DATA, EVENTS, commit, gold, make_context, revert, run_all, silver, tag

FIRST: Final = date(2024, 1, 1)
RANGE: Final = (FIRST, FIRST + timedelta(days=6))
STORED: Final = (DATA / "hostile" / "stored.jsonl").read_bytes().split(b"\n")[:-1]
ASIDE: Final = (DATA / "hostile" / "aside.jsonl").read_bytes().split(b"\n")[:-1]
GOOD: Final = [json.dumps(event).encode() for event in EVENTS]
SUITES: Final = settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))


def written(path: Path, lines: Sequence[bytes]) -> ReplaySource:
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return ReplaySource("history", [str(path)])


def among_good(lines: Sequence[bytes]) -> list[bytes]:
    """Good ones before, between and after."""
    return [*GOOD[:2], *lines[: len(lines) // 2], *GOOD[2:4], *lines[len(lines) // 2 :], *GOOD[4:]]


def bronze(context: Context) -> list[dict[str, Any]]:
    """What is there, undecoded: PyMongo makes something else of an object that has a key "$ref"."""
    names = [name for name in context.db.list_collection_names() if name.startswith("bronze.")]
    raw: CodecOptions[RawBSONDocument] = CodecOptions(RawBSONDocument, tz_aware=True)
    return [plain(item) for name in names for item in context.db[name].with_options(raw).find()]


def plain(value: Any) -> Any:
    if isinstance(value, RawBSONDocument):
        return {key: plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list) else value


def kept(context: Context) -> list[bytes]:
    """All bytes of what could not be read, without the line's end."""
    found = context.db[schema.QUARANTINE].find({"rule": quarantine.READABLE})
    return [quarantine.whole(context.db, one).rstrip(b"\n") for one in found]


def same(value: Any, other: Any) -> bool:
    """Equal to the type, the sign of zero and the order of keys; without recursion."""
    pending = [(value, other)]
    while pending:
        a, b = pending.pop()
        if isinstance(a, dict) and isinstance(b, dict):
            if list(a) != list(b):
                return False
            pending += zip(a.values(), b.values(), strict=True)
        elif isinstance(a, list) and isinstance(b, list):
            if len(a) != len(b):
                return False
            pending += zip(a, b, strict=True)
        elif isinstance(a, float) and isinstance(b, float):
            if a != b or math.copysign(1, a) != math.copysign(1, b):
                return False
        elif isinstance(a, bool) != isinstance(b, bool) or isinstance(a, str) != isinstance(b, str) or a != b:
            return False
    return True


def assert_good_ones_came_through(context: Context) -> None:
    rows = {row["_id"] for found in silver(context).values() for row in found}
    assert {f"acme/api|{event.get('sha') or event['name']}" for event in EVENTS} <= rows
    assert ("acme/api", FIRST) in gold(context)


def assert_stored(context: Context, payloads: Sequence[Any]) -> None:
    there: dict[bytes, Any] = {schema.canonical(item["payload"]): item["payload"] for item in bronze(context)}
    for payload in payloads:
        assert same(there[schema.canonical(payload)], payload)


def payload_of(line: bytes) -> Any:
    record = json.loads(line)
    return record.get("payload", record)


def test_hostile_lines_are_stored_as_given_or_kept_to_the_byte(context: Context, tmp_path: Path) -> None:
    """Counts add up, all the good ones come through, and every reason says something."""
    lines = among_good([*STORED, *ASIDE])
    assert run_all(context, written(tmp_path / "events.jsonl", lines), RANGE) is None
    assert_good_ones_came_through(context)
    assert_stored(context, [payload_of(line) for line in [*STORED, *GOOD]])
    assert sorted(kept(context)) == sorted(ASIDE)
    assert len(bronze(context)) == len(STORED) + len(GOOD)
    for one in context.db[schema.QUARANTINE].find():
        assert one["reason"]
        assert len(one["reason"]) < 2500
    assert context.db[schema.LEDGER].count_documents({"error": {"$exists": True}}) == 0


def test_the_same_hostile_lines_again_change_nothing(context: Context, tmp_path: Path) -> None:
    lines = among_good([*STORED, *ASIDE])
    run_all(context, written(tmp_path / "events.jsonl", lines), RANGE)
    before = (len(bronze(context)), len(kept(context)), gold(context))
    os.utime(tmp_path / "events.jsonl", ns=(1, 1))
    run_all(make_context(), written(tmp_path / "events.jsonl", lines), RANGE)
    assert (len(bronze(context)), len(kept(context)), gold(context)) == before


def test_what_is_larger_than_a_document_is_kept_whole_and_shown_whole(
    context: Context, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """20 MB of one text, of many keys, of garbage, and just below and above what a document can be."""
    mega = 1024 * 1024
    big = [
        json.dumps(commit("text", "", 3.1) | {"extra": "x" * (20 * mega)}).encode(),
        json.dumps(commit("edge", "", 3.3) | {"extra": "y" * (15 * mega)}).encode(),
        b"z" * (20 * mega),
        b'"repo":"' + b"a" * (17 * mega),
    ]
    fits = json.dumps(commit("fits", "", 3.2) | {"extra": "w" * (14 * mega)}).encode()
    assert run_all(context, written(tmp_path / "events.jsonl", among_good([*big, fits])), RANGE) is None
    assert_good_ones_came_through(context)
    assert sorted(kept(context)) == sorted(big)
    assert_stored(context, [json.loads(fits)])
    assert len(bronze(context)) == len(GOOD) + 1
    (longest,) = context.db[schema.QUARANTINE].find({"bytes": len(big[0]) + 1})
    (shown,) = aside.found([longest["_id"]])
    assert shown["raw"] == big[0] + b"\n"

    run_all(make_context(), written(tmp_path / "events.jsonl", GOOD), RANGE)
    assert context.db[schema.QUARANTINE].count_documents({"state": "open"}) == 0
    quarantine.forget(context.db, context.now + timedelta(days=1))
    assert context.db[schema.QUARANTINE].count_documents({}) == context.db[quarantine.PARTS].count_documents({}) == 0
    assert capsys.readouterr().err == ""


def test_missing_bytes_are_noticed(context: Context, tmp_path: Path) -> None:
    run_all(context, written(tmp_path / "events.jsonl", [*GOOD, b"q" * (quarantine.PART + 1)]), RANGE)
    context.db[quarantine.PARTS].delete_many({})
    with pytest.raises(ValueError, match="of its"):
        kept(context)


def test_times_at_the_ends_of_64_bits_do_not_stop_the_links(context: Context, tmp_path: Path) -> None:
    """Their difference does not fit into 64 bits, and is a lead time."""
    ends = [
        commit("low", "", 0.2) | {"author_ts": -(2**63)}, commit("high", "low", 0.3) | {"author_ts": 2**63 - 1},
        tag("v0", "high", 0.6), tag("far", "low", 0) | {"tag_ts": 2**63 - 1},
        tag("old", "low", 0) | {"tag_ts": -(2**63)}, revert("end", "a", 5.9) | {"commit_ts": 2**63 - 1},
    ]  # fmt: skip
    lines = among_good([json.dumps(event).encode() for event in ends])
    assert run_all(context, written(tmp_path / "events.jsonl", lines), RANGE) is None
    assert_good_ones_came_through(context)
    assert gold(context)["acme/api", FIRST]["change_lead_time_median_seconds"] is None


def test_values_in_findings_are_short_and_can_be_stored(context: Context, tmp_path: Path) -> None:
    """Rules are broken by large and strange values; each whole row is in the quarantine."""
    strange = ["\0" * 5000, "$where", "a.b", "\u202e" * 3000, "x" * 1_000_000, "[/red]{}%s"]
    bad = [tag(f"bad{n}", "a", 3.5) | {"target": value} for n, value in enumerate(strange)]
    others: list[Any] = [None, {"$gt": ""}, [[]], 1e300]
    bad += [tag(f"worse{n}", "a", 3.5) | {"target": value} for n, value in enumerate(others)]
    bad += [tag("n\0" * 400, "a", 3.5), tag("\U0001f600" * 1000, "a", 3.5) | {"target": ""}]
    lines = among_good([json.dumps(event).encode() for event in bad])
    assert run_all(context, written(tmp_path / "events.jsonl", lines), RANGE) is None
    assert_good_ones_came_through(context)
    set_aside = list(context.db[schema.QUARANTINE].find())
    assert len(set_aside) == len(bad)
    assert_stored(context, bad)
    for one in set_aside:
        assert len(bson.encode({"": one["value"]})) < 2500
        assert len(one["reason"]) < 1000
    for document in context.db[schema.LEDGER].find():
        assert len(bson.encode(document)) < 100_000
    for one in aside.found([one["_id"] for one in set_aside]):
        assert one["item"]["payload"] in bad
    aside.as_json(set_aside)


def test_a_file_name_that_is_no_text_is_no_problem(context: Context, tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/ev\xff\xfe.jsonl")
    assert run_all(context, written(Path(path), [*GOOD, b"garbage"]), RANGE) is None
    assert kept(context) == [b"garbage"]
    missing = ReplaySource("history", [path + "x"])
    assert "no file matches" in str(run_all(context, missing, RANGE))


KEYS: Final = st.one_of(
    st.text(max_size=8), st.sampled_from(["$where", "a.b", "", "\0", "_id", "payload", "$", "\ud800", "$ref", "$id"])
)
LEAVES: Final = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=20),
    st.sampled_from(["\ud800", "\0", "9999-99-99", 2**63, -(2**63), -0.0]),
)  # fmt: skip
VALUES: Final = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=12,
)
FIELDS: Final = ("sha", "parents", "author_ts", "commit_ts", "author", "subject", "name", "target", "tag_ts",
                 "reverted_sha_raw", "extra")  # fmt: skip


@st.composite
def hostile_events(draw: st.DrawFn) -> dict[str, Any]:
    """A commit, tag or revert of which some fields are anything."""
    number = draw(st.integers(0, 3))
    kind: dict[str, Any] = draw(
        st.sampled_from([commit(f"h{number}", "a", 1.5), tag(f"h{number}", "a", 1.5), revert("b", "a", 2.1)])
    )
    return kind | draw(st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=3))


def fresh(database: str) -> Context:
    context = make_context()
    context.db.client.drop_database(database)
    schema.ensure(context.db)
    return make_context()


def finished(context: Context, path: Path, lines: Sequence[bytes]) -> None:
    """The run ends, the good ones are there, and each line is in one of the two places."""
    assert run_all(context, written(path, among_good(lines)), RANGE) is None
    assert_good_ones_came_through(context)
    there = {schema.canonical(item["payload"]) for item in bronze(context)}
    set_aside = kept(context)
    for line in lines:
        if line.strip() and line not in set_aside:
            payload = payload_of(line)
            assert schema.canonical(payload) in there
            assert_stored(context, [payload])


@SUITES
@given(events=st.lists(hostile_events(), max_size=25))
def test_any_values_in_events(database: str, tmp_path: Path, events: list[dict[str, Any]]) -> None:
    """Through all stages: what is stored is what was given."""
    finished(fresh(database), tmp_path / "events.jsonl", [json.dumps(event).encode() for event in events])


@SUITES
@given(lines=st.lists(st.binary(max_size=60).map(lambda line: line.replace(b"\n", b"")), max_size=40))
def test_any_bytes_as_lines(database: str, tmp_path: Path, lines: list[bytes]) -> None:
    finished(fresh(database), tmp_path / "events.jsonl", lines)
