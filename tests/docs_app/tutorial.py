"""Types docs/tutorial.md in a fresh project: ``python -m tests.docs_app.tutorial``.

As a reader does: the commands run in a terminal, code goes into files or into Django's shell, and a
browser (which is a client for HTTP here) asks the development server. Needs the package and Django
alone, so it also shows that an installed wheel works.
"""

from __future__ import annotations

import doctest
import html
import os
import pty
import re
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode, urljoin
from urllib.request import HTTPCookieProcessor, build_opener

import djem_async

from .page import TUTORIAL, Block, compare, read_blocks

PASSWORD = "tutorial"
ADDRESS = "http://127.0.0.1:8000/products/"
SECONDS = 30  # how long anything may take
# The project has settings of its own, and finds the package where this process has found it.
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"},
    "PYTHONPATH": str(Path(djem_async.__file__).parents[1]),
    "PYTHONWARNINGS": "error",
    "PYTHON_COLORS": "0",
    "TERM": "dumb",
    "COLUMNS": "1000",
}


def type_tutorial(directory: Path, page: Path = TUTORIAL) -> None:
    """Do what the page says, and fail if something else happens than it says."""
    text = page.read_text(encoding="utf-8")
    assert ADDRESS in text
    assert f"sign in as `anna`, with the password `{PASSWORD}`" in text
    with ExitStack() as stack:
        reader = Reader(directory, stack)
        for block in read_blocks(page):
            try:
                reader.do(block)
            except BaseException as error:
                error.add_note(f"In the block at line {block.lines_before} of the page.")
                raise
        assert next(reader.screens, None) is None, "the page shows less than what was opened"


class Reader:
    """Somebody who works through the page."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self._directory = directory
        self._stack = stack
        self._shell: Shell | None = None
        self._browser = Browser()
        self.screens = self._browser.use()

    def do(self, block: Block) -> None:
        if block.file:
            self._write(block)
        elif block.language == "sh":
            for command in block.code.splitlines():
                self._run(command)
        elif block.language == "python":
            assert self._shell
            compare("", "".join(map(self._shell.type, block.code.splitlines())))
        elif block.language == "pycon":
            assert self._shell
            for example in doctest.DocTestParser().get_examples(block.code):
                self._shell.run(example)
        else:
            assert block.language == "text"
            compare(block.code, next(self.screens))

    def _write(self, block: Block) -> None:
        """Settings are added to the end of the file; other files are replaced."""
        path = self._directory / (block.path or "")
        if path.suffix == ".html":
            path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a" if path.name == "settings.py" else "w", encoding="utf-8") as file:
            file.write(f"\n{block.code}")

    def _run(self, command: str) -> None:
        program, *arguments = shlex.split(command)
        python = {"django-admin": [sys.executable, "-m", "django"], "python": [sys.executable]}
        words = [*python[program], *arguments]
        if arguments[-1] == "shell":
            words += ["--interface", "python"]  # also where IPython is installed
            self._shell = self._stack.enter_context(shell(words, self._directory))
        elif arguments[-1] == "runserver":
            address = self._stack.enter_context(server(words, self._directory))
            self._browser.address = urljoin(address, "/products/")
        else:
            run(words, self._directory)


def run(words: list[str], directory: Path) -> None:
    result = subprocess.run(
        words,
        cwd=directory,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    assert result.returncode == 0, f"{shlex.join(words)} failed:\n{result.stdout}"


class Shell:
    """Django's shell in a terminal, where each line is typed after a prompt."""

    PROMPT = re.compile(r"^(?:>>>|\.\.\.) $", re.MULTILINE)

    def __init__(self, terminal: int) -> None:
        self._terminal = terminal
        self._printed()

    def type(self, line: str) -> str:
        """Type a line and return what the shell prints, without the line itself."""
        os.write(self._terminal, f"{line}\n".encode())
        echo, _, printed = self._printed().partition("\n")
        assert echo == line, f"typed {line!r}, the terminal shows {echo!r}"
        return printed

    def run(self, example: doctest.Example) -> None:
        lines = example.source.splitlines()
        if lines[-1].startswith(" "):
            lines.append("")
        printed = "".join(map(self.type, lines))
        if example.exc_msg is None:
            compare(example.want, printed)
        else:
            assert printed.endswith(f"\n{example.exc_msg}"), printed

    def _printed(self) -> str:
        text = b""
        until = time.monotonic() + SECONDS
        while not self.PROMPT.search(text.decode(errors="replace").replace("\r\n", "\n")):
            left = until - time.monotonic()
            ready = select.select([self._terminal], [], [], max(left, 0))[0]
            assert ready, f"the shell shows no prompt:\n{text.decode()}"
            text += os.read(self._terminal, 4096)
        return self.PROMPT.sub("", text.decode().replace("\r\n", "\n"))


@contextmanager
def shell(words: list[str], directory: Path) -> Iterator[Shell]:
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb"), started(words, directory, theirs):
        os.close(theirs)
        yield Shell(ours)


@contextmanager
def server(words: list[str], directory: Path) -> Iterator[str]:
    """Start the development server on a free port, and yield its address when it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (directory / "server.log").open("wb")
    with log, started([*words, str(port)], directory, log.fileno()):
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                time.sleep(0.05)
            else:
                break
        else:
            raise AssertionError((directory / "server.log").read_text())
        yield f"http://127.0.0.1:{port}"
    assert "Forbidden (Permission denied): /products/" in (directory / "server.log").read_text()


@contextmanager
def started(words: list[str], directory: Path, terminal: int) -> Iterator[None]:
    """Run a program in a session of its own, and end it with its children."""
    process = subprocess.Popen(
        words,
        cwd=directory,
        env=ENVIRONMENT,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class Browser:
    """Keeps cookies, follows links and sends forms."""

    def __init__(self) -> None:
        self.address = ""
        self._open = build_opener(HTTPCookieProcessor(CookieJar())).open
        self._page = ""

    def use(self) -> Iterator[str]:
        """Do what the page says in prose, and yield what is on the screen each time."""
        products = self.address
        self.visit(products)
        self.send(username="anna", password=PASSWORD)
        yield self.screen
        self.click_delete()
        assert self.status == 403
        yield self.screen
        visitor = Browser()
        visitor.visit(products)
        visitor.send(to=self.address)
        assert (visitor.status, "You may not do this." in visitor.screen) == (403, True)
        self.visit(products)
        self.click_delete()
        yield self.screen

    def visit(self, address: str, data: dict[str, str] | None = None) -> None:
        body = urlencode(data).encode() if data else None
        try:
            response = self._open(address, body, timeout=SECONDS)
        except HTTPError as error:
            response = error
        with response:
            self.status = response.status
            self.address = response.url
            self._page = response.read().decode()

    def send(self, to: str = "", **data: str) -> None:
        """Send the form that has a button to its action, or to another address."""
        forms = re.findall("<form.*?</form>", self._page, re.DOTALL)
        (form,) = [each for each in forms if "<button" in each or "submit" in each]
        action = re.search(r'action="([^"]*)"', form)
        hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form))
        self.visit(to or urljoin(self.address, action[1] if action else ""), hidden | data)

    def click_delete(self) -> None:
        assert self._page.count("<button>Delete</button>") == 1
        self.send()

    @property
    def screen(self) -> str:
        text = re.sub("<button>(.*?)</button>", r"[\1]", self._page)
        rows = re.split("</?(?:h1|p|form)[^>]*>", text)
        lines = [" ".join(re.sub("<.*?>", "", row).split()) for row in rows]
        return html.unescape("".join(f"{line}\n" for line in lines if line))


if __name__ == "__main__":
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as new:
        type_tutorial(Path(new))
    print(f"The tutorial works: {time.monotonic() - began:.1f} s.")
