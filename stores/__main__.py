"""Test every store that can be installed, and write docs/stores.md."""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from stores.catalogue import STORES
from stores.report import markdown
from stores.results import Results, Tried
from stores.trying import try_store

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "stores.md"


def main(arguments: Sequence[str] | None = None) -> None:
    options = _options(arguments)
    begin = time.monotonic()
    names = [store.name for store in STORES if options.only.lower() in store.name.lower()]
    # Workers fork a child for each sink. Spawned workers have no threads, so forking is safe.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.jobs, mp_context=context) as pool:
        found = dict(zip(names, pool.map(try_store, names), strict=True))
    results = Results(
        tried=[one for one in found.values() if isinstance(one, Tried)],
        absent={name: one for name, one in found.items() if isinstance(one, str)},
        seconds=time.monotonic() - begin,
    )
    output = options.output or _default_output(options)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(markdown(results))
    print(f"Written to {output} ({results.seconds:.0f} s)")


def _default_output(options: argparse.Namespace) -> Path:
    """Return docs/stores.md for a complete run, and a file below build/ for a partial one."""
    return ROOT / "build" / "stores.md" if options.only else PAGE


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m stores", description=__doc__)
    parser.add_argument(
        "--only", default="", metavar="STORE", help="test only stores with this text in their names"
    )
    parser.add_argument(
        "--jobs", type=int, default=len(STORES), help="number of stores to test at the same time"
    )
    parser.add_argument("--output", type=Path, help="file to write instead of docs/stores.md")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
