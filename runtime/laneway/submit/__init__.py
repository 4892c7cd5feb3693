"""Taking tasks in: checks, limits, idempotency, and the call that enqueues."""

from laneway.submit.new_task import NewTask, Receipt
from laneway.submit.submitter import Submitter

__all__ = ["NewTask", "Receipt", "Submitter"]
