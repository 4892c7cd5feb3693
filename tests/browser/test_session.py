"""Logging in, what a role may see and do, and what becomes of a session that ends."""

from __future__ import annotations

import re

from tests.browser.eyes import Page, expect
from tests.browser.guarded_gateway import GuardedGateway
from tests.browser.shop_stack import Shop
from tests.browser.visitor import Visitor


def log_in(page: Page, token: str) -> None:
    """Types a token and goes on."""
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Log in").click()


def test_without_a_token_it_asks_for_one_and_then_shows_the_page_that_was_wanted(
    guest: Visitor, guarded: GuardedGateway, shop: Shop
) -> None:
    id = shop.submit("nothing", queue="depot", tenant="t")
    page = guest.page
    page.goto(f"{guest.url}/dashboard/q/depot/tasks?tenant=t")
    expect(page.get_by_role("heading", name="Log in to Laneway")).to_be_visible()
    expect(page.get_by_label("Token")).to_be_focused()
    log_in(page, guarded.keys["admin"][:-4] + "aaaa")
    expect(page.get_by_role("alert").filter(has_text="does not take this token")).to_be_visible()
    log_in(page, guarded.keys["admin"])
    expect(guest.row(guest.short(id))).to_be_visible()
    assert guest.address() == "/dashboard/q/depot/tasks?tenant=t"
    expect(page.get_by_role("button", name=re.compile("^Live"))).to_be_visible()
    page.reload()  # the tab remembers
    expect(guest.row(guest.short(id))).to_be_visible()
    assert page.evaluate("localStorage.getItem('laneway.token') || document.cookie") == ""
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", name="Log in to Laneway")).to_be_visible()
    assert page.evaluate("sessionStorage.length") == 0


def test_a_session_that_ends_asks_for_another_token_and_goes_on_at_the_same_place(
    guest: Visitor, guarded: GuardedGateway, shop: Shop
) -> None:
    id = shop.submit("nothing", queue="depot")
    page = guest.page
    page.goto(f"{guest.url}/dashboard/q/depot/tasks/{id}")
    log_in(page, guarded.keys["operator"])
    expect(page.locator("h1 .state")).to_have_text("queued")
    guarded.renew()
    # Nobody clicks: the page reads the task again by itself, and learns it.
    expect(page.get_by_role("alert").filter(has_text="Your session has ended")).to_be_visible()
    assert guest.address() == f"/dashboard/q/depot/tasks/{id}"
    log_in(page, guarded.keys["operator"])
    expect(page.locator("h1 .state")).to_have_text("queued")


def test_a_viewer_is_offered_nothing_that_would_be_refused_and_sees_no_payloads(
    guest: Visitor, guarded: GuardedGateway, shop: Shop
) -> None:
    id = shop.submit("send_mail", {"to": "ann@nobody.example", "subject": "between you and me"}, maxAttempts=1)
    shop.until_state(id, "dead")
    page = guest.page
    page.goto(f"{guest.url}/dashboard/q/shop/tasks/{id}")
    log_in(page, guarded.keys["viewer"])
    expect(page.locator("h1 .state")).to_have_text("dead")
    expect(page.get_by_role("region", name="Payload")).to_contain_text("your credential lacks the permission payloads")
    expect(page.get_by_role("main")).not_to_contain_text("between you and me")
    expect(page.get_by_role("button", name="Retry now")).to_have_count(0)
    expect(page.get_by_role("link", name="Submit")).to_have_count(0)
    page.get_by_role("link", name=re.compile("^Dead")).click()
    expect(page.locator("tbody tr").first).to_be_visible()
    expect(page.get_by_role("button", name=re.compile("Replay|Purge"))).to_have_count(0)
    page.get_by_role("link", name="Workers").click()
    expect(guest.row("shop-0")).to_be_visible()
    expect(page.get_by_role("button", name=re.compile("Drain"))).to_have_count(0)
    page.get_by_role("link", name="Overview").click()
    expect(page.locator(".tile").filter(has_text="Drift")).to_be_visible()


def test_who_may_only_submit_can_do_that_and_is_told_why_not_the_rest(
    guest: Visitor, guarded: GuardedGateway, shop: Shop
) -> None:
    page = guest.page
    page.goto(f"{guest.url}/dashboard/q/depot/submit")
    log_in(page, guarded.keys["submitter"])
    page.get_by_role("combobox", name="Type").fill("by.submitter")
    page.get_by_role("button", name="Submit").click()
    receipt = page.get_by_role("region", name="Submitted here").locator(".id").first
    expect(receipt).to_be_visible()
    id = receipt.inner_text()
    receipt.click()
    expect(page.locator("h1")).to_contain_text("by.submitter")
    assert shop.state(id, "depot") == "queued"
    page.get_by_role("link", name="Tasks").click()
    expect(page.get_by_role("alert")).to_contain_text("You may not see the tasks")


def test_a_credential_of_one_tenant_sees_its_tasks_and_no_numbers_of_the_queue(
    guest: Visitor, guarded: GuardedGateway, shop: Shop
) -> None:
    mine = shop.submit("mine", queue="depot", tenant="acme")
    other = shop.submit("others", queue="depot", tenant="globex")
    page = guest.page
    page.goto(f"{guest.url}/dashboard/q/depot")
    log_in(page, guarded.tenants_key("acme"))
    expect(page.get_by_text("The numbers of the whole queue are not for this credential")).to_be_visible()
    pages = page.get_by_role("navigation", name="Pages")
    expect(pages.get_by_role("link", name="Tasks")).to_be_visible()
    expect(pages.get_by_role("link", name=re.compile("Lanes|Workers"))).to_have_count(0)
    page.get_by_role("main").get_by_role("link", name="tasks").click()
    expect(guest.row(guest.short(mine))).to_be_visible()
    expect(guest.row(guest.short(other))).to_have_count(0)
    later = shop.submit("mine", queue="depot", tenant="acme")
    expect(guest.row(guest.short(later))).to_be_visible()
    page.goto(f"{guest.url}/dashboard/q/depot/tasks/{other}")
    expect(page.get_by_role("heading", name=f"There is no task {other}")).to_be_visible()
