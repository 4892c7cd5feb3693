"""The handlers behind the dashboard's tests: quick ones, slow ones that tell how far they are, and ones that fail."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Literal

from laneway import App, Backoff, Context

app = App("shop", queue="shop")

SOON = Backoff(base=0.1, factor=1.0, cap=0.1)


@app.task(lane="urgent", max_attempts=2, backoff=SOON)
async def charge_card(ctx: Context, order: int, amount: float = 19.9, currency: Literal["EUR", "USD"] = "EUR") -> str:
    """Charges an order's card."""
    if amount <= 0:
        raise ValueError(f"order {order}: the amount must be positive, not {amount}")
    await asyncio.sleep(random.uniform(0.01, 0.05))
    return f"charge-{order}-{currency}"


@app.task(max_attempts=2, backoff=SOON)
async def send_mail(ctx: Context, to: str, subject: str = "Your order", urgent: bool = False) -> dict[str, str]:
    """Sends a mail; to nobody.example there is no way."""
    if to.endswith("@nobody.example"):
        raise ConnectionError(f"the server of {to} refused the mail: 550 no such mailbox")
    await asyncio.sleep(random.uniform(0.01, 0.15))
    return {"to": to, "subject": subject}


@app.task(max_attempts=1)
async def wait_for(ctx: Context, file: str, steps: int = 10) -> int:
    """Works until a file is there, and tells how far it is."""
    for step in range(1, 100_000):
        ctx.progress(min(0.99, step / steps), f"step {step} of {steps}")
        if step <= steps:
            ctx.log.info("looked for the file", step=step)
        if await asyncio.to_thread(Path(file).exists):
            return step
        await asyncio.sleep(0.05)
    raise TimeoutError(file)


@app.task(lane="bulk")
async def resize_image(ctx: Context, path: str, width: int = 640) -> str:
    """Makes a picture smaller."""
    await asyncio.sleep(random.uniform(0.05, 0.4))
    return f"{path}@{width}"


@app.task(lane="bulk")
async def nothing(ctx: Context) -> None:
    """Ends at once."""
