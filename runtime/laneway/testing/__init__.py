"""An in-memory queue with virtual time, for users' own unit tests.

:class:`TestQueue` takes the place of Redis and of the workers::

    from laneway.testing import TestQueue

    async def test_a_mail_is_sent_when_somebody_signs_up():
        async with TestQueue(app) as queue:
            await sign_up("ada@example.org")  # which submits send_mail
            queue.assert_submitted("send_mail", {"to": "ada@example.org"})
            await queue.drain()  # runs it, with its retries, in no time

``TestQueue(app).sync()`` is the same for tests without an event loop.
"""

from laneway.testing.driver import QueueStuck
from laneway.testing.queue import TestQueue
from laneway.testing.submitted import SubmittedTask
from laneway.testing.sync import SyncTestQueue

__all__ = ["QueueStuck", "SubmittedTask", "SyncTestQueue", "TestQueue"]
