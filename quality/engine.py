"""The validator's engine: judges a table by rules with Great Expectations. Only it and `expectations` import that.

It and pandas are imported when the first table is judged: importing this module costs nothing. Not thread-safe.

Status quo: `batch.validate(suite)` spends 25 ms on 100 rows and 4 rules, nearly all of it on asking the same
expectations again and again what they need, and its engine keeps what it ever computed. Goal: 30 calls in a run are
not felt, and thousands do not add up in memory. Non-goal: judging anything by ourselves. Choice: what `validate` does,
which is one graph of metrics for all rules, over an engine of its own for each table; what an expectation of theirs
that judges single rows depends on is asked once. That takes 5 ms.

Nulls: None, and a float NaN, are null, as in pandas: what judges values passes over them, and "not null" flags both.
Integers, also beside None and beyond 64 bits, and times of any year keep their value.
"""

import importlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from quality.expectations import check_name, find
from quality.findings import Judgement, Judges, Rule, Severity
from quality.wording import Columns, RuleError, count_rows, expected, put_in, short, unjudged, words

_CACHED: Final = 500  # plans; a rule with the time of the run among its arguments is another one in each run
_INT64: Final = 2**63
_RANK: Final = (Severity.INFO, Severity.WARNING, Severity.CRITICAL)


@dataclass
class _Plan:
    """An expectation that is ready to be carried out on one table after another."""

    expectation: Any
    static: bool
    """What it depends on is the same for all tables: an expectation of theirs that judges single rows."""
    judges_rows: bool
    needs: Mapping[str, Any] | None = None
    edges: Sequence[Any] = ()

    def prepare(self, engine: Any) -> None:
        """Ask the expectation what it depends on."""
        from great_expectations.validator.metrics_calculator import MetricsCalculator  # noqa: PLC0415

        check_name(type(self.expectation))
        if self.needs is None or not self.static:
            needs = self.expectation.get_validation_dependencies(engine, runtime_configuration=_configuration())
            graph = MetricsCalculator(engine, show_progress_bars=False).build_metric_dependency_graph(
                needs.get_metric_configurations(), runtime_configuration=_configuration()
            )
            self.needs, self.edges = needs.metric_configurations, graph.edges

    def answer(self, engine: Any, metrics: dict[Any, Any]) -> Any:
        """What the expectation makes of the `metrics`: `success` and `result`."""
        if not self.static:
            return self.expectation.metrics_validate(metrics, _configuration(), engine)
        needed = {name: metrics[one.id] for name, one in (self.needs or {}).items()}
        return self.expectation._validate(  # noqa: SLF001 - what each class of theirs defines, and ours would too
            metrics=needed, runtime_configuration=_configuration(), execution_engine=engine
        )


def judge(rules: Sequence[Rule], columns: Columns, parameters: Mapping[str, Any]) -> list[Judgement]:
    """What each of `rules` says of the table, in their order. Never raises for what a rule or the data are like.

    `columns` are of one length; times are aware. A rule that judges single rows names all that break it, also where
    `mostly` lets it pass. If it cannot be carried out, but other rules of its kind, at least as severe, set rows aside,
    it is judged again without those: one row of a wrong type does not break what is said of all others.
    Raises ValueError if the columns differ in length.
    """
    rows = count_rows(columns)
    if not rows:
        return unjudged(rules, parameters)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found: dict[int, Judgement] = {}
        plans: dict[int, _Plan] = {}
        for at, rule in enumerate(rules):
            try:
                plans[at] = _plan(rule, parameters)
            except Exception as error:  # noqa: BLE001 - a class of the user's may raise anything
                found[at] = _broken(rule, error)
        if plans:
            found |= _judge(rules, plans, _frame(columns))
        first = [(rules[at], one) for at, one in found.items()]
        for at, plan in plans.items():
            aside = _set_aside(rules[at], first) if found[at].error is not None else set()
            kept = [row for row in range(rows) if row not in aside]
            if aside and kept:
                left = {name: [values[row] for row in kept] for name, values in columns.items()}
                found |= _judge(rules, {at: plan}, _frame(left, kept))
    return [replace(found[at], expected=expected(rule, parameters)) for at, rule in enumerate(rules)]


def _judge(rules: Sequence[Rule], plans: Mapping[int, _Plan], frame: Any) -> dict[int, Judgement]:
    """Each plan's judgement; those that break when all run as one run again alone, so that none spoils another."""
    found = _run(rules, plans, frame)
    if len(plans) > 1:
        for at in [at for at, one in found.items() if one.error is not None]:
            found |= _run(rules, {at: plans[at]}, frame)
    return found


def _run(rules: Sequence[Rule], plans: Mapping[int, _Plan], frame: Any) -> dict[int, Judgement]:
    """One graph of metrics for all `plans`. What breaks a single plan is told as it was raised."""
    from great_expectations.execution_engine.pandas_execution_engine import PandasExecutionEngine  # noqa: PLC0415
    from great_expectations.validator.validation_graph import ValidationGraph  # noqa: PLC0415

    engine = PandasExecutionEngine(batch_data_dict={"rows": frame}, caching=False)
    found: dict[int, Judgement] = {}
    edges: list[Any] = []
    for at, plan in plans.items():
        try:
            plan.prepare(engine)
            edges += plan.edges
        except Exception as error:  # noqa: BLE001
            found[at] = _broken(rules[at], error)
    try:
        metrics, _ = ValidationGraph(engine, edges).resolve(
            _configuration() | {"catch_exceptions": len(plans) > 1}, show_progress_bars=False
        )
    except Exception as error:  # noqa: BLE001
        return {at: _broken(rules[at], error) for at in plans} | found
    for at, plan in plans.items():
        if at not in found:
            try:
                found[at] = _judgement(rules[at], plan, plan.answer(engine, metrics), frame)
            except Exception as error:  # noqa: BLE001
                found[at] = _broken(rules[at], error)
    return found


def _configuration() -> dict[str, Any]:
    """A fresh one, as theirs change it."""
    return {
        "result_format": {
            "result_format": "COMPLETE",  # any other caps the positions
            "partial_unexpected_count": 0,
            "exclude_unexpected_values": True,  # they would be copied, counted and sorted, and the caller has them
            "return_unexpected_index_query": False,
            "include_unexpected_rows": False,
        }
    }


def _judgement(rule: Rule, plan: _Plan, answer: Any, frame: Any) -> Judgement:
    passed, result = bool(answer["success"]), answer["result"] or {}
    positions = result.get("unexpected_index_list")
    if positions is None and plan.judges_rows and "unexpected_count" not in result:
        # Of a column of one type, an expectation about types says yes or no, without a word on its rows.
        positions = [] if passed else frame.index[frame[plan.expectation.column].notnull()]
    if positions is None and rule.judges is not Judges.BATCH:
        raise RuleError(f'judges single {rule.judges}s, but {rule.expectation} does not; declare judges = "batch"')
    if positions is None:
        observed = result.get("observed_value")
        if observed is None:
            observed = "as expected" if passed else "not as expected"
        return Judgement(rule.name, passed, observed=short(words(observed)))
    unexpected = sorted(int(one) for one in positions)
    noun = "partitions" if rule.judges is Judges.PARTITION else "rows"
    return Judgement(rule.name, passed, unexpected, observed=f"{len(unexpected):,} of {len(frame):,} {noun}")


def _set_aside(rule: Rule, found: Sequence[tuple[Rule, Judgement]]) -> set[int]:
    """The rows that rules like `rule`, and at least as severe, set aside: no other row may pass that it never saw."""
    if rule.judges is Judges.BATCH:
        return set()
    return {
        row
        for other, one in found
        if other.judges is rule.judges and _RANK.index(other.severity) >= _RANK.index(rule.severity) and not one.passed
        for row in one.unexpected
    }


def _broken(rule: Rule, error: BaseException) -> Judgement:
    while error.__cause__ is not None and type(error).__module__.startswith("great_expectations"):
        error = error.__cause__
    told = isinstance(error, RuleError) or type(error).__module__.startswith("great_expectations")
    text = str(error).removeprefix("Error: ") if told and str(error) else f"{type(error).__name__}: {error}"
    if "dtype=datetime64" in text:
        text += " (is one of them without a time zone, or a date?)"
    return Judgement(rule.name, passed=False, error=short(text))


# --- Rules become expectations ---------------------------------------------------------------------------------------

_plans: dict[str, _Plan] = {}


def _plan(rule: Rule, parameters: Mapping[str, Any]) -> _Plan:
    arguments = put_in(rule.arguments, parameters)
    key = f"{rule.expectation} {arguments!r}"
    if key not in _plans:
        if len(_plans) >= _CACHED:
            _plans.pop(next(iter(_plans)))
        _plans[key] = _made(rule.expectation, arguments)
    return _plans[key]


def _made(name: str, arguments: Mapping[str, Any]) -> _Plan:
    kind = find(name)
    from great_expectations.expectations import expectation as base  # noqa: PLC0415
    from pydantic.v1 import ValidationError  # noqa: PLC0415 - theirs is of version 1

    defaults = {}
    if "ignore_row_if" in kind.__fields__:
        pair = issubclass(kind, base.ColumnPairMapExpectation)
        defaults = {"ignore_row_if": "either_value_is_missing" if pair else "any_value_is_missing"}
    try:
        made = kind(**defaults | dict(arguments))
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise RuleError(f"arguments of {name}: {wrong}") from None
    for key, value in arguments.items():
        if isinstance(value, int) and getattr(made, key, value) != value:
            raise RuleError(f"{key} = {value} becomes {getattr(made, key)!r}: beyond 2**53 it is not exact")
    maps = (base.ColumnMapExpectation, base.ColumnPairMapExpectation, base.MulticolumnMapExpectation)
    theirs = kind.__module__.startswith("great_expectations.")
    usual = kind.get_validation_dependencies in [one.get_validation_dependencies for one in maps]
    return _Plan(made, static=theirs and usual, judges_rows=issubclass(kind, maps))


# --- Columns become a table ------------------------------------------------------------------------------------------


def _frame(columns: Columns, index: Sequence[int] | None = None) -> Any:
    """The table; `index` says where its rows were in the whole, so that no position needs to be translated."""
    pd = importlib.import_module("pandas")
    rows = next(iter(columns.values()))
    labels = pd.RangeIndex(len(rows)) if index is None else pd.Index(index)

    def series(values: Sequence[Any]) -> Any:
        try:
            return pd.Series(values, index=labels, dtype=_dtype(values))
        except (OverflowError, ValueError, TypeError):  # a time before year 1, as UTC
            return pd.Series(values, index=labels, dtype="object")

    return pd.DataFrame({name: series(values) for name, values in columns.items()}, index=labels, copy=False)


def _dtype(values: Sequence[Any]) -> str:
    """A dtype that holds `values` exactly; "object" holds any, and compares as Python does."""
    kinds = set(map(type, values))
    plain = kinds - {type(None)}
    if kinds == {bool}:
        return "bool"
    if all(issubclass(kind, int) and kind is not bool for kind in kinds):
        return "int64" if min(values) >= -_INT64 and max(values) < _INT64 else "object"
    if plain == {float}:
        return "float64"
    if plain == {datetime} and all(one is None or one.tzinfo is not None for one in values):
        return "datetime64[us, UTC]"
    return "object"
