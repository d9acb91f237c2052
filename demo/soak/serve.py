"""The server: ``python -m soak.serve PORT [BUG]``."""

import signal
import sys

import uvicorn
from django.core.asgi import get_asgi_application


def main(port: str, bug: str = "") -> None:
    application = get_asgi_application()
    if bug:
        from .sabotage import SABOTAGE

        SABOTAGE[bug]()
    # After a graceful shutdown, uvicorn raises the signal again.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    uvicorn.run(
        application,
        port=int(port),
        lifespan="off",
        log_level="warning",
        timeout_graceful_shutdown=5,
        timeout_keep_alive=60,  # longer than any client is idle: it must not meet with a close
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
