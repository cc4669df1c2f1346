"""What a receipt is worth: a table, one case a line, and laws that hold whatever a source answers."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any, Final

import bson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from quality.extractions import Extraction
from quality.receipts import REASON_LENGTH, Proof, Receipt, classify, worst

START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
WHOLE = Receipt("code/acme", START, START + DAY, START - DAY, START + 2 * DAY, items=3, items_anywhere=99)
E = Extraction
PAGES: Final[dict[str, Any]] = {"pages_fetched": 7, "pages_advertised": 7}
ALL: Final[dict[str, Any]] = {"items_received": 700, "total_advertised": 700}
DONE = Extraction("builds", START - DAY, START + 2 * DAY, complete=True, statuses={200: 7}, **PAGES, **ALL)
BROKE = replace(DONE, complete=False, pages_fetched=2, items_received=200, failed_at=3, statuses={200: 2})
OPEN = replace(WHOLE, covered_until=START + DAY / 2)
RESET = START + timedelta(hours=9, minutes=30)
SECRET = "https://bob:hunter2@ci.example/x"  # noqa: S105 - what must not be seen


@pytest.mark.parametrize(
    ("receipt", "proof", "coverage", "reason"),
    [
        (WHOLE, Proof.PROVEN, 1.0, None),
        # an empty window is fine when proven
        (replace(WHOLE, items=0), Proof.PROVEN, 1.0, None),
        # to the second: covered until the window's end is enough, a second less is not
        (replace(WHOLE, covered_until=START + DAY), Proof.PROVEN, 1.0, None),
        (replace(WHOLE, covered_until=START + DAY / 2), Proof.PARTIAL, 0.5, "still open: seen until 12:00"),
        # nothing of the window was seen: the recording had ended, or had not begun
        (replace(WHOLE, covered_until=START), Proof.UNPROVEN, 0.0, "recorded history ends 2026-03-01"),
        (replace(WHOLE, covered_from=START + DAY / 2), Proof.UNPROVEN, 0.0, "recorded history begins 2026-03-01"),
        # unreadable records of this window, or of nobody knows which
        (replace(WHOLE, rejected=1), Proof.UNPROVEN, 0.75, "1 of 4 records"),
        (replace(WHOLE, rejected_anywhere=1), Proof.PARTIAL, 0.99, "1 records could not be read"),
        # the origin as a whole
        (replace(WHOLE, problem="shallow clone"), Proof.UNPROVEN, 0.0, "shallow clone"),
        # a broken sweep is worse than anything else that is wrong with it
        (replace(WHOLE, problem="shallow clone", error="HTTP 502"), Proof.FAILED, 0.0, "HTTP 502"),
    ],
)
def test_a_receipt_is_worth(receipt: Receipt, proof: Proof, coverage: float, reason: str | None) -> None:
    verdict = classify(receipt)
    assert (verdict.proof, verdict.coverage) == (proof, coverage)
    assert verdict.reason is None if reason is None else reason in str(verdict.reason)


P, A, U, F = Proof.PROVEN, Proof.PARTIAL, Proof.UNPROVEN, Proof.FAILED
TABLE: Final[list[tuple[str, Extraction, Proof, str | None, bool, float]]] = [
    # what proves the end: the last page advertised, the total advertised, or the source's own end mark
    ("whole", DONE, P, None, False, 1.0),
    ("all pages", E(**PAGES), P, None, False, 1.0),
    ("all items", E(pages_fetched=7, **ALL), P, None, False, 1.0),
    ("end mark", E(complete=True), P, None, False, 1.0),
    ("empty, with proof", E(pages_fetched=1, total_advertised=0), P, None, False, 1.0),
    ("one page", E(page_sizes=(7,), page_size=100, items_received=7, total_advertised=7), P, None, False, 1.0),
    ("made good", replace(DONE, statuses={200: 7, 502: 2, 429: 1}, retries=3), P, None, False, 1.0),
    ("one build gone", replace(DONE, statuses={200: 7, 404: 1}), P, None, False, 1.0),
    ("the last page empty", E(complete=True, page_sizes=(9, 9, 0)), P, None, False, 1.0),
    ("limit used up at the end", replace(DONE, rate_limit_remaining=0), P, None, False, 1.0),
    ("canary seen", replace(DONE, canary="X-1", canary_seen=True), P, None, False, 1.0),
    ("scopes granted", replace(DONE, scopes_granted=("b", "a"), scopes_needed=("a",)), P, None, False, 1.0),
    ("scopes not told", replace(DONE, scopes_needed=("repo",)), P, None, False, 1.0),
    # nothing wrong is no proof
    ("nothing said", E(), U, "nothing says that the last page was reached", False, 0.0),
    ("pages, no end", E(pages_fetched=3, items_received=300), U, "nothing says that the last page", False, 0.0),
    ("total without a page", E(total_advertised=0), U, "nothing says that the last page", False, 0.0),
    ("no page of none", E(pages_advertised=0), U, "nothing says that the last page", False, 0.0),
    # broken
    ("502", replace(BROKE, statuses={200: 2, 502: 4}, retries=3), F, "page 3 of 7 answered 502 after 3 retries",
     True, 2 / 7),
    ("502 in its words", E(failed_at=3, statuses={200: 2, 502: 1}, error="Bad\nGateway"), F,
     "page 3 answered 502: Bad Gateway", False, 0.0),
    ("500 at once", E(statuses={500: 2}, retries=2), F, "the first page answered 500 after 2 retries", False, 0.0),
    ("422 at once", E(statuses={422: 1}), F, "the first page answered 422", False, 0.0),
    ("502 after all", replace(BROKE, statuses={200: 2, 502: 1}, retries=1), F, "502 after 1 retry$", True, 2 / 7),
    ("503 over 401", E(statuses={401: 1, 503: 1}), F, "answered 503", False, 0.0),
    ("skipped 502", replace(DONE, statuses={200: 6, 502: 2}, retries=1), F,
     "a page answered 502 after 1 retry", False, 0.0),
    ("404 in the middle", replace(BROKE, statuses={200: 2, 404: 1}), F, "page 3 of 7 answered 404", True, 2 / 7),
    ("timeout", replace(BROKE, timed_out=True), F, "page 3 of 7 did not answer in time", True, 2 / 7),
    ("reset", replace(BROKE, error="connection reset"), F, "page 3 of 7 could not be read: connection reset",
     True, 2 / 7),
    ("error only", replace(DONE, error="no JSON"), F, "a page could not be read: no JSON", False, 0.0),
    ("login page", replace(DONE, content="a login page"), F, "answered 200 with a login page", False, 0.0),
    ("error object", E(failed_at=1, content="an error object: {}"), F, "page 1 answered 200 with an error",
     False, 0.0),
    # what bars the view
    ("401", E(statuses={401: 1}), U, "the first page answered 401: the token was refused", False, 0.0),
    ("403 later", replace(BROKE, statuses={200: 2, 403: 1}), U, "page 3 of 7 answered 403: the token", True, 2 / 7),
    ("scope lost", replace(DONE, scope_lost=True), U, "no longer sees all", False, 0.0),
    ("scopes missing", replace(DONE, scopes_granted=("a",), scopes_needed=("a", "repo", "read:org")), U,
     "lacks a scope: grant it repo and read:org", False, 0.0),
    ("no scope at all", replace(DONE, scopes_granted=(), scopes_needed=("a",)), U, "grant it a$", False, 0.0),
    ("404", E(statuses={404: 1}), U, "gone or hidden from this token: it answered 404", False, 0.0),
    ("410", E(failed_at=1, statuses={410: 1}, error="Gone"), U, "gone or hidden from this token", False, 0.0),
    ("rate limit", replace(BROKE, rate_limited=True, rate_limit_reset=RESET), U,
     "rate limit was reached before the end, after 2 of 7 pages; it resets 2026-03-01 09:30 UTC", True, 2 / 7),
    ("429", E(failed_at=4, pages_fetched=3, statuses={200: 3, 429: 5}), U, "rate limit .* after 3 pages", False, 0.0),
    ("403 at the limit", E(statuses={403: 1}, rate_limit_remaining=0), U, "rate limit", False, 0.0),
    ("canary", replace(DONE, canary="ACME-1"), U, "ACME-1, which must be visible, was not seen", False, 0.0),
    ("shallow", replace(DONE, shallow=True), U, "shallow.* run git fetch --unshallow", False, 0.0),
    # records that are known to be missing
    ("short", replace(DONE, pages_fetched=3, items_received=300), U, "ends after 3 of 7 pages", True, 3 / 7),
    ("short, no total", E(pages_fetched=3, pages_advertised=7), U, "ends after 3 of 7 pages", True, 0.0),
    ("fewer", replace(DONE, items_received=699), U, "699 of 700 records were received", True, 699 / 700),
    ("more", replace(DONE, items_received=701), U, "701 .* 700 were advertised: the source changed", True, 1.0),
    ("none of some", E(pages_fetched=1, complete=True, total_advertised=5), U, "0 of 5 records", True, 0.0),
    ("empty page", E(page_sizes=(9, 0, 9), complete=True), U, "page 2 of 3 was empty", True, 0.0),
    ("repeated", replace(DONE, repeated_pages=2), U, "2 of 7 pages repeated an earlier one", True, 1.0),
    ("shrunk", E(page_sizes=(9, 8, 9, 1), complete=True), U, "page 2 of 4 held 8 .* a page holds 9", True, 0.0),
    ("less than asked", E(page_sizes=(50, 3), page_size=100, complete=True), U, "page 1 of 2 held 50", True, 0.0),
    ("grown", E(page_sizes=(50, 100, 3), complete=True), U, "page 1 of 3 held 50 .* holds 100", True, 0.0),
    ("holes", replace(DONE, missing_ids=(17, 18, 30, 31, 32)), U, "builds 17, 18 and 3 more are missing", True,
     700 / 705),
    ("two holes", E("builds", complete=True, missing_ids=(17, 18), items_received=8), U,
     "builds 17 and 18 are missing", True, 0.8),
    ("one hole", E("builds", complete=True, missing_ids=("17",)), U, "one of the builds is missing: 17", True, 0.0),
    ("many holes", E(missing_ids=(1, 2), missing=9000), U, "records 1, 2 and 8998 more are missing", True, 0.0),
    ("unnamed holes", E("builds", complete=True, missing=4), U, "4 of the builds are missing", True, 0.0),
    # of several reasons the most telling one, and what is missing counts all the same
    ("login over 502", E(content="a login page", failed_at=2, statuses={502: 1}), F, "page 2 answered 200", False, 0.0),
    ("502 over rate limit", replace(BROKE, rate_limited=True, statuses={200: 2, 502: 1}), F, "502", True, 2 / 7),
    ("time over retried 502", replace(BROKE, timed_out=True, statuses={200: 2, 502: 1}, retries=3), F, "in time", True,
     2 / 7),
    ("time over scope", replace(BROKE, timed_out=True, scopes_granted=(), scopes_needed=("a",)), F, "in time", True,
     2 / 7),
    ("broken over shallow", replace(BROKE, shallow=True, canary="a"), F, "page 3 of 7 could not", True, 2 / 7),
    ("rate limit over words", replace(BROKE, rate_limited=True, error="slow down"), U, "rate limit", True, 2 / 7),
    ("scope over limit", E(scope_lost=True, rate_limited=True, failed_at=2, error="no"), U, "no longer", False, 0.0),
    ("limit over canary", E(rate_limited=True, canary="a"), U, "rate limit", False, 0.0),
    ("canary over short", replace(DONE, canary="a", pages_fetched=6), U, "a, which must be visible", True, 1.0),
    ("repeated over fewer", replace(DONE, repeated_pages=1, items_received=600), U, "1 of 7 pages", True, 6 / 7),
    ("shrunk over fewer", E(page_sizes=(9, 5, 9), items_received=23, total_advertised=27), U, "page 2", True, 23 / 27),
    ("holes over fewer", replace(DONE, missing_ids=(17,), items_received=699), U, "missing: 17", True, 699 / 700),
    ("lost over no end", E(pages_fetched=1, items_received=1, total_advertised=2), U, "1 of 2", True, 0.5),
]  # fmt: skip


@pytest.mark.parametrize(
    ("extraction", "proof", "reason", "lossy", "coverage"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_an_extraction_is_worth(
    extraction: Extraction, proof: Proof, reason: str | None, lossy: bool, coverage: float  # noqa: FBT001
) -> None:  # fmt: skip
    verdict = classify(replace(WHOLE, extraction=extraction))
    assert (verdict.proof, verdict.lossy) == (proof, lossy)
    assert verdict.coverage == pytest.approx(coverage)
    assert verdict.reason is None if reason is None else re.search(reason, str(verdict.reason))


@pytest.mark.parametrize(
    ("receipt", "proof", "reason", "lossy"),
    [
        (replace(OPEN, extraction=DONE), A, "still open", False),
        (replace(OPEN, extraction=E()), U, "nothing says", False),
        (replace(OPEN, extraction=BROKE), F, "page 3 of 7", True),
        # the sweep's own failure first; then the extraction's, the origin's problem, the window's records
        (replace(WHOLE, error="boom", extraction=replace(DONE, timed_out=True)), F, "the sweep failed: boom", False),
        (replace(WHOLE, problem="no tags", extraction=replace(DONE, timed_out=True)), F, "in time", False),
        (replace(WHOLE, problem="no tags", extraction=replace(DONE, shallow=True)), U, "no tags", False),
        (replace(WHOLE, rejected=1, extraction=replace(DONE, shallow=True)), U, "shallow", True),
        (replace(WHOLE, rejected=1, extraction=E()), U, "1 of 4 records of this window", True),
        (replace(WHOLE, covered_from=START + DAY, extraction=E()), U, "history begins", False),
        (replace(WHOLE, rejected_anywhere=1, extraction=DONE), A, "may belong here", False),
        (replace(WHOLE, rejected_anywhere=1, extraction=BROKE), F, "page 3", True),
    ],
)
def test_the_extraction_and_the_window_are_judged_together(
    receipt: Receipt, proof: Proof, reason: str, lossy: bool  # noqa: FBT001
) -> None:  # fmt: skip
    verdict = classify(receipt)
    assert (verdict.proof, verdict.lossy) == (proof, lossy)
    assert reason in str(verdict.reason)


@pytest.mark.parametrize(
    ("skew", "until", "proof", "coverage"),
    [
        (300.0, DAY, P, 1.0),  # within the bound
        (-301.0, DAY, A, 1 - 301 / 86_400),
        (7200.0, DAY, A, 1 - 2 / 24),
        (7200.0, DAY + timedelta(hours=1), A, 1 - 1 / 24),  # an hour of the doubt lies behind the window
        (7200.0, DAY + timedelta(hours=2), P, 1.0),
        (7200.0, DAY - timedelta(hours=1), A, 1 - 3 / 24),
        (3 * 86_400.0, DAY, A, 0.0),
        (float("nan"), DAY, A, 0.0),
    ],
)
def test_a_wrong_clock_is_a_doubt_about_the_last_window_only(
    skew: float, until: timedelta, proof: Proof, coverage: float
) -> None:
    extraction = replace(DONE, clock_skew_seconds=skew)
    verdict = classify(replace(WHOLE, covered_until=START + until, extraction=extraction))
    assert (verdict.proof, verdict.lossy) == (proof, False)
    assert verdict.coverage == pytest.approx(coverage, abs=1e-6)
    assert proof is P or "the source's clock is" in str(verdict.reason)
    assert classify(replace(WHOLE, covered_until=START + 9 * DAY, extraction=extraction)).proof is (
        A if skew != skew else P  # noqa: PLR0124 - not a number: it may be anything
    )


def test_an_open_window_far_from_its_end_is_open_whatever_the_clock() -> None:
    assert "still open" in str(classify(replace(OPEN, extraction=replace(DONE, clock_skew_seconds=900))).reason)


def test_the_worst_extraction_that_overlaps_a_window_counts() -> None:
    """In whatever order they are given; one that ends where the window begins, or of another stream, does not count."""
    end = START + DAY
    open_end, short = E("builds"), replace(DONE, items_received=1)
    for order in permutations([DONE, open_end, short, BROKE, replace(DONE, start=START + DAY / 2)]):
        assert worst(order, "builds", START, end) == BROKE
    for order in permutations([DONE, open_end, short, replace(short, items_received=2)]):
        assert worst(order, "builds", START, end) == short
    twins = [replace(short, first_id=1), replace(short, first_id=2)]
    assert worst(twins, "builds", START, end) == worst(twins[::-1], "builds", START, end)
    assert worst([BROKE], "tags", START, end) is None
    assert worst([replace(BROKE, stream="")], "tags", START, end) is not None
    assert worst([replace(BROKE, end=START), replace(BROKE, start=end)], "builds", START, end) is None
    assert worst([replace(BROKE, end=START + timedelta(seconds=1))], "builds", START, end) is not None
    assert worst([replace(BROKE, start=START, end=START)], "builds", START, end) is not None
    assert worst([replace(BROKE, start=end, end=end)], "builds", START, end) is None
    assert worst((), "builds", START, end) is None


def test_what_is_kept_of_an_extraction_is_what_it_states() -> None:
    """Nothing neutral; a zero that was stated is kept; lists are cut, and their lengths are exact."""
    assert "extraction" not in WHOLE.document()
    empty = E("builds", pages_fetched=1, total_advertised=0, statuses={200: 1}, rate_limit_remaining=0)
    assert replace(WHOLE, extraction=empty).document()["extraction"] == {
        "stream": "builds", "pages_fetched": 1, "total_advertised": 0, "statuses": {"200": 1},
        "rate_limit_remaining": 0,
    }  # fmt: skip
    assert replace(WHOLE, extraction=E()).document()["extraction"] == {}
    long = E(
        missing_ids=tuple(range(5000)), page_sizes=(100,) * 300, first_id="a" * 64, error=f"at {SECRET}"
    ).document()
    assert (long["missing_ids"], long["missing"], long["missing_ids_count"]) == (list(range(20)), 5000, 5000)
    assert (len(long["page_sizes"]), long["page_sizes_count"], len(long["first_id"])) == (20, 300, 64)
    assert long["error"] == "at https://***@ci.example/x"


def test_a_receipt_is_small_though_a_source_answers_without_measure() -> None:
    text = "\U0001f6a7" * 10_000
    extraction = E(
        text, canary=text, first_id=text, last_id=text, error=text, content=text, missing_ids=(text,) * 5000,
        scopes_granted=(text,) * 99, scopes_needed=(text,) * 99, page_sizes=(2**80,) * 5000,
        statuses=dict.fromkeys(range(5000), 2**80),
    )  # fmt: skip
    document = replace(WHOLE, problem=text, error=text, extraction=extraction).document()
    assert len(bson.encode(document)) < 20_000
    assert (document["extraction"]["statuses_count"], document["extraction"]["page_sizes_count"]) == (5000, 5000)
    assert len(document["extraction"]["statuses"]) == 20


HUGE = 10**400
"""More than a float holds."""
texts = st.text(st.characters(), max_size=400) | st.just("\x00\ud800\u202e\r\n" * 99) | st.just("\U0001f6a7" * 11_000)
counts = st.sampled_from([-HUGE, -1, 0, 1, 2, 7, HUGE]) | st.integers(-3, 12) | st.integers()
ids = counts | texts
numbers = counts | st.floats()
times = st.datetimes(timezones=st.just(UTC)) | st.just(START)
flags = st.booleans()


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


def lists(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(strategy, max_size=4).map(tuple) | st.lists(strategy, min_size=1, max_size=2).map(
        lambda few: (*few,) * 30
    )


extractions = st.builds(
    Extraction, texts, maybe(times), maybe(times), complete=flags, pages_fetched=counts, pages_advertised=maybe(counts),
    items_received=counts, total_advertised=maybe(counts), page_size=maybe(counts), page_sizes=lists(counts),
    repeated_pages=counts, statuses=st.dictionaries(st.sampled_from([200, 304, 401, 404, 429, 503]) | counts, counts),
    retries=counts, failed_at=maybe(counts), error=maybe(texts), timed_out=flags, content=maybe(texts),
    rate_limited=flags, rate_limit_remaining=maybe(counts), rate_limit_reset=maybe(times), scope_lost=flags,
    scopes_granted=maybe(lists(texts)), scopes_needed=lists(texts), clock_skew_seconds=maybe(numbers),
    canary=maybe(ids), canary_seen=flags, first_id=maybe(ids), last_id=maybe(ids), missing=counts,
    missing_ids=lists(ids), shallow=flags, duration_seconds=maybe(numbers),
)  # fmt: skip
clean = st.builds(
    replace, st.sampled_from([DONE, E(complete=True), E(pages_fetched=1, total_advertised=0)]), start=maybe(times),
    first_id=maybe(ids), clock_skew_seconds=maybe(numbers), rate_limit_remaining=maybe(counts),
)  # fmt: skip
receipts = st.builds(
    Receipt, st.just("code/acme"), times, times, times, times, items=counts, rejected=counts, rejected_anywhere=counts,
    items_anywhere=counts, problem=maybe(texts), error=maybe(texts), extraction=maybe(clean | extractions),
)  # fmt: skip


@given(receipts)
@settings(max_examples=120, deadline=None)
def test_whatever_was_answered_there_is_a_verdict_and_a_small_document(receipt: Receipt) -> None:
    """A source that answers nonsense must not break the run that would report it."""
    verdict = classify(receipt)
    assert 0 <= verdict.coverage <= 1
    assert (verdict.reason is None) == (verdict.proof is P)
    assert len(verdict.reason or "") <= REASON_LENGTH
    assert (verdict.reason or "").isprintable()
    encoded = bson.encode({"proof": verdict.document(), "receipt": receipt.document()})
    assert len(encoded) < 20_000


@pytest.mark.parametrize("field", [
    "failed_at", "retries", "pages_fetched", "pages_advertised", "items_received", "total_advertised", "page_size",
    "repeated_pages", "missing", "canary", "clock_skew_seconds", "rate_limit_remaining", "duration_seconds",
])  # fmt: skip
def test_a_number_too_long_for_python_to_write_out_is_no_obstacle(field: str) -> None:
    long: dict[str, Any] = {field: 10**5000}
    extraction = replace(DONE, **long)
    assert len(classify(replace(WHOLE, extraction=extraction)).reason or "") < REASON_LENGTH
    assert bson.encode(extraction.document())
    assert worst([extraction], "builds", START, START + DAY) is extraction
    absurd = replace(WHOLE, items_anywhere=10**5000, rejected_anywhere=1 - 10**5000)
    assert classify(absurd).proof is A


small = st.integers(0, 9)
FLAWS: Final[list[tuple[str, st.SearchStrategy[dict[str, Any]], bool]]] = [
    ("fewer items", st.tuples(small, small).filter(lambda two: two[0] < two[1]).map(
        lambda two: {"items_received": two[0], "total_advertised": two[1]}), True),
    ("more items", small.map(lambda n: {"items_received": n + 1, "total_advertised": n}), True),
    ("fewer pages", small.map(lambda n: {"pages_fetched": n, "pages_advertised": n + 1, "page_sizes": ()}), True),
    ("holes", st.lists(ids, min_size=1, max_size=3).map(lambda some: {"missing_ids": tuple(some)}), True),
    ("counted holes", st.integers(1).map(lambda n: {"missing": n}), True),
    ("repeated", st.integers(1).map(lambda n: {"repeated_pages": n}), True),
    ("small page", small.map(lambda n: {"page_sizes": (10, n, 10)}), True),
    ("broken", st.integers().map(lambda n: {"failed_at": n}), False),
    ("error", texts.map(lambda text: {"error": text}), False),
    ("no page of ours", texts.map(lambda text: {"content": text}), False),
    ("server error", st.integers(500, 599).map(lambda status: {"statuses": {200: 6, status: 1}}), False),
    ("canary", ids.map(lambda one: {"canary": one}), False),
    ("flag", st.sampled_from(["timed_out", "rate_limited", "scope_lost", "shallow"]).map(lambda f: {f: True}), False),
    ("scopes", st.just({"scopes_granted": ("a",), "scopes_needed": ("b",)}), False),
]  # fmt: skip


@pytest.mark.parametrize(("flaw", "lossy"), [row[1:] for row in FLAWS], ids=[row[0] for row in FLAWS])
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_nothing_else_makes_up_for_a_flaw(
    data: st.DataObject, flaw: st.SearchStrategy[dict[str, Any]], lossy: bool  # noqa: FBT001
) -> None:  # fmt: skip
    """Neither on a clean extraction nor on any other; and with what is missing it is lossy whichever rule decides."""
    flawed = data.draw(flaw)
    verdict = classify(replace(WHOLE, extraction=replace(data.draw(clean | extractions), **flawed)))
    canary = "canary" in flawed and verdict.proof is P  # seen after all
    assert verdict.proof in (U, F) or canary
    assert verdict.lossy or not lossy


@given(
    clean | extractions, st.sampled_from([WHOLE, OPEN, replace(WHOLE, problem="no tags"), replace(WHOLE, rejected=2)])
)
@settings(max_examples=60, deadline=None)
def test_an_extraction_never_makes_a_window_better_known(extraction: Extraction, receipt: Receipt) -> None:
    best_first = list(Proof)
    before, after = classify(receipt).proof, classify(replace(receipt, extraction=extraction)).proof
    assert best_first.index(before) <= best_first.index(after)


@given(st.lists(clean | extractions, max_size=4), st.randoms())
@settings(max_examples=25, deadline=None)
def test_the_worst_does_not_depend_on_the_order(several: list[Extraction], chance: Any) -> None:
    several = [replace(one, stream="") for one in several]
    one = worst(several, "builds", START, START + DAY)
    chance.shuffle(several)
    other = worst(several, "builds", START, START + DAY)
    assert repr(one and one.document()) == repr(other and other.document())  # as text: nan is nan


@given(st.text(max_size=30), st.text(max_size=30), st.sampled_from(["problem", "error", "extraction", "content"]))
@example(" " * 9_980, "", "extraction")  # the text is cut between the password and what ends it
def test_no_credential_of_a_url_is_shown(before: str, after: str, where: str) -> None:
    text = f"{before} {SECRET}{after}"
    said: dict[str, Any] = {"problem": text} if where == "problem" else {"error": text}
    if where in ("extraction", "content"):
        said = {"extraction": E(error=text, failed_at=3) if where == "extraction" else E(content=text)}
    receipt = replace(WHOLE, **said)
    assert "hunter" not in str(classify(receipt).reason)
    assert "hunter" not in str(receipt.document())
