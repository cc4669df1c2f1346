"""The stand-in for Slack: as strict and as unreliable as the real one, and honest about what it has seen."""

import json
import multiprocessing
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from alerting.slack import blocks, transport
from alerting.slack.client import Client, DeliveryError
from alerting.slack.samples import samples
from alerting.standin import faults
from alerting.standin.faults import Call, Fault
from alerting.standin.rules import refusal
from alerting.standin.server import StandIn

NOW = datetime(2026, 5, 2, 3, 14, tzinfo=UTC)
PAYLOAD = blocks.root(samples(NOW)[0], NOW)
SECTION = {"type": "section", "text": {"type": "mrkdwn", "text": "x"}}


@pytest.fixture
def slack(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    monkeypatch.delenv("SLACK_BOT_TOKEN", raising=False)
    with StandIn() as server:
        yield server


def call(slack: StandIn, method: str, *, token: str | None = None, **arguments: Any) -> dict[str, Any]:
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    answer = transport.post(f"{slack.base_url}{method}", json.dumps(arguments).encode(), headers, 5)
    found: dict[str, Any] = json.loads(answer.body)
    return found


def section(**more: Any) -> dict[str, Any]:
    return {"blocks": [{**SECTION, **more}]}


def meta(payload: Any, event: Any = "e") -> dict[str, Any]:
    return {"text": "x", "metadata": {"event_type": event, "event_payload": payload}}


@pytest.mark.parametrize(("payload", "code"), [
    ({"text": "x"}, None), ({"blocks": [SECTION]}, None), ({}, "no_text"), ({"text": ""}, "no_text"),
    ({"text": "x" * 40_001}, "msg_too_long"), ({"text": 3}, "msg_too_long"),
    ({"blocks": {"type": "section"}}, "invalid_blocks_format"), ({"blocks": ["x"]}, "invalid_blocks_format"),
    ({"blocks": [SECTION] * 50}, None), ({"blocks": [SECTION] * 51}, "invalid_blocks"),
    ({"blocks": [{"type": "sectoin"}]}, "invalid_blocks"), ({"blocks": [{"type": "section"}]}, "invalid_blocks"),
    (section(unknown=1), "invalid_blocks"), (section(text={"type": "mrkdwn", "text": ""}), "invalid_blocks"),
    (section(text={"type": "mrkdwn", "text": "x" * 3000}), None), (section(text="x"), "invalid_blocks"),
    (section(text={"type": "mrkdwn", "text": "x" * 3001}), "invalid_blocks"),
    (section(text={"type": "mrkdwn", "text": "🔥" * 1501}), "invalid_blocks"),
    (section(text={"type": "mrkdwn", "text": "x", "emoji": True}), "invalid_blocks"),
    (section(fields=[SECTION["text"]] * 10), None), (section(fields=[SECTION["text"]] * 11), "invalid_blocks"),
    (section(fields=[]), "invalid_blocks"),
    (section(fields=[{"type": "mrkdwn", "text": "x" * 2001}]), "invalid_blocks"),
    ({"blocks": [{"type": "header", "text": {"type": "plain_text", "text": "x" * 150}}]}, None),
    ({"blocks": [{"type": "header", "text": {"type": "plain_text", "text": "x" * 151}}]}, "invalid_blocks"),
    ({"blocks": [{"type": "header", "text": {"type": "mrkdwn", "text": "x"}}]}, "invalid_blocks"),
    ({"blocks": [{"type": "context", "elements": [SECTION["text"]] * 11}]}, "invalid_blocks"),
    ({"blocks": [{**SECTION, "block_id": "a"}, {**SECTION, "block_id": "a"}]}, "invalid_blocks"),
    ({"blocks": [{**SECTION, "text": {"type": "mrkdwn", "text": "x" * 2900}}] * 5}, "msg_blocks_too_long"),
    (meta({"a": "b", "n": 1, "t": True, "o": {"a": 1}, "l": [{"a": "b"}]}), None),
    (meta({"a": None}), "invalid_metadata_schema"), (meta({"a": ["b"]}), "invalid_metadata_schema"),
    (meta({"a": {"b": {"c": 1}}}), "invalid_metadata_schema"), (meta([]), "invalid_metadata_format"),
    (meta({}, event=""), "invalid_metadata_format"), (meta({"a": "x" * 20_000}), "metadata_too_large"),
    ({"text": "x", "metadata": {"event_type": "e"}}, "invalid_metadata_format"),
])  # fmt: skip
def test_what_slack_refuses_is_refused_with_its_code(payload: dict[str, Any], code: str | None) -> None:
    assert refusal(payload) == code


@pytest.mark.parametrize(("method", "arguments", "code"), [
    ("chat.postMessage", {"channel": "#absent", "text": "x"}, "channel_not_found"),
    ("chat.postMessage", {"channel": "#archived", "text": "x"}, "is_archived"),
    ("chat.postMessage", {"channel": "#foreign", "text": "x"}, "not_in_channel"),
    ("chat.postMessage", {"channel": "#alerts", "text": "x", "thread_ts": "1.1"}, "thread_not_found"),
    ("chat.postMessage", {"text": "x"}, "channel_not_found"),
    ("chat.update", {"channel": "#alerts", "ts": "1.1", "text": "x"}, "channel_not_found"),
    ("conversations.history", {"channel": "#alerts"}, "channel_not_found"),
    ("conversations.list", {"cursor": "%%%"}, "invalid_cursor"),
    ("files.completeUploadExternal", {"files": [{"id": "F1"}]}, "file_not_found"),
    ("no.such.method", {}, "unknown_method"),
])  # fmt: skip
def test_calls_that_cannot_be_answered_are_refused(
    slack: StandIn, method: str, arguments: dict[str, Any], code: str
) -> None:
    slack.workspace.add_channel("#archived", archived=True)
    slack.workspace.add_channel("#foreign", member=False)
    answer = call(slack, method, token=slack.token, **arguments)
    assert (answer["ok"], answer["error"]) == (False, code)
    assert not slack.messages


def test_who_has_no_token_or_scope_may_do_nothing(slack: StandIn) -> None:
    assert call(slack, "auth.test")["error"] == "not_authed"
    assert call(slack, "auth.test", token="xoxb-other")["error"] == "invalid_auth"  # noqa: S106
    slack.workspace.scopes.clear()
    answer = call(slack, "chat.postMessage", token=slack.token, channel="#alerts", text="x")
    assert (answer["error"], answer["needed"]) == ("missing_scope", "chat:write")


def test_a_form_says_the_same_as_json(slack: StandIn) -> None:
    from urllib.parse import urlencode  # noqa: PLC0415

    form = urlencode({"token": slack.token, "channel": "#alerts", "text": "x", "blocks": json.dumps([SECTION])})
    answer = transport.post(f"{slack.base_url}chat.postMessage", form.encode(), {}, 5)
    assert json.loads(answer.body)["ok"]
    assert slack.messages[0].blocks == [SECTION]


def test_no_two_messages_have_one_ts_and_they_stand_in_order(slack: StandIn) -> None:
    channel = slack.workspace.channel("#alerts")
    stamps = [slack.workspace.add(channel, {"text": "x"}).ts for _ in range(20_000)]
    assert sorted(set(stamps)) == stamps


def test_history_is_newest_first_without_replies_and_hides_metadata_unless_asked(slack: StandIn) -> None:
    client = Client(slack.settings())
    first, second = client.post("#alerts", PAYLOAD), client.post("#alerts", PAYLOAD)
    client.post("#alerts", PAYLOAD, first.ts)
    client.post("#alerts", {**PAYLOAD, "reply_broadcast": True}, first.ts)
    found = call(slack, "conversations.history", token=slack.token, channel=first.channel)["messages"]
    assert [one["ts"] for one in found][1:] == [second.ts, first.ts]
    assert found[0]["subtype"] == "thread_broadcast"
    assert "event_payload" not in found[1]["metadata"]
    replies = call(slack, "conversations.replies", token=slack.token, channel=first.channel, ts=first.ts, limit=1)
    assert replies["messages"][0]["ts"] == first.ts
    assert replies["has_more"]


def test_pages_do_not_shift_when_messages_arrive_between_them(slack: StandIn) -> None:
    channel = slack.workspace.channel("#alerts")
    stamps = [slack.workspace.add(channel, {"text": "x"}).ts for _ in range(10)]
    asked = {"channel": channel.id, "limit": 4}
    seen: list[str] = []
    cursor = ""
    while True:
        answer = call(
            slack, "conversations.history", token=slack.token, **asked, **({"cursor": cursor} if cursor else {})
        )
        seen += [one["ts"] for one in answer["messages"]]
        slack.workspace.add(channel, {"text": "later"})
        if not (cursor := answer["response_metadata"]["next_cursor"]):
            break
    assert seen == stamps[::-1]


def test_faults_come_in_turn_then_all_is_well_again(slack: StandIn) -> None:
    client = Client(slack.settings())
    slack.fail("chat.postMessage", faults.limited(), faults.server_error())
    codes = []
    for _ in range(2):
        with pytest.raises(DeliveryError) as caught:
            client.post("#alerts", PAYLOAD)
        codes.append(caught.value.code)
    client.post("#alerts", PAYLOAD)
    assert codes == ["ratelimited", "http_503"]
    assert slack.counts["chat.postMessage"] == 3


def test_a_fault_may_be_chosen_by_the_call(slack: StandIn) -> None:
    def archived(one: Call) -> Fault | None:
        return faults.refused("is_archived") if one.arguments.get("channel") == "#alerts" else None

    slack.decide = archived
    client = Client(slack.settings())
    with pytest.raises(DeliveryError, match="is_archived"):
        client.post("#alerts", PAYLOAD)
    client.post("#warnings", PAYLOAD)


def test_who_is_faster_than_one_message_a_second_in_a_channel_is_told_and_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SLACK_BOT_TOKEN", raising=False)
    with StandIn(pace=3600) as slack:
        client = Client(slack.settings())
        posted = client.post("#alerts", PAYLOAD)
        client.post("#warnings", PAYLOAD)
        client.update(posted, PAYLOAD)
        with pytest.raises(DeliveryError) as caught:
            client.post(posted.channel, PAYLOAD)
        assert (caught.value.retry_after, slack.violations, len(slack.messages)) == (1.0, 1, 2)


def test_waiting_ends_as_soon_as_it_is_true_and_says_what_was_there_if_not(slack: StandIn) -> None:
    client = Client(slack.settings())
    threading.Thread(target=lambda: client.post("#alerts", PAYLOAD)).start()
    slack.wait_for(lambda: len(slack.messages) == 1, 10)
    with pytest.raises(TimeoutError, match="1 messages"):
        slack.wait_for(lambda: len(slack.messages) == 2, 0.05)


def test_what_hangs_is_let_go_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLACK_BOT_TOKEN", raising=False)
    began = time.monotonic()
    with StandIn() as slack:
        slack.fail("*", faults.slow(600))
        with pytest.raises(DeliveryError):
            Client(slack.settings(timeout=0.1)).post("#alerts", PAYLOAD)
    assert time.monotonic() - began < 60


def _post(settings: Any) -> None:
    Client(settings).post("#alerts", PAYLOAD)


def test_a_forked_process_talks_to_it_as_well(slack: StandIn) -> None:
    child = multiprocessing.get_context("fork").Process(target=_post, args=(slack.settings(),))
    child.start()
    child.join(60)
    assert (child.exitcode, len(slack.messages)) == (0, 1)


def test_it_runs_as_a_program_of_its_own() -> None:
    command = [sys.executable, "-m", "alerting.standin"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout is not None
            told = dict(program.stdout.readline().removeprefix("export ").strip().split("=", 1) for _ in range(3))
            answer = transport.post(
                f"{told['TOUCHSTONE_SLACK_BASE_URL']}auth.test", b"",
                {"Authorization": f"Bearer {told['SLACK_BOT_TOKEN']}"}, 10,
            )  # fmt: skip
            assert json.loads(answer.body)["ok"]
        finally:
            program.terminate()
