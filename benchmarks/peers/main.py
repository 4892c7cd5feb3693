"""The command: ``python -m benchmarks.peers [--quick] [--only NAME,...] [--workloads NAME,...] ...``."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks.peers.machine import describe
from benchmarks.peers.report import Report, write
from benchmarks.peers.roster import SYSTEMS
from benchmarks.peers.run import Runner
from benchmarks.peers.settings import FULL, QUICK, TINY
from benchmarks.peers.summary import summarise
from benchmarks.peers.system import WORKLOADS

_SIZES = {"full": FULL, "quick": QUICK, "tiny": TINY}


def main(argv: list[str] | None = None) -> int:
    """Measures, writes the page and its charts, prints the summary as the last line; 1 when Laneway failed in
    something or did not run each task once."""
    args = _parse(argv)
    wanted = [system for system in SYSTEMS if not args.only or system.name in args.only or
              ("laneway" in args.only and system.ours)]  # fmt: skip
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:6.0f} s] {text}", file=sys.stderr, flush=True)

    sizes = _SIZES[args.size]
    sizes = replace(sizes, rounds=args.rounds or sizes.rounds)
    runner = Runner(wanted, sizes, args.workloads or WORKLOADS, say)
    outcomes = runner.run()
    report = Report(wanted, outcomes, runner.sizes, runner.wanted, describe(), round(time.monotonic() - began))
    out = args.out or Path("docs" if args.size == "full" and not args.only and not args.workloads else ".bench-peers")
    page = write(
        report, out, "make bench-peers" + (f' ARGS="{" ".join(argv or sys.argv[1:])}"' if sys.argv[1:] else "")
    )
    say(f"written: {page}")
    summary = summarise(report)
    print(json.dumps(summary))
    return 0 if summary["exact"] else 1


def _parse(argv: list[str] | None) -> argparse.Namespace:
    names = [system.name for system in SYSTEMS]

    def listed(known: list[str]) -> Callable[[str], list[str]]:
        def convert(text: str) -> list[str]:
            given = [part.strip() for part in text.split(",") if part.strip()]
            if wrong := [part for part in given if part not in known]:
                raise argparse.ArgumentTypeError(f"no {', '.join(wrong)}: there are {', '.join(known)}")
            return given

        return convert

    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--only", type=listed([*names, "laneway"]), metavar="NAME,...", help=", ".join(names))
    parser.add_argument("--workloads", type=listed(list(WORKLOADS)), metavar="NAME,...", help=", ".join(WORKLOADS))
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", dest="size", action="store_const", const="quick", default="full",
                      help="small counts, one round: shows that all works, not how fast")  # fmt: skip
    size.add_argument("--tiny", dest="size", action="store_const", const="tiny", help="smaller still")
    parser.add_argument(
        "--rounds", type=int, choices=range(1, 10), metavar="1..9", help="in place of 3, or of 1 if quick"
    )
    where = "where benchmarks.md and its charts go: docs for a full run of all systems, else .bench-peers"
    parser.add_argument("--out", type=Path, metavar="FOLDER", help=where)
    return parser.parse_args(argv)
