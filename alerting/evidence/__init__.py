"""From what is stored to incidents: everything follows from what ledger, quarantine, drift, verdicts and runs say now.

So a crash anywhere loses nothing: the next look finds it, whoever looks. Folding is idempotent, and what the incidents
say already is not folded again.
"""

from alerting.evidence.reconcile import reconcile, reports, under_its_cause

__all__ = ["reconcile", "reports", "under_its_cause"]
