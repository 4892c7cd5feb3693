"""Checks the Lua scripts against their headers and against the calls in Python.

Each script says in its header which KEYS it takes, what its ARGV are, what it RETURNS, whether it is IDEMPOTENT, and
which parts of lua/lib it USES. A key that is used but not declared would break on a Redis Cluster; one that is declared
but not used, or a script that nobody calls, is dead weight. Exits with 1 and a line for each flaw.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "runtime"))

from laneway.adapters.redis.keys import LOCALS  # noqa: E402
from laneway.adapters.redis.scripts import header, load  # noqa: E402

_NEEDED = ("KEYS", "ARGV", "RETURNS", "IDEMPOTENT")
_NAMES = {local: key for key, local in LOCALS.items()}
_CALL = re.compile(r"""(?:_call|calls\.call|\.script)\(\s*"(\w+)\"""")
_TAKES_NO_HASH = {"configure", "get", "lease", "observe", "relayed", "sample", "tally"}


def without_comments(source: str) -> str:
    """The code of a script: comments and strings left out."""
    lines = (line.split("--", 1)[0] for line in source.splitlines())
    return re.sub(r"'[^'\n]*'", "''", "\n".join(lines))


def flaws_of(path: Path, libraries: set[str]) -> list[str]:
    """What is wrong with one script."""
    text = path.read_text()
    found = [f"no {word} line in its header" for word in _NEEDED if f"-- {word}:" not in text]
    if not re.match(rf"-- {path.stem}: \S", text):
        found.append(f"its first line must be '-- {path.stem}: what it does'")
    unknown = [part for part in header(text).get("USES", "").split() if part not in libraries]
    if unknown:
        return [*found, f"USES {', '.join(unknown)}: lua/lib has {', '.join(sorted(libraries))}"]
    if found:
        return found
    script = load(path.stem)
    code = without_comments(script.readable)
    used = {_NAMES[word] for word in re.findall(r"\b[A-Z][A-Z_]+\b", code) if word in _NAMES}
    declared = set(script.keys)
    body = code.split("local LANES = nil", 1)[1]
    # Each declared key stands once where the loader names it; a second time only if something uses it.
    idle = {key for key in declared if len(re.findall(rf"\b{LOCALS[key]}\b", body)) < 2}
    if used - declared:
        found.append(f"uses {', '.join(sorted(used - declared))} without declaring it in KEYS")
    if idle:
        found.append(f"declares {', '.join(sorted(idle))} in KEYS and does not use it")
    if "LANES[" in without_comments(text) and not script.lanes:
        found.append("uses lanes without declaring lanes* in KEYS")
    if path.stem not in _TAKES_NO_HASH and not re.search(r"-- ARGV: conf\b", text):
        found.append("ARGV must begin with conf (the configuration's hash)")
    return found


def main() -> int:
    """Checks them all."""
    libraries = {path.stem for path in (ROOT / "lua" / "lib").glob("*.lua")}
    scripts = sorted((ROOT / "lua").glob("*.lua"))
    flaws = {f"lua/{path.name}": flaws_of(path, libraries) for path in scripts}
    adapters = sorted((ROOT / "runtime/laneway/adapters/redis").glob("*.py"))
    called = {name for path in adapters for name in _CALL.findall(path.read_text())}
    names = {path.stem for path in scripts}
    flaws["adapters/redis"] = [f"calls {name}, and there is no lua/{name}.lua" for name in sorted(called - names)]
    for name in sorted(names - called):
        flaws[f"lua/{name}.lua"].append("nothing in adapters/redis calls it")
    used_parts = {part for path in scripts for part in header(path.read_text()).get("USES", "").split()}
    for part in sorted(libraries - used_parts):
        flaws[f"lua/lib/{part}.lua"] = ["no script uses it"]
    count = 0
    for where, found in flaws.items():
        for flaw in found:
            print(f"{where}: {flaw}")
            count += 1
    print(f"{len(scripts)} scripts, {len(libraries)} parts, {count} flaws")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
