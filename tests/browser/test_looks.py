"""Light and dark, wide and narrow, for eyes and for readers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.browser.eyes import Page, expect
from tests.browser.shop_stack import Shop
from tests.browser.visitor import Visitor

from servers.browser import node_modules
from servers.need import require

PAGES = (
    "", "lanes", "tasks?createdFrom=2020-01-01T00:00:00Z", "dead", "dead?view=list", "workers",
    "submit?type=charge_card", "task",
)  # fmt: skip


@pytest.fixture(scope="module")
def axe() -> str:
    """axe-core, which finds what people with a reader, or without good eyes, would stumble over."""
    require("node")
    source: str = Path(node_modules() / "axe-core" / "axe.min.js").read_text()
    return source


@pytest.fixture(scope="module")
def story(shop: Shop) -> str:
    """A dead task with all that a task's page has; others beside it."""
    shop.submit("wait_for", {"file": str(shop.gate()), "steps": 100_000}, timeout=60)
    shop.submit("send_mail", {"to": "ann@shop.example"}, delay=3600, tenant="acme", labels={"region": "eu"})
    return shop.dead(1, labels={"region": "eu"}, tenant="acme", description="A mail to nobody")[0]


@pytest.fixture
def each(visitor: Visitor, story: str) -> Callable[[str], Page]:
    """Opens a page and waits until it has something to show."""

    def show(path: str) -> Page:
        page = visitor.open(path if path != "task" else f"tasks/{story}")
        expect(page.locator("main .panel").first).to_be_visible()
        expect(page.locator("main .loading")).to_have_count(0)
        return page

    return show


def serious_findings(page: Page, axe: str) -> list[str]:
    """What axe finds serious or critical on a page as it is, in words."""
    page.evaluate(axe)  # (evaluated, not added as a script: the page's policy takes none)
    result = page.evaluate("axe.run({ resultTypes: ['violations'] })")
    assert len(result["passes"]) > 10, "axe has looked at nothing"
    return [
        f"{v['id']}: {[node['html'][:160] + ' ' + node.get('failureSummary', '')[:200] for node in v['nodes'][:3]]}"
        for v in result["violations"]
        if v["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious_on_any_page(
    visitor: Visitor, each: Callable[[str], Page], axe: str, theme: str
) -> None:
    visitor.page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    found: dict[str, list[str]] = {}
    for path in PAGES:
        serious = serious_findings(each(path), axe)
        if serious:
            found[path] = serious
    assert found == {}


def test_axe_finds_nothing_serious_in_dialogs(visitor: Visitor, each: Callable[[str], Page], axe: str) -> None:
    page = each("dead")
    for opener in ("Replay all dead letters…", "Purge all dead letters…"):
        page.get_by_role("button", name=opener).click()
        expect(page.get_by_role("dialog")).to_contain_text("dead letter")
        assert serious_findings(page, axe) == []
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)


def test_nothing_is_wider_than_a_phone(visitor: Visitor, each: Callable[[str], Page]) -> None:
    visitor.page.set_viewport_size({"width": 360, "height": 740})
    wide = {}
    for path in PAGES:
        page = each(path)
        width = page.evaluate("document.documentElement.scrollWidth")
        if width > 360:
            wide[path] = width
        expect(page.get_by_role("navigation", name="Pages")).to_be_in_viewport()
    assert wide == {}


def test_the_overviews_lanes_are_whole_on_a_phone(visitor: Visitor) -> None:
    visitor.page.set_viewport_size({"width": 360, "height": 740})
    page = visitor.open()
    table = page.get_by_role("region", name="Lanes").locator("table")
    expect(table).to_be_visible()
    # (Panels clip what is wider than they are, so the page's own width does not tell.)
    assert table.evaluate("t => t.getBoundingClientRect().right <= t.parentElement.getBoundingClientRect().right")
    visitor.open("tasks")
    box = page.get_by_role("searchbox", name="Task id begins with")
    assert box.evaluate("b => b.clientWidth") > 250


def test_dark_and_light_follow_the_system_until_one_is_chosen_and_the_choice_stays(visitor: Visitor) -> None:
    page = visitor.open("lanes")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(ground)
    assert dark != light
    page.get_by_role("button", name="Colours: as the system").click()
    assert page.evaluate(ground) == light
    page.reload()
    expect(page.get_by_role("button", name="Colours: light")).to_be_visible()
    assert page.evaluate(ground) == light
    page.get_by_role("button", name="Colours: light").click()
    assert page.evaluate(ground) == dark
    page.get_by_role("button", name="Colours: dark").click()
    assert page.evaluate(ground) == dark


def test_charts_are_drawn_in_the_colours_of_the_page_and_anew_when_these_change(visitor: Visitor, shop: Shop) -> None:
    shop.until_state(shop.submit("charge_card", {"order": 1}), "succeeded")
    page = visitor.open()
    canvas = page.get_by_role("region", name="Queued by lane").locator("canvas")
    expect(canvas).to_be_visible(timeout=30_000)
    # The lines of its grid lie on whole pixels, so these have the colour as it is.
    has_grid_of = """(colour) => {
      const canvas = document.querySelector('[aria-label="Queued by lane"] canvas');
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      for (let i = 0; i < data.length; i += 4) if (colour.every((part, k) => data[i + k] === part)) return true;
      return false;
    }"""
    light, dark = [0xE2, 0xE5, 0xEA, 255], [0x25, 0x2D, 0x37, 255]
    page.wait_for_function(has_grid_of, arg=light)
    assert not page.evaluate(has_grid_of, dark)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(has_grid_of, arg=dark)
    assert not page.evaluate(has_grid_of, light)


def test_the_keyboard_alone_reaches_the_content_and_a_dialog_gives_the_focus_back(visitor: Visitor, shop: Shop) -> None:
    id = shop.submit("nothing", queue="depot")
    page = visitor.open(f"tasks/{id}", queue="depot")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.get_by_role("navigation").get_by_role("link", name="Lanes").press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    page.go_back()
    button = page.get_by_role("button", name="Cancel")
    button.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    for _ in range(8):  # round and round within the dialog (or the browser's own frame), never behind it
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement === document.body || !!document.activeElement.closest('dialog')")
    page.keyboard.press("Escape")
    expect(button).to_be_focused()
