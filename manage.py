#!/usr/bin/env python
"""Entry point of the portal's commands."""

import os
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.dev")
    # Makes the portal's Celery application the one that every `shared_task` of this process sends through.
    import config.celery  # noqa: F401

    execute_from_command_line(sys.argv)
