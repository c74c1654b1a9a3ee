"""Event types of the quality app, CloudEvents style: reverse DNS, past tense, version."""

QUARANTINE_DECIDED = "com.analytics-portal.quarantine.decided.v1"
RECONCILIATION_RECORDED = "com.analytics-portal.reconciliation.recorded.v1"
RECONCILIATION_SIGNED = "com.analytics-portal.reconciliation.signed.v1"

ALL_TYPES = (QUARANTINE_DECIDED, RECONCILIATION_RECORDED, RECONCILIATION_SIGNED)
