"""Many HTTP/1.1 connections from one thread, each sending the next prepared request as soon as it has its answer.

The requests are bytes made beforehand and answers are only counted, so that the client costs a fraction of any server.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import cast

import uvloop

HEAD_END = b"\r\n\r\n"
LENGTH = b"content-length: "
LONGEST_S = 120.0


@dataclass(slots=True)
class Load:
    """What a run came to: answers by kind, and how long each took, in seconds."""

    seconds: float = 0.0
    times: list[float] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)

    @property
    def per_s(self) -> float:
        """Answers a second."""
        return len(self.times) / self.seconds

    def percentile_ms(self, part: float) -> float:
        """The time within which this part of the answers came, in milliseconds."""
        return sorted(self.times)[min(int(part * len(self.times)), len(self.times) - 1)] * 1000


def post(path: str, body: bytes, *, token: str | None = None) -> bytes:
    """The bytes of a POST of JSON."""
    lines = [
        f"POST {path} HTTP/1.1",
        "host: store.test",
        "content-type: application/json",
        f"content-length: {len(body)}",
        *([f"authorization: Bearer {token}"] if token else []),
    ]
    return "\r\n".join(lines).encode() + HEAD_END + body


async def load(
    port: int, requests: Iterator[bytes], *, connections: int, seconds: float, kinds: Sequence[bytes]
) -> Load:
    """Send requests over so many connections for so long, and wait for what is under way then.

    An answer is counted under the first of ``kinds`` that stands in it; ``requests`` must not run out.
    """
    return await asyncio.to_thread(
        uvloop.run, _load(port, requests, connections=connections, seconds=seconds, kinds=kinds)
    )


async def _load(
    port: int, requests: Iterator[bytes], *, connections: int, seconds: float, kinds: Sequence[bytes]
) -> Load:
    loop = asyncio.get_running_loop()
    came = Load()
    open_now = [
        (await loop.create_connection(lambda: _Connection(came, kinds), "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    begun = perf_counter()
    ended = [one.begin(requests, begun + seconds) for one in open_now]
    async with asyncio.timeout(LONGEST_S):
        await asyncio.gather(*ended)
    came.seconds = perf_counter() - begun
    return came


class _Connection(asyncio.Protocol):
    def __init__(self, came: Load, kinds: Sequence[bytes]) -> None:
        self._came = came
        self._kinds = kinds
        self._buffer = bytearray()
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def begin(self, requests: Iterator[bytes], until: float) -> asyncio.Future[None]:
        self._requests = requests
        self._until = until
        self._send()
        return self._ended

    def _send(self) -> None:
        self._sent_at = perf_counter()
        self._transport.write(next(self._requests))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        head = buffer.find(HEAD_END)
        if head < 0:
            return
        at = buffer.find(LENGTH) + len(LENGTH)
        length = int(buffer[at : buffer.find(b"\r\n", at)])
        if len(buffer) < head + len(HEAD_END) + length:
            return
        now = perf_counter()
        kind = next((one for one in self._kinds if one in buffer), None)
        self._came.answers[kind.decode() if kind else bytes(buffer).decode(errors="replace")] += 1
        self._came.times.append(now - self._sent_at)
        buffer.clear()
        if now >= self._until:
            self._transport.close()
            self._ended.set_result(None)
        else:
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._ended.done():
            self._ended.set_exception(exc or ConnectionResetError("the server hung up"))
