"""The classes of expectations by name: Great Expectations' own, and those of the user. Starts it when first asked."""

import difflib
import importlib
import os
from collections.abc import Mapping
from functools import cache
from typing import Any

from quality.wording import RuleError


def find(name: str) -> type[Any]:
    """The class of an expectation; raises RuleError where there is none."""
    core = _core()
    if "." in name:
        return _own(name)
    if name not in core:
        near = difflib.get_close_matches(name, core, 1)
        raise RuleError(f"there is no {name}" + (f"; is it {near[0]}?" if near else ""))
    return core[name]


def _own(name: str) -> type[Any]:
    from great_expectations.expectations.expectation import Expectation  # noqa: PLC0415

    module, _, attribute = name.rpartition(".")
    try:
        kind = getattr(importlib.import_module(module), attribute, None)
    except (Exception, SystemExit) as error:  # noqa: BLE001
        raise RuleError(f"cannot import {module} ({error}); is its folder on PYTHONPATH?") from None
    if not (isinstance(kind, type) and issubclass(kind, Expectation)):
        raise RuleError(f"{name} is not an Expectation: derive it from a class of Great Expectations")
    return kind


def check_name(kind: type[Any]) -> None:
    """Raise RuleError unless Great Expectations would take `kind` for what it is.

    It looks classes up by their name alone: of two, the last to be imported stands in for both.
    """
    from great_expectations.exceptions.exceptions import ExpectationNotFoundError  # noqa: PLC0415
    from great_expectations.expectations.registry import get_expectation_impl  # noqa: PLC0415

    try:
        known = get_expectation_impl(kind.expectation_type)
    except ExpectationNotFoundError:
        raise RuleError(f"{kind.__qualname__} is not complete: does it name its map_metric or metric?") from None
    if known is not kind:
        other = f"{known.__module__}.{known.__qualname__}"
        raise RuleError(f"{kind.__module__}.{kind.__qualname__} and {other} have the same name; rename one")


@cache
def _core() -> Mapping[str, type[Any]]:
    """Their own expectations by name. Starts Great Expectations: no usage events, no project looked for on disk."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx  # noqa: PLC0415
    from great_expectations import expectations  # noqa: PLC0415

    gx.get_context(mode="ephemeral")
    importlib.import_module("tqdm").tqdm.monitor_interval = 0  # else a thread watches bars that are not shown
    found = [one for one in vars(expectations).values() if isinstance(one, type) and hasattr(one, "expectation_type")]
    return {one.expectation_type: one for one in found if one.expectation_type}
