"""What changes no answer: order, units, the process, what comes later, and what else is asked."""

import hashlib
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quality.detector.engine import Judgement, judge
from quality.detector.panel import Stream
from tests.quality.detector.made import MONDAY, column, made, with_value

DAYS = 59
SINCE = MONDAY + timedelta(days=52)
ARRAYS = ("score", "alarm", "rarity", "cells", "expected", "low", "high", "blind", "history", "drivers")


def panel() -> list[Stream]:
    streams = [made(name, DAYS, seed, source=name) for seed, name in enumerate(("api", "web", "jobs"))]
    odd = replace(streams[2], start=MONDAY + timedelta(days=3))  # begins on a Thursday
    return [with_value(streams[0], -2, "null", 0.5), with_value(streams[1], -1, "rows", 0.0), odd]


def same(one: Judgement, two: Judgement, windows: slice, measures: list[int] | None = None) -> None:
    for name in ARRAYS:
        left, right = getattr(one, name)[windows], getattr(two, name)[windows]
        np.testing.assert_array_equal(left if measures is None or left.ndim == 1 else left[:, measures], right, name)


@settings(max_examples=6, deadline=None)
@given(st.permutations(range(3)), st.permutations(range(5)))
def test_order_changes_nothing(streams: list[int], measures: list[int]) -> None:
    whole = judge(panel(), since=SINCE)
    shuffled = [
        replace(one, values=one.values[:, measures], measures=tuple(one.measures[n] for n in measures))
        for one in (panel()[n] for n in streams)
    ]
    for place, told in zip(streams, judge(shuffled, since=SINCE), strict=True):
        same(whole[place], told, slice(None), measures)


@settings(max_examples=6, deadline=None)
@given(st.sampled_from([1 / 3600, 24.0, 1000.0]), st.sampled_from([0.001, 7.0]))
def test_the_unit_of_a_measure_changes_no_verdict(hours: float, change: float) -> None:
    def scaled(one: Stream) -> Stream:
        values = one.values.copy()
        values[:, column(one, "hours")] *= hours
        values[:, column(one, "change")] *= change
        return replace(one, values=values)

    for one, two in zip(judge(panel(), since=SINCE), judge([scaled(one) for one in panel()], since=SINCE), strict=True):
        np.testing.assert_array_equal(one.alarm, two.alarm)
        np.testing.assert_allclose(one.score, two.score, atol=1e-3)
        at = column(panel()[0], "hours")
        np.testing.assert_allclose(one.expected[:, at] * hours, two.expected[:, at], rtol=1e-6)


@pytest.mark.parametrize("cut", [20, 40, 53])
def test_what_comes_later_changes_nothing(cut: int) -> None:
    """Of streams that end on the same day, and of those that do not."""
    since = MONDAY + timedelta(days=cut - 8)
    whole = judge(panel(), since=since)
    told = judge([replace(one, values=one.values[:cut]) for one in panel()], since=since)
    for one, two in zip(whole, told, strict=True):
        for name in ARRAYS:
            np.testing.assert_array_equal(getattr(one, name)[:cut], getattr(two, name), name)


def test_since_changes_nothing_from_then_on() -> None:
    for one, two in zip(judge(panel()), judge(panel(), since=SINCE), strict=True):
        same(one, two, slice(DAYS - 4, None))


def digests() -> str:
    """One line per array: what another process must find too."""
    told = judge(panel(), since=SINCE)
    return "".join(
        f"{name} {hashlib.sha256(b''.join(getattr(one, name).tobytes() for one in told)).hexdigest()}\n"
        for name in ARRAYS
    )


@pytest.mark.parametrize("seed", ["0", "12345"])
def test_another_process_says_the_same(seed: str) -> None:
    """Whatever its hash seed."""
    code = "from tests.quality.detector import test_engine_laws as laws; print(laws.digests(), end='')"
    environment = {"PYTHONHASHSEED": seed, "PATH": "/usr/bin", "OMP_NUM_THREADS": "1"}
    asked = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, env=environment)
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout == digests()


def test_joblib_may_spread_it() -> None:
    """Blocks of streams, by whatever backend is configured."""
    from joblib import parallel_config  # type: ignore[import-untyped]  # noqa: PLC0415

    alone = judge(panel(), since=SINCE)
    with parallel_config("threading", n_jobs=2):
        spread = judge(panel(), since=SINCE)
    for one, two in zip(alone, spread, strict=True):
        same(one, two, slice(None))
