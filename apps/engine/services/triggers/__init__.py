"""Triggers: schedules and events that start runs."""
