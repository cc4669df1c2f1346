"""The detector on labelled sets of daily streams, scored by the benchmark's own rules (`dqbench.evaluate`).

Usage: python -m bench.detector SET [--check | --scales]; SET is a folder as sets/visible_main, two below the package
`dqbench`. Prints the line that run_baselines.py prints for its methods, hits by type of fault, and hits by age where
histories are short. --check: does any answer change when later windows are withheld, or with `since`? --scales: the
scale of each nature after half a year, which the priors in quality.detector.scales are taken from.

The streams of a set are from different years. They are moved by whole weeks to begin in the same one: the forest of a
week learns from all of them, as it would in an installation.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np

from quality.detector.engine import Judgement, judge
from quality.detector.panel import Change, Harm, Measure, Nature, Options, Stream

FIRST_WEEK: Final = date(2024, 1, 1)  # a Monday
SHORT: Final = 90  # windows; sets with shorter histories are scored from the first week on, and by age
CUTS: Final = (20, 45, 83, 120, 171)
COUNTS: Final = ("row_count", "metric.deploys")
RATIOS: Final = ("null.", "share.", "dup_rate", "metric.cfr")
ONLY_MORE_IS_BAD: Final = ("null.", "dup_rate")


def measure(name: str, names: Sequence[str]) -> Measure:
    """The measure of that name in a stream of `names`, by the naming rules of the sets."""
    deploys = "metric.deploys" in names
    if name in COUNTS:
        return Measure(name, Nature.COUNT, volume=name == "metric.deploys" or not deploys)
    rows = "metric.deploys" if name.startswith("metric.") and deploys else "row_count"
    if name.startswith("distinct"):
        return Measure(name, Nature.COUNT, rows)
    if name.startswith(RATIOS):
        return Measure(name, Nature.RATIO, rows, harm=Harm.RISE if name.startswith(ONLY_MORE_IS_BAD) else None)
    if name == "freshness_h":
        return Measure(name, Nature.DURATION, rows, harm=Harm.RISE, ages=24.0)
    if "event_hour" in name:
        return Measure(name, Nature.NUMBER, rows)
    return Measure(name, Nature.DURATION, None if "mttr" in name else rows)


def stream(given: Any) -> Stream:
    """One stream of a set, as ours."""
    start = given.dates[0].astype(object)
    moved = FIRST_WEEK + timedelta(days=start.weekday()) - start
    return Stream(
        given.id,
        start + moved,
        tuple(measure(name, given.features) for name in given.features),
        given.X,
        holidays=frozenset(date.fromisoformat(day) + moved for day in given.holidays),
        changes=tuple(Change(date.fromisoformat(one["date"]) + moved) for one in given.planned),
    )


def checked(streams: Sequence[Stream]) -> list[str]:
    """What is wrong: scores that change when later windows are withheld, or when only the last are asked for."""
    whole = judge(streams)
    wrong = []
    for cut in CUTS:
        cuts = [replace(one, values=one.values[:cut]) for one in streams]
        last = max(one.start + timedelta(days=cut - 7) for one in cuts)
        for one, full, prefix, since in zip(cuts, whole, judge(cuts), judge(cuts, since=last), strict=True):
            there = one.windows
            if not np.array_equal(full.score[:there], prefix.score, equal_nan=True):
                wrong.append(f"{one.name}: looks ahead at {cut}")
            if not np.array_equal(prefix.score[-1:], since.score[-1:], equal_nan=True):
                wrong.append(f"{one.name}: differs with since at {cut}")
    return wrong


def scale_lines(streams: Sequence[Stream]) -> list[str]:
    """Quantiles of the scale by nature, in the units of quality.detector.scales."""
    from quality.detector import scales  # noqa: PLC0415 -- only here
    from quality.detector.expectation import Walker  # noqa: PLC0415
    from quality.detector.layout import blocks  # noqa: PLC0415

    found: dict[int, list[float]] = {}
    for block in blocks(streams, 1200):
        walker = Walker(block, Options())
        walker.walk()
        unit = walker.of.prior / scales.SCALE_PRIOR[block.nature]
        size = np.where(walker.of.relative, np.abs(walker.level[-1]), 1.0) * unit
        for nature, scale in zip(block.nature, walker.scale / size, strict=True):
            found.setdefault(int(nature), []).append(float(scale))
    names = ("count", "ratio", "duration", "number", "count given rows")
    return [
        f"{names[nature]:18s} 5 % {low:.2f}  median {middle:.2f}  95 % {high:.2f}"
        for nature, values in sorted(found.items())
        for low, middle, high in [np.nanquantile(values, [0.05, 0.5, 0.95])]
    ]


def report(evaluate: Any, given: Sequence[Any], labels: Sequence[Any], judgements: Sequence[Judgement]) -> str:
    """The line of run_baselines.py, but for its CPU time, and the hits by type and age."""
    result = {
        one.id: {"score": told.score, "alarm": told.alarm, "contrib": told.cells}
        for one, told in zip(given, judgements, strict=True)
    }
    short = max(len(one.dates) for one in given) < SHORT
    scored = evaluate.evaluate(given, labels, result, **({"first_day": 7} if short else {}))
    own, at1 = scored["own"], scored["at1"]
    line = (
        f"{'IsolationForest over cells (Touchstone)':45s} own P {own['precision']:.2f} R {own['recall']:.2f} "
        f"F1 {own['f1']:.2f} FA/90d {own['fa_per_90d']:.2f} delay {own['delay_mean']:.1f} | "
        f"AUC {scored['pr_auc']:.3f} bestF1 {scored['best_f1']:.3f} R@.5 {scored['recall@0.5']:.2f} "
        f"R@1 {scored['recall@1']:.2f} R@2 {scored['recall@2']:.2f} F1@1 {scored['f1@1']:.2f} top1 {at1['top1']:.2f}"
    )
    ages = evaluate.by_age(given, labels, result) if short else {}
    return "\n".join([line, f"by_type {at1['by_type']}", *(f"by_age {age:6s} {told}" for age, told in ages.items())])


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 2 if the set or the benchmark is not there, 1 if a check fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", type=Path, help="folder with observations.csv.gz, streams.json, labels.json")
    parser.add_argument("--check", action="store_true", help="only check that no answer changes with what comes later")
    parser.add_argument("--scales", action="store_true", help="only print what the prior scales are taken from")
    told = parser.parse_args(arguments)
    sys.path.insert(0, str(told.set.resolve().parent.parent))
    try:
        from dqbench import evaluate, stream as sets  # type: ignore[import-not-found]  # noqa: I001, PLC0415
    except ModuleNotFoundError as missing:
        print(f"{missing}: SET must lie two folders below the package dqbench, as bench/sets/visible_main does")
        return 2
    if not (told.set / "streams.json").exists():
        print(f"{told.set} is no set: there is no streams.json in it")
        return 2
    given, labels = sets.load(str(told.set))
    streams = [stream(one) for one in given]
    if told.check:
        wrong = checked(streams[:12])
        print("\n".join(wrong) or "nothing looks ahead, and since changes nothing")
        return int(bool(wrong))
    if told.scales:
        print("\n".join(scale_lines(streams)))
        return 0
    began = time.process_time()
    judgements = judge(streams)
    cpu = (time.process_time() - began) / len(streams) * 1000
    first, *rest = report(evaluate, given, labels, judgements).split("\n")
    print("\n".join([f"{first} cpu/1000 {cpu:.0f}s", *rest]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
