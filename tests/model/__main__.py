"""Explores the variants and prints what was found: ``python -m tests.model [--full]``, at the checkout's top.

Ends with 1 when a clean variant is not, or a rule's counterexample is not found.
"""

from __future__ import annotations

import sys

from tests.model.checker import explore
from tests.model.variants import CASES, COVERED, LARGE, SMALL


def main(arguments: list[str]) -> int:
    """Runs the small variants and the cases; with --full the large ones, too."""
    good = True
    for name, variant in {**SMALL, **COVERED, **(LARGE if "--full" in arguments else {})}.items():
        report = explore(variant, limit=20_000_000)
        good &= report.broken is None
        print(f"{name}\n  {report}", flush=True)
    for case in CASES:
        report = explore(case.off())
        good &= report.broken is not None and case.finds in report.broken
        print(f"without the rule that {case.name}\n  {report}", flush=True)
    print("as expected" if good else "NOT as expected")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
