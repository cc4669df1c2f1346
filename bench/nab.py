"""The detector of points on the Numenta Anomaly Benchmark, scored by its standard profile.

Usage: python -m bench.nab DIR [--seed N]; DIR holds nab.csv.gz (series, timestamp, value) and windows.csv (series,
window_start, window_end).

A point's score is the detector's where the point is fresh, else 0: of one event only its beginning and what is worse is
told. As in NAB one threshold is chosen for all series, the one that earns most (`best`); the line below it is what the
detector's own alarms earn, without a look at the labels.
"""

import argparse
import csv
import gzip
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.nab_score import Floats, Times, Worth, at, best, found, worth
from quality.detector.points import ALARM_AT, judge_points


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """One series, named category/file."""

    name: str
    times: Times
    values: Floats
    rest: list[str]  # the fourth column, if there is one

    @property
    def category(self) -> str:
        """Its folder."""
        return self.name.split("/")[0]


def load(path: Path) -> list[Series]:
    """The series of a gzip-compressed CSV file in its order. Times without a zone and those in UTC are taken alike."""
    rows: dict[str, list[list[str]]] = {}
    with gzip.open(path, "rt", encoding="utf-8") as file:
        lines = csv.reader(file)
        next(lines)
        for name, *row in lines:
            rows.setdefault(name, []).append(row)
    return [
        Series(
            name,
            np.array([moment(row[0]) for row in series]),
            np.array([float(row[1] or "nan") for row in series]),
            [row[2] for row in series if len(row) > 2],
        )
        for name, series in rows.items()
    ]


def moment(text: str) -> np.datetime64:
    """A timestamp as the data sets write it."""
    return np.datetime64(text.replace(" ", "T").removesuffix("Z"), "s")


def windows(path: Path) -> dict[str, list[tuple[np.datetime64, np.datetime64]]]:
    """The labelled windows of each series that has any."""
    result: dict[str, list[tuple[np.datetime64, np.datetime64]]] = {}
    with path.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            result.setdefault(row["series"], []).append((moment(row["window_start"]), moment(row["window_end"])))
    return result


def line(title: str, threshold: float, worths: Sequence[Worth], scores: Sequence[Floats]) -> str:
    """What that threshold earns on these series."""
    scored = at(threshold, worths, scores)
    windows_found, false_alarms = found(threshold, worths, scores)
    normalised = f"{scored.normalised:6.1f}" if scored.windows else "     -"
    return f"{title:24} {normalised}  {windows_found:3} of {scored.windows:3} windows  {false_alarms:4} false alarms"


def report(series: Sequence[Series], worths: Sequence[Worth], scores: Sequence[Floats], own: float) -> Iterable[str]:
    """A line for each category, for all, and for all at the detector's `own` threshold."""
    threshold = best(worths, scores).threshold
    for category in dict.fromkeys(one.category for one in series):
        chosen = [number for number, one in enumerate(series) if one.category == category]
        yield line(category, threshold, [worths[one] for one in chosen], [scores[one] for one in chosen])
    yield line(f"all, best ({threshold:.2f})", threshold, worths, scores)
    yield line(f"all, own ({own:.2f})", own, worths, scores)


def main() -> None:
    """Judge, score and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    for name in ("nab.csv.gz", "windows.csv"):
        if not (given.folder / name).is_file():
            sys.exit(f"{given.folder / name} is not there")
    series, labels = load(given.folder / "nab.csv.gz"), windows(given.folder / "windows.csv")
    worths = [worth(one.times, labels.get(one.name, [])) for one in series]
    started = time.process_time()
    judged = [judge_points(one.times, one.values, seed=given.seed) for one in series]
    seconds = time.process_time() - started
    scores = [np.where(one.fresh, one.score, 0.0) for one in judged]
    for text in report(series, worths, scores, own=ALARM_AT):
        print(text)
    print(f"{len(series)} series, {sum(len(one.times) for one in series):,} points, {seconds:.0f} CPU seconds")


if __name__ == "__main__":
    main()
