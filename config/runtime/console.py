"""What the runtime shows on a terminal: phases with elapsed time, and failures in one clear line.

On a terminal one live line names everything in progress; elsewhere (CI, a pipe) each phase prints a start and an end.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_STYLE = re.compile(r"\x1b\[[0-9;]*m")
_HEARTBEAT_S = 20.0
_CODES = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
    "bright_blue": "94",
    "bright_magenta": "95",
}


class Failure(Exception):
    """Something a person can put right. Shown as one line with its remedy, never as a traceback."""

    def __init__(self, message: str, remedy: str = "", *, details: str = "", status: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.details = details
        self.status = status


@dataclass(eq=False)
class Phase:
    """One step that is shown while it runs. `note` is what its closing line says."""

    title: str
    started: float = field(default_factory=time.monotonic)
    note: str = ""
    shown_at: float = 0.0

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self.started


def uses_colour() -> bool:
    """Colours on a terminal, unless NO_COLOR says no; FORCE_COLOR says yes for pipes."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or (sys.stdout.isatty() and os.environ.get("TERM") != "dumb")


def paint(text: str, *styles: str) -> str:
    """`text` in the given styles where colours are on."""
    if not styles or not uses_colour():
        return text
    return f"\x1b[{';'.join(_CODES[style] for style in styles)}m{text}\x1b[0m"


def strip_styles(text: str) -> str:
    """`text` without colours and other terminal styles."""
    return _STYLE.sub("", text)


def format_elapsed(seconds: float) -> str:
    """0.4 s, 12.3 s, 2 min 05 s."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


class Console:
    """Serialises everything that is written, so that a live line is never torn by a log line."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._active: list[Phase] = []
        self._live = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        self._drawn = False
        self._ticker: threading.Thread | None = None

    def line(self, text: str = "") -> None:
        """Print one line above the live line."""
        self.write(f"{text}\n")

    def write(self, text: str) -> None:
        """Print whole lines (with their newlines) above the live line."""
        with self._lock:
            self._erase()
            try:
                sys.stdout.write(text)
                sys.stdout.flush()
            except (BrokenPipeError, OSError):
                return  # the reader has gone away (a closed pipe or terminal); the servers still stop in order
            self._draw(0)

    @contextmanager
    def phase(self, title: str) -> Iterator[Phase]:
        """Show `title` as in progress; close with a tick and its note, or a cross when it raises."""
        phase = self.start_phase(title)
        try:
            yield phase
        except BaseException as error:
            stopped = isinstance(error, KeyboardInterrupt) or type(error).__name__ == "CancelledError"
            self.end_phase(phase, "stopped" if stopped else "failed")
            raise
        self.end_phase(phase, "done")

    def start_phase(self, title: str) -> Phase:
        """Begin a phase; `end_phase` must follow."""
        phase = Phase(title)
        with self._lock:
            self._active.append(phase)
            if not self._live:
                self.line(paint(f"  … {title}", "dim"))
            if self._ticker is None:
                self._ticker = threading.Thread(target=self._tick, name="console", daemon=True)
                self._ticker.start()
        return phase

    def end_phase(self, phase: Phase, state: str) -> None:
        """Close a phase with its mark, note and elapsed time."""
        with self._lock:
            self._active.remove(phase)
            marks = {"done": ("✓", "green"), "failed": ("✗", "red"), "stopped": ("■", "yellow")}
            mark, colour = marks[state]
            note = f"  {paint(phase.note, 'dim')}" if phase.note else ""
            elapsed = paint(f"{format_elapsed(phase.elapsed_s):>12}", "dim")
            self.line(f"  {paint(mark, colour, 'bold')} {phase.title:<26}{elapsed}{note}")

    def fail(self, failure: Failure) -> None:
        """Print a failure: what happened, what to do, and the last words of whoever failed."""
        if failure.details:
            self.line(paint(failure.details.rstrip(), "dim"))
        remedy = f" → {failure.remedy}" if failure.remedy else ""
        self.line(f"{paint('✗ ' + failure.message, 'red', 'bold')}{remedy}")

    def _tick(self) -> None:
        frame = 0
        pause: Callable[[float], None] = time.sleep
        while True:
            pause(0.12)
            frame += 1
            with self._lock:
                if not self._active:
                    continue
                if self._live:
                    self._erase()
                    self._draw(frame)
                else:
                    self._beat()

    def _beat(self) -> None:
        for phase in self._active:
            if phase.elapsed_s - phase.shown_at >= _HEARTBEAT_S:
                phase.shown_at = phase.elapsed_s
                self.line(paint(f"  … {phase.title} ({format_elapsed(phase.elapsed_s)})", "dim"))

    def _draw(self, frame: int) -> None:
        if not self._live or not self._active:
            return
        parts = [
            f"{phase.title}{' ' + phase.note if phase.note else ''} {format_elapsed(phase.elapsed_s)}"
            for phase in self._active
        ]
        width = max(shutil.get_terminal_size().columns - 5, 20)
        text = " · ".join(parts)[:width]
        sys.stdout.write(f"  {paint(_SPINNER[frame % len(_SPINNER)], 'cyan')} {text}")
        sys.stdout.flush()
        self._drawn = True

    def _erase(self) -> None:
        if self._drawn:
            sys.stdout.write("\r\x1b[2K")
            self._drawn = False


console = Console()
