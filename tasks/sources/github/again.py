"""What is read once more: where the cursor no longer fits, and where a record could not be read. Pure.

A record that could not be read holds nothing up: the stream goes on, and remembers since when it had looked. The next
sweep reads the stream from there once more, and then one of each day, until all can be read.
"""

from typing import Any, Final

from tasks.sources.github.known import Known
from tasks.sources.github.visit import State, Visit

_MOST_NUMBERS: Final = 1000
_DAY: Final = 86_400
KEPT: Final = ("refused", "ahead", "again")
"""What lies in the state of any stream for this, and is none of its reader's business."""


def unread(stream: str, state: State) -> State:
    """Of a state what is true in any case: which entities are there, so that it shows which of them are gone."""
    if stream == "commits":
        former = state.get("former") or state.get("head")
        kept: State = {name: state[name] for name in ("gone", "sweeps", "lost") if name in state}
        return {**kept, "former": former} if former else kept
    kept = {name: state[name] for name in ("open", "pending", "tags", "sweeps") if state.get(name) is not None}
    if state.get("known"):
        kept["known"] = Known(state["known"]).unread().packed(float("-inf"))
    return {**kept, "unread": True} if stream == "tags" else kept


def rewound(visit: Visit, state: State) -> State:
    """The state to read with. Where it is time to read again what was refused, one that lies further back."""
    note: dict[str, Any] | None = state.get("refused")
    if note is not None and not state.get("partial") and "ahead" not in state and _day(visit) > note["day"]:
        back = {name: one for name, one in state.items() if name not in ("refused", "until", "etag")}
        back |= {"ahead": state.get("until", 0), "again": note["numbers"]}
        if note["from"] is not None:
            back["until"] = note["from"]
        if visit.stream == "commits":
            back |= {"former": back.get("former") or back.get("head"), "head": None}
        state = back
    visit.ahead = state.get("ahead")
    numbers = state.get("again")
    visit.again = frozenset(numbers) if numbers is not None else None
    return state


def noted(visit: Visit, before: State, carried: State) -> State:
    """What is to be remembered beside a state. before: with which the reading began; carried: what was remembered."""
    note = carried.get("refused")
    kept: State = {name: carried[name] for name in ("ahead", "again") if name in carried}
    if visit.refused or note is not None:
        numbers = _numbers([*(note["numbers"] if note and note["numbers"] is not None else []), *visit.refused])
        if note is not None and note["numbers"] is None:
            numbers = None
        day = _day(visit) if visit.ahead is not None else -1
        kept["refused"] = note or {"from": before.get("until"), "day": day}
        kept["refused"] = {**kept["refused"], "numbers": numbers}
    return kept


def _numbers(refused: list[int | None]) -> list[int] | None:
    """Those that are named; None if not all are, or they are too many."""
    named = sorted({one for one in refused if one is not None})
    return None if None in refused or len(named) > _MOST_NUMBERS else named


def _day(visit: Visit) -> int:
    return visit.until // _DAY
