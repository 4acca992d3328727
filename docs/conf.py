"""Settings of the documentation site; `make docs` builds it.

Pages are Markdown (MyST); the API pages are made of the docstrings by autodoc, so the installed
package is imported. Every warning is an error: a link to a page, a section or a name of the package
that does not exist stops the build.
"""

from __future__ import annotations

import importlib
import os
import re
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # remarks on the processor

from docutils import nodes
from sphinx.application import Sphinx

import fastw2v

project = "fastw2v"
author = "the fastw2v authors"
copyright = author
version = release = fastw2v.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
nitpicky = True
default_role = "py:obj"

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

# What autodoc writes of a signature is short; the types stand in the text of the arguments.
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"fastw2v {release}"
html_show_sphinx = False
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {"navigation_with_keys": True}


def _exists(name: str) -> bool:
    """Whether a dotted name that begins with a module of this package leads to something."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:count]))
        except ImportError:
            continue
        try:
            for part in parts[count:]:
                found = getattr(found, part)
        except AttributeError:
            return False
        return True
    return False


# In a docstring, names that share an explanation: "    reduction, name: As in `softmax_loss`."
_NAMES = re.compile(r"\s+(\*{0,2}\w+, )*\*{0,2}\w+,$")


def _names_on_one_line(
    app: Sphinx, what: str, name: str, of: Any, options: Any, lines: list[str]
) -> None:
    """Arguments that are explained together take one line, as napoleon expects them.

    A star of a later name is escaped; that of the first one napoleon escapes.
    """
    joined: list[str] = []
    continued = False
    for line in lines:
        if continued:
            joined[-1] += " " + line.strip()
        else:
            joined.append(line)
        continued = _NAMES.fullmatch(joined[-1]) is not None
    lines[:] = [re.sub(r"(?<=\w, )(\*{1,2})(?=\w+:)", r"\\\1", line) for line in joined]


def _without_a_page(
    app: Sphinx, environment: Any, node: Any, content: nodes.Element
) -> nodes.Element | None:
    """A name in a docstring that has no page stays as code, if it is not one of ours.

    Docstrings name arguments, TensorFlow's classes and our own internal modules between backquotes;
    a name of ours has to exist.
    """
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"]
    if target.startswith("fastw2v.") and not _exists(target):
        return None
    return content


def setup(app: Sphinx) -> None:
    app.connect("autodoc-process-docstring", _names_on_one_line, priority=0)
    app.connect("missing-reference", _without_a_page)
