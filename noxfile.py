#!/usr/bin/env -S uv run --script
# /// script
# dependencies = ["nox >= 2025.10.14"]
# ///
"""Run the tests with many versions of the dependencies. All other tasks are in the Makefile."""

import nox

nox.needs_version = ">=2025.10.14"
nox.options.default_venv_backend = "uv|virtualenv"

PYPROJECT = nox.project.load_toml("pyproject.toml")
TEST = nox.project.dependency_groups(PYPROJECT, "test")

# Each row is also a job in continuous integration. "1.*" and "7.*" are the newest versions that
# support this Python.
# nipype 1.8.6 requires traits < 6.4, which has wheels for Python 3.10 only; 1.12 needs Python 3.12.
VERSIONS = [
    # Python, nipype, traits, boto3
    ("3.10", "1.8.6", "6.3.*", "1.36.0"),
    ("3.10", "1.*", "7.*", "1.*"),
    ("3.11", "1.9.2", "6.4.*", "1.38.*"),
    ("3.11", "1.10.*", "7.0.*", "1.40.*"),
    ("3.12", "1.11.*", "7.1.*", "1.42.*"),
    ("3.12", "1.12.*", "6.4.*", "1.36.0"),
    ("3.13", "1.*", "7.*", "1.*"),
]
assert {row[0] for row in VERSIONS} == set(nox.project.python_versions(PYPROJECT))


@nox.session
@nox.parametrize(("python", "nipype", "traits", "boto3"), VERSIONS)
def tests(session: nox.Session, nipype: str, traits: str, boto3: str) -> None:
    """Run the tests with these versions, and the newest versions of all other dependencies."""
    pins = [f"nipype=={nipype}", f"traits=={traits}", f"boto3=={boto3}"]
    if nipype == "1.8.6":  # its ComputeDVARS fails with current versions of numpy
        pins += ["--constraint", "tests/oldest.txt"]
    session.install(".[crt,demo]", *TEST, *pins)
    session.run("pytest", "-n", "2", *session.posargs)


if __name__ == "__main__":
    nox.main()
