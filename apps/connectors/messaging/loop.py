"""An event loop in a thread of its own, every connection of which passes the egress check.

Brokers name further addresses (members of a cluster, advertised listeners); a client that dials them by itself would
carry a tenant into the operator's network. So the check is in the loop, below the libraries, not in what they are told.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import weakref
from collections.abc import Coroutine
from concurrent.futures import TimeoutError as FutureTimeout
from functools import partial
from typing import Any, TypeVar

from apps.connectors.exceptions import SystemUnavailable
from apps.core.services.egress import EgressDenied, resolve_target

ResultT = TypeVar("ResultT")


class EgressLoop(asyncio.SelectorEventLoop):
    """Connects to checked and pinned addresses only; TLS still speaks to the name."""

    def __init__(self) -> None:
        """Make a loop without connections."""
        super().__init__()
        self._opened: weakref.WeakSet[asyncio.BaseTransport] = weakref.WeakSet()
        self.told: set[asyncio.Future[None]] = set()
        """Futures that are told of an address to which the portal does not connect."""

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **options: Any) -> Any:
        """As the standard one, after the check.

        Raises:
            EgressDenied, HostUnresolved: the portal does not connect there.
        """
        try:
            target = await self.run_in_executor(None, partial(resolve_target, str(host), int(port), purpose="broker"))
        except EgressDenied as error:
            for one in self.told:
                if not one.done():
                    one.set_exception(error)
            raise
        if options.get("ssl") and not options.get("server_hostname"):
            options["server_hostname"] = target.host
        made = await super().create_connection(protocol_factory, target.ip, target.port, **options)
        self._opened.add(made[0])
        return made

    async def hang_up(self) -> None:
        """Close every connection that a library left open, and let the loop notice."""
        for transport in list(self._opened):
            transport.close()
        await asyncio.sleep(0.01)


class LoopThread:
    """Runs coroutines for a synchronous caller."""

    def __init__(self, name: str, *, denial_ends: bool = False) -> None:
        """Start the thread.

        Args:
            name: of the thread.
            denial_ends: a refused address ends what is being waited for. For clients whose own tasks would swallow it,
                and leave the caller waiting.
        """
        self._loop = EgressLoop()
        self._denial_ends = denial_ends
        self._loop.set_exception_handler(lambda _loop, _context: None)  # faults reach the caller through its results
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, ResultT], *, timeout_s: float) -> ResultT:
        """Run a coroutine and wait for it.

        Raises:
            SystemUnavailable: it took longer; it is cancelled.
            EgressDenied: see `denial_ends`.
        """
        if self._denial_ends:
            work = self._until_denied(work)
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout_s)
        except FutureTimeout:
            if future.done():
                raise
            future.cancel()
            raise SystemUnavailable(f"The broker did not answer within {timeout_s:g} s.") from None

    async def _until_denied(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        denied: asyncio.Future[None] = self._loop.create_future()
        task = self._loop.create_task(work)
        either: set[asyncio.Future[Any]] = {task, denied}
        self._loop.told.add(denied)
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not denied.done():
                return task.result()
            denied.result()
            raise AssertionError("a denial is an exception")
        finally:
            self._loop.told.discard(denied)
            denied.cancel()
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    def close(self) -> None:
        """Cancel what runs and end the thread. Safe to repeat."""
        if self._loop.is_closed():
            return
        with contextlib.suppress(FutureTimeout):
            asyncio.run_coroutine_threadsafe(_end(self._loop), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        if not self._thread.is_alive():
            self._loop.close()


async def _end(loop: EgressLoop) -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await loop.hang_up()
    await loop.shutdown_default_executor()
