"""Judge what there is news of, all streams in one batch, and keep the verdicts.

What is judged twice gets the same verdict, so that a crash anywhere is mended by judging again. Where the detector
itself fails, that is the verdict: it says nothing of the data.
"""

import logging
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
from pymongo.errors import PyMongoError

from config import mongo
from config.redaction import redacted
from config.schema import Db
from config.settings import Settings
from quality.detector import contributors, engine, history, said, verdicts
from quality.detector.engine import Judgement
from quality.detector.evidence import FEATURES
from quality.detector.history import Panelled, Window
from quality.detector.news import Candidates, News
from quality.detector.panel import Options, Stream
from quality.detector.recorded import Name
from quality.detector.said import Said, Says
from quality.detector.verdicts import CELLS, Cell, State, Verdict

log = logging.getLogger(__name__)

TOGETHER: Final = "most sources fell together on that day, so it was judged like a holiday"
CONTRIBUTORS_SECONDS: Final = 20.0
"""For all anomalies of one judging together: Gold waits for it."""
LONGEST: Final = 500
"""Characters of an error that are kept."""
_NEVER: Final = datetime.min.replace(tzinfo=UTC)


def options(settings: Settings, seed: int | None = None) -> Options:
    """As configured; another seed where one is given."""
    detector = settings.detector
    return Options(
        false_alarms_per_quarter=detector.false_alarms_per_series_per_quarter,
        seed=detector.seed if seed is None else seed,
        learn_shift_after=detector.learn_shift_after,
    )


def judge(  # noqa: PLR0913, PLR0917 - what, when, for whom
    db: Db, settings: Settings, now: datetime, run_id: str, found: News, candidates: Candidates | None = None
) -> list[Verdict]:
    """Judge `found`, keep and return the verdicts. Raises PyMongoError."""
    try:
        told = _judged(db, settings, now, found, candidates or Candidates())
    except (PyMongoError, mongo.MongoError):
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the detector's, and told as such
        log.error("detector", extra={"traceback": redacted(traceback.format_exc())})  # noqa: TRY400
        told = list(_broken(found, redacted(f"{type(error).__name__}: {error}")[:LONGEST]))
    made_of = candidates.made_of if candidates else {}
    made = [
        replace(
            one,
            judged_at=found.at,
            run_id=run_id,
            of=found.windows[Name(one.dataset, one.scope)][one.window],
            made_of=made_of.get((Name(one.dataset, one.scope), one.window), ""),
        )
        for one in told
    ]
    verdicts.put(db, made)
    return made


def verdict(of: Panelled, judgement: Judgement, row: int, settings: Settings) -> Verdict:
    """What the judgement says of one row of the stream; `judged_at`, `run_id` and `of` are for who keeps it to say."""
    state = State.NORMAL
    if judgement.alarm[row]:
        state = State.ANOMALY
    elif np.isnan(judgement.score[row]):
        state = State.BLIND
    rarity = 0.0 if np.isnan(judgement.rarity[row]) else float(judgement.rarity[row])
    return Verdict(
        dataset=of.dataset,
        scope=of.scope,
        window=of.stream.start + timedelta(days=row),
        state=state,
        judged_at=_NEVER,
        run_id="",
        of="",
        rarity=max(rarity, 1.0) if state is State.ANOMALY else rarity,
        cells=tuple(_cells(of, judgement, row)),
        missing=_missing(of, judgement, row) if state is State.BLIND else "",
        together=TOGETHER if judgement.quiet[row] else "",
        blocks=state is State.ANOMALY and settings.detector.of(of.dataset).block_on_anomaly,
    )


def cell(stream: Stream, judgement: Judgement, row: int, place: int) -> Cell:
    """What the engine says of one measure of one window."""
    measure, driver = stream.measures[place], int(judgement.drivers[row, place])
    return Cell(
        measure=measure.name,
        observed=_number(stream.values[row, place]),
        expected=_number(judgement.expected[row, place]),
        low=_number(judgement.low[row, place]),
        high=_number(judgement.high[row, place]),
        score=_number(judgement.cells[row, place]),
        driver=FEATURES[driver] if driver >= 0 else "",
        history=int(judgement.history[row, place]),
        nature=str(measure.nature),
    )


def _judged(db: Db, settings: Settings, now: datetime, found: News, candidates: Candidates) -> list[Verdict]:
    """The verdicts on `found`; the expensive part."""
    days = [day for windows in found.windows.values() for day in windows]
    refused: dict[Name, str] = {}
    panel = history.streams(db, settings, until=max(days), now=now, candidates=candidates.values, refused=refused)
    judgements = engine.judge([one.stream for one in panel], options(settings), since=min(days))
    made = []
    for of, judgement in zip(panel, judgements, strict=True):
        name = Name(of.dataset, of.scope)
        for day in sorted(found.windows.get(name, ())):
            if (row := of.row(day)) is None or of.states[row] is Window.OPEN:
                continue
            made.append(_heeding(verdict(of, judgement, row, settings), found.heard.get(name, ())))
    made = [*_contributed(db, settings, made, panel), *_refused(found, refused)]
    judged = {(one.dataset, one.scope, one.window) for one in made}
    return made + [
        Verdict(*name, day, State.BLIND, _NEVER, "", "", missing="a number: there is none in it")
        for name, windows in found.windows.items()
        for day in windows
        if (*name, day) not in judged
    ]


def _heeding(told: Verdict, heard: Sequence[Said]) -> Verdict:
    """An anomaly of which somebody said that what is strangest about it was expected is none."""
    strangest = told.cells[0].measure if told.cells else None
    if told.state is not State.ANOMALY or said.about(heard, told.window, strangest) is not Says.EXPECTED:
        return told
    return replace(told, state=State.NORMAL, blocks=False)


def _cells(of: Panelled, judgement: Judgement, row: int) -> Iterator[Cell]:
    """The strangest first; those without an opinion last, volumes before others."""
    scores = judgement.cells[row]
    measures = of.stream.measures
    order = sorted(
        range(len(measures)),
        key=lambda n: (np.isnan(scores[n]), 0.0 if np.isnan(scores[n]) else -scores[n], not measures[n].volume),
    )
    return (cell(of.stream, judgement, row, n) for n in order[:CELLS])


def _missing(of: Panelled, judgement: Judgement, row: int) -> str:
    """What is missing for an opinion, in words."""
    there = ~np.isnan(of.stream.values[row])
    have = int(judgement.history[row][there].max(initial=0))
    lacking = max(1, engine.MIN_HISTORY - have)
    earlier = of.states[:row]
    unused = sum(1 for state in earlier if state is Window.DOUBTED)
    told = f"{lacking} more {'window' if lacking == 1 else 'windows'} with a number: {have} of {engine.MIN_HISTORY}"
    return f"{told}; {unused} earlier ones teach nothing, as they are in doubt" if unused else told


def _contributed(db: Db, settings: Settings, made: Sequence[Verdict], panel: Sequence[Panelled]) -> list[Verdict]:
    """`made`, the anomalies with who contributed to them; the rarest first, as long as CONTRIBUTORS_SECONDS last."""
    until = time.monotonic() + CONTRIBUTORS_SECONDS
    anomalies = [one for one in made if one.state is State.ANOMALY]
    found = {
        one.key: contributors.of(db, settings, one, panel)
        for one in sorted(anomalies, key=lambda one: -one.rarity)
        if time.monotonic() < until
    }
    return [replace(one, contributors=found.get(one.key, ())) for one in made]


def _refused(found: News, refused: Mapping[Name, str]) -> Iterator[Verdict]:
    """Of the streams that cannot be judged; the others are."""
    return (
        Verdict(*name, day, State.BROKEN, _NEVER, "", "", error=redacted(error)[:LONGEST])
        for name, error in refused.items()
        for day in found.windows.get(name, ())
    )


def _broken(found: News, error: str) -> Iterator[Verdict]:
    for name, windows in found.windows.items():
        for day in windows:
            yield Verdict(*name, day, State.BROKEN, _NEVER, "", "", error=error)


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
