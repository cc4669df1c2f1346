"""The validator as a process of its own: who starts it, what ends it, and who is blamed."""

import fcntl
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from quality import validation
from quality.findings import Judgement, Judges, Rule, Severity
from quality.validation import Validator, ValidatorError, shared
from quality.wire import answer, decode, encode, read_answer, receive, send
from quality.wording import Columns

ROOT = Path(__file__).parents[2]
BETWEEN = "expect_column_values_to_be_between"
SMALL = Rule("small", BETWEEN, {"column": "a", "max_value": 2})
TEXT = Rule("text", "expect_column_values_to_match_regex", {"column": "s", "regex": "^a+$"})
HANGS = Rule("hangs", TEXT.expectation, {"column": "s", "regex": "^(a+)+$"})
"""On 40 letters and a digit it takes longer than anybody waits, and lets no thread of its process run."""
ENDS = Rule("ends", "own_deeds.ExpectEnd", {"column": "a"})
WAITS = Rule("waits", "own_deeds.ExpectWait", {"column": "a"})
STARTS = Rule("starts", "own_deeds.ExpectStart", {"column": "a"})
COLUMNS: Columns = {"a": [1, 2, 3], "s": ["a", "b", None]}
LONG = f"4242.{os.getpid()}"
"""Seconds that no other process of this machine sleeps."""
DEEDS = """
import os
import subprocess
import time
from pathlib import Path

from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import ColumnMapExpectation
from great_expectations.expectations.metrics import ColumnMapMetricProvider, column_condition_partial


def make(deed, name):
    class Values(ColumnMapMetricProvider):
        condition_metric_name = f"column_values.own_{name}"

        @column_condition_partial(engine=PandasExecutionEngine)
        def _pandas(cls, column, **kwargs):
            deed()
            return column.map(lambda value: value < 3)

    members = {"map_metric": f"column_values.own_{name}", "__module__": __name__}
    return type(f"Expect{name}", (ColumnMapExpectation,), members)


def wait():
    # Once: whoever asks again is answered.
    waiting = Path(__file__).with_name("waiting")
    if not waiting.exists():
        waiting.touch()
        time.sleep(60)


ExpectEnd = make(lambda: os._exit(7), "End")
ExpectWait = make(wait, "Wait")
ExpectStart = make(lambda: subprocess.run(["sleep", "LONG"]), "Start")
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with expectations of a user's own, where Python looks for modules."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "own_deeds.py").write_text(DEEDS.replace("LONG", LONG))
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def alone(own: Path) -> Iterator[Path]:
    """The folder of a server that is there to be killed: whoever does so leaves it to the next to start another.

    It imports while other tests run.
    """
    folder = own / "alone"
    Validator(folder).warm()
    yield folder
    for one in servers(folder):
        os.kill(one, signal.SIGKILL)


@pytest.fixture(scope="module")
def server(own: Path, alone: Path) -> Iterator[Path]:  # noqa: ARG001 - both import at once
    """The folder of a server that stays for all tests that do not end it."""
    folder = own / "server"
    stays = Validator(folder)
    stays.judge([SMALL], COLUMNS, {})
    yield folder
    stays.close()


@pytest.fixture
def validator(server: Path) -> Iterator[Validator]:
    made = Validator(server, timeout=20)
    yield made
    made.close()


def processes(folder: Path) -> dict[int, int]:
    """The servers of `folder` and their children: process id -> parent's."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes()
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if b"quality.validator" in command and os.fsencode(folder) in command and state != "Z":
            found[int(entry.name)] = int(parent)
    return found


def servers(folder: Path) -> set[int]:
    found = processes(folder)
    return {one for one, parent in found.items() if parent not in found}


def children(folder: Path) -> set[int]:
    return set(processes(folder)) - servers(folder)


def wait_until(true: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def said(found: Any) -> list[tuple[bool, list[int], str | None]]:
    return [(one.passed, list(one.unexpected), one.error) for one in found]


SMALL_SAID = (False, [2], None)


def test_judgements_are_those_of_the_engine(validator: Validator) -> None:
    limit = Rule("limit", BETWEEN, {"column": "at", "max_value": {"$PARAMETER": "now"}}, Judges.PARTITION)
    mean = Rule("mean", "expect_column_mean_to_be_between", {"column": "a", "min_value": 3}, Judges.BATCH)
    now = datetime(2024, 1, 1, tzinfo=UTC)
    columns = {**COLUMNS, "at": [now, None, now + timedelta(microseconds=1)]}
    found = validator.judge([SMALL, limit, mean, Rule("no", "no_such")], columns, {"now": now})
    assert [one.rule for one in found] == ["small", "limit", "mean", "no"]
    assert said(found[:3]) == [SMALL_SAID, SMALL_SAID, (False, [], None)]
    assert [one.observed for one in found[:3]] == ["1 of 3 rows", "1 of 3 partitions", "2"]
    assert (found[0].expected, found[1].expected) == ("at most 2", "at most 2024-01-01 00:00:00 UTC")
    assert "there is no no_such" in str(found[3].error)


NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
EAST = timezone(timedelta(hours=5, minutes=30))


@pytest.mark.parametrize(
    "values",
    [
        [1, None, 2.5, "text", True, b"\x00\xff", 2**63 - 1, -(2**63)],
        [2**63, -(2**200), None, 10**5000],
        [
            NOON,
            None,
            NOON + timedelta(microseconds=1),
            datetime.min.replace(tzinfo=UTC),
            datetime.max.replace(tzinfo=UTC),
        ],
        [datetime(2024, 1, 1), NOON],  # noqa: DTZ001 - a naive one must not become aware on the way
        [datetime(1, 1, 1, tzinfo=EAST), datetime(9999, 12, 31, 23, tzinfo=timezone(-timedelta(hours=5)))],
        [date(2024, 1, 1), "x"],
        [[1, [NOON, 2**70]], {"a.b": {"$x": None}}, {"nul\x00": 1}, {"": [{}]}, {5: 6}],
        [{"$int": "0x5"}, {"$time": "now"}, {"$dict": []}, {"$int": 1, "more": 2}],
        ["\x00", "\U0001f600", "ü"],
        [],
    ],
)
def test_values_survive_the_way(values: list[Any]) -> None:
    """BSON knows no large integers, no microseconds, no naive times, and no NUL in a key."""
    for name in ("a.b", "$where", "nul\x00", "", "ü"):
        head, *columns = encode([SMALL], {name: values}, {"now": values})
        documents = over_the_wire([head, *columns])
        rules, table, parameters = decode(documents)
        assert (rules, list(table), parameters) == ([SMALL], [name], {"now": values})
        assert table[name] == values
        assert [one.tzinfo is None for one in values if isinstance(one, datetime)] == [
            one.tzinfo is None for one in table[name] if isinstance(one, datetime)
        ]


def over_the_wire(documents: list[bytes]) -> Any:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        send(ours, documents)
        return receive(theirs)


def test_what_no_text_can_hold_becomes_readable() -> None:
    lone = Rule("\ud800", BETWEEN, {"column": "\ud800", "value": object}, Judges.BATCH, Severity.INFO, "why", ("b",))
    (rule,), table, _ = decode(over_the_wire(encode([lone], {"\ud800": ["\ud800", math.nan, {1, 2}]}, {})))
    assert (rule.name, rule.arguments["column"], rule.arguments["value"]) == ("\\ud800", "\\ud800", "<class 'object'>")
    assert (rule.judges, rule.severity, rule.why, rule.columns) == (Judges.BATCH, Severity.INFO, "why", ("b",))
    assert str(table["\\ud800"]) == "['\\\\ud800', nan, [1, 2]]"
    odd = Judgement("\ud800", passed=False, unexpected=[0, 2**40], observed="\x00", error="\udfff")
    (back,) = read_answer(over_the_wire(answer([odd])))
    assert (back.rule, list(back.unexpected), back.observed, back.error) == ("\\ud800", [0, 2**40], "\x00", "\\udfff")


def test_a_table_larger_than_any_buffer_arrives_whole(validator: Validator) -> None:
    """It comes in many pieces, and so does the answer, which names every row."""
    rows = 200_000
    found = validator.judge([SMALL, TEXT], {"a": range(rows), "s": [f"{row:040x}" for row in range(rows)]}, {})
    assert said(found) == [(False, list(range(3, rows)), None), (False, list(range(rows)), None)]


@pytest.mark.parametrize(("rules", "columns"), [([], COLUMNS), ([SMALL], {}), ([SMALL], {"a": []})])
def test_nothing_to_judge_starts_no_server(rules: list[Rule], columns: dict[str, list[Any]], tmp_path: Path) -> None:
    found = Validator(tmp_path / "none").judge(rules, columns, {})
    assert [(one.passed, one.observed, one.expected) for one in found] == [(True, "no rows", "at most 2")] * len(rules)
    assert not (tmp_path / "none").exists()


def test_columns_of_different_length_are_refused(validator: Validator) -> None:
    with pytest.raises(ValueError, match="not one table"):
        validator.judge([SMALL], {"a": [1], "b": []}, {})


def test_the_pipeline_never_imports_what_the_server_does(server: Path) -> None:
    program = f"""
import sys, pathlib
from quality.findings import Rule
from quality.validation import Validator
rule = Rule("r", {BETWEEN!r}, {{"column": "a", "max_value": 2}})
found = Validator(pathlib.Path({str(server)!r})).judge([rule], {{"a": [5]}}, {{}})
print(list(found[0].unexpected), [name for name in ("great_expectations", "pandas", "numpy") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[0] []\n", "")


def test_a_rule_that_ends_the_validator_is_blamed_and_no_other(validator: Validator, server: Path) -> None:
    before = servers(server)
    found = validator.judge([SMALL, ENDS, TEXT], COLUMNS, {})
    assert said(found) == [SMALL_SAID, (False, [], "the validator ended while judging"), (False, [1], None)]
    assert found[1].expected == "own_deeds.ExpectEnd (column=a)"
    assert servers(server) == before


def test_the_innocent_are_judged_together_again(validator: Validator) -> None:
    """By itself the range rule would break on a text that the type rule sets aside."""
    of_type = Rule("int", "expect_column_values_to_be_of_type", {"column": "a", "type_": "int"})
    found = validator.judge([SMALL, ENDS, of_type], {"a": [1, "x", 3]}, {})
    assert said(found)[0::2] == [(False, [2], None), (False, [1], None)]


def test_a_rule_that_takes_too_long_is_blamed_and_its_process_killed(server: Path) -> None:
    before = children(server)
    validator = Validator(server, timeout=1)
    found = validator.judge([SMALL, HANGS, TEXT], {**COLUMNS, "s": ["a" * 40 + "1", "b", None]}, {})
    assert said(found) == [SMALL_SAID, (False, [], "took longer than 1 s"), (False, [0, 1], None)]
    validator.close()
    wait_until(lambda: children(server) <= before)


def test_what_an_expectation_started_is_killed_with_it(server: Path) -> None:
    validator = Validator(server, timeout=0.5)
    assert said(validator.judge([STARTS], COLUMNS, {})) == [(False, [], "took longer than 0.5 s")]

    def left() -> list[Path]:
        return [one for one in Path("/proc").glob("[0-9]*/cmdline") if reads(one) == f"sleep\0{LONG}\0".encode()]

    wait_until(lambda: not left())


def reads(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_an_interrupted_call_does_not_answer_the_next_one(
    validator: Validator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C between question and answer: the late answer must not be taken for that of the next question."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    validator.judge([SMALL], COLUMNS, {})
    with monkeypatch.context() as patch:
        patch.setattr(validation, "receive", interrupt)
        with pytest.raises(KeyboardInterrupt):
            validator.judge([TEXT], COLUMNS, {})
    assert said(validator.judge([SMALL], COLUMNS, {})) == [SMALL_SAID]


def test_a_fork_has_a_conversation_of_its_own(validator: Validator) -> None:
    """Luigi forks a process for each task: on the parent's connection each would read the other's answers."""
    validator.judge([SMALL], COLUMNS, {})
    forks = []
    for limit in range(4):
        child = os.fork()
        if not child:
            right = False
            try:
                rule = Rule("limit", BETWEEN, {"column": "a", "max_value": limit})
                wrong = list(range(limit + 1, 50))
                right = all(
                    said(validator.judge([rule], {"a": range(50)}, {})) == [(False, wrong, None)] for _ in range(20)
                )
            finally:
                os._exit(0 if right else 1)
        forks.append(child)
    for _ in range(20):
        assert said(validator.judge([SMALL], COLUMNS, {})) == [SMALL_SAID]
    assert [os.waitpid(child, 0)[1] for child in forks] == [0] * 4


def test_threads_take_turns(validator: Validator) -> None:
    wrong: list[Any] = []

    def ask(limit: int) -> None:
        rule = Rule("limit", BETWEEN, {"column": "a", "max_value": limit})
        found = [validator.judge([rule], {"a": range(50)}, {})[0] for _ in range(20)]
        wrong.extend(one for one in found if len(one.unexpected) != 49 - limit)

    threads = [threading.Thread(target=ask, args=(limit,)) for limit in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert wrong == []


def test_processes_that_start_one_at_the_same_moment_share_one(own: Path, tmp_path: Path) -> None:  # noqa: ARG001
    """Exactly one wins; and it ends by itself when the last of them has gone."""
    program = f"""
import pathlib, sys
from quality.findings import Rule
from quality.validation import Validator
rule = Rule("r", {BETWEEN!r}, {{"column": "a", "max_value": 2}})
validator = Validator(pathlib.Path({str(tmp_path / "many")!r}))
print(list(validator.judge([rule], {{"a": [1, 5]}}, {{}})[0].unexpected), flush=True)
sys.stdin.read()
"""
    pipe = subprocess.PIPE
    clients = [subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdin=pipe, stdout=pipe) for _ in range(4)]
    try:
        assert [one.stdout.readline() for one in clients if one.stdout] == [b"[1]\n"] * 4
        assert len(servers(tmp_path)) == 1
        assert len(children(tmp_path)) == 4
        clients[0].communicate()
        wait_until(lambda: len(children(tmp_path)) == 3)
        time.sleep(2.5)
        assert len(servers(tmp_path)) == 1
    finally:
        for one in clients:
            if one.returncode is None:
                one.communicate()
    wait_until(lambda: not processes(tmp_path))
    assert not (tmp_path / "many" / "socket").exists()


def test_warming_returns_at_once_and_the_server_outlives_who_did_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = f"__import__('pathlib').Path({str(tmp_path / 'w')!r})"
    program = f"from quality.validation import Validator; Validator({folder}).warm()"
    subprocess.run([sys.executable, "-W", "error", "-c", program], cwd=ROOT, check=True)
    (server,) = servers(tmp_path)
    assert os.getsid(server) not in (os.getsid(0), server)
    validator = Validator(tmp_path / "w")
    with monkeypatch.context() as patch:
        patch.delattr(Validator, "_start")
        validator.warm()
        validator.warm()
    assert servers(tmp_path) == {server}
    validator.close()
    os.kill(server, signal.SIGKILL)


def test_a_server_starts_only_while_no_other_does(tmp_path: Path) -> None:
    """Else two that start at once could each take the socket of the other away."""
    folder = tmp_path / "busy"
    folder.mkdir(mode=0o700)
    starts = threading.Thread(target=Validator(folder).warm)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        starts.start()
        wait_until(lambda: processes(folder))
        time.sleep(0.5)
        assert not (folder / "socket").exists()
    starts.join()
    assert (folder / "socket").exists()
    for one in servers(folder):
        os.kill(one, signal.SIGKILL)


def test_a_server_killed_between_or_during_calls_is_replaced(alone: Path, own: Path) -> None:
    """Its socket is still there: the next server must take its place. No rule is to blame."""
    validator = Validator(alone, timeout=20)
    validator.judge([SMALL], COLUMNS, {})
    (first,) = servers(alone)
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: not processes(alone))
    assert (alone / "socket").exists()
    validator.judge([SMALL], COLUMNS, {})
    (second,) = servers(alone)
    assert second != first

    def kill() -> None:
        wait_until((own / "waiting").exists)
        os.kill(second, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    assert said(validator.judge([SMALL, WAITS], COLUMNS, {})) == [SMALL_SAID, SMALL_SAID]
    killer.join()
    assert not servers(alone) & {first, second}
    validator.close()


def test_sigterm_ends_the_server_and_its_children(alone: Path) -> None:
    validator = Validator(alone, timeout=20)
    validator.judge([SMALL], COLUMNS, {})
    assert children(alone)
    (server,) = servers(alone)
    os.kill(server, signal.SIGTERM)
    wait_until(lambda: not processes(alone))
    assert (alone / "log").read_text() == ""
    validator.close()


def test_a_server_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """E.g. an installation that is broken: an error with the cause, not a wait."""
    (tmp_path / "great_expectations.py").write_text("raise RuntimeError('of no use')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ValidatorError, match=r"does not start: .*RuntimeError: of no use"):
        Validator(tmp_path / "broken").judge([SMALL], COLUMNS, {})


def test_a_folder_that_others_may_enter_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever can reach the socket could read the data, or answer in the validator's place."""
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o750)
    (tmp_path / "ours").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "ours")
    for name in ("open", "link"):
        for use in (Validator.warm, lambda one: one.judge([SMALL], COLUMNS, {})):
            with pytest.raises(ValidatorError, match="nobody else may enter"):
                use(Validator(tmp_path / name))
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(ValidatorError, match="nobody else may enter"):
        Validator(tmp_path / "ours").warm()
    assert not processes(tmp_path)


def test_a_folder_with_a_long_name_serves(tmp_path: Path) -> None:
    """The kernel takes about 107 bytes of a socket's path."""
    validator = Validator(tmp_path / ("long" * 40))
    validator.warm()
    (server,) = servers(tmp_path)
    assert validator._connect()
    validator.close()
    os.kill(server, signal.SIGKILL)


def test_what_a_server_is_made_of_names_its_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new version, or other modules in reach, never meets a server of the old ones."""

    def name() -> str:
        validation._version.cache_clear()
        return validation._version()

    first = name()
    assert name() == first
    with monkeypatch.context() as patch:
        patch.syspath_prepend("/elsewhere")
        assert name() != first
    with monkeypatch.context() as patch:
        patch.setattr(metadata, "version", lambda _: "0.0")
        assert name() != first
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", lambda _: b"changed")
        assert name() != first
    assert name() == first


def test_every_module_that_a_server_imports_is_part_of_its_name() -> None:
    """Else a client of the new code could meet a server of the old, and misread it."""
    program = "import sys, quality.engine, quality.validator, quality.validation; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    ours = {name for name in done.stdout.split() if name.partition(".")[0] in ("quality", "config")}
    assert ours == {"quality", *(f"quality.{name}" for name in validation._SOURCES)}


def test_a_process_shares_one_validator_for_each_timeout() -> None:
    """Whichever way it is given: else each way would cost a process of the server's."""
    assert shared() is shared(600) is shared(timeout=600.0)
    assert shared(30) is shared(30.0) is not shared()
    assert (shared()._timeout, shared(30)._timeout) == (600, 30)
