"""What a body is, in a person's words."""

import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.sources.http.body import Broken, NotRecords, TooLarge, bounded, decoded, error_text

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"<html><title>Sign in to Jenkins</title></html>", "a login page"),
        (b"  <!DOCTYPE html><body>Hello</body>", "an HTML page"),
        (b"null", "null"),
        (b'"maintenance"', "a text"),
        (b"17", "a number"),
        (b"Hello, and welcome to this server", "text that is not JSON"),
        (b'[{"id": 1}] and more of it than one would think', "text that is not JSON"),
        (b"[NaN]", "NaN, which is not JSON"),
        (b"[-Infinity]", "-Infinity, which is not JSON"),
        (b'["\xff"]', "text that is not UTF-8"),
        (b"[" * 100_000, "JSON that is nested too deeply"),
        (b"[" + b"9" * 5000 + b"]", "a number that is too long"),
        (b'{"message": "Bad"}', "an error object: Bad"),
        (b'{"errors": [{"type": "X", "message": "first"}, {"message": "second"}], "data": null}',
         "an error object: first; second"),
        (b'{"errorMessages": [], "errors": {"jql": "no such field"}}', "an error object: jql: no such field"),
        (b'{"error": {"code": 7}}', "an error object: without a message"),
    ],
)  # fmt: skip
def test_what_holds_no_records_is_named(raw: bytes, words: str) -> None:
    with pytest.raises(NotRecords, match=f"^{words}$"):
        decoded(raw)


@pytest.mark.parametrize("content", [[], {}, {"message": "a commit's", "sha": "1"}, {"data": {"x": 1}, "errors": []}])
def test_what_holds_records_is_taken(content: Any) -> None:
    assert decoded(json.dumps(content).encode()) == content


@settings(deadline=None)
@given(st.lists(JSON, min_size=1) | st.dictionaries(st.text(min_size=1), JSON, min_size=1), st.data())
def test_what_is_cut_off_is_never_taken(content: Any, data: st.DataObject) -> None:
    raw = json.dumps(content).encode()
    cut = data.draw(st.integers(0, len(raw) - 1))
    with pytest.raises(Broken):
        decoded(raw[:cut])


@given(st.binary(max_size=3000), st.integers(1, 50), st.integers(0, 3000))
def test_what_is_compressed_comes_back_whole_or_is_too_large(body: bytes, step: int, most: int) -> None:
    zipped = gzip.compress(body, mtime=0)
    for sent, encoding in ((zipped, "gzip"), (body, "")):
        chunks = [sent[start : start + step] for start in range(0, len(sent), step)]
        if len(body) > most:
            with pytest.raises(TooLarge):
                bounded(chunks, encoding, most)
        else:
            assert bounded(chunks, encoding, most) == body


@given(st.binary(max_size=200), st.data())
def test_gzip_that_lacks_its_end_is_noticed(body: bytes, data: st.DataObject) -> None:
    """The library would hand out what there is."""
    zipped = gzip.compress(body, mtime=0)
    with pytest.raises(Broken):
        bounded([zipped[: data.draw(st.integers(0, len(zipped) - 1))]], "gzip", 10_000)


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=5), st.integers(1, 50))
def test_gzip_of_several_members_is_one_body(bodies: list[bytes], step: int) -> None:
    """As RFC 1952 has it; the bound is of all of them together."""
    zipped = b"".join(gzip.compress(one, mtime=0) for one in bodies)
    chunks = [zipped[start : start + step] for start in range(0, len(zipped), step)]
    whole = b"".join(bodies)
    assert bounded(chunks, "gzip", len(whole)) == whole
    if whole:
        with pytest.raises(TooLarge):
            bounded(chunks, "gzip", len(whole) - 1)


@pytest.mark.parametrize(("piece", "error"), [(b"x" * 2**16, Broken), (gzip.compress(b"") * 3000, TooLarge)])
def test_what_follows_the_end_of_gzip_is_not_collected(piece: bytes, error: type[Exception]) -> None:
    """Neither garbage nor members without content go on for long."""
    taken = []

    def endless() -> Iterator[bytes]:
        yield gzip.compress(b"[]")
        for number in range(1000):
            taken.append(number)
            yield piece

    with pytest.raises(error):
        bounded(endless(), "gzip", 1000)
    assert len(taken) < 4


def test_a_bomb_is_noticed_before_it_goes_off() -> None:
    """200 MB, which are 200 kB on the wire."""
    with pytest.raises(TooLarge):
        bounded([gzip.compress(bytes(200 * 2**20), 1, mtime=0)], "gzip", 2**20)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b'{"message": "Bad credentials"}', "Bad credentials"),
        (b"<html><title>\n502 Bad Gateway </title>", "502 Bad Gateway"),
        (b"<html><body>secret</body>", ""),
        (b"upstream connect error", "upstream connect error"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"", ""),
        (b"[" * 100_000, ""),
        (b"words " * 10_000, "words " * 1666),
    ],
)
def test_an_error_says_what_its_body_says(raw: bytes, text: str) -> None:
    assert error_text(raw) == text
