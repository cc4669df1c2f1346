"""What is said of rules and tables without judging: rules in words, and with what the run knows put into them. Pure.

Both sides of the validator say it, so it must not need the engine.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, Final

from quality.findings import Judgement, Rule

Columns = Mapping[str, Sequence[Any]]

NO_ROWS: Final = "no rows"
LIMIT: Final = 300  # characters of an error or a text, which end up in a message
_BITS: Final = 256  # of an integer that is written out; Python refuses from some 14,000 on


class RuleError(Exception):
    """The rule cannot be carried out as it is declared; the message says what to do."""


def count_rows(columns: Columns) -> int:
    """How many rows the table has; raises ValueError if its columns differ."""
    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1:
        raise ValueError(f"columns of {sorted(lengths)} rows are not one table")
    return max(lengths, default=0)


def unjudged(rules: Sequence[Rule], parameters: Mapping[str, Any]) -> list[Judgement]:
    """What is said where there is no row: nothing breaks a rule, which `observed` tells from a pass."""
    return [Judgement(rule.name, passed=True, expected=expected(rule, parameters), observed=NO_ROWS) for rule in rules]


def put_in(value: Any, parameters: Mapping[str, Any]) -> Any:
    """`value` with what the run knows in place of each {"$PARAMETER": name}; raises RuleError if it knows no such."""
    if isinstance(value, Mapping):
        if set(value) == {"$PARAMETER"}:
            if value["$PARAMETER"] not in parameters:
                known = ", ".join(sorted(parameters)) or "none"
                raise RuleError(f"there is no parameter {value['$PARAMETER']!r}; there are: {known}")
            return parameters[value["$PARAMETER"]]
        return {key: put_in(one, parameters) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [put_in(one, parameters) for one in value]
    return value


_PAIR: Final = "expect_column_pair_values_a_to_be_greater_than_b"
_BETWEEN: Final = re.compile(r"expect_(?:column_|table_)?(?:values?_)?(.*?)_?to_be_between")
_FIXED: Final[Mapping[str, str]] = {
    "expect_column_values_to_not_be_null": "not null",
    "expect_column_values_to_be_null": "null",
    "expect_column_values_to_be_unique": "unique",
    "expect_column_pair_values_to_be_equal": "{column_A} = {column_B}",
    "expect_compound_columns_to_be_unique": "unique together: {column_list}",
    "expect_column_values_to_match_regex": "text like {regex}",
    "expect_column_values_to_not_match_regex": "no text like {regex}",
    "expect_column_values_to_be_in_set": "one of {value_set}",
    "expect_column_values_to_not_be_in_set": "none of {value_set}",
    "expect_column_values_to_be_of_type": "of type {type_}",
    "expect_column_values_to_be_in_type_list": "of type {type_list}",
    "expect_table_row_count_to_equal": "{value} rows",
}


def expected(rule: Rule, parameters: Mapping[str, Any]) -> str:
    """The expectation and its arguments in a few words: "a >= b", "between 0 and 1", "one of 'x', 'y'"."""
    try:
        arguments = put_in(rule.arguments, parameters)
    except RuleError:
        arguments = dict(rule.arguments)
    mostly = arguments.pop("mostly", 1)
    text = _words(rule.expectation, arguments)
    return short(text if mostly == 1 else f"{text}, for {words(mostly)} of all")


def _words(name: str, arguments: Mapping[str, Any]) -> str:
    said = {key: words(one, quoted=key == "value_set") for key, one in arguments.items()}
    if name == _PAIR and {"column_A", "column_B"} <= set(said):
        return f"{said['column_A']} {'>=' if arguments.get('or_equal') else '>'} {said['column_B']}"
    if (between := _BETWEEN.fullmatch(name)) and (bounds := _bounds(arguments, said)):
        return f"{between[1].replace('_', ' ')} {bounds}".strip()
    try:
        return _FIXED[name].format_map(said)
    except KeyError:
        values = ", ".join(f"{key}={one}" for key, one in said.items())
        return f"{name if '.' in name else name.replace('_', ' ')} ({values})"


def _bounds(arguments: Mapping[str, Any], said: Mapping[str, str]) -> str:
    low, high = (said[key] if arguments.get(key) is not None else None for key in ("min_value", "max_value"))
    over = "more than" if arguments.get("strict_min") else "at least"
    under = "less than" if arguments.get("strict_max") else "at most"
    if low is not None and high is not None and (over, under) == ("at least", "at most"):
        return f"between {low} and {high}"
    return " and ".join([f"{over} {low}"] * (low is not None) + [f"{under} {high}"] * (high is not None))


def words(value: Any, *, quoted: bool = False) -> str:
    """A value of any kind as short text."""
    if isinstance(value, list | tuple | set):
        return ", ".join(f"({words(one)})" if isinstance(one, list) else words(one, quoted=quoted) for one in value)
    if isinstance(value, datetime) and value.tzinfo is not None:
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int) and value.bit_length() > _BITS:
        return f"an integer of {value.bit_length():,} bits"
    return repr(value) if quoted and not isinstance(value, date) else str(value)


def short(text: str) -> str:
    """One line of at most 300 characters."""
    line = " ".join(text.split())
    return line if len(line) <= LIMIT else line[: LIMIT - 1] + "…"
