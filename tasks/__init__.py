"""The pipeline, and the only package that sees all others. `luigi --module tasks Backfill ...` finds its tasks here."""

from tasks.pipeline import Backfill, Daily

__all__ = ["Backfill", "Daily"]
