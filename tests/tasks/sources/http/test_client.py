"""What the client does, against a real server."""

import gzip
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.sources.http import Answer, Http, HttpError, Limits, Reason, Trace
from tests.tasks.sources.exchanges import Request, Response
from tests.tasks.sources.faulty import FaultyServer
from tests.tasks.sources.http.asking import HASTY, Clock, client, credential, failure, patience, swept
from tests.tasks.sources.http.encrypted import untrusted
from tests.tasks.sources.listing import ITEMS, app


def test_an_answer_is_decoded_and_says_what_comes_next(server: FaultyServer) -> None:
    with client(server) as http:
        answer = http.get("items", {"page": 2, "per_page": 5}, trace=Trace("items"))
    assert (answer.status, answer.content, answer.last, answer.etag) == (200, ITEMS[5:10], 5, '"page-2"')
    assert answer.next == f"{server.url}items?per_page=5&page=3"
    asked = server.requests[0].headers
    assert asked["accept-encoding"] == "gzip"
    assert asked["user-agent"].startswith("touchstone/")


def test_what_is_unchanged_is_not_sent_again(server: FaultyServer) -> None:
    trace = Trace("items")
    with client(server) as http:
        first = http.get("items", trace=trace)
        (again,) = http.pages("items", trace=trace, etag=first.etag)
    assert (again.unchanged, again.content, again.raw) == (True, None, b"")
    assert trace.extraction().statuses == {200: 1, 304: 1}


def test_what_has_no_body_is_not_decompressed() -> None:
    """A 304 may repeat the headers of the answer that it stands for."""
    named: dict[str, str | None] = {"content-encoding": "gzip", "etag": '"1"'}
    with FaultyServer(lambda _: Response(304, named, content=b"")) as server, client(server) as http:
        assert http.get("items", trace=Trace("items"), etag='"1"').unchanged


def test_a_question_is_posted(server: FaultyServer) -> None:
    with client(server) as http:
        answer = http.post("search", {"start": 20}, trace=Trace("issues"))
    assert answer.records("issues") == ITEMS[20:]
    assert server.requests[0].json == {"start": 20}


def test_a_list_that_is_not_there_is_an_error_that_says_so(server: FaultyServer) -> None:
    with client(server) as http:
        answer = http.post("search", {}, trace=Trace("issues"))
        told = failure(lambda: Answer(answer.status, {}, answer.records("builds"), b""))
    assert (told.reason, told.content) == (Reason.CONTENT, "an object without a list under 'builds'")


def test_pages_follow_each_other_to_the_end(server: FaultyServer) -> None:
    trace = Trace("items")
    with client(server) as http:
        assert swept(http, trace) == ITEMS
    stated = trace.extraction()
    assert (stated.pages_fetched, stated.pages_advertised, stated.items_received) == (5, 5, len(ITEMS))
    assert (stated.first_id, stated.last_id, stated.page_sizes) == (1, 23, (5, 5, 5, 5, 3))


@pytest.mark.parametrize(("size", "requests"), [(23, 2), (24, 1), (100, 1)])
def test_a_full_page_that_names_no_other_is_not_believed(server: FaultyServer, size: int, requests: int) -> None:
    with client(server) as http:
        assert swept(http, Trace("items"), per_page=size) == ITEMS
    assert len(server.requests) == requests


def test_a_link_header_that_is_lost_loses_nothing(server: FaultyServer) -> None:
    server.inject("chain_cut")
    with client(server) as http:
        assert swept(http, Trace("items"), per_page=5) == ITEMS


@pytest.mark.parametrize(
    ("name", "waits"),
    [("429_seconds", 1), ("403_secondary_without_time", 60), ("503_seconds", 1), ("403_limit", 1)],
)
def test_it_waits_as_long_as_the_server_asks(server: FaultyServer, clock: Clock, name: str, waits: float) -> None:
    server.inject(name)
    began = clock.now()
    with client(server, clock) as http:
        http.get("items", trace=Trace("items"))
    assert sum(clock.slept) > 0
    assert waits <= (clock.now() - began).total_seconds() < waits + 8


def test_pauses_that_nobody_names_grow_and_differ(server: FaultyServer) -> None:
    server.inject("500_lasting")
    clocks = [Clock(), Clock()]
    for clock in clocks:
        with client(server, clock, Limits(retries=5)) as http:
            assert failure(lambda: http.get("items", trace=Trace("items"))).reason is Reason.BROKEN
        least = [0.5, 1, 2, 4, 8]
        assert all(low <= pause <= 2 * low for low, pause in zip(least, clock.slept, strict=True))
    assert clocks[0].slept != clocks[1].slept


@pytest.mark.parametrize(
    ("name", "reason", "waits_until_reset"),
    [
        ("429_absurd", Reason.LIMITED, True),
        ("403_limit_far", Reason.LIMITED, True),
        ("503_for_hours", Reason.BROKEN, False),
    ],
)
def test_a_wait_that_is_too_long_ends_the_request(
    server: FaultyServer, clock: Clock, name: str, reason: Reason, *, waits_until_reset: bool
) -> None:
    server.inject(name)
    with client(server, clock) as http:
        told = failure(lambda: http.get("items", trace=Trace("items")))
    assert (told.reason, clock.slept, len(server.requests)) == (reason, [], 1)
    assert (told.reset is not None) is waits_until_reset


def limited(remaining: int, reset: float, skew: float = 0.0) -> Response:
    """A page of a server whose clock goes wrong by `skew` seconds."""
    now = datetime.now(UTC) + timedelta(seconds=skew)
    return Response(
        headers={
            "Date": now.strftime("%a, %d %b %Y %H:%M:%S GMT"), "X-RateLimit-Limit": "5000",
            "X-RateLimit-Remaining": str(remaining), "X-RateLimit-Reset": str(int(now.timestamp() + reset)),
        },
        json=[],
    )  # fmt: skip


@pytest.mark.parametrize("skew", [0.0, 7200.0, -7200.0])
def test_a_reset_is_by_the_servers_clock(clock: Clock, skew: float) -> None:
    began = clock.now()
    with FaultyServer(lambda _: limited(50, 100, skew)) as server, client(server, clock) as http:
        http.get("a", trace=Trace("a"))
        assert clock.slept == []
        http.get("a", trace=Trace("a"))
    assert (clock.now() - began).total_seconds() == pytest.approx(104, abs=6)


def test_what_is_left_of_the_limit_is_for_others_all_who_share_the_credential_wait(clock: Clock) -> None:
    with (
        FaultyServer(lambda _: limited(50, 3000)) as server,
        client(server, clock) as one,
        client(server, clock) as same,
        client(server, clock, authorise=dict) as other,
    ):
        one.get("a", trace=Trace("a"))
        told = failure(lambda: same.get("a", trace=Trace("a")))
        other.get("a", trace=Trace("a"))
    assert (told.reason, told.status, len(server.requests)) == (Reason.LIMITED, None, 2)


def test_one_limit_does_not_close_another(clock: Clock) -> None:
    def of_two(request: Request) -> Response:
        left = 0 if request.path == "/search" else 4000
        return limited(left, 3000).having(X_RateLimit_Resource=request.path.strip("/"))

    with FaultyServer(of_two) as server, client(server, clock) as http:
        http.get("search", trace=Trace("a"))
        http.get("core", trace=Trace("a"))
        assert failure(lambda: http.get("search", trace=Trace("a"))).reason is Reason.LIMITED


def test_threads_share_one_budget() -> None:
    """Two clients of one credential and four threads each: never more at once than one may have."""
    limits = Limits(concurrency=3)
    with FaultyServer(app, latency_seconds=0.02) as server, client(server, limits=limits) as one:
        with client(server, limits=limits) as other:
            threads = [
                threading.Thread(target=swept, args=(http, Trace("items"))) for http in (one, other) for _ in range(4)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert len(server.requests) == 40
        assert server.most_under_way == 3
        assert server.connections_made <= 6


def test_connections_are_kept(server: FaultyServer) -> None:
    with client(server) as http:
        for _ in range(5):
            swept(http, Trace("items"))
    assert (len(server.requests), server.connections_made) == (25, 1)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 9), max_size=30), st.integers(1, 5))
def test_each_keeps_the_order(delays: list[int], concurrency: int) -> None:
    with Http("http://127.0.0.1:9/", limits=Limits(concurrency=concurrency)) as http:

        def slowly(numbered: tuple[int, int]) -> int:
            time.sleep(numbered[1] / 10_000)
            return numbered[0]

        assert list(http.each(slowly, enumerate(delays))) == list(range(len(delays)))


def test_each_looks_ahead_a_little_and_stops_at_the_first_error() -> None:
    taken: list[int] = []
    found: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(1000):
            taken.append(number)
            yield number

    def call(number: int) -> int:
        if number == 20:
            raise KeyError(number)
        return number

    with Http("http://127.0.0.1:9/", limits=Limits(concurrency=4)) as http, pytest.raises(KeyError):  # noqa: PT012
        for one in http.each(call, numbers()):
            found.append(one)  # noqa: PERF402 - what came before the error counts
    assert found == list(range(20))
    assert len(taken) <= 29


def test_nobody_waits_for_what_nobody_wants_any_more(server: FaultyServer) -> None:
    """Ctrl-C, or the first error, does not hang for the minute that a server asks another thread to wait."""
    server.inject("403_secondary_without_time", path="items/2")
    began = time.monotonic()

    def call(number: int) -> Answer:
        if number == 1:
            while not server.applied["403_secondary_without_time"]:
                time.sleep(0.01)
            raise KeyError(number)
        return http.get(f"items/{number}", trace=Trace("items"))

    with client(server, sleep=time.sleep) as http, pytest.raises(KeyError):
        list(http.each(call, [1, 2, 3]))
    assert time.monotonic() - began < 10


headers = st.dictionaries(
    st.sampled_from(["Retry-After", "X-RateLimit-Remaining", "X-RateLimit-Reset", "Date"]),
    st.integers(-1000, 10**10).map(str)
    | st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31)).map(lambda at: f"{at:%a, %d %b %Y %H:%M:%S} GMT"),  # noqa: DTZ001 - GMT
)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([200, 403, 429, 500, 503]), headers, st.floats(0.1, 100))
def test_whatever_a_server_asks_no_wait_is_longer_than_the_longest(
    status: int, told: dict[str, str | None], longest: float
) -> None:
    clock, limits = Clock(), Limits(retries=2, longest_wait_seconds=longest)
    with FaultyServer(lambda _: Response(status, told, [])) as server, client(server, clock, limits) as http:
        for _ in range(2):
            with suppress(HttpError):
                http.get("x", trace=Trace("x"))
    assert all(0 <= pause <= longest for pause in clock.slept)


def test_what_is_moved_within_its_host_is_asked_for_there_with_the_credential(server: FaultyServer) -> None:
    server.inject("moved_within")
    with client(server) as http:
        assert http.get("items", trace=Trace("items")).content == ITEMS[:5]
    assert [("moved" in one.target, "authorization" in one.headers) for one in server.requests] == [
        (False, True), (True, True),
    ]  # fmt: skip


def test_cookies_are_not_kept(server: FaultyServer) -> None:
    server.inject("cookies", every=True)
    with client(server) as http:
        swept(http, Trace("items"))
    assert server.applied["cookies"] == 5
    assert not server.hosts_with("Cookie")


@pytest.mark.parametrize("name", ["bomb", "huge"])
def test_an_answer_that_is_too_large_is_left_while_it_comes(server: FaultyServer, name: str) -> None:
    server.inject(name)
    with client(server) as http:
        told = failure(lambda: http.get("items", trace=Trace("items")))
    assert (told.reason, len(server.requests)) == (Reason.TOO_LARGE, 1)


def test_what_is_large_compressed_or_not_is_read_up_to_the_bound() -> None:
    body = b"[" + b" " * (2**20 - 2) + b"]"
    zipped = Response(headers={"Content-Encoding": "gzip"}, content=gzip.compress(body))
    with FaultyServer(lambda request: zipped if "zip" in request.path else Response(content=body)) as server:
        with client(server) as http:
            assert http.get("zip", trace=Trace("a")).content == http.get("plain", trace=Trace("a")).content == []
        with client(server, limits=Limits(answer_bytes=2**20 - 1)) as http:
            for path in ("zip", "plain"):
                assert failure(lambda: http.get(path, trace=Trace("a"))).reason is Reason.TOO_LARGE  # noqa: B023


@pytest.mark.parametrize(
    ("name", "reason", "words"),
    [
        ("refused_connection", Reason.UNREACHABLE, "the connection was refused"),
        ("stalled_lasting", Reason.TIMEOUT, "no answer in time"),
        ("reset_lasting", Reason.BROKEN, "the connection broke off before the answer was whole"),
        ("login_page", Reason.CONTENT, "answered 200 with a login page"),
        ("302_login", Reason.REDIRECTED, "answered 302: a redirect as to a login page, which is not followed"),
        ("401", Reason.REFUSED, "answered 401: Bad credentials"),
        ("404", Reason.GONE, "answered 404: Not Found"),
        ("502_lasting", Reason.BROKEN, "answered 502: 502 Bad Gateway"),
        ("204", Reason.CONTENT, "answered 204 with nothing (status 204)"),
    ],
)
def test_an_error_says_what_was_asked_what_came_and_what_to_do(
    server: FaultyServer, name: str, reason: Reason, words: str
) -> None:
    server.inject(name)
    with client(server, limits=patience(name)) as http:
        told = failure(lambda: http.get("items", {"q": "private"}, trace=Trace("items")))
    assert told.reason is reason
    assert str(told).startswith(f"GET {server.url}items: {words}")
    assert ("after 4 tries" in str(told)) == (len(server.requests) > 1 or name == "refused_connection")
    assert len(str(told).rsplit(": ", 1)[1]) > 15
    assert "private" not in str(told)


def test_a_host_that_is_not_there_is_unreachable(clock: Clock) -> None:
    told_clock = {"clock": clock.now, "sleep": clock.sleep}
    with Http("http://no-such-host.invalid/", limits=HASTY, **told_clock) as http:  # type: ignore[arg-type]
        told = failure(lambda: http.get("x", trace=Trace("x")))
    assert told.reason is Reason.UNREACHABLE
    assert "no-such-host.invalid" in str(told)


def test_a_server_without_a_certificate_that_is_trusted_is_not_asked_again(tmp_path: Path, clock: Clock) -> None:
    with untrusted(tmp_path) as url, Http(url, sleep=clock.sleep, authorise=credential) as http:
        told = failure(lambda: http.get("x", trace=Trace("x")))
    assert (told.reason, told.said, clock.slept) == (Reason.UNREACHABLE, "its certificate is not trusted", [])


def test_an_error_that_is_an_answer_can_be_forgiven(server: FaultyServer) -> None:
    trace = Trace("items")
    server.inject("422", path="items/7")
    with client(server) as http:
        swept(http, trace)
        told = failure(lambda: http.get("items/7", trace=trace))
    assert trace.extraction().statuses == {200: 5, 422: 1}
    trace.forgive(told.status or 0)
    assert trace.extraction().statuses == {200: 5}


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: "])
def test_a_request_in_a_dripping_answer_ends(head: bytes) -> None:
    """Each piece comes in time, and the whole never does: neither the body, nor the headers."""
    listener = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        for _ in range(2):
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                connection.recv(9999)
                connection.sendall(head)
                for _ in range(200):
                    connection.sendall(b" ")
                    time.sleep(0.01)

    thread = threading.Thread(target=drip)
    thread.start()
    limits = Limits(timeout_seconds=0.02, retries=1)
    with Http(f"http://127.0.0.1:{listener.getsockname()[1]}/", limits=limits, sleep=lambda _: None) as http:
        began = time.monotonic()
        assert failure(lambda: http.get("x", trace=Trace("x"))).reason is Reason.TIMEOUT
        assert time.monotonic() - began < 1.9
    thread.join()
    listener.close()


@pytest.mark.parametrize("fault", ["length_too_long", "closed_after_body", "reset_after_body", "gzip_cut_off"])
@pytest.mark.parametrize(("status", "reason"), [(404, Reason.GONE), (403, Reason.REFUSED), (500, Reason.BROKEN)])
def test_an_error_whose_page_breaks_off_is_that_error(fault: str, status: int, reason: Reason) -> None:
    """Its status was told before; it is asked for again, as the rest of the page may say more."""
    page = Response(status, {"Content-Type": "text/html"}, content=b"<html>" + b" " * 500)
    with FaultyServer(lambda _: page) as server, client(server, limits=HASTY) as http:
        server.inject(fault, times=9)
        told = failure(lambda: http.get("x", trace=Trace("x")))
        asked = len(server.requests)
    assert (told.status, told.reason, told.content) == (status, reason, None)
    assert asked == 4


@pytest.mark.parametrize(
    "page", [Response(404, {"Content-Encoding": "br"}, content=b"xx"), Response(404, content=bytes(2**21))]
)
def test_an_error_page_that_cannot_be_read_is_that_error(page: Response) -> None:
    """Too large, or in an encoding that nobody asked for: it is not asked for again."""
    with FaultyServer(lambda _: page) as server, client(server) as http:
        told = failure(lambda: http.get("x", trace=Trace("x")))
        assert (told.status, told.reason, len(server.requests)) == (404, Reason.GONE, 1)
