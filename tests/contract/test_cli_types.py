"""Types that workers have announced: listed, and told of where a submission does not fit them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.contract.cli_queue import CliQueue

from laneway.adapters.redis import RedisStore
from laneway.model.notes import TaskType

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"amount": {"type": "number"}, "card": {"type": "string"}, "note": {"type": "string"}},
    "required": ["amount", "card"],
}


def announce(url: str, *types: TaskType) -> None:
    async def write() -> None:
        store = RedisStore(url, "orders")
        try:
            assert await store.notes.announce("shop", types)
        finally:
            await store.close()

    asyncio.run(write())


@pytest.fixture
def queue(redis7_url: str) -> CliQueue:
    queue = CliQueue(redis7_url)
    queue.configure()
    return queue


@pytest.fixture
def announced(queue: CliQueue) -> CliQueue:
    announce(
        queue.url,
        TaskType("charge", SCHEMA, "high", "Takes money\nfrom a card.", {}, "shop", "async"),
        TaskType("mail", {"type": "object"}, None, "", {}, "shop", "thread"),
    )
    return queue


def test_types_are_a_table_or_json_with_their_schemas(announced: CliQueue) -> None:
    drawn = announced.run("types").stdout
    for text in ("charge", "high", "Takes money from a card.", "mail", "the queue's default"):
        assert text in drawn, text
    items = announced.json("types")["items"]
    assert [item["type"] for item in items] == ["charge", "mail"]
    assert items[0]["schema"] == SCHEMA


def test_without_announced_types_there_is_nothing_to_list_or_to_warn_of(queue: CliQueue) -> None:
    assert queue.run("types").stdout == "no worker has announced a type\n"
    assert queue.run("submit", "chrage").stderr == ""


def test_a_type_that_no_worker_has_announced_is_submitted_with_a_warning(announced: CliQueue) -> None:
    result = announced.run("submit", "chrage")
    assert result.exit_code == 0
    assert result.stderr == (
        "laneway submit: no worker of this queue has announced the type 'chrage', so the task waits for one that does; "
        "did you mean 'charge'?\n"
    )
    assert announced.json("task", "show", result.stdout.strip())["type"] == "chrage"
    assert "see laneway types" in announced.run("submit", "zzz").stderr


def test_arguments_that_the_schema_requires_are_named_when_they_are_missing(announced: CliQueue) -> None:
    for args, missing in (((), "arguments amount, card"), (("-a", "amount=1"), "argument card")):
        result = announced.run("submit", "charge", *args)
        assert result.exit_code == 0
        assert result.stderr == f"laneway submit: the task lacks the {missing}, which charge requires\n"
    assert announced.run("submit", "charge", "-a", "amount=1", "-a", 'card="x"').stderr == ""
    assert announced.run("submit", "mail").stderr == ""
    assert announced.counts()["queued"] == 4
