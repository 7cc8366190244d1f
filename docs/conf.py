"""The site: `make docs` builds it into build/site, every warning an error. No page loads anything from a network."""

import importlib.util
import re
from functools import partial
from pathlib import Path

from pydantic import BaseModel

import genpas_plugins

HERE = Path(__file__).parent

project = "GenPAS for RecBole and TorchRec"
copyright = "2026, the genpas-plugins authors"
version = release = genpas_plugins.__version__

extensions = ["myst_nb", "numpydoc", "sphinx.ext.autodoc", "sphinx_copybutton"]
exclude_patterns = ["README.md"]
html_theme = "furo"
html_title = f"GenPAS {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
pygments_style, pygments_dark_style = "a11y-high-contrast-light", "a11y-high-contrast-dark"

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # notebooks are committed with their output; tests/test_notebooks.py runs them
nb_merge_streams = True
mathjax_path = "unused.js"  # formulae are text: no page asks for it
suppress_warnings = ["mystnb.unknown_mime_type"]

default_role = "literal"  # `name` in a docstring is code
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_use_type_comments = False
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
python_use_unqualified_type_names = True
add_module_names = False
copybutton_exclude = ".linenos, .gp, .go"


def plain_text(_app, _what, _name, _obj, _options, lines):
    """Let `|s|` and `x*` outside of backticks be text: docstrings are prose, not reStructuredText."""
    for number, line in enumerate(lines):
        if not line.lstrip().startswith(">>>"):
            parts = line.split("`")
            parts[::2] = [re.sub(r"([|*]|(?<=\w)_(?!\w))", r"\\\1", part) for part in parts[::2]]
            lines[number] = "`".join(parts)


def signature(_app, _what, _name, obj, _options, text, returns):
    """Leave out the arguments of settings, which the page of settings explains."""
    settings = isinstance(obj, type) and issubclass(obj, BaseModel)
    return ("", None) if settings else (text, returns)


def files_of_the_checkout(_app, docname, source):
    """Show a link to a file outside of the site as its path in the repository."""
    link = r"(?<!!)\[`?([^]]+?)`?\]\(((?:\.\./)+(?!docs)[^)#]+)\)"
    source[0] = re.sub(link, partial(_outside, HERE / docname), source[0])


def _outside(page, match):
    target = (page.parent / match[2]).resolve()
    if HERE in target.parents:
        return match[0]
    path = target.relative_to(HERE.parent)
    return f"{match[1]} (`{path}`)" if match[1] != str(path) and match[1] != path.name else f"`{path}`"


def setup(app):
    """Write the generated pages before Sphinx looks for sources."""
    spec = importlib.util.spec_from_file_location("generate", HERE / "generate.py")
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    app.connect("config-inited", lambda *_: generate.write(HERE / "reference" / "generated"))
    app.connect("autodoc-process-signature", signature)
    app.connect("source-read", files_of_the_checkout)
    app.connect("autodoc-process-docstring", plain_text, priority=400)
