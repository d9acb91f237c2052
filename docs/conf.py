"""The documentation site: Sphinx builds it from the Markdown pages, `make docs`.

The API reference comes from the docstrings. Links between pages, their anchors, and references to
public names are checked; a wrong one fails the build. Links to the documentation of Python, Django
and asgiref are only made if their inventories can be downloaded.
"""

import re
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.writers.text import TextTranslator

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT / "src"))

import django  # noqa: E402
from django.conf import settings  # noqa: E402

import djem_async  # noqa: E402

REPOSITORY = "https://github.com/djem-async/djem_async"
SITE = "https://djem-async.github.io/djem_async/"

settings.configure(
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.admin",
        "django.contrib.messages",
        "djem_async",
    ],
    USE_TZ=True,
)
django.setup()

project = "djem_async"
author = "The djem_async maintainers"
copyright = author  # noqa: A001 - Sphinx's name
version = release = djem_async.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]
nitpicky = True
# Names of other packages are links if their inventory has them. Ours have to exist.
nitpick_ignore_regex = [
    (r"py:.*", r"(?!djem_async\b).*"),
    (r"py:class", r"djem_async\.[\w.]+\.([A-Z]|View|UserT_contra)"),  # type variables
]
suppress_warnings = ["myst.header"]  # a page of the reference is cut by directives

# Markdown, as GitHub has it.
myst_enable_extensions = ["alert"]
myst_heading_anchors = 4

# Docstrings.
default_role = "py:obj"
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_class_signature = "mixed"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
add_module_names = False
toc_object_entries = False  # headings name the objects
napoleon_numpy_docstring = False
napoleon_use_rtype = False
python_maximum_signature_line_length = 110

# HTML.
html_theme = "furo"
html_title = f"djem_async {release}"
html_baseurl = SITE
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_theme_options = {
    "source_repository": REPOSITORY,
    "source_branch": "main",
    "source_directory": "docs/",
    "footer_icons": [{"name": "GitHub", "url": REPOSITORY, "html": "GitHub", "class": ""}],
}
pygments_style = "friendly"
pygments_dark_style = "monokai"
copybutton_exclude = ".linenos, .gp, .go"

# If one can't be downloaded, an empty one takes its place, so that the build doesn't fail.
intersphinx_timeout = 5
intersphinx_mapping = {
    name: (url, (f"{url}{inventory}", "empty.inv"))
    for name, url, inventory in [
        ("python", "https://docs.python.org/3/", "objects.inv"),
        # Its objects.inv redirects to this address.
        ("django", "https://docs.djangoproject.com/en/stable/", "_objects/"),
        ("asgiref", "https://asgi.readthedocs.io/en/latest/", "objects.inv"),
    ]
}

LINK = re.compile(r"\]\((?!\w+:)([^)\s#]+)(#[^)\s]*)?\)")
HIDDEN = re.compile(r"^<!-- python\n.*?^-->\n+", re.MULTILINE | re.DOTALL)


def add_navigation(_app: Sphinx, docname: str, source: list[str]) -> None:
    """Add tables of contents, which a forge would show as code: the links of a page to others."""
    if docname not in {"index", "frameworks/index", "reference/api"}:
        return
    folder = docname.rpartition("/")[0]
    for section in re.split(r"^(?=## )", source[0], flags=re.MULTILINE):
        links = dict.fromkeys(re.findall(r"\]\((\w[\w./-]*)\.md\)", section))
        if links:
            heading = section.partition("\n")[0].removeprefix("## ")
            caption = f":caption: {heading}\n" if docname == "index" else ""
            lines = "\n".join(entry(f"{folder}/{link}".strip("/")) for link in links)
            source[0] += f"\n```{{toctree}}\n:hidden:\n{caption}\n{lines}\n```\n"


def entry(name: str) -> str:
    """Name a page in the navigation: modules without the package, which takes half of the width."""
    title = (DOCS / f"{name}.md").read_text(encoding="utf-8").partition("\n")[0]
    module = re.fullmatch(r"# `djem_async\.(.*)`", title)
    return f"{module[1]} </{name}>" if module else f"/{name}"


def prepare(app: Sphinx, docname: str, source: list[str]) -> None:
    """Leave out what only tests run, and lead links to other files to the repository."""
    directory = Path(app.env.doc2path(docname)).parent

    def replace(match: re.Match[str]) -> str:
        target = (directory / match[1]).resolve()
        if target.is_relative_to(DOCS) or not target.exists():
            return match[0]
        kind = "tree" if target.is_dir() else "blob"
        path = target.relative_to(ROOT).as_posix()
        return f"]({REPOSITORY}/{kind}/main/{path}{match[2] or ''})"

    source[0] = LINK.sub(replace, HIDDEN.sub("", source[0]))


def show_default(
    _app: Sphinx, _what: str, _name: str, _obj: Any, _options: Any, args: str | None, result: str
) -> tuple[str | None, str]:
    """Show a default that stands for no value as Python does."""
    return args and args.replace("NOT_GIVEN", "..."), result


def pages_in_order(app: Sphinx, docname: str = "index") -> list[str]:
    below = app.env.toctree_includes.get(docname, [])
    return [docname, *(page for name in below for page in pages_in_order(app, name))]


def plain_text(app: Sphinx, docname: str) -> str:
    """Return a page as Markdown; one that comes from docstrings as text."""
    source = [Path(app.env.doc2path(docname)).read_text(encoding="utf-8")]
    if "```{eval-rst}" not in source[0]:
        prepare(app, docname, source)
        return source[0]
    document = app.env.get_and_resolve_doctree(docname, app.builder)
    writer: Any = TextTranslator(document, app.builder)
    document.walkabout(writer)
    return str(writer.body)


def write_llms_txt(app: Sphinx, error: Exception | None) -> None:
    """Write what language models read: each page as text, an index of them, and all in one."""
    if error is not None or app.builder.format != "html":
        return
    index, full = [f"# {project}"], []
    for docname in pages_in_order(app):
        document = app.env.get_doctree(docname)
        first = next(document.findall(nodes.paragraph)).astext().replace("\n", " ")
        sentence = re.split(r"(?<=[.?!:])\s", first)[0].rstrip(":")
        title = app.env.titles[docname].astext()
        if docname == "index":
            index += [f"> {first}", "## Pages"]
        else:
            index.append(f"- [{title}]({SITE}{docname}.md): {sentence}")
        text = plain_text(app, docname)
        path = Path(app.outdir, f"{docname}.md")
        path.write_text(text, encoding="utf-8")
        full.append(f"<!-- {SITE}{docname}.html -->\n\n{text}")
    head, items = "\n\n".join(index[:3]), "\n".join(index[3:])
    Path(app.outdir, "llms.txt").write_text(f"{head}\n\n{items}\n", encoding="utf-8")
    Path(app.outdir, "llms-full.txt").write_text("\n\n".join(full), encoding="utf-8")


def setup(app: Sphinx) -> None:
    app.connect("source-read", add_navigation)
    app.connect("source-read", prepare)
    app.connect("autodoc-process-signature", show_default)
    app.connect("build-finished", write_llms_txt)
