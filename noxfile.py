#!/usr/bin/env -S uv run --script
# /// script
# dependencies = ["nox >= 2025.10.14"]
# ///
"""The tests on every supported Python; everything else is in the Makefile."""

import nox

nox.needs_version = ">=2025.10.14"
nox.options.default_venv_backend = "uv|virtualenv"

PYPROJECT = nox.project.load_toml("pyproject.toml")
TEST = nox.project.dependency_groups(PYPROJECT, "test")
PYTEST = ("pytest", "-n", "2")


@nox.session(python=nox.project.python_versions(PYPROJECT))
def tests(session: nox.Session) -> None:
    """Run the tests with the newest versions of everything."""
    session.install(".[crt,demo]", *TEST)
    session.run(*PYTEST, *session.posargs)


@nox.session(python="3.10", default=False)
def oldest(session: nox.Session) -> None:
    """Run the tests with the lowest versions of everything."""
    session.install(".[crt,demo]", *TEST, "--constraint", "tests/oldest.txt")
    session.run(*PYTEST, *session.posargs)


if __name__ == "__main__":
    nox.main()
