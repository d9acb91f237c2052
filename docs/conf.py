"""The documentation site, which `make docs` builds with Sphinx from the Markdown pages."""

import os
import re
import sys
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from sphinx.application import Sphinx

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT / "src"))

import djem_async  # noqa: E402

# Django's own modules and ours need settings when they are imported.
settings.configure(
    INSTALLED_APPS=[
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.messages",
        "django.contrib.sessions",
        "djem_async",
    ],
)
django.setup()

SITE = "https://djem-async.github.io/djem_async/"
REPOSITORY = "https://github.com/djem-async/djem_async"

project = "djem_async"
author = "The djem_async maintainers"
project_copyright = author
version = release = djem_async.__version__
language = "en"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx_llms_txt",
]
exclude_patterns = ["_build"]

# Markdown as on a forge: alerts, and anchors of headings.
myst_enable_extensions = ["alert"]
myst_heading_anchors = 4

# Docstrings have names in single backticks, and parameters as Google's style has them.
default_role = "code"
napoleon_numpy_docstring = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88

# Links from names of Python and Django to their docs, whose inventories are fetched. They are
# optional, so that the site can be built without a network.
if "INTERSPHINX" in os.environ:
    DJANGO = "https://docs.djangoproject.com/en/stable/"
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "django": (DJANGO, f"{DJANGO}_objects/"),
        "asgiref": ("https://asgi.readthedocs.io/en/latest/", None),
    }

html_theme = "furo"
html_title = f"djem_async {release}"
html_baseurl = SITE
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {
    "source_repository": REPOSITORY,
    "source_branch": "main",
    "source_directory": "docs/",
}

llms_txt_title = project
llms_txt_summary = (
    "Object-level permissions for async Django. Methods of a model decide who may do what to one"
    " object, in checks, lists, views, templates, the admin and APIs, sync and async."
)

LINK = re.compile(r"(?<=\]\()([^)#\s:]+)(?=[)#])")


def link_to_repository(_app: Sphinx, docname: str, source: list[str]) -> None:
    """Lead links to files outside of the docs to the repository."""
    folder = (DOCS / docname).parent

    def absolute(match: re.Match[str]) -> str:
        target = (folder / match[0]).resolve()
        if target.is_relative_to(DOCS):
            return match[0]
        return f"{REPOSITORY}/blob/main/{target.relative_to(ROOT).as_posix()}"

    source[0] = LINK.sub(absolute, source[0])


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("source-read", link_to_repository)
    return {"parallel_read_safe": True}
