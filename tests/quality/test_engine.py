"""What Great Expectations makes of a table, and what becomes of a rule that it cannot carry out."""

import random
import resource
import warnings
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from quality.engine import judge
from quality.findings import Judgement, Judges, Rule, Severity
from quality.wording import Columns

BETWEEN = "expect_column_values_to_be_between"
GREATER = "expect_column_pair_values_a_to_be_greater_than_b"
NOT_NULL = "expect_column_values_to_not_be_null"
IN_SET = "expect_column_values_to_be_in_set"
OF_TYPE = "expect_column_values_to_be_of_type"
MATCH = "expect_column_values_to_match_regex"
UNIQUE = "expect_column_values_to_be_unique"
NEW_YEAR = datetime(2024, 1, 1, tzinfo=UTC)

OWN = """
from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import ColumnMapExpectation
from great_expectations.expectations.metrics import ColumnMapMetricProvider, column_condition_partial


class {name}Values(ColumnMapMetricProvider):
    condition_metric_name = "column_values.own_{name}"
    condition_value_keys = ("divisor",)

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column, divisor=2, **kwargs):
        return column.map({test})


class Expect{name}(ColumnMapExpectation):
    map_metric = "column_values.own_{name}"
    success_keys = ("divisor", "mostly")
    divisor: int = 2
"""


def rule(
    expectation: str, judges: Judges = Judges.ROW, severity: Severity = Severity.CRITICAL, **arguments: Any
) -> Rule:
    return Rule(expectation, expectation, arguments, judges, severity)


def one(made: Rule, columns: Columns, **parameters: Any) -> Judgement:
    (judgement,) = judge([made], columns, parameters)
    return judgement


def said(judgement: Judgement) -> tuple[bool, list[int], str | None]:
    return judgement.passed, list(judgement.unexpected), judgement.error


def table(rows: int, seed: int = 1) -> dict[str, list[Any]]:
    dice = random.Random(seed)  # noqa: S311

    def some(value: Any) -> Any:
        return None if dice.random() < 0.1 else value

    return {
        "whole": [dice.randrange(-3, 100) for _ in range(rows)],
        "gaps": [some(dice.randrange(100)) for _ in range(rows)],
        "real": [some(dice.random()) for _ in range(rows)],
        "text": [some(dice.choice(["abc", "de", "0f", "x y"])) for _ in range(rows)],
        "flag": [dice.random() < 0.5 for _ in range(rows)],
        "at": [some(NEW_YEAR + timedelta(hours=dice.randrange(1000))) for _ in range(rows)],
    }


ROW_RULES = [
    rule(BETWEEN, column="whole", min_value=0, max_value=90, strict_max=True),
    rule(BETWEEN, column="gaps", min_value=5),
    rule(BETWEEN, column="real", max_value=0.9),
    rule(BETWEEN, column="at", min_value=NEW_YEAR + timedelta(days=2)),
    rule(GREATER, column_A="gaps", column_B="whole", or_equal=True, ignore_row_if="either_value_is_missing"),
    rule("expect_column_pair_values_to_be_equal", column_A="gaps", column_B="whole", ignore_row_if="neither"),
    rule(NOT_NULL, column="text"),
    rule("expect_column_values_to_be_null", column="gaps"),
    rule(UNIQUE, column="whole"),
    rule("expect_compound_columns_to_be_unique", column_list=["text", "flag"], ignore_row_if="any_value_is_missing"),
    rule(
        "expect_select_column_values_to_be_unique_within_record",
        column_list=["whole", "gaps"],
        ignore_row_if="any_value_is_missing",
    ),
    rule(IN_SET, column="text", value_set=["abc", "de"], mostly=0.3),
    rule("expect_column_values_to_not_be_in_set", column="gaps", value_set=[1, 2, 3]),
    rule(MATCH, column="text", regex="^[a-z]+$"),
    rule("expect_column_values_to_not_match_regex", column="text", regex=" "),
    rule("expect_column_value_lengths_to_be_between", column="text", max_value=2),
    rule("expect_column_values_to_be_increasing", column="whole"),
    rule("expect_column_value_z_scores_to_be_less_than", column="whole", threshold=1.5, double_sided=True),
    rule(OF_TYPE, column="text", type_="str"),
    rule(IN_SET, column="text", value_set=["de"], row_condition="whole > 50", condition_parser="pandas"),
]
BATCH_RULES = [
    rule("expect_table_row_count_to_be_between", Judges.BATCH, min_value=10, max_value=200),
    rule("expect_column_mean_to_be_between", Judges.BATCH, column="whole", min_value=60),
    rule("expect_column_max_to_be_between", Judges.BATCH, column="at", max_value=NEW_YEAR),
    rule("expect_column_distinct_values_to_equal_set", Judges.BATCH, column="text", value_set=["abc"]),
    rule("expect_column_unique_value_count_to_be_between", Judges.BATCH, column="gaps", min_value=3),
    rule("expect_column_to_exist", Judges.BATCH, column="other"),
    rule("expect_column_quantile_values_to_be_between", Judges.BATCH, column="gaps",
         quantile_ranges={"quantiles": [0.5], "value_ranges": [[10, 90]]}),
]  # fmt: skip


def bare(rules: Sequence[Rule], frame: Any) -> Any:
    """Great Expectations called as its manual says."""
    import great_expectations as gx  # noqa: PLC0415
    from great_expectations.expectations.registry import get_expectation_impl  # noqa: PLC0415

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}  # type: ignore[assignment]
    asset = context.data_sources.add_pandas("bare").add_dataframe_asset("bare")
    batch = asset.add_batch_definition_whole_dataframe("whole").get_batch({"dataframe": frame})
    made = [get_expectation_impl(one.expectation)(**one.arguments, meta={"at": at}) for at, one in enumerate(rules)]
    suite = gx.ExpectationSuite(name="bare", expectations=made)
    return lambda: batch.validate(suite, result_format={"result_format": "COMPLETE"})


def frame_of(columns: Columns) -> Any:
    import pandas as pd  # type: ignore[import-untyped,unused-ignore] # noqa: PLC0415

    gaps = pd.Series(columns["gaps"], dtype="object")
    return pd.DataFrame({**columns, "gaps": gaps, "text": pd.Series(columns["text"], dtype="object")})


def test_verdicts_and_positions_are_those_of_great_expectations_itself() -> None:
    """We carry its graph of metrics out ourselves: that must never say anything else than its own `validate`."""
    rules = [*ROW_RULES, *BATCH_RULES]
    for seed, rows in enumerate([1, 2, 30, 300]):
        columns = table(rows, seed)
        ours = judge(rules, columns, {})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = bare(rules, frame_of(columns))()
        by_rule = {result.expectation_config.meta["at"]: result for result in theirs.results}
        for at, judgement in enumerate(ours):
            result = by_rule[at]
            info = result.exception_info  # by metric, where one of them broke
            raised = info.get("raised_exception", True)
            if raised:
                assert judgement.error is not None, rules[at]
            else:
                positions = result.result.get("unexpected_index_list") or []
                assert said(judgement) == (result.success, sorted(positions), None), rules[at]


def test_thousands_of_tables_do_not_add_up_in_memory() -> None:
    """Its own engine keeps all that it ever computed; each rule with the time of the run in it is another rule."""
    columns = table(3_000)
    rules = [rule(BETWEEN, column="whole", max_value={"$PARAMETER": "limit"}), ROW_RULES[4], ROW_RULES[13]]
    for limit in range(50):
        judge(rules, columns, {"limit": limit})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for limit in range(400):
        judge(rules, columns, {"limit": limit})
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20 * 1024


def test_all_positions_are_named_without_a_cap() -> None:
    assert said(one(rule(BETWEEN, column="a", max_value=-1), {"a": range(5_000)})) == (False, list(range(5_000)), None)


def test_nulls_are_passed_over_except_where_they_are_asked_for() -> None:
    """None and NaN alike; and a pair of which one is missing says nothing, though they would compare as different."""
    columns: Columns = {"a": [1.0, None, float("nan"), 9.0], "b": [0, 1, 2, None]}
    assert said(one(rule(BETWEEN, column="a", max_value=5), columns)) == (False, [3], None)
    assert said(one(rule(NOT_NULL, column="a"), columns)) == (False, [1, 2], None)
    assert said(one(rule(GREATER, column_A="a", column_B="b"), columns)) == (True, [], None)
    equal = "expect_column_pair_values_to_be_equal"
    assert said(one(rule(equal, column_A="a", column_B="b"), columns))[1] == [0]
    assert said(one(rule(equal, column_A="a", column_B="b", ignore_row_if="neither"), columns))[1] == [0, 1, 2, 3]
    assert said(one(rule("expect_multicolumn_sum_to_equal", column_list=["a", "b"], sum_total=1), columns))[1] == []


def test_a_column_of_one_wrong_type_is_wrong_in_all_rows_that_have_a_value() -> None:
    """Great Expectations answers for the column as a whole there, without a word on rows."""
    assert said(one(rule(OF_TYPE, column="a", type_="int"), {"a": [0.5, None, 2.5]})) == (False, [0, 2], None)
    assert said(one(rule(OF_TYPE, column="a", type_="int"), {"a": [5, 6]})) == (True, [], None)
    assert said(one(rule(OF_TYPE, column="a", type_="int"), {"a": [5, None, "x"]})) == (False, [2], None)


def test_integers_keep_their_value() -> None:
    """Beside None pandas would make floats of them: 2**53 + 1 would become 2**53, and two different ids equal."""
    assert said(one(rule(UNIQUE, column="id"), {"id": [2**53, 2**53 + 1]})) == (True, [], None)
    ids = [2**53, 2**53 + 1, None, 2**70, -(2**70)]
    assert said(one(rule(UNIQUE, column="id"), {"id": ids})) == (True, [], None)
    assert said(one(rule(IN_SET, column="id", value_set=[2**53 + 1, 2**70]), {"id": ids}))[1] == [0, 4]
    assert said(one(rule(BETWEEN, column="id", min_value=0), {"id": ids}))[1] == [4]
    largest = rule("expect_column_max_to_be_between", Judges.BATCH, column="id", max_value=0)
    assert one(largest, {"id": [1, 10**5000]}).observed == "an integer of 16,610 bits"


def test_a_bound_that_loses_its_value_is_refused() -> None:
    """Great Expectations makes floats of bounds: 2**53 would pass as being at least 2**53 + 1."""
    judgement = one(rule(BETWEEN, column="id", min_value=2**53 + 1), {"id": [2**53]})
    assert "not exact" in str(judgement.error)


def test_times_of_any_year_are_judged() -> None:
    ends = [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), None]
    beyond = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5)))
    for times in (ends, [*ends, beyond]):
        judgement = one(rule(BETWEEN, column="at", max_value={"$PARAMETER": "now"}), {"at": times}, now=NEW_YEAR)
        assert said(judgement) == (False, [1], None)
    assert said(one(rule(GREATER, column_A="at", column_B="at"), {"at": ends}))[1] == [0, 1]


@pytest.mark.parametrize(
    ("made", "columns", "cause"),
    [
        (rule(NOT_NULL, column="b"), {"a": [1]}, 'column "b"'),
        (rule("expect_column_mean_to_be_between", Judges.BATCH, column="b", min_value=1), {"a": [1]}, 'column "b"'),
        (rule(BETWEEN, column="a", min_value=1), {"a": [1, "2"]}, "TypeError"),
        (rule(GREATER, column_A="a", column_B="b"), {"a": [1, "2"], "b": [1, 1]}, "not supported between"),
        (rule(BETWEEN, column="a", min_value=datetime(2024, 1, 1)), {"a": [NEW_YEAR]}, "without a time zone"),  # noqa: DTZ001
        (rule(BETWEEN, column="a", min_value=NEW_YEAR), {"a": [datetime(2024, 1, 1)]}, "naive"),  # noqa: DTZ001
        (rule(BETWEEN, column="a", min_value=date(2024, 1, 1)), {"a": [NEW_YEAR]}, "or a date"),
        (rule(MATCH, column="a", regex="("), {"a": ["x"]}, "unterminated"),
        (rule(BETWEEN, column="a", min_valu=1, max_value=2), {"a": [1]}, "min_valu: extra fields"),
        (rule(BETWEEN, min_value=1), {"a": [1]}, "column: field required"),
        (rule(BETWEEN, column="a", min_value={"$PARAMETER": "nwo"}), {"a": [1]}, "'nwo'; there are: now"),
        (rule("expect_column_values_to_be_betwen", column="a"), {"a": [1]}, f"is it {BETWEEN}?"),
        (rule("no.such.Class"), {"a": [1]}, "cannot import no.such"),
        (rule("json.dumps"), {"a": [1]}, "not an Expectation"),
        (rule("expect_table_row_count_to_equal", value=1), {"a": [1]}, "judges single rows, but"),
        (rule("expect_column_mean_to_be_between", column="a", min_value=9), {"a": [1]}, 'declare judges = "batch"'),
    ],
)  # fmt: skip
def test_a_rule_that_cannot_be_carried_out_says_why_and_spoils_no_other(
    made: Rule, columns: dict[str, list[Any]], cause: str
) -> None:
    """In the result of Great Expectations most of these are mere failures: they would look like bad data."""
    columns = columns | {"fine": [5] * len(columns["a"])}
    fine = rule(BETWEEN, column="fine", max_value=6)
    broken = judge([made], columns, {"now": 1})[0]
    assert cause in str(broken.error)
    assert said(broken) == (False, [], broken.error)
    assert len(str(broken.error)) <= 300
    assert "\n" not in str(broken.error)
    together = judge([fine, made, rule(NOT_NULL, column="gone"), fine], columns, {"now": 1})
    assert [said(together[at]) for at in (0, 3)] == [(True, [], None)] * 2
    assert together[1] == broken


def test_a_row_of_a_wrong_type_does_not_break_what_is_said_of_the_others() -> None:
    """The type rule sets it aside; the range rule then judges the rest, at their own positions."""
    columns: Columns = {"a": [99, "x", 1, 98], "b": [0, 0, 5, 0]}
    of_type = rule(OF_TYPE, column="a", type_="int")
    rules = [rule(BETWEEN, column="a", max_value=10), of_type, rule(GREATER, column_A="a", column_B="b")]
    found = judge(rules, columns, {})
    assert [said(judgement) for judgement in found] == [(False, [0, 3], None), (False, [1], None), (False, [2], None)]
    assert found[0].observed == "2 of 3 rows"


def test_a_row_that_a_milder_rule_flags_is_not_left_out() -> None:
    """It is published, though with a warning: a critical rule that never saw it must not pass."""
    columns = {"a": [99, "x"]}
    found = judge(
        [rule(BETWEEN, column="a", max_value=10), rule(OF_TYPE, severity=Severity.WARNING, column="a", type_="int")],
        columns,
        {},
    )
    assert "TypeError" in str(found[0].error)
    assert said(found[1]) == (False, [1], None)


def test_a_broken_rule_stays_broken_when_no_row_is_left() -> None:
    rules = [rule(BETWEEN, column="a", max_value=0), rule(OF_TYPE, column="a", type_="int")]
    found = judge(rules, {"a": ["x", "y"]}, {})
    assert "TypeError" in str(found[0].error)
    assert said(found[1]) == (False, [0, 1], None)


@pytest.mark.parametrize("columns", [{}, {"a": []}])
def test_no_row_breaks_no_rule_and_that_is_said(columns: dict[str, list[Any]]) -> None:
    """Great Expectations passes an empty frame too: the caller must be able to tell."""
    judgement = one(rule(NOT_NULL, column="a"), columns)
    assert (said(judgement), judgement.observed, judgement.expected) == ((True, [], None), "no rows", "not null")


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="not one table"):
        judge([], {"a": [1], "b": [1, 2]}, {})


def test_any_json_and_any_name_can_be_judged() -> None:
    columns: Columns = {
        "a.b": [[1], {"$x": None}, None],
        "$c": [b"\x00", "\ud800", True],
        "": [[1], [2], [1]],
        "from": [1, 2, 3],
    }
    for name, values in columns.items():
        if name:  # Great Expectations takes no empty name
            missing = [at for at, value in enumerate(values) if value is None]
            assert said(one(rule(NOT_NULL, column=name), columns)) == (not missing, missing, None)
    assert said(one(rule(GREATER, column_A="from", column_B="from", or_equal=True), columns)) == (True, [], None)


@pytest.mark.parametrize(
    ("made", "expected", "observed"),
    [
        (rule(GREATER, column_A="a", column_B="b", or_equal=True), "a >= b", "1 of 2 rows"),
        (rule(BETWEEN, column="a", min_value=0, max_value=1), "between 0 and 1", "1 of 2 rows"),
        (rule(BETWEEN, column="a", min_value=0, strict_min=True), "more than 0", "0 of 2 rows"),
        (rule(BETWEEN, column="a", max_value={"$PARAMETER": "now"}), "at most 7", "0 of 2 rows"),
        (rule(MATCH, column="c", regex="^[0-9a-f]{40}$"), "text like ^[0-9a-f]{40}$", "2 of 2 rows"),
        (rule(IN_SET, column="c", value_set=["x", "y"], mostly=0.5), "one of 'x', 'y', for 0.5 of all", "0 of 2 rows"),
        (rule(BETWEEN, Judges.PARTITION, column="a", max_value=1), "at most 1", "1 of 2 partitions"),
        (rule("expect_column_mean_to_be_between", Judges.BATCH, column="a", min_value=5), "mean at least 5", "1.5"),
        (rule("expect_table_row_count_to_be_between", Judges.BATCH, max_value=1), "row count at most 1", "2"),
        (
            rule("expect_column_values_to_be_json_parseable", column="c"),
            "expect column values to be json parseable (column=c)",
            "2 of 2 rows",
        ),
    ],
)
def test_what_was_expected_and_observed_is_said_in_words(made: Rule, expected: str, observed: str) -> None:
    judgement = one(made, {"a": [1, 2], "b": [0, 3], "c": ["x", "y"]}, now=7)
    assert (judgement.expected, judgement.observed) == (expected, observed)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_an_expectation_of_ones_own_judges_rows(own: Path) -> None:
    (own / "own_divisible.py").write_text(OWN.format(name="Divisible", test="lambda value: value % divisor == 0"))
    made = rule("own_divisible.ExpectDivisible", column="a", divisor=3)
    for columns in ({"a": [3, 4, None, 9, 10]}, {"a": [1, 1, 1, 1, 1]}):
        wrong = [at for at, value in enumerate(columns["a"]) if value is not None and value % 3]
        assert said(one(made, columns)) == (False, wrong, None)
    assert "divisible" in judge([made], {"a": [3]}, {})[0].expected.lower()
    assert "divisor: value is not a valid integer" in str(
        one(rule(made.expectation, column="a", divisor="x"), columns).error
    )


def test_an_expectation_that_answers_neither_true_nor_false_is_broken(own: Path) -> None:
    """Of objects, "not True" is -2: it must not count as a row, nor as none."""
    (own / "own_object.py").write_text(
        OWN.format(name="Vague", test="lambda value: value > 1, na_action=None).astype(object")
    )
    judgement = one(rule("own_object.ExpectVague", column="a"), {"a": [1, 2]})
    assert judgement.error is not None
    assert not judgement.passed


def test_two_classes_of_one_name_are_refused(own: Path) -> None:
    """Great Expectations would take the one that was imported last, for both."""
    for module in ("own_first", "own_second"):
        (own / f"{module}.py").write_text(OWN.format(name="Twice", test="bool"))
    rules = [rule("own_first.ExpectTwice", column="a"), rule("own_second.ExpectTwice", column="a")]
    assert said(one(rules[0], {"a": [1]})) == (True, [], None)
    for _ in range(2):
        first, second = judge(rules, {"a": [1]}, {})
        assert "have the same name" in str(first.error)
        assert said(second) == (True, [], None)


def test_a_module_that_breaks_or_a_class_that_is_not_complete_says_so(own: Path) -> None:
    (own / "own_broken.py").write_text("raise SystemExit('bye')")
    (own / "own_bare.py").write_text(
        OWN.format(name="Bare", test="bool").replace('    map_metric = "', '    other = "')
    )
    assert "cannot import own_broken (bye)" in str(one(rule("own_broken.Some", column="a"), {"a": [1]}).error)
    assert one(rule("own_bare.ExpectBare", column="a"), {"a": [1]}).error is not None
