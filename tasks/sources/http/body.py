"""The body of an answer: bytes within a bound, then JSON, or what else it is in a person's words."""

import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

_STEP: Final = 2**16
_GZIP: Final = 16 + zlib.MAX_WBITS
_LOOKED_AT: Final = 10_000
_LOGIN: Final = re.compile(rb"log[ -]?in|sign[ -]?in|password|sso|saml", re.IGNORECASE)
_LAST_WORD: Final = re.compile(r"(?<!\S)\S*\Z")
_TITLE: Final = re.compile(r"<title[^>]*>(.{1,200}?)</title", re.IGNORECASE | re.DOTALL)
_ERROR_KEYS: Final = frozenset({
    "message", "error", "errors", "errorMessages", "error_description", "documentation_url", "status", "code",
    "statusCode", "warningMessages", "data", "path", "timestamp",
})  # fmt: skip
"""An object that has nothing else, and one of `_SAID`, is an error."""
_SAID: Final = ("message", "errorMessages", "errors", "error_description", "error")
_NEAR_THE_END: Final = 8
"""Characters: where a literal or an escape is cut in two, the decoder points to its beginning."""


class TooLarge(Exception):  # noqa: N818 - a finding about an answer, turned into an HttpError by the client
    """More than was allowed."""


class Broken(Exception):  # noqa: N818 - likewise
    """What came is not what was sent: cut off, or damaged on its way. Asking again may help."""


class NotRecords(Exception):  # noqa: N818 - likewise
    """A whole answer that is no JSON of a list or an object; the text says what it is."""


def bounded(chunks: Iterable[bytes], encoding: str, most: int) -> bytes:
    """All bytes, decompressed as Content-Encoding says. Raises TooLarge beyond `most`, Broken, or NotRecords."""
    plain = chunks if encoding in ("", "identity") else _inflated(chunks, encoding, most)
    parts: list[bytes] = []
    size = 0
    for part in plain:
        size += len(part)
        if size > most:
            raise TooLarge
        parts.append(part)
    return b"".join(parts)


def _inflated(chunks: Iterable[bytes], encoding: str, most: int) -> Iterator[bytes]:
    """In steps of bounded size, so that a bomb is noticed while it goes off. Of one gzip member after another."""
    if encoding not in ("gzip", "x-gzip"):
        raise NotRecords("bytes in an encoding that nobody asked for")
    inflate = zlib.decompressobj(wbits=_GZIP)
    came = 0
    try:
        for chunk in chunks:
            came += len(chunk)
            if came > most + _STEP:  # empty members without end
                raise TooLarge
            rest = chunk
            while rest:
                if inflate.eof:
                    inflate = zlib.decompressobj(wbits=_GZIP)
                yield inflate.decompress(rest, _STEP)
                rest = inflate.unconsumed_tail or inflate.unused_data
    except zlib.error:
        raise Broken("gzip that is corrupt") from None
    if not inflate.eof:
        raise Broken("gzip that is cut off")


def decoded(raw: bytes, content_type: str = "") -> Any:
    """The list or object that `raw` is. Raises Broken for what is cut off, and NotRecords for everything else."""
    try:
        content = json.loads(raw, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        raise _no_json(raw, content_type, error) from None
    except UnicodeDecodeError:
        raise NotRecords("text that is not UTF-8") from None
    except RecursionError:
        raise NotRecords("JSON that is nested too deeply") from None
    except ValueError as error:
        raise NotRecords(str(error) if isinstance(error, _Constant) else "a number that is too long") from None
    if isinstance(content, list):
        return content
    if not isinstance(content, dict):
        raise NotRecords("null" if content is None else "a text" if isinstance(content, str) else "a number")
    if is_error(content):
        raise NotRecords(f"an error object: {said(content) or 'without a message'}")
    return content


def is_error(content: Mapping[str, Any]) -> bool:
    """Whether an object says that something is wrong, and nothing else."""
    return any(content.get(key) for key in _SAID) and content.keys() <= _ERROR_KEYS and not content.get("data")


def said(content: Any) -> str:
    """The message of an error object, in the server's words; empty if it has none."""
    match content:
        case str():
            return content
        case list():
            return "; ".join(text for one in content[:3] if (text := said(one)))
        case dict():
            for key in _SAID:
                if text := said(content.get(key)):
                    return text
            return "; ".join(f"{key}: {value}" for key, value in content.items() if isinstance(value, str))
        case _:
            return ""


def error_text(raw: bytes) -> str:
    """What an error's body says to a person: a message, the title of a page, or its words. Nothing in it is hidden yet.

    So it is not cut but where it is very long, and there without its last word: half a secret is not known as one.
    """
    try:
        return said(json.loads(raw))
    except (ValueError, RecursionError):
        text = raw[:_LOOKED_AT].decode("utf-8", "replace")
        if len(raw) > _LOOKED_AT:
            text = _LAST_WORD.sub("", text)
        if found := _TITLE.search(text):
            return found[1].strip()
        return "" if text.lstrip().startswith("<") else text


def _no_json(raw: bytes, content_type: str, error: json.JSONDecodeError) -> Exception:
    start = raw[:_LOOKED_AT].lstrip()
    if not start:
        return Broken("an empty body")
    if start.startswith(b"<") or "html" in content_type:
        return NotRecords("a login page" if _LOGIN.search(start) else "an HTML page")
    if error.pos >= len(error.doc.rstrip()) - _NEAR_THE_END or error.msg.startswith("Unterminated"):
        return Broken("JSON that is cut off")
    return NotRecords("text that is not JSON")


class _Constant(ValueError):  # noqa: N818 - likewise
    """NaN or an infinity."""


def _refuse(constant: str) -> Any:
    raise _Constant(f"{constant}, which is not JSON")
