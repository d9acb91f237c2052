"""The uvicorn server, on this machine only."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator
from typing import Final

import uvicorn
from project.asgi import application

HOST: Final = "127.0.0.1"


class PortTakenError(Exception):
    """Something else listens on the port."""


def bind(port: int) -> socket.socket:
    """Take a port; 0 takes one that is free."""
    listener = socket.socket()
    # A server that has just been stopped does not keep the port from the next one.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        # The port is ours from here on: binding alone would let another server listen first.
        listener.listen()
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortTakenError from error
        raise
    return listener


def address(listener: socket.socket) -> str:
    return f"http://{HOST}:{listener.getsockname()[1]}"


def _server(log_level: str) -> uvicorn.Server:
    # Django has no lifespan events.
    return uvicorn.Server(uvicorn.Config(application, lifespan="off", log_level=log_level))


async def serve(listener: socket.socket) -> None:
    """Serve, and log requests, until somebody presses Ctrl+C."""
    await _server("info").serve(sockets=[listener])


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[str]:
    """Serve on a free port as long as the block runs, and give it the address."""
    server = _server("warning")
    listener = bind(0)
    # Connections wait until the server has started.
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield address(listener)
    finally:
        server.should_exit = True
        await task
