"""What the client can do in Slack, as a bot and by a webhook."""

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alerting.slack import blocks, transport
from alerting.slack.client import SCOPES, Client, Posted
from alerting.standin import faults
from alerting.standin.faults import Call, Fault
from alerting.standin.server import StandIn
from config.settings import Slack
from tests.alerting.calling import PAYLOAD, failure, since


def test_a_message_is_posted_answered_edited_and_found_again(slack: StandIn, client: Client) -> None:
    posted = client.post("#alerts", PAYLOAD)
    assert posted.channel == slack.id_of("#alerts")
    reply = client.post(posted.channel, {**PAYLOAD, "reply_broadcast": True}, posted.ts)
    client.update(posted, {**PAYLOAD, "text": "after"})
    (root,) = slack.roots("#alerts")
    assert (root.text, root.blocks, len(root.versions)) == ("after", PAYLOAD["blocks"], 1)
    assert [one.ts for one in slack.thread(root)] == [reply.ts]
    assert slack.thread(root)[0].broadcast
    key = tuple(PAYLOAD["metadata"]["event_payload"].values())
    assert client.posted("#alerts", since()) == {key: posted}
    assert client.posted("#alerts", since(), posted.ts)[key] in (posted, reply)
    assert client.posted("#alerts", datetime.now(UTC) + timedelta(hours=1)) == {}


def test_a_broadcast_is_only_asked_for_in_a_thread(slack: StandIn, client: Client) -> None:
    client.post("#alerts", {**PAYLOAD, "reply_broadcast": True})
    assert not slack.messages[0].broadcast


def test_an_edit_without_blocks_takes_those_away_that_were_there(slack: StandIn, client: Client) -> None:
    """Slack keeps the blocks if none are sent."""
    posted = client.post("#alerts", PAYLOAD)
    client.update(posted, {key: value for key, value in PAYLOAD.items() if key != "blocks"})
    assert slack.messages[0].blocks == []


def test_an_edit_of_what_is_gone_says_so(client: Client, slack: StandIn) -> None:
    error = failure(lambda: client.update(Posted(slack.id_of("#alerts"), "1.000001"), PAYLOAD))
    assert (error.code, error.permanent, error.unfit) == ("message_not_found", True, False)


def numbered(number: int) -> blocks.Payload:
    key = {"incident": "a-1", "revision": number, "part": "root"}
    return {"text": f"{number}", "metadata": {"event_type": blocks.EVENT, "event_payload": key}}


def test_all_pages_of_a_long_history_are_looked_through(slack: StandIn, client: Client) -> None:
    channel = slack.workspace.channel("#alerts")
    for number in range(1050):
        slack.workspace.add(channel, numbered(number))
    found = client.posted("#alerts", since())
    assert [revision for _, revision, _ in sorted(found)] == list(range(1050))
    assert slack.counts["conversations.history"] == 6
    root = slack.messages[0]
    for number in range(450):
        slack.workspace.add(channel, {**numbered(number), "thread_ts": root.ts})
    found = client.posted("#alerts", since(), root.ts)
    assert len(found) == 450


def test_a_cursor_that_goes_round_in_circles_ends(slack: StandIn, client: Client) -> None:
    page = b'{"ok": true, "messages": [], "response_metadata": {"next_cursor": "%d"}}'
    slack.fail("conversations.history", *(Fault(status=200, body=page % n) for n in (1, 2, 1, 2)))
    assert client.posted("#alerts", since()) == {}
    assert slack.counts["conversations.history"] == 3


@pytest.mark.parametrize("message", [
    {}, {"metadata": None}, {"metadata": []}, {"metadata": {"event_type": "other", "event_payload": {}}},
    {"metadata": {"event_type": blocks.EVENT}}, {"metadata": {"event_type": blocks.EVENT, "event_payload": [1]}},
    {"metadata": {"event_type": blocks.EVENT, "event_payload": {"incident": 1, "revision": 1, "part": "root"}}},
    {"metadata": {"event_type": blocks.EVENT, "event_payload": {"incident": "a", "revision": "1", "part": "root"}}},
])  # fmt: skip
def test_messages_of_others_are_passed_over(slack: StandIn, client: Client, message: dict[str, Any]) -> None:
    body = json.dumps({"ok": True, "messages": [{"ts": "1.1", **message}, None, 3]}).encode()
    slack.fail("conversations.history", Fault(status=200, body=body))
    assert client.posted("#alerts", since()) == {}


def test_a_channel_is_looked_up_once_on_any_page_and_private_ones_only_if_allowed(slack: StandIn) -> None:
    for number in range(450):
        slack.workspace.add_channel(f"#c{number}")
    private = slack.workspace.add_channel("#private", private=True)
    client = Client(slack.settings())
    client.posted("#c449", since())
    assert slack.counts["conversations.list"] == 4  # refused once for the private ones
    client.posted("#c3", since())
    assert slack.counts["conversations.list"] == 4
    assert failure(lambda: client.posted("#private", since())).code == "channel_not_found"
    slack.workspace.scopes |= {"groups:read"}
    assert client.posted("#private", since()) == {}
    assert client.posted(private, since()) == {}


def test_what_posting_taught_is_not_looked_up(slack: StandIn, client: Client) -> None:
    client.post("#alerts", PAYLOAD)
    client.posted("#alerts", since())
    assert slack.counts["conversations.list"] == 0


def test_a_picture_goes_into_the_thread_and_the_token_not_to_the_upload(slack: StandIn, client: Client) -> None:
    posted = client.post("#alerts", PAYLOAD)
    client.upload(posted, "chart.png", "A <title>", b"\x89PNG...")
    (reply,) = slack.thread(slack.messages[0])
    assert [(one.name, one.title, one.content) for one in reply.files] == [("chart.png", "A <title>", b"\x89PNG...")]


@pytest.mark.parametrize("url", [
    "http://evil.example/x", "https://evil.example/x", "https://127.0.0.1.evil.example/x", "file:///etc/passwd",
    "https://evil.example/@127.0.0.1", "https://a@evil.127.0.0.1/",
])  # fmt: skip
def test_a_picture_is_sent_to_slack_only(slack: StandIn, client: Client, url: str) -> None:
    posted = client.post("#alerts", PAYLOAD)
    slack.workspace.files_url = url
    error = failure(lambda: client.upload(posted, "c.png", "t", b"png"))
    assert (error.code, error.permanent) == ("upload_url_elsewhere", True)


@pytest.mark.parametrize(("url", "allowed"), [
    ("https://files.slack.com/upload/v1/x", True), ("https://slack.com/x", True), ("http://files.slack.com/x", False),
    ("https://files.slack.com.evil.example/x", False), ("https://evilslack.com/x", False),
    ("https://a@files.slack.com/x", False),
])  # fmt: skip
def test_slacks_own_hosts_take_pictures(url: str, *, allowed: bool) -> None:
    assert Client(Slack.model_validate({"token": "xoxb-1"}))._is_slack(url) is allowed


@pytest.mark.parametrize("method", ["files.getUploadURLExternal", "upload", "files.completeUploadExternal"])
def test_a_picture_that_fails_at_any_step_says_how(slack: StandIn, client: Client, method: str) -> None:
    posted = client.post("#alerts", PAYLOAD)
    slack.fail(method, faults.limited(2))
    assert failure(lambda: client.upload(posted, "c.png", "t", b"png")).retry_after == 2


def test_identity_says_who_and_which_scopes_are_missing(slack: StandIn, client: Client) -> None:
    who = client.identity()
    assert (who.team, who.user, who.missing) == ("Stand-in", "touchstone", ())
    assert set(who.scopes) == set(SCOPES)
    slack.workspace.scopes -= {"files:write", "channels:history"}
    assert client.identity().missing == ("channels:history", "files:write")


def test_a_webhook_posts_and_can_do_nothing_else(slack: StandIn) -> None:
    client = Client(slack.settings(webhook=True))
    assert not client.can_edit
    assert client.post("#ignored", PAYLOAD, "1.1") == Posted("webhook", "")
    assert slack.messages[0].metadata == PAYLOAD["metadata"]
    for act in (
        client.identity,
        lambda: client.posted("#x", since()),
        lambda: client.update(Posted("C", "1"), PAYLOAD),
    ):
        assert failure(act).permanent


@pytest.mark.parametrize(("change", "code"), [
    (lambda slack: slack.workspace.channel("#data-quality").__setattr__("archived", True), "channel_is_archived"),
    (lambda slack: setattr(slack, "token", "xoxb-other"), "no_service"),
])  # fmt: skip
def test_a_webhook_that_is_gone_is_a_permanent_failure(
    slack: StandIn, change: Callable[[StandIn], None], code: str
) -> None:
    client = Client(slack.settings(webhook=True))
    change(slack)
    error = failure(lambda: client.post("", PAYLOAD))
    assert (error.code, error.permanent) == (code, True)


@pytest.mark.parametrize("webhook", [False, True])
def test_a_message_that_is_refused_for_what_it_is_says_that_less_may_do(slack: StandIn, *, webhook: bool) -> None:
    client = Client(slack.settings(webhook=webhook))
    bad = {**PAYLOAD, "blocks": [{"type": "header", "text": {"type": "plain_text", "text": "x" * 151}}]}
    error = failure(lambda: client.post("#alerts", bad))
    assert (error.code, error.permanent, error.unfit) == ("invalid_blocks", True, True)


def test_many_threads_may_use_one_client(client: Client) -> None:
    def work(number: int) -> None:
        for n in range(20):
            client.post("#alerts", numbered(number * 20 + n))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(client.posted("#alerts", since())) == 160


def test_a_proxy_is_for_others_than_loopback(slack: StandIn, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy is asked for a tunnel; what it refuses was not sent."""
    calls: list[Call] = []
    monkeypatch.setenv("HTTPS_PROXY", slack.url.replace("//", "//user:pass@"))

    def note(call: Call) -> None:
        calls.append(call)

    slack.decide = note
    client.post("#alerts", PAYLOAD)
    error = failure(lambda: transport.post("https://slack.com/api/", b"x", {}, 5))
    assert (error.code, error.doubt) == ("unreachable", False)
    assert len(calls) == 1
