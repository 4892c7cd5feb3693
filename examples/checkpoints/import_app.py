"""Long work that does not begin again: it saves how far it is, says so, and keeps a log of its own."""

from __future__ import annotations

import csv
import time
from collections import Counter
from pathlib import Path
from typing import Annotated

import msgspec

from laneway import App, Context

app = App("imports", queue="imports")


class Position(msgspec.Struct):
    """How far an import is: what the next attempt goes on from."""

    rows: int = 0
    skipped: int = 0
    totals: dict[str, int] = {}


@app.task(lane="default", timeout=3600)
def import_sales(
    ctx: Context,
    path: str,
    batch: Annotated[int, msgspec.Meta(ge=1, le=10_000, description="rows between two checkpoints")] = 100,
    pause: Annotated[float, msgspec.Meta(ge=0, description="seconds to rest after each batch")] = 0.0,
) -> dict[str, int]:
    """Adds up the sales of a CSV file (product,amount), by product."""
    at = ctx.saved_as(Position) or Position()
    rows = list(csv.reader(Path(path).read_text().splitlines()))[1:]
    ctx.log.info("going on" if at.rows else "beginning", row=at.rows, of=len(rows))
    totals = Counter(at.totals)
    while at.rows < len(rows):
        for product, amount in rows[at.rows : at.rows + batch]:
            if amount.isdigit():
                totals[product] += int(amount)
            else:
                at.skipped += 1
                ctx.log.warning("not a number", product=product, amount=amount)
        at.rows = min(at.rows + batch, len(rows))
        at.totals = dict(totals)
        # First what the work needs, then what people see: saved is saved, whatever happens next.
        ctx.sync.checkpoint(at)
        ctx.progress(at.rows / len(rows), f"{at.rows} of {len(rows)} rows")
        time.sleep(pause)
    ctx.log.info("done", skipped=at.skipped)
    return dict(totals)
