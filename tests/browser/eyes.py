"""What tests see the dashboard with. Whoever imports this is skipped as a whole where there is no browser; in CI it
fails."""

from servers.need import require

require("browser", whole_module=True)

from playwright.sync_api import (  # noqa: E402
    Browser,
    BrowserContext,
    ConsoleMessage,
    Error,
    Locator,
    Page,
    Playwright,
    Route,
    expect,
    sync_playwright,
)

__all__ = [
    "PATIENCE_MS", "Browser", "BrowserContext", "ConsoleMessage", "Error", "Locator", "Page", "Playwright", "Route",
    "expect", "sync_playwright",
]  # fmt: skip

#: Milliseconds that a page gets to show what is expected: on a busy machine two seconds become ten.
PATIENCE_MS = 20_000
expect.set_options(timeout=PATIENCE_MS)
