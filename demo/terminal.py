"""Writing to the terminal, in colour where that is wanted."""

import os
import sys
from typing import Final

_CODES: Final = {"bold": "1", "dim": "2", "red": "31", "green": "32", "cyan": "36"}


def _has_colours() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def styled(text: str, *styles: str) -> str:
    """Return text that is shown in a style, on a terminal that has colours."""
    if not text or not _has_colours():
        return text
    return f"\033[{';'.join(_CODES[style] for style in styles)}m{text}\033[0m"


def title(text: str) -> None:
    print(f"{styled(text, 'bold', 'cyan')}\n{styled('─' * len(text), 'cyan')}")


def verdict(is_right: bool, text: str) -> None:
    mark = styled("✓", "green") if is_right else styled("✗", "red", "bold")
    print(f"{mark} {text if is_right else styled(text, 'red')}")
