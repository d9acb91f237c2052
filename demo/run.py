"""Starts the demo: a walk through the features in the terminal, then a site to click through.

    python demo/run.py          walk, then serve at http://127.0.0.1:8000 (or at $PORT;
                                0 is any free port); OPEN=1 opens a browser
    python demo/run.py --once   walk, visit every page with an HTTP client, and exit: 0 if
                                everything was as expected, else 1

Everything is loaded anew each time. ``--once`` uses a database of its own, and a free port.
"""

import argparse
import asyncio
import io
import os
import socket
import sys
import tempfile
import webbrowser
from pathlib import Path


def main() -> int:
    summary, *usage = (__doc__ or "").split("\n\n", 1)
    parser = argparse.ArgumentParser(
        description=summary,
        epilog="\n".join(usage),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--once", action="store_true", help="check everything, then exit")
    os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # not every terminal can show a tick
    if parser.parse_args().once:
        return _once()
    try:
        return _interactive()
    except KeyboardInterrupt:
        print("\nStopped.")
        return 0


def _once() -> int:
    with tempfile.TemporaryDirectory(prefix="djem_async_demo_") as folder:
        os.environ["DEMO_DATABASE"] = str(Path(folder) / "db.sqlite3")
        os.environ["DEBUG"] = "0"  # Django's debug pages would take the place of ours
        _prepare()
        return asyncio.run(_walk_and_visit())


async def _walk_and_visit() -> int:
    # Imported late, like everything that needs the settings.
    from asgiref.sync import sync_to_async
    from django.db import connections
    from server import serving
    from visit import visit
    from walk import walk

    is_right = await walk()
    async with serving() as address:
        is_right = await visit(address) and is_right
    await sync_to_async(connections.close_all)()
    return 0 if is_right else 1


def _interactive() -> int:
    port = os.environ.get("PORT", "8000")
    if not (port.isascii() and port.isdecimal() and int(port) < 65536):
        return _fail(f"PORT is {port!r}. It must be a number from 0 to 65535.")
    from server import PortTakenError, bind

    # Before anything else: whoever has the port may be this demo, with the same database.
    try:
        listener = bind(int(port))
    except PortTakenError:
        return _fail(
            f"Port {port} is taken by another program. Stop that, or choose another port:"
            f" PORT={int(port) % 65535 + 1} make demo"
        )
    with listener:
        _prepare()
        return asyncio.run(_walk_and_serve(listener))


async def _walk_and_serve(listener: socket.socket) -> int:
    from inventory import data
    from server import address, serve
    from walk import walk

    if not await walk():
        return 1
    url = f"{address(listener)}/sign-in/?next=/products/{data.EXAMPLE_PRODUCT}/"
    print("\nNow sign in as user.name, and try to delete PROD123. Ctrl+C stops the server.")
    print(url, flush=True)
    if os.environ.get("OPEN") == "1":
        webbrowser.open(url)
    await serve(listener)
    return 0


def _prepare() -> None:
    """Make the database, and fill it."""
    import django
    from django.core.management import call_command
    from django.db import connections

    django.setup()
    from inventory import data
    from inventory.models import Product, Supplier, User

    call_command("check", fail_level="WARNING")
    call_command("migrate", verbosity=0)
    data.load()
    print(
        f"Loaded {Product.objects.count()} products of {Supplier.objects.count()} suppliers,"
        f" and {User.objects.count()} users."
    )
    # From here on, the database is used by other threads.
    connections.close_all()


def _fail(message: str) -> int:
    print(message, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
