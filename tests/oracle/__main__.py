"""Installs djem in an environment of its own, and runs the comparison there."""

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
# djem is what is compared with; Hypothesis makes up the histories.
REQUIREMENTS = ["djem==0.9.0a8", "Django==5.2.*", "hypothesis>=6.150"]


def main() -> int:
    with tempfile.TemporaryDirectory() as directory:
        print("Installing djem…", file=sys.stderr)
        venv.create(directory, with_pip=True)
        python = str(Path(directory, "Scripts" if os.name == "nt" else "bin", "python"))
        subprocess.run([python, "-m", "pip", "install", "--quiet", *REQUIREMENTS], check=True)
        return run(python)


def run(python: str) -> int:
    paths = os.pathsep.join(str(path) for path in (ROOT, ROOT / "src"))
    environment = {
        **os.environ,
        "PYTHONPATH": paths,
        "DJANGO_SETTINGS_MODULE": "tests.oracle.settings",
    }
    command = [python, "-W", "ignore", "-m", "tests.oracle.run", *sys.argv[1:]]
    return subprocess.run(command, env=environment, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
