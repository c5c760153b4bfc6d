"""A bad network between ZeroMQ peers: a TCP proxy with delay, loss of whole messages, and stalls."""

import asyncio
import random
import threading
import time
from collections.abc import AsyncIterator

GREETING = 64
"""Bytes that each side of a ZMTP connection sends before its first frame."""
MORE, LONG, COMMAND = 1, 2, 4
"""Bits of a frame's flags."""


class BadNetwork(threading.Thread):
    """Forwards ``address`` to ``upstream`` (tcp://127.0.0.1:PORT), ``delay`` s each way.

    ``loss`` is the share of the messages, to either side, that vanish; ``lose`` lets the next few from the server
    vanish. ``stall`` freezes everything for some seconds, after which all of it arrives, as TCP has it.
    """

    def __init__(self, upstream: str, delay: float = 0.0, loss: float = 0.0, seed: int = 0):
        super().__init__(name="bad-network", daemon=True)
        self._port = int(upstream.rpartition(":")[2])
        self.delay, self.loss, self.lost = delay, loss, 0
        self._to_lose, self._frozen_until = 0, 0.0
        self._random = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self.address = ""
        self.start()
        assert self._ready.wait(10)

    def lose(self, count: int = 1) -> None:
        """The next messages from the server vanish."""
        self._to_lose += count

    def stall(self, seconds: float) -> None:
        """Nothing gets through for so long."""
        self._frozen_until = time.monotonic() + seconds

    def close(self) -> None:
        """Ends the thread and all connections."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self.join(5)

    def run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._connect, "127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(2 * self.delay)  # TCP's own handshake
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            writer.close()
            return
        ways = [self._way(reader, back, from_server=False), self._way(there, writer, from_server=True)]
        await asyncio.wait([asyncio.ensure_future(way) for way in ways], return_when=asyncio.FIRST_COMPLETED)
        for end in (writer, back):
            end.close()

    async def _way(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, from_server: bool) -> None:
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        sender = asyncio.ensure_future(self._send(queue, writer))
        try:
            async for data, is_message in _units(reader):
                if is_message and self._vanishes(from_server):
                    self.lost += 1
                else:
                    queue.put_nowait((time.monotonic() + self.delay, data))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            sender.cancel()

    async def _send(self, queue: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        while True:
            due, data = await queue.get()
            while (wait := max(due, self._frozen_until) - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            writer.write(data)

    def _vanishes(self, from_server: bool) -> bool:
        if from_server and self._to_lose:
            self._to_lose -= 1
            return True
        return self._random.random() < self.loss


async def _units(reader: asyncio.StreamReader) -> AsyncIterator[tuple[bytes, bool]]:
    """The greeting as it comes, for each side waits for the other's; then whole messages and commands, and which."""
    left = GREETING
    while left:
        part = await reader.read(left)
        if not part:
            return
        left -= len(part)
        yield part, False
    while True:
        unit, flags = b"", MORE
        while flags & MORE:
            head = await reader.readexactly(1)
            flags = head[0]
            size = await reader.readexactly(8 if flags & LONG else 1)
            unit += head + size + await reader.readexactly(int.from_bytes(size, "big"))
        yield unit, not flags & COMMAND
