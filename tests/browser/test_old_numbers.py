"""A stream that is open and tells nothing is not live: what is shown then says of when it is."""

from __future__ import annotations

import json
import re

from tests.browser.eyes import expect
from tests.browser.shop_stack import Shop
from tests.browser.visitor import Visitor

#: A stream of events that stays open with nothing but heartbeats, as the gateway's does while Redis is away; numbers
#: come when the test has some told.
OPEN_STREAM = """
const real = window.fetch;
window.fetch = (address, ...rest) => {
  if (!String(address).endsWith("/events")) return real(address, ...rest);
  const text = new TextEncoder();
  const body = new ReadableStream({ start(stream) {
    window.tell = (stats) => stream.enqueue(text.encode(`id: 7-1\\nevent: stats\\ndata: ${stats}\\n\\n`));
    setInterval(() => stream.enqueue(text.encode(": heartbeat\\n\\n")), 500);
  } });
  return Promise.resolve(new Response(body, { headers: { "Content-Type": "text/event-stream" } }));
};
"""


def test_numbers_that_stop_coming_are_told_to_be_old_until_they_come_again(visitor: Visitor, shop: Shop) -> None:
    page = visitor.page
    page.add_init_script(OPEN_STREAM)
    visitor.open(queue="depot")
    numbers = shop.client.get("/depot/stats").json()
    page.evaluate("stats => window.tell(stats)", json.dumps(numbers))
    tiles = page.locator(".tiles")
    expect(tiles).to_be_visible()
    button = page.get_by_role("button", name=re.compile("live updates"))
    expect(button).to_have_attribute("data-live", "waiting")
    expect(button).to_contain_text("Waiting")
    expect(page.get_by_text(re.compile(r"These numbers are old: as of \d\d:\d\d:\d\d\."))).to_be_visible()
    expect(tiles).to_have_attribute("data-old", "")
    page.evaluate("stats => window.tell(stats)", json.dumps(numbers))
    expect(button).to_have_attribute("data-live", "live")
    expect(page.get_by_text("These numbers are old")).to_have_count(0)
