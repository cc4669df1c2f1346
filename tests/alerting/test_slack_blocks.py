"""Messages: what they say, that Slack takes them whatever the data is, and that data cannot speak in them."""

import json
import os
import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerting.folding import acknowledge, fold, resolve, silence
from alerting.incidents import Event, Facts, Incident, Key, Kind, Report, State, Told
from alerting.reasons import Reason
from alerting.slack import blocks
from alerting.slack.samples import resolved, samples
from alerting.standin.mrkdwn import Style, readable
from alerting.standin.rules import refusal
from quality.findings import Severity
from tests.harness import DATA

NOW = datetime(2026, 5, 2, 3, 14, tzinfo=UTC)
REWRITE = "TOUCHSTONE_REWRITE_EXPECTED"
TEXT = st.text(st.one_of(st.characters(), st.sampled_from("`*_~<>&:@!#|\n \u202e\u200b")), max_size=60).flatmap(
    lambda text: st.sampled_from([text, text * 200])
)
TEXTS = st.lists(TEXT, max_size=60).map(tuple)
WHEN = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - a bound


@st.composite
def incidents(draw: st.DrawFn) -> Incident:
    """Any incident, however absurd."""
    texts, at = [draw(TEXT) for _ in range(12)], draw(WHEN)
    facts = Facts(texts[0], texts[1], texts[2], texts[3], texts[4], draw(TEXTS))
    key = Key(*texts[5:9])
    severity, kind = draw(st.sampled_from(Severity)), draw(st.sampled_from(Kind))
    window = draw(st.one_of(st.none(), st.dates(date(2020, 1, 1), date(2030, 1, 1))))
    report = Report(key, at, failed=True, kind=kind, window=window, severity=severity, facts=facts,
                    metrics=draw(TEXTS), scopes=draw(TEXTS))  # fmt: skip
    made = replace(fold(None, report), id=draw(st.sampled_from(["ab-1", "x" * 200])), effects=draw(TEXTS))
    made = acknowledge(made, texts[9], at, texts[10]) if draw(st.booleans()) else made
    made = silence(made, at + timedelta(days=4000), texts[9], at, texts[11]) if draw(st.booleans()) else made
    story = tuple(Event(n, at, draw(st.sampled_from(["opened", "worsened", texts[8]])), texts[7], texts[6])
                  for n in range(draw(st.integers(0, 50))))  # fmt: skip
    made = replace(made, story=(*made.story, *story))
    return resolve(made, texts[9], at, texts[10]) if draw(st.booleans()) else made


def texts(value: Any) -> list[dict[str, Any]]:
    """All text objects of a payload."""
    if isinstance(value, dict):
        own = [value] if isinstance(value.get("text"), str) and "type" in value else []
        return own + [one for inner in value.values() for one in texts(inner)]
    return [one for inner in value for one in texts(inner)] if isinstance(value, list) else []


def written(payload: blocks.Payload) -> str:
    """All that a reader reads of it."""
    return "\n".join("".join(span.text for span in readable(one)) for one in texts(payload["blocks"]))


def all_of(incident: Incident) -> list[blocks.Payload]:
    mention = ("U012", "here", "evil", "<!channel>", *(f"U{n:05}" for n in range(40)))
    page = "https://status.example/?q=<x>|`&" + "y" * 3000
    made = [blocks.root(incident, NOW, page_url=page, mention=mention)]
    made += [blocks.reply(incident, reason, NOW, mention=mention) for reason in Reason]
    return [*made, blocks.direct("mongodb", incident.facts.title, incident.facts.why * 9, at=NOW)]


@settings(max_examples=150, deadline=None)
@given(incidents())
def test_slack_takes_every_message_and_every_smaller_one(incident: Incident) -> None:
    """Within each documented limit, and within 12,000 characters in all: beyond that it is refused undocumentedly."""
    for payload in all_of(incident):
        less: blocks.Payload | None = payload
        sizes = []
        while less is not None:
            assert refusal({**less, "channel": "C1"}) is None
            assert sum(len(one["text"]) for one in texts(less.get("blocks", []))) <= 12_000
            assert len(less["text"]) <= 2000
            assert len(json.dumps(less["metadata"])) < 8000
            sizes.append(len(json.dumps(less.get("blocks", []))))
            less = blocks.smaller(less)
        assert sizes == sorted(set(sizes), reverse=True)
        assert len(sizes) <= 3
        assert sizes[-1] == 2


@settings(max_examples=150, deadline=None)
@given(incidents())
def test_data_mentions_nobody_links_nowhere_and_hides_nothing(incident: Incident) -> None:
    """Every sign in every text is one of ours: a date, whom configuration names, the page."""
    ours = re.compile(r"<(!date\^\d+\^\{date_short_pretty\} \{time\}\|[\d :-]+UTC|@U\d+|!here|https://status\.\S+)>")
    for payload in all_of(incident):
        for one in [*texts(payload["blocks"]), {"type": "mrkdwn", "text": payload["text"], "verbatim": True}]:
            assert not re.search("[<>]", ours.sub("", one["text"]))
            assert not re.search("[\u202a-\u202e\u2066-\u2069\u200b-\u200f\u2060\x00-\x09\x0b-\x1f]", one["text"])
            if one["type"] == "mrkdwn":
                assert one["verbatim"] is True
                assert one["text"].count("```") % 2 == 0


def test_a_critical_finding_says_at_a_glance_what_where_since_when_and_what_to_do() -> None:
    payload = blocks.root(samples(NOW)[0], NOW, page_url="https://status.example/", mention=("U0ANA", "S0OPS", "here"))
    read = written(payload)
    header = payload["blocks"][0]
    assert header["type"] == "header"
    assert header["text"]["text"] == "🔴 Critical: gold.dora_daily of acme/checkout: no_zero_without_proof is broken"
    assert "<@U0ANA> <!subteam^S0OPS> <!here>" in json.dumps(payload["blocks"][1])
    for part in (
        "gold.dora_daily", "acme/checkout", "(2026-05-02 01:14 UTC)", "2: 2026-04-30 to 2026-05-01",
        "deployment_frequency is not 0 where", "with a receipt that proves nothing",
        "touchstone check gold.dora_daily --date 2026-05-01 --scope acme/checkout", "revision 1", "status page",
    ):  # fmt: skip
        assert part in read, part
    assert payload["text"] == "🔴 Critical: gold.dora_daily of acme/checkout: no_zero_without_proof is broken"


def test_the_key_is_in_the_metadata_and_differs_between_parts() -> None:
    incident = samples(NOW)[0]
    made = [
        blocks.root(incident, NOW), blocks.reply(incident, Reason.CHANGED, NOW),
        blocks.reply(incident, Reason.REMINDER, NOW), blocks.direct("mongodb", "down", "", at=NOW),
        blocks.direct("mongodb", "up", "", at=NOW, over=True),
    ]  # fmt: skip
    keys = [tuple(one["metadata"]["event_payload"].values()) for one in made]
    assert keys == [
        (incident.id, 1, "root"), (incident.id, 1, "reply"), (incident.id, 1, "reminder"), ("mongodb", 0, "direct"),
        ("mongodb", 1, "direct"),
    ]  # fmt: skip


def test_nobody_is_mentioned_whom_configuration_does_not_name_well() -> None:
    payload = blocks.root(samples(NOW)[0], NOW, mention=("everyone", "<!channel>", "u012", "@U012", "U01 2", ""))
    assert [block["type"] for block in payload["blocks"]][1] == "section"
    assert "fields" in payload["blocks"][1]


def test_nobody_is_mentioned_when_it_is_over() -> None:
    assert "U0ANA" not in json.dumps(blocks.root(resolved(NOW), NOW, mention=("U0ANA",)))


def test_a_resolved_one_says_since_until_how_long_and_by_what() -> None:
    read = written(blocks.root(resolved(NOW), NOW))
    assert "✅ Resolved: gold.dora_daily of acme/checkout" in read
    assert "11 h" in read
    assert "the check ran and passed on" in read
    assert "Next step" not in read
    by_hand = resolve(samples(NOW)[0], "ana@laptop", NOW, "the source was wrong, not the data")
    assert "the source was wrong, not the data (by ana@laptop)" in written(blocks.root(by_hand, NOW))


def test_effects_acknowledgement_and_silence_are_shown_and_a_past_silence_is_not() -> None:
    receipt = next(one for one in samples(NOW) if one.effects)
    assert "Also caused by this (3)" in written(blocks.root(receipt, NOW))
    taken = acknowledge(receipt, "ana@laptop", NOW, "on it")
    assert "Acknowledged by ana@laptop" in written(blocks.root(taken, NOW))
    quiet = silence(receipt, NOW + timedelta(hours=1), "ben", NOW, "known")
    assert "Silenced by ben until" in written(blocks.root(quiet, NOW))
    assert "Silenced" not in written(blocks.root(quiet, NOW + timedelta(hours=2)))


def test_lists_that_are_cut_say_how_many_are_left_out() -> None:
    many = replace(
        samples(NOW)[0], effects=tuple(f"effect {n}" for n in range(30)), metrics=tuple(f"m{n}" for n in range(30)),
        scopes=tuple(f"s{n}" for n in range(9)),
    )  # fmt: skip
    read = written(blocks.root(many, NOW))
    assert "Also caused by this (30)" in read
    assert "and 22 more" in read
    assert "and 18 more of s0" in read
    assert "s4 and 4 more" in read


def test_most_metrics_are_told_by_those_that_are_sound() -> None:
    assert "all metrics but deployment_frequency of acme/checkout" in written(blocks.root(samples(NOW)[2], NOW))


def test_a_command_that_cannot_be_copied_as_it_is_gives_way_to_one_that_can() -> None:
    """What is pasted into a shell at night must be what it looks like."""
    facts = Facts("t", command="touchstone check x --scope '\u202egnp.exe'")
    incident = replace(samples(NOW)[0], facts=facts)
    assert f"touchstone incidents show {incident.id}" in written(blocks.root(incident, NOW))


def test_a_storm_gives_exact_counts_and_how_to_list_all() -> None:
    storm = next(one for one in samples(NOW) if one.kind is Kind.STORM)
    read = written(blocks.root(storm, NOW))
    assert "1,912 incidents at once" in read
    assert "1,204 critical of bronze.git.tags in 1,204 scopes" in read
    assert f"touchstone incidents list --all --cause {storm.id}" in read
    assert "Dataset" not in read


def test_a_digest_shows_its_lines_and_how_many_more_there_are() -> None:
    facts = Facts("Daily digest: 50 warnings open", command="touchstone incidents list",
                  examples=tuple(f"{n:010x}-1 silver.changes acme/api: {n} is broken" for n in range(50)))  # fmt: skip
    report = Report(Key("notifier", "#x", "digest"), NOW, failed=True, kind=Kind.DIGEST, facts=facts)
    digest = fold(None, report)
    read = written(blocks.root(digest, NOW))
    assert "• 0000000000-1 silver.changes" in read
    assert read.count("•") == 35
    assert f"and {len(digest.facts.examples) - 34} more" in read


def test_a_reply_tells_what_has_happened_since_and_no_more() -> None:
    incident = samples(NOW)[0]
    later = replace(incident, revision=3, story=(
        *incident.story, Event(2, NOW, "changed", "3 windows now"), Event(3, NOW, "worsened", "now critical")),
        told=Told(2, State.OPEN, Severity.WARNING, NOW, "C1", "1.1"))  # fmt: skip
    read = written(blocks.reply(later, Reason.WORSENED, NOW))
    assert "now critical" in read
    assert "3 windows now" not in read


@pytest.mark.parametrize("reason", list(Reason))
def test_only_what_is_worse_or_waits_is_shown_in_the_channel_too(reason: Reason) -> None:
    """An edit rings for nobody: who watches the channel must see what became worse."""
    loud = blocks.reply(samples(NOW)[0], reason, NOW).get("reply_broadcast", False)
    assert loud is (reason in (Reason.WORSENED, Reason.REOPENED, Reason.REMINDER))


def test_a_refused_message_gets_poorer_and_keeps_its_key() -> None:
    whole = blocks.root(samples(NOW)[0], NOW)
    less = blocks.smaller(whole)
    assert less is not None
    assert [block["type"] for block in less["blocks"]] == ["header", "section", "context"]
    least = blocks.smaller(less)
    assert least is not None
    assert "blocks" not in least
    assert whole["text"] == least["text"]
    assert whole["metadata"] == least["metadata"]
    assert blocks.smaller(least) is None


@pytest.mark.parametrize("name", ["finding", "receipt_reminder", "storm", "anomaly", "resolved"])
def test_a_message_is_what_it_was_when_somebody_looked_at_it(name: str) -> None:
    """Whoever changes the look, looks: set the variable that REWRITE names, and read the difference."""
    every = {one.kind: one for one in samples(NOW)[::-1]}
    receipt = next(one for one in samples(NOW) if one.effects)
    made = {
        "finding": blocks.root(every[Kind.FINDING], NOW, page_url="https://status.example/", mention=("U0ANA",)),
        "receipt_reminder": blocks.reply(receipt, Reason.REMINDER, NOW),
        "storm": blocks.root(every[Kind.STORM], NOW),
        "anomaly": blocks.root(every[Kind.ANOMALY], NOW),
        "resolved": blocks.root(resolved(NOW), NOW),
    }[name]
    path = DATA / "slack" / f"{name}.json"
    if os.environ.get(REWRITE):
        path.write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    assert made == json.loads(path.read_text(encoding="utf-8"))


def test_samples_are_of_every_kind_that_people_meet_and_their_codes_are_one_line() -> None:
    made = samples(NOW)
    kinds = {
        Kind.FINDING,
        Kind.BROKEN_CHECK,
        Kind.RECEIPT,
        Kind.DRIFT,
        Kind.ANOMALY,
        Kind.TASK,
        Kind.MISSING,
        Kind.DELIVERY,
        Kind.STORM,
    }
    assert {one.kind for one in made} == kinds
    assert [one.state for one in made].count(State.RESOLVED) == 1
    assert len({one.id for one in made}) == len(made) - 1
    for one in made:
        for span in readable({"type": "mrkdwn", "text": blocks.root(one, NOW)["text"]}):
            assert span.style is Style.PLAIN
