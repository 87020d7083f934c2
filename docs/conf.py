"""Settings of Sphinx."""

from __future__ import annotations

import sys
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parent))

from inputs import inputs_as_markdown

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "nipype-datasink"
author = "The nipype-datasink developers"
release = version = installed_version(project)

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
exclude_patterns = ["benchmarks/*", "reliability-numbers.md"]  # other pages include these

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_maximum_signature_line_length = 80
napoleon_google_docstring = False

html_theme = "furo"
html_title = project


def insert_inputs(_app: Sphinx, page: str, source: list[str]) -> None:
    """Put the inputs, as the installed version has them, into the page on the API."""
    if page == "api":
        source[0] = source[0].replace("<!-- inputs -->", inputs_as_markdown())


def setup(app: Sphinx) -> None:
    """Connect the function above to the reading of pages."""
    app.connect("source-read", insert_inputs)
