"""A small HTTP client that asks one question as often as it can, over a few open connections."""

from __future__ import annotations

import asyncio
import time

from benchmarks.shop.project import CONNECTIONS


async def requests_per_second(port: int, path: str, session: str, seconds: float) -> float:
    request = (
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nCookie: sessionid={session}\r\n\r\n"
    ).encode()
    connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(CONNECTIONS)]
    try:
        # Once without a clock, so that all is loaded.
        for reader, writer in connections:
            await ask(reader, writer, request)
        began = time.perf_counter()
        until = began + seconds

        async def keep_asking(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
            answered = 0
            while time.perf_counter() < until:
                await ask(reader, writer, request)
                answered += 1
            return answered

        answered = await asyncio.gather(*(keep_asking(*each) for each in connections))
        return sum(answered) / (time.perf_counter() - began)
    finally:
        for _, writer in connections:
            writer.close()


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> bytes:
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    status, *fields = head.lower().splitlines()
    lengths = [field.partition(":")[2] for field in fields if field.startswith("content-length:")]
    body = await reader.readexactly(int(lengths[0]))
    if " 200 " not in f"{status} ":
        raise RuntimeError(f"The server answered {status!r}: {body[:200]!r}")
    return body
