"""Somebody who looks at the dashboard."""

from __future__ import annotations

from tests.browser.eyes import ConsoleMessage, Error, Locator, Page, expect


class Visitor:
    """A page of the dashboard, and what went wrong in it."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        #: Errors of the page's scripts, and what the content security policy had to refuse.
        self.faults: list[str] = []
        page.on("pageerror", self._fault)
        page.on("console", self._said)

    def _fault(self, error: Error) -> None:
        self.faults.append(str(error))

    def _said(self, message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text:
            self.faults.append(message.text)

    def check(self) -> None:
        """Nothing went wrong, and nothing that a task carried ran."""
        assert self.faults == []
        if not self.page.is_closed():
            assert self.page.evaluate("window.ranWhatATaskCarried") is None

    def open(self, path: str = "", queue: str = "shop") -> Page:
        """Goes to a page of a queue, such as `tasks?state=dead`, and waits until it has its heading."""
        self.page.goto(f"{self.url}/dashboard/q/{queue}" + (f"/{path}" if path else ""))
        expect(self.page.locator("main h1")).to_be_visible()
        return self.page

    def row(self, text: str) -> Locator:
        """The row of a table that has this text, and no other."""
        return self.page.locator("tbody tr", has_text=text)

    def short(self, id: str) -> str:
        """An id as tables show it."""
        return f"{id[:6]}…{id[-5:]}"

    def said(self, text: str) -> None:
        """Waits for a toast with this text."""
        expect(self.page.locator(".toast", has_text=text)).to_be_visible()

    def address(self) -> str:
        """The path and query in the address bar."""
        path: str = self.page.evaluate("location.pathname + location.search")
        return path
