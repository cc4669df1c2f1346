"""What cannot be judged is refused, with a word about what is wrong and where."""

import subprocess
import sys
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from quality.detector.engine import judge
from quality.detector.panel import Measure, Nature, Options, Stream
from tests.quality.detector.made import MONDAY, made, with_value

COUNT = Measure("rows", Nature.COUNT)


@pytest.mark.parametrize(
    ("values", "measures", "told"),
    [
        (np.zeros(3), (COUNT,), "api: values must be windows x 1 measures, not (3,)"),
        (np.zeros((3, 2)), (COUNT,), "api: values must be windows x 1 measures, not (3, 2)"),
        (np.array([[np.inf]]), (COUNT,), "api: rows: infinite value"),
        (np.array([[-1.0]]), (COUNT,), "api: rows: a count is never negative"),
        (np.array([[1.5]]), (Measure("null", Nature.RATIO),), "api: null: a ratio is within 0..1"),
        (np.zeros((3, 2)), (COUNT, COUNT), "api: two measures have the same name"),
        (np.zeros((3, 1)), (Measure("null", Nature.RATIO, "rows"),), "api: 'rows', behind 'null', is no count"),
    ],
)
def test_a_stream_that_cannot_be_judged_is_refused(
    values: np.ndarray[tuple[int, ...], np.dtype[np.float64]], measures: tuple[Measure, ...], told: str
) -> None:
    with pytest.raises(ValueError, match="^" + told.replace("(", r"\(").replace(")", r"\)").replace("..", r"\.\.")):
        Stream("api", MONDAY, measures, values)


def test_teaches_must_fit_and_a_season_is_at_least_a_window() -> None:
    with pytest.raises(ValueError, match=r"api: teaches is \(3, 1\)"):
        replace(made(days=3), teaches=np.ones((3, 1), bool))
    with pytest.raises(ValueError, match="season must be at least 1 window, not 0"):
        replace(made(days=3), season=0)


@pytest.mark.parametrize("options", [{"false_alarms_per_quarter": 0}, {"learn_shift_after": 0}])
def test_options_that_nothing_can_keep_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Options(**options)


def test_two_streams_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two streams are called 'api'"):
        judge([made(days=3), made(days=3, seed=1)])


def test_a_negative_duration_is_judged_and_not_refused() -> None:
    """Clocks differ: that is for the detector to say, not a reason to fall over."""
    since = MONDAY + timedelta(days=121)
    assert judge([with_value(made(days=122), -1, "hours", -3.0)], since=since)[0].alarm[-1]


def test_importing_the_panel_does_not_import_scikit_learn() -> None:
    """Everything that only names a nature would wait a second for it."""
    code = "import sys, quality.detector.panel; sys.exit('sklearn' in sys.modules or 'scipy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
