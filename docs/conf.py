"""Sphinx's settings."""

from importlib.metadata import version as installed_version

project = "nipype-datasink"
author = "The nipype-datasink developers"
release = version = installed_version(project)

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 3
exclude_patterns = ["benchmarks/*", "reliability-numbers.md"]  # included in a page

autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_member_order = "bysource"
autodoc_typehints = "description"
napoleon_google_docstring = False

html_theme = "furo"
html_title = project
