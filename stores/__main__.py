"""Try every store that can be installed, and write the page of the documentation."""

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
    # Spawned, so that no worker inherits threads: it forks a child for each sink.
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
    """Only a whole run may replace the page of the documentation."""
    return ROOT / "build" / "stores.md" if options.only else PAGE


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m stores", description=__doc__)
    parser.add_argument("--only", default="", metavar="STORE", help="stores with that in the name")
    parser.add_argument("--jobs", type=int, default=len(STORES), help="stores at a time")
    parser.add_argument("--output", type=Path, help="another page")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
