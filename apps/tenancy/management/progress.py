"""Progress of a command: a bar in a terminal, plain lines in a log."""

from __future__ import annotations

from types import TracebackType
from typing import Any, TextIO, cast

from django.core.management.base import OutputWrapper
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


class CommandProgress:
    """Shows "what is being done, how many of how many"; silent at verbosity 0."""

    def __init__(self, stdout: OutputWrapper, *, verbosity: int) -> None:
        """Choose by the kind of output.

        Args:
            stdout: the command's.
            verbosity: the command's option.
        """
        self._console = Console(file=cast(TextIO, cast(Any, stdout)._out))
        self._lines = verbosity > 0 and not self._console.is_terminal
        columns = [TextColumn("{task.description:<34}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()]
        self._bar = Progress(*columns, console=self._console, disable=verbosity == 0 or self._lines)
        self._task = self._bar.add_task("", total=None)

    def __enter__(self) -> CommandProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def show(self, title: str, done: int, total: int) -> None:
        """Say what comes next, or that all is done."""
        self._bar.update(self._task, description=title, completed=done, total=total)
        if self._lines:
            self._console.print(f"[{done}/{total}] {title}", markup=False, highlight=False, soft_wrap=True)

    def note(self, text: str) -> None:
        """A line that stays above the bar."""
        self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
