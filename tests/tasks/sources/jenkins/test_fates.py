"""Why a build is gone, which numbers are asked for, and what is remembered: decisions without a Jenkins."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.sources.jenkins.fates import Fate, fate, gaps, is_young, probes
from tasks.sources.jenkins.listing import Brief, Listing
from tasks.sources.jenkins.payloads import About
from tasks.sources.jenkins.state import (
    KNOWN_MOST,
    OTHER,
    RUNNING,
    SUCCESS,
    UNSTABLE,
    Lost,
    State,
    documents,
    state_of,
    with_lost,
)

MINUTE = 60_000
NOW = 10**12
KINDS = {"s": SUCCESS, "u": UNSTABLE, "f": OTHER, "r": RUNNING, "k": OTHER}


def listing(builds: str, pinned: str = "", success_ms: int | None = None) -> Listing:
    """Builds as letters by number from 1, a dot where there is none; pinned: their numbers."""
    there = {
        number: Brief(number, KINDS[kind], 0, None if kind == "r" else 1, kind == "k")
        for number, kind in enumerate(builds, 1)
        if kind != "."
    }
    about = About("api", "api", "api", "")
    return Listing(about, len(builds) + 1, min(there), frozenset(map(int, pinned)), success_ms, there)


@pytest.mark.parametrize(
    ("gone", "found", "became"),
    [
        (3, listing("ss.ss", "5"), Fate.DELETED),  # older ones are there that are not held
        (1, listing(".ssss", "5"), Fate.DISCARDED),  # the oldest: nobody can tell
        (2, listing("k.fff"), Fate.DISCARDED),  # the older one is kept by somebody
        (2, listing("s.fff", "1"), Fate.DISCARDED),  # the older one is the last that was successful
        (2, listing("r.fff"), Fate.DISCARDED),  # the older one is running
        (4, listing("fs.."), Fate.DELETED),
        (3, listing("s..fs", "5", NOW - 5 * MINUTE), Fate.OPEN),  # build 1 was the last success until just now
        (3, listing("s..fs", "5", NOW - 15 * MINUTE), Fate.DELETED),  # and would have been discarded since
        (4, listing("fs..s", "5", NOW - 5 * MINUTE), Fate.DELETED),  # build 1 was never held
        (4, listing("su..s", "5", NOW - 5 * MINUTE), Fate.OPEN),  # the last stable, and the last successful one
    ],
)
def test_what_became_of_a_build(gone: int, found: Listing, became: Fate) -> None:
    assert fate(gone, found, NOW) is became


def test_a_number_is_young_until_a_later_build_is_old() -> None:
    found = listing("s.s")
    assert not is_young(2, found, NOW)
    assert is_young(4, found, NOW)
    assert is_young(2, found, 5 * MINUTE)


@given(there=st.sets(st.integers(1, 60)), first=st.integers(1, 60), length=st.integers(0, 60))
def test_gaps_are_all_that_is_not_there(there: set[int], first: int, length: int) -> None:
    last = first + length - 1
    found = gaps(there, first, last)
    inside = [number for start, end in found for number in range(start, end + 1)]
    assert inside == [number for number in range(first, last + 1) if number not in there]


@given(first=st.integers(1, 2**31), length=st.integers(1, 2**31))
def test_a_gap_of_any_size_is_probed_within_bounds(first: int, length: int) -> None:
    last = first + length - 1
    asked = probes(first, last)
    assert len(asked) <= 200
    assert (min(asked), max(asked)) == (first, last)
    assert length > 200 or len(asked) == length


PAIRS = st.dictionaries(st.integers(1, 2**31 - 1), st.integers(0, 2**32 - 1), max_size=9)


@given(
    known=PAIRS, pending=PAIRS, seen=st.integers(1, 2**31), anchor=st.none() | st.tuples(st.integers(), st.integers())
)
def test_what_is_kept_is_what_was_known(
    known: dict[int, int], pending: dict[int, int], seen: int, anchor: tuple[int, int] | None
) -> None:
    state = State("a.b/$c", seen, 17, 1, known, pending, (Lost(1, 2, 3, 4, 5),), anchor, again=True, gone="moved")
    (document,) = documents([state])
    document["cut"] = state.cut
    assert state_of(document) == state


def test_too_many_builds_are_not_all_remembered() -> None:
    """Those that are forgotten are not taken for deleted: the cut rises with them. Running ones are never forgotten."""
    jobs = [State(f"job {n}", 30_001, known=dict.fromkeys(range(1, 30_001), 5) | {7: RUNNING}) for n in range(4)]
    kept = [state_of(one) for one in documents(jobs)]
    assert sum(len(one.known) for one in kept) <= KNOWN_MOST + len(jobs)
    assert all(one.known[7] == RUNNING and min(set(one.known) - {7}) == one.cut for one in kept)


def test_what_was_lost_stays_short_and_covers_all_of_it() -> None:
    lost: tuple[Lost, ...] = ()
    for day in range(500):
        lost = with_lost(lost, Lost(day * 100, day * 100 + 10, day * 10, day * 10 + 3, 4))
    assert len(lost) == 50
    assert sum(one.count for one in lost) == 2000
    assert (lost[0].start, lost[-1].end) == (0, 49_910)
    assert with_lost(lost, lost[7]) == lost


def test_what_is_said_of_the_same_numbers_becomes_one_only_where_the_times_meet() -> None:
    """A branch that was removed twice after as many builds, or a job that was made anew."""
    first = Lost(100, 200, 7, 7, 0)
    assert with_lost((first,), Lost(500, 600, 7, 7, 0)) == (first, Lost(500, 600, 7, 7, 0))
    assert with_lost((first,), Lost(150, 250, 7, 7, 0)) == (Lost(100, 250, 7, 7, 0),)
    assert with_lost((first,), Lost(150, 250, 7, 8, 0)) == (first, Lost(150, 250, 7, 8, 0))
