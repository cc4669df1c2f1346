"""`python -m bench.devlake [DIR]`: our rows against those that Apache DevLake expects in its own tests.

DIR holds cases.json and a folder for each plugin. Ends with 1 if a difference is not one that docs/devlake.md lists.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

from bench.devlake.compared import Result, compare
from bench.devlake.tables import cases

DEFAULT = Path(__file__).resolve().parents[3] / "shared" / "data" / "devlake"


def main(arguments: list[str] | None = None) -> int:
    """Compare, print, and return 1 if anything is unexplained."""
    parser = argparse.ArgumentParser(prog="python -m bench.devlake", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=DEFAULT)
    parser.add_argument("--most", type=int, default=5, help="unexplained differences that are shown of each table")
    options = parser.parse_args(arguments)
    if not (options.folder / "cases.json").is_file():
        print(f"{options.folder}: no cases.json here; name the folder that holds DevLake's cases", file=sys.stderr)
        return 2
    total = Result("", 0)
    aside: Counter[str] = Counter()
    for case in cases(options.folder):
        print(f"{case.plugin} {case.name}")
        for result in compare(case):
            _tell(result, options.most)
            if result.aside:
                aside[result.aside] += 1
                continue
            total.rows += result.rows
            total.cells += result.cells
            total.equal += result.equal
            total.known += result.known
            total.unexplained += result.unexplained
    counted = f"{total.rows} rows, {total.cells} fields compared, {total.equal} equal"
    print(f"\n{counted}, {total.known.total()} different as documented, {len(total.unexplained)} unexplained")
    for reason, number in total.known.most_common():
        print(f"  {number:5} {reason}")
    for reason, number in aside.items():
        print(f"  {number:5} tables not compared: {reason}")
    return 1 if total.unexplained else 0


def _tell(result: Result, most: int) -> None:
    if result.aside:
        print(f"  {result.table:45} {result.rows:4} rows  not compared: {result.aside}")
        return
    counted = f"{result.rows:4} rows {result.cells:5} fields {result.equal:5} equal {result.known.total():4} known"
    print(f"  {result.table:45} {counted} {len(result.unexplained):4} unexplained: {', '.join(result.columns)}")
    for reason, number in result.known.items():
        print(f"      {number:4} known: {reason}")
    for one in result.unexplained[:most]:
        print(f"      ! {one}")


if __name__ == "__main__":
    sys.exit(main())
