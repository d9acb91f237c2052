"""Serves one contender's project with uvicorn, and prints the port that it listens on.

python -m benchmarks.serve CONTENDER DATABASE NAME
"""

from __future__ import annotations

import socket
import sys

from benchmarks.shop import project


def main(contender: str, database: str, name: str) -> None:
    # A pool, because every request has a thread, and so a connection, of its own: without one,
    # connecting to PostgreSQL would be most of what is measured.
    project.set_up(contender, database, name, pool=True)

    import uvicorn
    from django.core.asgi import get_asgi_application

    listener = socket.create_server(("127.0.0.1", 0))
    # As asyncio does for sockets that it makes itself. Without it, the kernel holds back a response
    # until the one before it is acknowledged, and that is all that is measured.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(
        get_asgi_application(),
        loop="asyncio",
        http="h11",
        lifespan="off",
        log_level="warning",
        access_log=False,
    )
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main(*sys.argv[1:])
