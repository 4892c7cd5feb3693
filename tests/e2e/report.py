"""What a run did and measured: kept as lines of JSON while it goes on, and shown at its end."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: The keys of the last line, in order.
FIGURES = (
    "submitted",
    "final",
    "lost",
    "settled_twice",
    "scaled_up_s",
    "scaled_to_zero_s",
    "wake_s",
    "worst_recovery_s",
)


class Report:
    """One run's results in one file, which several processes write in turn."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def step(self, name: str, seconds: float, result: str) -> None:
        """One thing that was done."""
        self._write({"step": name, "seconds": seconds, "result": result})

    def figure(self, name: str, value: float) -> None:
        """Something that was measured; of `worst_recovery_s` the largest counts, else the last."""
        assert name in FIGURES, name
        self._write({"figure": name, "value": value})

    def note(self, name: str, value: Any) -> None:
        """Something that was seen and belongs to the step that is going on."""
        self._write({"note": name, "value": value})

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """A step of the preparations."""
        start = time.monotonic()
        try:
            yield
        except BaseException:
            self.step(name, time.monotonic() - start, "failed")
            raise
        self.step(name, time.monotonic() - start, "ok")

    def _write(self, entry: dict[str, Any]) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(entry) + "\n")

    def _entries(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []

    def table(self) -> str:
        """For people: each step, how long it took, how it went, and what was seen in it."""
        rows: list[tuple[str, str, str]] = []
        notes: list[str] = []
        for entry in self._entries():
            if "note" in entry:
                notes.append(f"{entry['note']} {_short(entry['value'])}")
            elif "step" in entry:
                rows.append((entry["step"], f"{entry['seconds']:.1f}", "; ".join([entry["result"], *notes])))
                notes = []
        widths = [max(len(row[column]) for row in [("step", "s", ""), *rows]) for column in (0, 1)]
        lines = [("step", "s", "result"), *rows]
        return "\n".join(f"{step:<{widths[0]}}  {seconds:>{widths[1]}}  {result}" for step, seconds, result in lines)

    def last_line(self) -> str:
        """For machines: one JSON object; null for what was not measured."""
        figures: dict[str, Any] = dict.fromkeys(FIGURES)
        for entry in self._entries():
            if "figure" in entry:
                name, value = entry["figure"], entry["value"]
                if name == "worst_recovery_s" and figures[name] is not None:
                    value = max(value, figures[name])
                figures[name] = value
        return json.dumps({name: round(v, 2) if isinstance(v, float) else v for name, v in figures.items()})


def _short(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)
