"""What an answer means, as a table."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.sources.http import limits
from tasks.sources.http.answers import Reason
from tasks.sources.http.limits import Act

AT = datetime(2026, 11, 1, 12, tzinfo=UTC)
SOON = str(int(AT.timestamp()) + 90)
SECONDARY = "You have exceeded a secondary rate limit"
Headers = dict[str, str]


def date(seconds: float) -> str:
    return format_datetime(AT + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("status", "headers", "text", "act", "reason", "wait"),
    [
        (200, {}, "", Act.TAKE, None, None),
        (201, {}, "", Act.TAKE, None, None),
        (304, {}, "", Act.TAKE, None, None),
        (202, {}, "", Act.END, Reason.CONTENT, None),
        (204, {}, "", Act.END, Reason.CONTENT, None),
        (301, {}, "", Act.FOLLOW, Reason.REDIRECTED, None),
        (302, {}, "", Act.END, Reason.REDIRECTED, None),
        (303, {}, "", Act.END, Reason.REDIRECTED, None),
        (307, {}, "", Act.FOLLOW, Reason.REDIRECTED, None),
        (308, {}, "", Act.FOLLOW, Reason.REDIRECTED, None),
        (400, {}, "", Act.END, Reason.BROKEN, None),
        (401, {}, "", Act.END, Reason.REFUSED, None),
        (403, {}, "not accessible", Act.END, Reason.REFUSED, None),
        (403, {"x-ratelimit-remaining": "17"}, "no", Act.END, Reason.REFUSED, None),
        (403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": SOON}, "", Act.AGAIN, Reason.LIMITED, 91),
        (403, {"x-ratelimit-remaining": "0"}, "", Act.AGAIN, Reason.LIMITED, 60),
        (403, {"retry-after": "7"}, "", Act.AGAIN, Reason.LIMITED, 7),
        (403, {}, SECONDARY, Act.AGAIN, Reason.LIMITED, 60),
        (403, {}, "You have triggered an abuse detection mechanism", Act.AGAIN, Reason.LIMITED, 60),
        (404, {}, "", Act.END, Reason.GONE, None),
        (408, {}, "", Act.AGAIN, Reason.BROKEN, None),
        (409, {}, "", Act.END, Reason.BROKEN, None),
        (410, {}, "", Act.END, Reason.GONE, None),
        (422, {}, "", Act.END, Reason.BROKEN, None),
        (425, {}, "", Act.AGAIN, Reason.BROKEN, None),
        (429, {}, "", Act.AGAIN, Reason.LIMITED, None),
        (429, {}, SECONDARY, Act.AGAIN, Reason.LIMITED, 60),
        (429, {"retry-after": "0"}, "", Act.AGAIN, Reason.LIMITED, None),
        (429, {"retry-after": "-5"}, "", Act.AGAIN, Reason.LIMITED, None),
        (429, {"retry-after": "soon"}, "", Act.AGAIN, Reason.LIMITED, None),
        (429, {"retry-after": "1000000000"}, "", Act.AGAIN, Reason.LIMITED, 1e9),
        (429, {"retry-after": date(33)}, "", Act.AGAIN, Reason.LIMITED, 33),
        (429, {"retry-after": date(-33)}, "", Act.AGAIN, Reason.LIMITED, None),
        (429, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "2026-11-01T12:00:30Z"}, "", Act.AGAIN,
         Reason.LIMITED, 31),
        (429, {"ratelimit-remaining": "0", "ratelimit-reset": "20"}, "", Act.AGAIN, Reason.LIMITED, 21),
        (500, {}, "", Act.AGAIN, Reason.BROKEN, None),
        (501, {}, "", Act.END, Reason.BROKEN, None),
        (502, {}, "", Act.AGAIN, Reason.BROKEN, None),
        (503, {"retry-after": "12"}, "", Act.AGAIN, Reason.BROKEN, 12),
        (504, {}, "", Act.AGAIN, Reason.BROKEN, None),
    ],
)  # fmt: skip
def test_an_answer_means(  # noqa: PLR0917 - the columns of the table
    status: int, headers: Headers, text: str, act: Act, reason: Reason | None, wait: float | None
) -> None:
    found = limits.meaning(status, headers, text, at=AT, tries=0)
    assert (found.act, found.reason, found.wait) == (act, reason, wait)
    assert found.everybody == (reason is Reason.LIMITED)


def test_a_limit_that_names_no_time_is_given_a_minute_then_two_then_four() -> None:
    waits = [limits.meaning(403, {}, SECONDARY, at=AT, tries=tries).wait for tries in range(4)]
    assert waits == [60, 120, 240, 480]


@pytest.mark.parametrize(
    ("headers", "reserve"),
    [({}, 50), ({"x-ratelimit-limit": "5000"}, 50), ({"x-ratelimit-limit": "60"}, 6), ({"x-ratelimit-limit": "?"}, 50)],
)
def test_of_a_small_limit_only_a_tenth_is_left_to_others(headers: Headers, reserve: int) -> None:
    assert limits.reserved(headers, 50) == reserve


@pytest.mark.parametrize(
    ("headers", "skew"),
    [
        ({}, None),
        ({"date": "yesterday"}, None),
        ({"date": date(0)}, 0),
        ({"date": date(3600)}, 3600),
        ({"date": date(-7), "age": "7"}, 0),
        ({"date": "Mon, 01 Jan 1900 00:00:00 GMT"}, -1e9),
    ],
)
def test_the_skew_is_the_servers_clock_minus_ours(headers: Headers, skew: float | None) -> None:
    assert limits.skew_seconds(headers, AT) == skew


texts = st.one_of(
    st.text(max_size=30),
    st.integers().map(str),
    st.floats().map(str),
    st.datetimes().map(lambda at: at.isoformat()),
    st.datetimes(timezones=st.just(UTC)).map(lambda at: format_datetime(at, usegmt=True)),
    st.sampled_from(
        ["Thu, 01 Jan 0001 00:00:00 +2359", "Fri, 31 Dec 9999 23:59:59 -2359", "9" * 400, "1e9", "0001-01-01"]
    ),
)
names = st.sampled_from([
    "retry-after", "date", "age", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "ratelimit-reset",
])  # fmt: skip


@given(st.integers(100, 999), st.dictionaries(names, texts), st.text(max_size=60), st.integers(0, 9))
def test_whatever_a_server_says_means_something_and_all_times_can_be_written_down(
    status: int, headers: Headers, text: str, tries: int
) -> None:
    found = limits.meaning(status, headers, text, at=AT, tries=tries)
    assert found.wait is None or found.wait > 0
    skew = limits.skew_seconds(headers, AT) or 0.0
    reset = limits.reset(headers, AT + timedelta(seconds=skew))
    assert reset is None or (reset - timedelta(seconds=skew)).isoformat()
