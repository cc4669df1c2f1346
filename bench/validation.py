"""What the gate costs on top of Great Expectations: one chunk of 20,000 rows, judged by us and by it alone, in turns.

Usage: python -m bench.validation
"""

import os
import statistics
import time
from datetime import UTC, datetime
from typing import Any, Final

ROWS: Final = 20_000
TURNS: Final = 15
DATASET: Final = "silver.changes"


def rows() -> list[dict[str, Any]]:
    """Rows as Silver has them: one in 200 breaks a rule."""
    return [
        {
            "_id": f"acme/api|{number:040x}",
            "id": f"{number:040x}" if number % 200 else f"no sha {number}",
            "parents": [f"{number - 1:040x}"],
            "authored_ts": 1_600_000_000 + number,
            "committed_ts": 1_600_000_100 + number,
            "author": f"{number % 97:032x}",
            "subject": f"change {number}",
        }
        for number in range(1, ROWS + 1)
    ]


def measured() -> tuple[float, float, float]:
    """Median seconds of the gate with its validator, of Great Expectations bare, and of their ratio turn by turn.

    Bare: the same expectations validated on a DataFrame that is there already. Ours begins with rows as MongoDB gives
    them, takes them to the validator's process, and ends with every broken row named.
    """
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx  # noqa: PLC0415 - seconds
    import pandas as pd  # type: ignore[import-untyped,unused-ignore] # noqa: PLC0415

    from quality import suites, validation, wording  # noqa: PLC0415
    from quality.findings import Judges  # noqa: PLC0415
    from quality.gate import Gate, parameters  # noqa: PLC0415

    suite = suites.suite(DATASET)
    rules = suite.judging(Judges.ROW)
    now = datetime.now(UTC)
    told = parameters(now)
    chunk = rows()
    validator = validation.shared()
    gate = Gate(suite, validator, now, "id")
    frame = pd.DataFrame({path: [row[path] for row in chunk] for path in suite.columns(Judges.ROW)})
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}  # type: ignore[assignment]
    source = context.data_sources.add_pandas("bench")
    expectations = [_expectation(rule.expectation, wording.put_in(dict(rule.arguments), told)) for rule in rules]
    ours, theirs = [], []
    for turn in range(TURNS + 1):
        begin = time.perf_counter()
        columns = gate._columns(Judges.ROW, chunk)  # noqa: SLF001 - what the pipeline does with a chunk
        judgements = validator.judge(rules, columns, told)
        middle = time.perf_counter()
        asset = source.add_dataframe_asset(f"chunk {turn}")
        batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
        batch.validate(gx.ExpectationSuite(f"suite {turn}", expectations=expectations))
        end = time.perf_counter()
        broken = sum(len(one.unexpected) for one in judgements)
        if broken != ROWS // 200:
            raise AssertionError(f"{broken} rows were found broken")
        if turn:  # the first one of each pays for what both keep
            ours.append(middle - begin)
            theirs.append(end - middle)
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return statistics.median(ours), statistics.median(theirs), statistics.median(ratios)


def figure() -> tuple[str, str, str, str]:
    """A line of the benchmark's table."""
    ours, theirs, ratio = measured()
    told = f"{ours * 1000:.0f} ms / {theirs * 1000:.0f} ms"
    return f"(f) judging {ROWS:,} rows / Great Expectations bare", told, f"{ratio:.2f} x", "at most 1.5 x"


def _expectation(name: str, arguments: dict[str, Any]) -> Any:
    import great_expectations.expectations as known  # noqa: PLC0415

    return getattr(known, "".join(part.capitalize() for part in name.split("_")))(**arguments)


if __name__ == "__main__":
    print(" | ".join(figure()))
