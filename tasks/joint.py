"""Waiting for the units of a run: what is made from several of them must not be made for each of them."""

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from config import schema
from tasks.context import POLL_SECONDS, Context

log = logging.getLogger(__name__)

PATIENCE_SECONDS: Final = 600.0
"""How long nothing may happen in the run; what comes later is linked by its end, or by the next run."""

Units = Mapping[str, tuple[str, Sequence[str]]]
"""By place: the task's id, and the scopes that it feeds."""


def wait(context: Context, units: Units) -> None:
    """Wait until each of `units` is through, or something of it has failed."""
    seen, since = None, time.monotonic()
    while True:
        fields = {"finished": 1, "failures": 1, "planned": 1, "done": 1}
        run = context.db[schema.RUNS].find_one({"_id": context.ledger.run_id}, fields) or {}
        if not (coming := [place for place, one in units.items() if not _is_over(run, place, *one)]):
            return
        sign = [len(run.get("finished", ())), len(run.get("failures", ())), run.get("planned"), run.get("done")]
        if sign != seen:
            seen, since = sign, time.monotonic()
        elif time.monotonic() - since > PATIENCE_SECONDS:
            log.warning("units give no sign: joining what is there", extra={"units": coming[:10]})
            return
        time.sleep(POLL_SECONDS)


def _is_over(run: Mapping[str, Any], place: str, task_id: str, scopes: Sequence[str]) -> bool:
    if schema.digest(task_id) in run.get("finished", {}):
        return True
    about = place.partition(" ")[2]
    return any(
        one["place"].partition(" ")[2] == about or {*one.get("scopes", ())} & {*scopes}
        for one in run.get("failures", ())
    )
