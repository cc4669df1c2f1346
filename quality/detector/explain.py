"""A verdict in words: what is strange, what was expected, how rare that is, and what accounts for it. Pure.

Nothing here judges: the words follow from the numbers that the verdict keeps.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from quality.detector.units import RATIO, Unit
from quality.detector.verdicts import Cell, Contributor, State, Verdict

FAR: Final = 10.0
"""So many times rarer than the budget allows is "far" from what was expected."""
MOST: Final = 1000.0
"""Beyond it only that it is beyond: no history is long enough to tell."""
BARELY: Final = 1.05
TOGETHER: Final = 4
"""So many further measures are named."""
CONTRIBUTORS: Final = 5
"""So many contributors are named."""
BACKFILLED: Final = timedelta(days=56)
"""How much history is suggested where there is too little: eight of each weekday."""
SCOPE, NULLS = "scope", "null_ratio"
_NONE: Final = "no number"
_GREATER: Final = ("longer", "shorter")
_HIGHER: Final = ("higher", "lower")
_ADVERBS: Final = {
    "null_ratio": ("{0} is {far}more often null", "{0} is {far}less often null"),
    "top_share": ("the commonest {0} has a {far}larger share", "the commonest {0} has a {far}smaller share"),
    "mean": ("the mean of {0} is {far}higher", "the mean of {0} is {far}lower"),
}
_FRESHNESS: Final = "freshness_seconds"
_DRIVERS: Final = {
    "today": "it is this window by itself that is strange",
    "three": "it is the last three windows together that are strange",
    "week": "it is the last week taken together that is strange",
    "drift": "the last two weeks have drifted away from what was before",
    "constant": "it had been the same for long, and changed",
    "stale": "all numbers are exactly those of the window before: the same data twice?",
    "zero": "it fell to nothing, where days like it had some",
}
"""What made a measure strange; see `quality.detector.evidence.FEATURES`."""
STALE: Final = "stale"


def title(verdict: Verdict) -> str:
    """What is wrong, in a line: "silver.changes acme/api: far fewer rows than expected"."""
    where = f"{verdict.dataset} {verdict.scope}".strip()
    if verdict.state is State.BROKEN:
        return f"{where}: the detector could not judge it"
    if verdict.state is State.BLIND:
        return f"{where}: there is too little history to judge it"
    if not verdict.cells:
        return f"{where}: it is not as expected"
    return f"{where}: {_deviation(verdict.cells[0], verdict.rarity)}"


def expected(verdict: Verdict) -> str:
    """The range in which nothing would be said of the strangest measure: "31 to 58 rows, expected 44"."""
    return cell_expected(verdict.cells[0]) if verdict.cells else ""


def observed(verdict: Verdict) -> str:
    """What there is of the strangest measure, and when: "2026-11-20: 12 rows"."""
    return f"{verdict.window}: {cell_observed(verdict.cells[0])}" if verdict.cells else str(verdict.window)


def cell_expected(cell: Cell) -> str:
    """`expected` of one measure; empty where there is no opinion."""
    unit = Unit(cell.measure, cell.nature)
    if cell.low is None or cell.high is None:
        return unit.full(cell.expected) if cell.expected is not None else ""
    middle = f", expected {unit.bare(cell.expected)}" if cell.expected is not None and cell.low < cell.high else ""
    return unit.span(cell.low, cell.high) + middle


def cell_observed(cell: Cell) -> str:
    """What there is of one measure: "12 rows"."""
    unit = Unit(cell.measure, cell.nature)
    return unit.full(cell.observed) if cell.observed is not None else f"{unit.name}: {_NONE}"


def rarity(verdict: Verdict, budget: float = 1.0) -> str:
    """How rare it is; budget: false alarms that are accepted of a stream in 90 windows."""
    of = f"{budget:g} false alarm{'' if budget == 1 else 's'} a quarter allow{'s' if budget == 1 else ''}"
    rarer = verdict.rarity
    if rarer < BARELY:
        return f"just rare enough for what the budget of {of}"
    if rarer >= MOST:
        return f"more than {MOST:,.0f} times rarer than the budget of {of}"
    return (
        f"{rarer:.0f} times rarer than the budget of {of}"
        if rarer >= FAR
        else f"{rarer:.1f} times rarer than the budget of {of}"
    )


def driver(verdict: Verdict) -> str:
    """What makes its strangest measure strange, in words; empty where nothing says so."""
    return _DRIVERS.get(verdict.cells[0].driver, "") if verdict.cells else ""


def together(verdict: Verdict) -> tuple[str, ...]:
    """The other measures that are out of their range, the strangest first: "freshness 30 h (10 min to 3 h)"."""
    others = [cell for cell in verdict.cells[1:] if is_outside(cell)]
    return tuple(_beside(cell) for cell in others[:TOGETHER])


def contributors(verdict: Verdict) -> tuple[str, ...]:
    """What accounts for it, a line each: "author x: 0 instead of 14 (61 % of the change)"."""
    return tuple(_contributor(one) for one in verdict.contributors[:CONTRIBUTORS])


def blind(verdict: Verdict) -> str:
    """What is missing for an opinion, and how to get it; empty if it is not blind."""
    if verdict.state is not State.BLIND:
        return ""
    first, last = verdict.window - BACKFILLED, verdict.window - timedelta(days=1)
    missing = verdict.missing or "there is too little history"
    return f"{missing}; history ends that at once: touchstone backfill --from {first} --to {last}"


def reasons(verdict: Verdict, budget: float = 1.0) -> str:
    """Why it is told, in a few sentences: how rare it is, what drives it, and what else is strange."""
    if verdict.state is State.BROKEN:
        return "nothing is known of these numbers until it is judged; what is published is published unjudged"
    parts = [rarity(verdict, budget), driver(verdict)]
    if others := together(verdict):
        parts.append(f"strange together with it: {', '.join(others)}")
    return "; ".join(part for part in (*parts, verdict.together) if part)


def lines(verdict: Verdict, budget: float = 1.0) -> tuple[str, ...]:
    """All of it, a line each, for a terminal."""
    if verdict.state is State.BLIND:
        return (title(verdict), blind(verdict))
    if verdict.state is State.BROKEN:
        return tuple(line for line in (title(verdict), verdict.error) if line)
    told = (("expected", expected(verdict)), ("observed", observed(verdict)), ("why", reasons(verdict, budget)))
    return (title(verdict), *(f"{name}: {text}" for name, text in told if text), *contributors(verdict))


def is_outside(cell: Cell) -> bool:
    """Whether the value alone is strange."""
    return is_below(cell) or is_above(cell)


def is_below(cell: Cell) -> bool:
    """Whether the value alone is strange, as it is too low."""
    return cell.observed is not None and cell.low is not None and cell.observed < cell.low


def is_above(cell: Cell) -> bool:
    """Whether the value alone is strange, as it is too high."""
    return cell.observed is not None and cell.high is not None and cell.observed > cell.high


def _beside(cell: Cell) -> str:
    known = cell.low is not None and cell.high is not None
    span = Unit(cell.measure, cell.nature).bare_span(cell.low or 0.0, cell.high or 0.0) if known else ""
    return f"{cell_observed(cell)} ({span})" if span else cell_observed(cell)


def _deviation(cell: Cell, rarer: float) -> str:
    """How the measure deviates: "far fewer rows than expected"."""
    unit = Unit(cell.measure, cell.nature)
    if cell.observed is None:
        return f"{unit.noun[1] or unit.name}: no number, where one is expected"
    if cell.driver == STALE and not is_outside(cell):
        return "exactly the numbers of the window before"
    if cell.expected is None or cell.observed == cell.expected:
        return f"{cell_observed(cell)}, which is not as expected"
    if cell.observed == 0 and unit.noun[1] and cell.nature != RATIO:
        return f"no {unit.noun[1]}, where {unit.bare(cell.expected)} are expected"
    phrase = _compared(unit, higher=cell.observed > cell.expected, far="far " if rarer >= FAR else "")
    return f"{phrase} than expected" + ("" if is_outside(cell) else ", taken together with the days before")


def _compared(unit: Unit, *, higher: bool, far: str) -> str:
    if unit.field and unit.kind in _ADVERBS:
        return _ADVERBS[unit.kind][not higher].format(unit.field, far=far)
    if unit.measure == _FRESHNESS:
        return f"the newest row is {far}{'older' if higher else 'newer'}"
    if many := unit.noun[1]:
        return f"{far}{'more' if higher else 'fewer'} {many}"
    greater = _GREATER if unit.is_time else _HIGHER
    return f"{unit.name} is {far}{greater[not higher]}"


def _contributor(one: Contributor) -> str:
    if one.what == NULLS:
        unit = Unit(f"{NULLS}.{one.name}", RATIO)
        return f"{one.name}: {unit.bare(one.observed)} null instead of {unit.bare(one.expected)}"
    unit = Unit("", "count")
    told = f"{unit.bare(one.observed)} instead of {unit.bare(one.expected)}"
    share = f"{100 * one.share:.0f} %" if one.share < 1 else "all"
    if one.what == SCOPE and one.share > 0:
        change = "fall" if one.observed < one.expected else "rise"
        return f"{one.name} accounts for {share} of the {change}: {told}"
    name = one.name if one.what == SCOPE else f"{one.what} {one.name}"
    return f"{name}: {told}" + (f" ({share} of the change)" if one.share > 0 else "")


def names(cells: Sequence[Cell]) -> tuple[str, ...]:
    """The measures that are out of their range, the strangest first; the very strangest in any case."""
    return tuple(cell.measure for number, cell in enumerate(cells) if not number or is_outside(cell))
