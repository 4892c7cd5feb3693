"""Follows where a queue's tasks come from: the live configuration may say another source while a process runs."""

from __future__ import annotations

import asyncio
import random
from typing import Final

import msgspec

from laneway.errors import LanewayError
from laneway.kit.logs import get_logger
from laneway.model.config import QueueConfig
from laneway.ports.store import TaskStore

_log = get_logger(__name__)

#: How often the configuration is read for it (s), give or take a fifth: an idle process hears of it in no other way.
EVERY_S: Final = 2.0


async def source_changed(store: TaskStore, source: str, *, kafka: bool, every: float = EVERY_S) -> QueueConfig:
    """Waits until the queue's tasks come from elsewhere than ``source``, and returns the configuration that says so.

    A process that knows no brokers (``kafka`` False) can't follow to Kafka: it says so once and goes on as it is,
    until it is started with them. While Redis or what it holds can't be read, nothing has changed.

    ``store`` is to be one that nothing else works with: a document that somebody has edited by hand, which does not go
    with what scripts compare, is then nobody's until it is put right.
    """
    warned = False
    while True:
        await asyncio.sleep(every * (0.8 + random.random() * 0.4))
        try:
            config = await store.config(reload=True)
        except (LanewayError, msgspec.DecodeError):
            continue
        if config.source == source:
            warned = False
        elif config.source == "direct" or kafka:
            return config
        elif not warned:
            warned = True
            _log.warning(
                "the queue's tasks come by Kafka now, and this process has no brokers: start it with --kafka HOST:PORT"
            )
