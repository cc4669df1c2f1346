"""The one HTTP client of all sources that are asked over HTTP, and the evidence of how they answered."""

from tasks.sources.http.answers import Answer, HttpError, Reason
from tasks.sources.http.client import Http
from tasks.sources.http.limits import Limits
from tasks.sources.http.trace import Trace

__all__ = ["Answer", "Http", "HttpError", "Limits", "Reason", "Trace"]
