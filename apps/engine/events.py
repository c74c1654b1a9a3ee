"""Event types of the engine, CloudEvents style: reverse DNS, past tense, version."""

RUN_STARTED = "com.analytics-portal.run.started.v1"
RUN_COMPLETED = "com.analytics-portal.run.completed.v1"
RUN_FAILED = "com.analytics-portal.run.failed.v1"
RUN_CANCELLED = "com.analytics-portal.run.cancelled.v1"

ALL_TYPES = (RUN_STARTED, RUN_COMPLETED, RUN_FAILED, RUN_CANCELLED)
