"""Why a message was not delivered, or may not have been: what is to be done about it follows from three answers.

Is it permanent, or worth trying again? May it have arrived all the same? When may it be tried again? The codes are
those of https://docs.slack.dev/reference/methods/chat.postMessage and of incoming webhooks.
"""

import re
from typing import Final

RETRY_AFTER: Final = 30.0
"""Seconds, where Slack says that it is too much but not how long to wait."""
LONGEST: Final = 3600.0
"""Seconds; who is told to wait longer asks again after that."""
IN_DOUBT: Final = frozenset({"fatal_error", "internal_error", "request_timeout", "service_unavailable"})
"""Temporary, and "some aspect of the operation" may have "succeeded before the error was raised"."""
TEMPORARY: Final = frozenset({"message_limit_exceeded", "org_login_required", "team_added_to_org"})
LIMITED: Final = frozenset({"rate_limited", "ratelimited"})
UNFIT: Final = frozenset(
    {
        "attachment_payload_limit_exceeded", "invalid_attachments", "invalid_blocks", "invalid_blocks_format",
        "invalid_metadata_format", "invalid_metadata_schema", "invalid_payload", "metadata_too_large",
        "msg_blocks_too_long", "msg_too_long", "no_text", "request_too_large", "too_many_attachments",
    }
)  # fmt: skip
"""The message itself is what is refused."""
SLUG: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,79}")
_TOO_MANY: Final = 429
_REQUEST_TIMEOUT: Final = 408
_TOO_LARGE: Final = 413
_BAD: Final = 400
_BROKEN: Final = 500


class DeliveryError(Exception):
    """Slack was not told, or nobody knows whether it was. Never holds a token or the address of a webhook."""

    def __init__(
        self,
        code: str,
        *,
        permanent: bool = False,
        doubt: bool = False,
        retry_after: float | None = None,
        detail: str = "",
    ) -> None:
        super().__init__(code)
        self.code = code
        """Slack's own, where it gave one."""
        self.detail = detail
        """What the system said of it."""
        self.permanent = permanent
        """The same message will not be delivered by trying again."""
        self.doubt = doubt
        """It may have arrived all the same: look before trying again."""
        self.retry_after = retry_after
        """Seconds until Slack will listen again, if it said so."""

    @property
    def unfit(self) -> bool:
        """Whether a smaller message may be taken."""
        return self.code in UNFIT

    def __str__(self) -> str:
        """For a log line: the code and what it means."""
        meaning = [
            *([self.detail] if self.detail else []),
            "permanent" if self.permanent else "temporary",
            *(["it may have arrived"] if self.doubt else []),
            *([f"again in {self.retry_after:g} s"] if self.retry_after is not None else []),
        ]
        return f"{self.code} ({', '.join(meaning)})"


def of_code(code: object, status: int, retry_after: str | None) -> DeliveryError:
    """What an answer with `ok: false` means; `code` is what the answer gives as its error."""
    if not isinstance(code, str) or not SLUG.fullmatch(code):
        return of_status(status, retry_after)
    if code in LIMITED or status == _TOO_MANY:
        return DeliveryError(code, retry_after=seconds(retry_after))
    if code in IN_DOUBT or status >= _BROKEN:
        return DeliveryError(code, doubt=True, retry_after=seconds(retry_after) if retry_after else None)
    return DeliveryError(code, permanent=code not in TEMPORARY)


def of_status(status: int, retry_after: str | None) -> DeliveryError:
    """What an answer means that is not Slack's JSON: only its status counts.

    A page instead of an answer is somebody between us and Slack, who may be gone tomorrow: temporary.
    """
    if status == _TOO_MANY:
        return DeliveryError("ratelimited", retry_after=seconds(retry_after))
    if status == _TOO_LARGE:
        return DeliveryError("request_too_large", permanent=True)
    doubt = status < _BAD or status >= _BROKEN or status == _REQUEST_TIMEOUT
    return DeliveryError(f"http_{status}", doubt=doubt, retry_after=seconds(retry_after) if retry_after else None)


def seconds(retry_after: str | None) -> float:
    """How long to wait by a `Retry-After` header."""
    try:
        told = float(retry_after or "")
    except ValueError:
        return RETRY_AFTER
    return min(max(told, 0.0), LONGEST) if told == told else RETRY_AFTER  # noqa: PLR0124 - NaN
