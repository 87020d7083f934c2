"""File names that stores find difficult."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from stores.verdicts import Verdict
from stores.visit import FIELD, Visit

NAMES = (
    *("a b", " a", "a ", "a+b", "a%20b", "a%b", "a&b", "a=b", "a?b", "a#b", "a;b", "a:b", "a@b"),
    *("a*b", "a~", "'a'", '"a"', "<a>", "[a]", "{a}", "a|b", "a\\b", "a,b", "$a", "a^b", "`a`"),
    *(".a", "..a", "a.", "a..", "...", "-a", "A", "ä", "a\u0308", "脳", "🧠", "\u202ea"),
    *("a\tb", "a\nb", "a\rb", "\x01a", "a\x7f", "a" * 240),
)
_REJECTED = "rejected:"
_REJECTED_TOGETHER = "rejected together with the other names, accepted alone:"
_SHOWN = 100  # characters of a name


def names(visit: Visit) -> Iterator[Verdict]:
    """Sink one file of each name; if the run fails, find out which names fail alone."""
    directory = visit.directory / "names"
    directory.mkdir(exist_ok=True)
    files = [directory / name for name in NAMES]
    for path in files:
        path.write_text(path.name)
    bad = dict(_failing(visit, files))
    lost = {name for name, what in bad.items() if what not in (_REJECTED, _REJECTED_TOGETHER)}
    word = f"{len(lost)} LOST" if lost else f"all but {len(bad)}" if bad else f"all {len(files)}"
    yield Verdict(word=word, note=_describe(bad), good=not bad)


def _failing(visit: Visit, files: list[Path]) -> Iterator[tuple[str, str]]:
    """Yield the name of each file that is not delivered, and the failure.

    A rejected name can stop the run before other files are sent, so these are sunk again.
    """
    container = visit.new_container()
    rejected = bool(visit.sink(container, files).error)
    keys = {f"{container}/{FIELD}/{path.name}": path for path in files}
    states = {keys[key]: state for key, state in visit.states(keys).items()}
    if not rejected:
        together = " when sent together with the other names" if len(files) > 1 else ""
        for path, state in states.items():
            failure = "" if len(files) == 1 else dict(_failing(visit, [path])).get(path.name, "")
            yield path.name, failure or f"no error, but {state}{together}:"
    elif len(files) == 1:
        yield files[0].name, _REJECTED
    else:
        absent = [path for path in files if path in states]
        middle = len(absent) // 2 if len(absent) == len(files) else len(absent)
        halves = filter(None, (absent[:middle], absent[middle:]))
        found = [each for some in halves for each in _failing(visit, some)]
        yield from found or [(path.name, _REJECTED_TOGETHER) for path in absent]


def _describe(bad: dict[str, str]) -> str:
    kinds = sorted(set(bad.values()))
    names_by_failure = {kind: [name for name in bad if bad[name] == kind] for kind in kinds}
    return "; ".join(f"{kind} {shown(names)}" for kind, names in names_by_failure.items())


def shown(names: list[str]) -> str:
    """Return names as Python literals, so that special characters are escaped."""
    short = [name if len(name) < _SHOWN else f"{name[0]}... ({len(name)})" for name in names]
    return ", ".join(f"`` {name!a} ``" for name in short)
