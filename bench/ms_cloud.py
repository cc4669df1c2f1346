"""The detector of points on Microsoft's cloud-monitoring-dataset beside Holt-Winters and a random cut forest.

Usage: python -m bench.ms_cloud DIR [--only NAME]; DIR holds ms_cloud.csv.gz (series, timestamp, value, label). The
random cut forest is the package rrcf (pip install rrcf "setuptools<81": it imports pkg_resources); without it that line
says so and the others are measured.

Rules. An event is a run of labelled rows. The first 15 % of a series teach only: neither events that begin there nor
alarms there count. Alarms at most NEAR points apart are one alarm. An event is detected if an alarm has a point inside
it or at most NEAR points before or after; an alarm near no event is a false one. Every method has one threshold for all
series: the lowest that keeps the budget of false alarms per 1,000 points. Precision counts alarms, recall events.

Methods. points: `score` of quality.detector.points. Holt-Winters: additive (level, trend, season of a day), one step
ahead, smoothing chosen on the first 15 %, its error in spreads of the past. Random cut forest: collusive displacement
of shingles of 4 points in 20 trees of 256 (Guha et al., "Robust Random Cut Forest Based Anomaly Detection on Streams",
2016). The peers' scores are calibrated by each series' own past with the same tail that the detector uses for its
evidence: without it, one threshold for all series would do them injustice.
"""

import argparse
import importlib
import itertools
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from bench.nab import Series, load
from bench.nab_score import PROBATION, Floats
from quality.detector.points import judge_points
from quality.detector.points_tail import surprise, trailing

NEAR: Final = 3
BUDGETS: Final = 0.5, 1.0, 2.0, 5.0
TREES, SIZE, SHINGLE = 20, 256, 4
LEVELS, SEASONS, TREND = (0.05, 0.2, 0.5), (0.05, 0.2), 0.01
SPAN: Final = 2016
THRESHOLDS: Final = 400

Runs = list[tuple[int, int]]


class Absent(Exception):  # noqa: N818 -- what is absent is no error of ours
    """A method's package is not installed."""


def of_points(series: Series) -> Floats:
    """The product."""
    return judge_points(series.times, series.values).score


def holt_winters(series: Series) -> Floats:
    """Errors of the smoothing that erred least on the part that only teaches."""
    teaching = max(2, taught(series))
    apart = np.diff(series.times[:teaching]).astype("timedelta64[s]").astype(float)
    period = max(1, round(86400 / float(np.median(apart[apart > 0]))))
    choices = [smoothed(series.values, period, *pair) for pair in itertools.product(LEVELS, SEASONS)]
    errors = min(choices, key=lambda error: float(np.nansum(error[:teaching] ** 2)))
    (spread,) = trailing(np.abs(errors), SPAN, 0.5, least=24)
    with np.errstate(divide="ignore", invalid="ignore"):
        return surprise(np.log1p(np.nan_to_num(np.abs(errors) / spread, posinf=1e6)), None)


def smoothed(values: Floats, period: int, alpha: float, gamma: float) -> Floats:
    """One-step-ahead errors of additive Holt-Winters; the first `period` values are its start."""
    errors = np.full(len(values), np.nan)
    start = values[:period][np.isfinite(values[:period])]
    level, trend = float(start.mean()) if len(start) else 0.0, 0.0
    season = np.nan_to_num(values[:period] - level)
    for at in range(period, len(values)):
        slot = at % period
        value = float(values[at])
        if math.isnan(value):
            continue
        errors[at] = value - level - trend - season[slot]
        before = level
        level = alpha * (value - season[slot]) + (1 - alpha) * (level + trend)
        trend = TREND * (level - before) + (1 - TREND) * trend
        season[slot] = gamma * (value - level) + (1 - gamma) * season[slot]
    return errors


def random_cut_forest(series: Series) -> Floats:
    """Collusive displacement of each shingle; missing values are taken for the one before."""
    try:
        rrcf: Any = importlib.import_module("rrcf")
    except ModuleNotFoundError as error:
        raise Absent(f"not measured: {error} (pip install rrcf 'setuptools<81')") from error
    filled = series.values.copy()
    for at in np.flatnonzero(np.isnan(filled)).tolist():
        filled[at] = filled[at - 1] if at else 0.0
    trees = [rrcf.RCTree(random_state=seed) for seed in range(TREES)]
    result = np.zeros(len(filled))
    for at in range(SHINGLE - 1, len(filled)):
        for tree in trees:
            if len(tree.leaves) >= SIZE:
                tree.forget_point(at - SIZE)
            tree.insert_point(filled[at - SHINGLE + 1 : at + 1], index=at)
            result[at] += tree.codisp(at) / TREES
    return surprise(np.log1p(result), None)


METHODS: Final[dict[str, Callable[[Series], Floats]]] = {
    "points": of_points,
    "Holt-Winters": holt_winters,
    "random cut forest": random_cut_forest,
}


def taught(series: Series) -> int:
    """How many points only teach."""
    return math.floor(PROBATION * len(series.values))


def runs(places: Sequence[int], near: int = 0) -> Runs:
    """First and last place of each run; places at most 1 + `near` apart are one run."""
    result: Runs = []
    for place in places:
        if result and place - result[-1][1] <= 1 + near:
            result[-1] = (result[-1][0], place)
        else:
            result.append((place, place))
    return result


def compared(events: Runs, alarms: Runs) -> tuple[int, int, int]:
    """Events detected, alarms near an event, alarms near none."""
    touching = [(one, two) for one, two in itertools.product(events, alarms) if _near(one, two)]
    right = len({two for _, two in touching})
    return len({one for one, _ in touching}), right, len(alarms) - right


def _near(one: tuple[int, int], two: tuple[int, int]) -> bool:
    return one[0] - NEAR <= two[1] and two[0] <= one[1] + NEAR


def tallied(series: Sequence[Series], scores: Sequence[Floats], threshold: float) -> tuple[int, int, int]:
    """`compared`, summed over all series."""
    total = np.zeros(3, np.int64)
    for one, score in zip(series, scores, strict=True):
        places = np.flatnonzero(score >= threshold)
        total += compared(events_of(one), runs(places[places >= taught(one)].tolist(), NEAR))
    detected, right, wrong = total.tolist()
    return detected, right, wrong


def events_of(series: Series) -> Runs:
    """Its labelled runs that begin after the part that only teaches."""
    labelled = runs([at for at, label in enumerate(series.rest) if label == "1"])
    return [run for run in labelled if run[0] >= taught(series)]


def lines(series: Sequence[Series], scores: Sequence[Floats]) -> Iterator[str]:
    """Precision and recall at each budget."""
    points = sum(len(one.values) - taught(one) for one in series)
    events = sum(len(events_of(one)) for one in series)
    pooled = np.concatenate([score[taught(one) :] for one, score in zip(series, scores, strict=True)])
    thresholds = np.quantile(pooled[pooled > 0], 1 - np.geomspace(1e-5, 0.2, THRESHOLDS))  # from high to low
    tallies = [tallied(series, scores, threshold) for threshold in np.unique(thresholds)]
    for budget in BUDGETS:
        kept = [one for one in tallies if one[2] <= budget * points / 1000]
        detected, right, wrong = kept[0] if kept else (0, 0, 0)
        precision = right / (right + wrong) if right + wrong else math.nan
        yield f"budget {budget:3.1f}: precision {precision:.2f}, recall {detected / events:.2f}, {wrong} false alarms"


def main() -> None:
    """Run every method and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", choices=list(METHODS), help="this method alone")
    given = parser.parse_args()
    path = given.folder / "ms_cloud.csv.gz"
    if not path.is_file():
        sys.exit(f"{path} is not there")
    series = load(path)
    events = sum(len(events_of(one)) for one in series)
    print(f"{len(series)} series, {sum(len(one.values) for one in series):,} points, {events} events that count")
    for name, method in METHODS.items():
        if given.only not in (None, name):
            continue
        started = time.process_time()
        try:
            scores = [np.nan_to_num(method(one)) for one in series]
        except Absent as absence:
            print(f"{name:18} {absence}")
            continue
        seconds = time.process_time() - started
        for line in lines(series, scores):
            print(f"{name:18} {line}  ({seconds:.0f} CPU s)")


if __name__ == "__main__":
    main()
