"""The server's process, started, measured and stopped from outside."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import httpx

from .clients import connect


class Server:
    """A uvicorn process that serves the views; it can be started again."""

    def __init__(self, port: int, log: Any, bug: str = "") -> None:
        self.address = f"http://127.0.0.1:{port}"
        self._command = (sys.executable, "-m", "soak.serve", str(port), bug)
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it, and wait until it answers."""
        environment = {**os.environ, "SOAK_SIDE": "server"}
        process = self._process = await asyncio.create_subprocess_exec(
            *self._command, env=environment, stdout=self._log, stderr=self._log
        )
        async with asyncio.timeout(60):
            while process.returncode is None:
                try:
                    await self.figures()
                except httpx.TransportError:
                    await asyncio.sleep(0.1)
                else:
                    return
        raise RuntimeError(f"The server ended with {process.returncode}.")

    async def figures(self) -> dict[str, int]:
        """Return what it counts itself, its resident memory in KiB, and its open files."""
        assert self._process is not None
        async with connect(self.address) as client:
            figures: dict[str, int] = (await client.get("figures/")).json()
        process = Path("/proc", str(self._process.pid))
        (resident,) = (
            line.split()[1]
            for line in (process / "status").read_text().splitlines()
            if line.startswith("VmRSS:")
        )
        return {**figures, "KiB": int(resident), "files": len(list((process / "fd").iterdir()))}

    async def stop(self) -> int | None:
        """Ask it to shut down gracefully, and return its exit status, None if it goes on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(20):
                return await self._process.wait()
        except TimeoutError:
            return None

    async def kill(self) -> None:
        """End it, if it has not ended."""
        if self._process and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
