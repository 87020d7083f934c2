"""Check that tests/mutants.md explains every mutant that no test noticed.

Run by `make mutants`, after mutmut.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.stats import status_by_exit_code

MIN_NOTICED = 0.95  # of the mutants of each module
_NOTICED = ("killed", "timeout")
_EXPLAINED = set(Path(__file__).with_suffix(".md").read_text().splitlines())


def description(mutant: str, path: Path) -> str:
    """Return the function and the changed lines; the numbers in mutmut's names change too often."""
    function = mutant.rpartition(".")[2].partition("__mutmut_")[0]
    function = function.removeprefix("x_").removeprefix("xǁ").replace("ǁ", ".")
    changed = get_diff_for_mutant(mutant, path=path).splitlines()[2:]
    lines = {sign: [line[1:].strip() for line in changed if line[0] == sign] for sign in "+-"}
    change = " ".join(lines["+"]) or f"(removed) {' '.join(lines['-'])}"
    return f"{path.stem}.{function}: {change}"


def main() -> None:
    failures: list[str] = []
    for file in sorted(Path("mutants/src").rglob("*.meta")):
        path = file.relative_to("mutants").with_suffix("")
        codes = json.loads(file.read_text())["exit_code_by_key"]
        left = [name for name, code in codes.items() if status_by_exit_code[code] not in _NOTICED]
        noticed = len(codes) - len(left)
        print(f"{path}: {len(codes)} mutants, {noticed} noticed")
        if noticed < MIN_NOTICED * len(codes):
            failures.append(f"{path}: fewer than {MIN_NOTICED:.0%} of the mutants are noticed")
        for name in left:
            text = description(name, path)
            if text not in _EXPLAINED:
                failures.append(f"{text}  ({name})")
    if failures:
        sys.exit("\n".join(["Not noticed, and not in tests/mutants.md:", *failures]))


if __name__ == "__main__":
    main()
