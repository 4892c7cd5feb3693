"""mypy sees the arguments and results of tasks: its findings in sdk.py are exactly those written there."""

import re
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).with_name("sdk.py")
ROOT = SOURCE.parents[2]


def short(text: str) -> str:
    """A type as written in sdk.py: no module names."""
    return re.sub(r"\b(?:[a-z_]+\.)+(?=[A-Za-z])", "", text)


def test_mypy_finds_exactly_the_types_and_errors_that_are_written_there() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-error-summary", "--no-incremental", str(SOURCE)],
        capture_output=True, text=True, cwd=ROOT, timeout=110,
    )  # fmt: skip
    assert done.stderr == ""
    found: dict[int, list[str]] = {}
    for line in done.stdout.splitlines():
        match = re.match(r".*sdk\.py:(\d+): (error|note): (.*)", line)
        assert match is not None, line
        revealed = re.match(r'Revealed type is "(.*)"', match[3])
        if revealed:
            found.setdefault(int(match[1]), []).append(f"type: {short(revealed[1])}")
        elif match[2] == "error":
            found.setdefault(int(match[1]), []).append(f"error: {match[3]}")
    wanted = 0
    for number, text in enumerate(SOURCE.read_text().splitlines(), 1):
        comment = re.search(r"  # ((?:type|error): .*)$", text)
        if comment is None:
            assert number not in found, f"line {number} has {found[number]}"
            continue
        wanted += 1
        got = found.get(number, [])
        kind, _, rest = comment[1].partition(": ")
        if kind == "type":
            assert got == [comment[1]], f"line {number}"
        else:
            assert any(one.startswith("error: ") and rest in one for one in got), f"line {number} has {got}"
    assert wanted == 29
