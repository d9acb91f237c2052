"""The matrix: the built wheel under every supported pair of Python and Django.

`make matrix` builds the wheel and runs this; `make frameworks` runs the tests with other packages,
`make browser` those in a browser, and `make dist` prepares a release.
"""

import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2025.10.16"
nox.options.default_venv_backend = "uv"
nox.options.download_python = "never"  # a Python that is not installed is skipped, and named

DJANGO = {
    "3.11": ["5.2"],
    "3.12": ["5.2", "6.0", "6.1"],
    "3.13": ["5.2", "6.0", "6.1"],
    "3.14": ["5.2", "6.0", "6.1"],
}
# The tag "newest" is for the newest Django on the two newest Pythons; one may not be installed.
NEWEST = [(python, DJANGO[python][-1]) for python in list(DJANGO)[-2:]]
PAIRS = [
    nox.param(python, django, tags=["newest"] if (python, django) in NEWEST else [])
    for python, versions in DJANGO.items()
    for django in versions
]


@nox.session
@nox.parametrize(("python", "django"), PAIRS)
def tests(session: nox.Session, django: str) -> None:
    """Run the tests with the newest releases of everything."""
    run_tests(session, f"Django~={django}.0")


@nox.session(python=min(DJANGO), tags=["oldest"])
def lowest(session: nox.Session) -> None:
    """Run the tests with the oldest dependencies that the package allows."""
    project = nox.project.load_toml("pyproject.toml")["project"]
    run_tests(session, *(bound.replace(">=", "==") for bound in project["dependencies"]))


# `make test` runs these. Their results hardly depend on the versions of Python and Django, or they
# take long, or they need packages that these environments lack. `make dist` runs the tutorial.
ELSEWHERE = (
    "tests/differential",
    "tests/fuzz",
    "tests/interleaving",
    "tests/test_benchmarks.py",
    "tests/test_decision_matrix.py",
    "tests/test_demo.py",
    "tests/test_docs.py",
    "tests/test_release.py",
    "tests/test_security_docs.py",
    "tests/test_static_checking.py",
    "tests/test_tutorial.py",
)


def run_tests(session: nox.Session, *requirements: str) -> None:
    """Install the wheel and run the tests on the databases that are named after ``--``."""
    install(session, "--group", "test", *requirements)
    for database in session.posargs or ["sqlite"]:
        environment = {"DJEM_TEST_DB": database, "PYTHONPATH": None}
        ignored = [f"--ignore={path}" for path in ELSEWHERE]
        session.run("python", "-m", "pytest", "-n", "auto", *ignored, env=environment)


@nox.session(default=False)
@nox.parametrize(
    ("python", "django", "resolution"),
    [
        nox.param("3.13", DJANGO["3.13"][-1], "highest", id="newest"),
        nox.param(min(DJANGO), DJANGO[min(DJANGO)][0], "lowest-direct", id="oldest"),
    ],
)
def frameworks(session: nox.Session, django: str, resolution: str) -> None:
    """Run the tests with other packages, with their newest and oldest releases."""
    install(session, "--group", "frameworks", f"Django~={django}.0", "--resolution", resolution)
    for user_model in ("frameworks.User", "auth.User"):
        environment = {
            "DJANGO_SETTINGS_MODULE": "tests.frameworks.settings",
            "FRAMEWORKS_USER": user_model,
            "PYTHONPATH": None,
        }
        # Without the fixtures of the other tests, which need other models. Old packages may warn.
        options = ["-n", "auto", "--confcutdir=tests/frameworks"]
        options += ["-W", "default::DeprecationWarning"]
        session.run("python", "-m", "pytest", *options, "tests/frameworks", env=environment)


@nox.session(python="3.13", default=False)
def browser(session: nox.Session) -> None:
    """Run the tests of the admin in Chromium."""
    install(session, "--group", "browser", f"Django~={DJANGO['3.13'][-1]}.0")
    environment = {"DJANGO_SETTINGS_MODULE": "tests.browser.settings", "PYTHONPATH": None}
    # Selenium's trio warns when Hypothesis is imported, which these tests don't use.
    options = ["-p", "no:hypothesispytest"]
    session.run("python", "-m", "pytest", *options, "tests/browser", env=environment)


@nox.session(default=False)
def build(session: nox.Session) -> None:
    """Build the sdist, and the wheel from it, check both, and run tests in the unpacked sdist."""
    session.install("--group", "dist", "--group", "test")
    session.run("python", "-m", "build", "--installer", "uv", "--outdir", "dist")
    session.run("twine", "check", "--strict", *map(str, Path("dist").iterdir()))
    session.run("python", ".ci/dist.py")
    install(session)
    (sdist,) = Path("dist").glob("*.tar.gz")
    unpacked = Path(session.create_tmp()) / sdist.name.removesuffix(".tar.gz")
    shutil.rmtree(unpacked, ignore_errors=True)
    shutil.unpack_archive(sdist, unpacked.parent, filter="data")
    with session.chdir(unpacked):
        tests = ("tests/test_public_api.py", "tests/test_decision_matrix.py", "tests/test_docs.py")
        options = ("-q", "-n", "auto", "-k", "not code_prints")
        session.run("python", "-m", "pytest", *options, *tests, env={"PYTHONPATH": None})


@nox.session(python=list(DJANGO), default=False)
def dist(session: nox.Session) -> None:
    """Do the tutorial with the installed wheel, in an environment that has nothing else."""
    install(session)
    session.run("python", "-m", "tests.docs_app.tutorial", env={"PYTHONPATH": None})


def install(session: nox.Session, *arguments: str) -> None:
    """Install the wheel and what it is tested with."""
    (wheel,) = Path("dist").glob("*.whl")
    session.install(str(wheel), *arguments)
