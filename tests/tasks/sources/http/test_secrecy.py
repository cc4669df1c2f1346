"""A credential goes to its own host, and into no text that anybody reads."""

import json
import logging
import traceback
from base64 import b64encode

import pytest

from tasks.sources.http import Answer, Http, HttpError, Reason, Trace
from tasks.sources.http.secrecy import shown
from tasks.sources.http.wire import proxy_for
from tests.tasks.sources.exchanges import Request, Response
from tests.tasks.sources.faulty import FAULTS, FaultyServer
from tests.tasks.sources.http.asking import CANARY, client, failure, patience, swept

SHAPELESS = "11" + 2 * "0123456789abcdef"
"""A token that nothing but itself tells to be one."""
AWAY = ["301_elsewhere", "302_login", "303_login", "307_elsewhere", "next_page_elsewhere"]


@pytest.mark.parametrize("name", AWAY)
@pytest.mark.parametrize("nth", [1, 2])
def test_no_other_address_gets_a_request(server: FaultyServer, name: str, nth: int) -> None:
    """Another port is another origin."""
    server.inject(name, nth=nth)
    trace = Trace("items")
    with client(server) as http:
        swept(http, trace)
    assert "another host" in str(trace.error) or "login page" in str(trace.error)
    assert server.applied[name] == 1
    assert not server.strays
    assert server.hosts_with("Authorization") == {server.url.split("/")[2]}


def test_an_address_of_another_host_is_not_asked(server: FaultyServer) -> None:
    with client(server) as http:
        told = failure(lambda: http.get(f"{server.elsewhere}items", trace=Trace("items")))
    assert (told.reason, server.requests, server.strays) == (Reason.REDIRECTED, [], [])


def test_no_text_holds_the_credential(server: FaultyServer, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever happens, and even where a server repeats it: in no error, traceback, evidence, repr or log record."""
    told = [""]
    for name in ("httpx2", "httpcore2", "httpcore2.connection", "httpcore2.http11", "stamina", "tasks"):
        caplog.set_level(logging.DEBUG, name)
    with caplog.at_level(logging.DEBUG):
        for name in sorted(FAULTS):
            server.heal()
            server.inject(name)
            trace = Trace("items")
            with client(server, limits=patience(name)) as http:
                try:
                    answer = http.get("items", {"token": CANARY}, trace=trace)
                except HttpError as error:
                    trace.fail(error)
                    told += ["".join(traceback.format_exception(error)), repr(error), str(vars(error))]
                else:
                    told.append(repr(answer))
                told += [str(trace.extraction()), repr(http), repr(vars(http))]
    assert any(f"GET {server.url}items: 200" in record.getMessage() for record in caplog.records)
    assert len(told) > 300
    assert CANARY not in "".join(told)
    assert CANARY not in caplog.text
    assert not [record for record in caplog.records if CANARY in str(record.__dict__)]


def test_one_line_is_logged_for_a_request_and_it_has_no_query(
    server: FaultyServer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG), client(server) as http:
        http.get("items", {"token": CANARY}, trace=Trace("items"))
    (line,) = caplog.messages
    assert line.startswith(f"GET {server.url}items: 200, ")


@pytest.mark.parametrize("token", [f"{CANARY}\n", f"{CANARY}\r\nX-Evil: 1", f"{CANARY}ß", f"{CANARY}\x00"])
def test_a_token_that_no_header_can_hold_is_refused_without_being_told(server: FaultyServer, token: str) -> None:
    """The library's own error would show it."""
    with client(server, authorise=lambda: {"Authorization": f"Bearer {token}"}) as http:
        told = failure(lambda: http.get("items", trace=Trace("items")))
    assert (told.reason, server.requests) == (Reason.REFUSED, [])
    assert CANARY not in "".join(traceback.format_exception(told))


@pytest.mark.parametrize(
    "said",
    [
        "unknown password pa/ss word, of alice",
        f"unknown: Basic {b64encode(b'alice:pa/ss word').decode()}",
        "unknown: alice:pa/ss word",
        "unknown: alice%3Apa%2Fss%20word",
    ],
)
def test_what_a_server_says_of_a_credential_is_hidden_in_each_of_its_forms(said: str) -> None:
    told = shown(said, {"Authorization": f"Basic {b64encode(b'alice:pa/ss word').decode()}"})
    assert told.startswith("unknown")
    assert "***" in told
    assert "pa/ss word" not in told
    assert "pa%2Fss" not in told


@pytest.mark.parametrize(
    "body",
    [
        f"Gateway refused\n{' ' * 160}{SHAPELESS} twice",
        "x " + " ".join([SHAPELESS] * 6),
        "x" + " " * 9980 + SHAPELESS,
        f"{{{'x' * 140}: {SHAPELESS}",
        f"<html><title>{'x' * 140} {SHAPELESS}</title>",
        json.dumps({"message": "x" * 140 + SHAPELESS}),
    ],
)
def test_a_credential_that_would_be_cut_in_two_is_hidden_first(body: str) -> None:
    """Half of it is not known as a secret, and may be enough to tell it."""
    credential = {"Authorization": f"Bearer {SHAPELESS}"}
    app = Response(400, content=body.encode())
    with FaultyServer(lambda _: app) as server, client(server, authorise=lambda: credential) as http:
        told = failure(lambda: http.get("items", trace=Trace("items")))
    assert not [end for end in range(8, len(SHAPELESS)) if SHAPELESS[:end] in str(told)]


def test_the_credential_is_asked_for_before_each_try(server: FaultyServer) -> None:
    """A token of an App ends after an hour, perhaps between two tries."""
    tokens = iter(f"token-number-{number}" for number in range(9))
    server.inject("500", times=2)
    with client(server, authorise=lambda: {"Authorization": next(tokens)}) as http:
        http.get("items", trace=Trace("items"))
    assert [one.headers["authorization"] for one in server.requests] == [f"token-number-{n}" for n in range(3)]


def test_the_environments_proxy_is_used_but_never_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy", "http_proxy", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    assert proxy_for("https://api.example.org/") == "http://proxy.example:3128"
    assert proxy_for("http://api.example.org/") is None
    assert {proxy_for(f"https://{host}/") for host in ("localhost", "127.0.0.1", "[::1]", "127.8.8.8")} == {None}
    monkeypatch.setenv("NO_PROXY", "example.org")
    assert proxy_for("https://api.example.org/") is None


def test_an_address_with_a_credential_in_it_is_refused() -> None:
    with pytest.raises(ValueError, match="token") as told:
        Http(f"https://me:{CANARY}@example.org/")
    assert CANARY not in "".join(traceback.format_exception(told.value))


def test_an_answer_shows_nothing_that_it_holds() -> None:
    answer = Answer(200, {"x": CANARY}, [CANARY], CANARY.encode(), next=f"http://x/?token={CANARY}")
    assert CANARY not in repr(answer)


def test_a_server_that_repeats_the_token_as_its_list_keeps_it_out_of_the_error() -> None:
    def repeat(request: Request) -> Response:
        return Response(json={"message": f"no such token: {request.headers['authorization']}"})

    with FaultyServer(repeat) as server, client(server) as http:
        told = failure(lambda: http.get("items", trace=Trace("items")))
    assert told.content == "an error object: no such token: ***"
