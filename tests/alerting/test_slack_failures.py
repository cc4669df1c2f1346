"""What the client makes of each way in which Slack, or the way to it, can fail; and that it never tells a secret."""

import logging
import socket
import threading
import time
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from alerting.slack import errors, transport
from alerting.slack.client import Client
from alerting.standin import faults
from alerting.standin.faults import Fault
from alerting.standin.server import StandIn
from config.settings import ConfigError, Slack
from tests.alerting.calling import PAYLOAD, failure

# fault, permanent, doubt, retry_after, whether the message has arrived
ANSWERS = [
    (faults.limited(7), False, False, 7.0, False),
    (Fault(status=429), False, False, errors.RETRY_AFTER, False),
    (Fault(status=429, headers=(("Retry-After", "soon"),)), False, False, errors.RETRY_AFTER, False),
    (Fault(status=429, headers=(("Retry-After", "nan"),)), False, False, errors.RETRY_AFTER, False),
    (Fault(status=429, headers=(("Retry-After", "1e9"),)), False, False, errors.LONGEST, False),
    (Fault(error="ratelimited", headers=(("Retry-After", "3"),)), False, False, 3.0, False),
    (faults.server_error(500), False, True, None, False),
    (faults.server_error(503, done=True), False, True, None, True),
    (Fault(status=503, headers=(("Retry-After", "9"),)), False, True, 9.0, False),
    (Fault(status=504, error="internal_error", done=True), False, True, None, True),
    (Fault(status=502, error="a_code_of_tomorrow", done=True), False, True, None, True),
    (faults.reset(), False, True, None, False),
    (faults.reset(done=True), False, True, None, True),
    (faults.dropped(), False, True, None, True),
    (faults.cut(), False, True, None, True),
    (faults.login_page(), False, True, None, False),
    (Fault(status=200, body=b"{not json", done=True), False, True, None, True),
    (Fault(status=200, body=b'{"ok": true}', done=True), False, True, None, True),
    (Fault(status=200, body=b'{"ok": true, "channel": 1, "ts": []}', done=True), False, True, None, True),
    (Fault(status=200, body=b'{"a":' * 100_000, done=True), False, True, None, True),
    (Fault(status=200, body=b"[1]"), False, True, None, False),
    (Fault(status=200, body=b""), False, True, None, False),
    (Fault(status=200, body=b"\xff\xfe"), False, True, None, False),
    (Fault(status=200, body=b'{"ok": false, "error": {"a": 1}}'), False, True, None, False),
    (faults.redirected("https://elsewhere.example/"), False, True, None, False),
    (Fault(status=403, body=b"<html>the proxy says no</html>"), False, False, None, False),
    (Fault(status=413), True, False, None, False),
    *((faults.refused(code), False, True, None, False) for code in sorted(errors.IN_DOUBT)),
    *((faults.refused(code), False, False, None, False) for code in sorted(errors.TEMPORARY)),
    *((faults.refused(code), True, False, None, False) for code in (
        "channel_not_found", "not_in_channel", "is_archived", "invalid_auth", "not_authed", "account_inactive",
        "token_revoked", "token_expired", "missing_scope", "restricted_action", "msg_too_long", "msg_blocks_too_long",
        "invalid_blocks", "no_text", "ekm_access_denied", "message_not_found", "cant_update_message",
        "edit_window_closed", "a_code_of_tomorrow")),
]  # fmt: skip


@pytest.mark.parametrize(("fault", "permanent", "doubt", "retry_after", "arrived"), ANSWERS)
def test_each_failure_says_whether_to_try_again_and_whether_to_look_first(
    slack: StandIn, client: Client, fault: Fault, *, permanent: bool, doubt: bool, retry_after: float | None,
    arrived: bool,
) -> None:  # fmt: skip
    """What is not in doubt must not have arrived: a wrong "no doubt" is a doubled message."""
    slack.fail("chat.postMessage", fault)
    error = failure(lambda: client.post("#alerts", PAYLOAD))
    assert (error.permanent, error.doubt, error.retry_after) == (permanent, doubt, retry_after), str(error)
    assert len(slack.messages) == arrived
    assert doubt or not arrived
    if fault.error:
        assert error.code == fault.error


def test_an_answer_that_does_not_come_in_time_is_in_doubt(slack: StandIn) -> None:
    slack.fail("chat.postMessage", faults.slow(30))
    began = time.monotonic()
    error = failure(lambda: Client(slack.settings(timeout=0.3)).post("#alerts", PAYLOAD))
    assert (error.permanent, error.doubt, len(slack.messages)) == (False, True, 1)
    assert time.monotonic() - began < 15


def test_an_answer_that_never_ends_is_given_up() -> None:
    """Each receive is in time; all of them together are not."""

    class Drip(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200)
            self.end_headers()
            try:
                while not stop.wait(0.02):
                    self.wfile.write(b" ")
            except OSError:
                return

        def log_message(self, *_: Any) -> None: ...

    stop = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Drip)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        error = failure(lambda: transport.post(f"http://127.0.0.1:{server.server_port}/", b"", {}, 0.4))
    finally:
        stop.set()
        server.shutdown()
        server.server_close()
    assert (error.code, error.doubt) == ("no_answer", True)


def test_nothing_was_sent_where_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        error = failure(lambda: transport.post(f"http://127.0.0.1:{port}/api/", b"x", {}, 5))
    assert (error.code, error.permanent, error.doubt) == ("unreachable", False, False)


def test_nothing_was_sent_where_there_is_no_such_host_or_no_good_certificate(slack: StandIn) -> None:
    error = failure(lambda: transport.post("https://no-such-host.invalid/", b"x", {}, 5))
    assert (error.code, error.doubt) == ("unreachable", False)
    error = failure(lambda: transport.post(slack.url.replace("http://", "https://"), b"x", {}, 5))
    assert (error.code, error.doubt) == ("unreachable", False)


def test_a_redirect_is_not_followed_and_carries_the_token_nowhere(slack: StandIn, client: Client) -> None:
    """As urllib would: it repeats the request, with its headers, at any host that it is sent to."""
    with StandIn() as elsewhere:
        for status in (301, 302, 303, 307, 308):
            slack.fail("*", Fault(status=status, headers=(("Location", f"{elsewhere.base_url}chat.postMessage"),)))
            assert failure(lambda: client.post("#alerts", PAYLOAD)).code == f"http_{status}"
        assert not elsewhere.counts


SECRETS = [*(fault for fault, *_ in ANSWERS), faults.slow(5), Fault(status=200, error="invalid_auth")]


@pytest.mark.parametrize("webhook", [False, True])
def test_no_secret_is_in_any_error_its_context_or_the_log(
    slack: StandIn, caplog: pytest.LogCaptureFixture, *, webhook: bool
) -> None:
    """Whoever logs, chains, or shows an error shows no more than its code."""
    client = Client(slack.settings(timeout=0.2, webhook=webhook))
    secrets = [slack.token, slack.token[5:], slack.webhook_url, "Bearer"]
    with caplog.at_level(logging.DEBUG):
        for fault in SECRETS:
            slack.fail("*", fault)
            error = failure(lambda: client.post("#alerts", PAYLOAD))
            told = "".join(traceback.format_exception(error)) + f"{error!r} {error} {vars(error)} {error.args}"
            assert error.__context__ is None
            assert error.__cause__ is None
            assert not [one for one in secrets if one in told]
    assert not [one for one in secrets if one in caplog.text + repr(client) + repr(slack.settings())]


def test_a_wrong_token_and_a_closed_port_do_not_tell_it_either(slack: StandIn) -> None:
    wrong = slack.settings().model_copy(update={"token": Slack(token="xoxb-SECRET").token})  # type: ignore[arg-type] # noqa: S106
    error = failure(lambda: Client(wrong).post("#alerts", PAYLOAD))
    assert (error.code, error.permanent) == ("invalid_auth", True)
    assert "SECRET" not in repr(error) + str(error)


@pytest.mark.parametrize("token", ["xoxb-SECRET\n", "xoxb SECRET", "xoxb-SECRET\u2028", "xoxb-SECRETé"])
def test_a_token_that_cannot_be_one_is_refused_without_being_told(token: str) -> None:
    """http.client would raise an error that quotes the header."""
    with pytest.raises(ConfigError, match=r"slack\.token") as caught:
        Client(Slack.model_validate({"token": token}))
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://hooks.example/SECRET", "ftp://127.0.0.1/SECRET", "SECRET", "https:///SECRET",
                                 "https://hooks.example/SEC RET", "http://127.0.0.1.evil.example/SECRET"])  # fmt: skip
def test_a_webhook_that_would_be_called_in_the_clear_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLACK_BOT_TOKEN", raising=False)
    with pytest.raises(ConfigError, match=r"slack\.webhook_url") as caught:
        Client(Slack.model_validate({"webhook_url": url}))
    assert "SECRET" not in str(caught.value)


def test_without_token_and_webhook_there_is_no_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLACK_BOT_TOKEN", raising=False)
    with pytest.raises(ConfigError, match="neither"):
        Client(Slack())


def test_a_token_goes_before_a_webhook_and_may_come_from_a_file(slack: StandIn, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(f"{slack.token}\n", encoding="utf-8")
    told = {"base_url": slack.base_url, "token_file": path, "webhook_url": slack.webhook_url}
    client = Client(Slack.model_validate(told))
    assert client.can_edit
    client.post("#alerts", PAYLOAD)
    assert slack.counts == {"chat.postMessage": 1}
