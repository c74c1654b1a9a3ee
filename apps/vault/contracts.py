"""What crosses the vault's door."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

HIDDEN = "[hidden]"


class SecretDict(Mapping[str, str]):
    """Revealed secrets by name. Readable by key only: printing, JSON, pickling and copying give nothing away.

    It is a Mapping and not a dict on purpose: `json.dumps` refuses it, so it can neither slip into a Celery message
    nor into an API answer.
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str]) -> None:
        """Hold a copy of the values."""
        self._values = dict(values)

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"SecretDict({', '.join(f'{name}={HIDDEN}' for name in sorted(self._values))})"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("Revealed secrets are never pickled or copied; reveal them again where they are needed.")


@dataclass(frozen=True)
class RotationProgress:
    """How far a rotation is.

    Attributes:
        done: rows handled in this call so far.
        total: rows that were due when the call began.
    """

    done: int
    total: int
