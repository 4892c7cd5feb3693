"""The SDK: App, tasks and handles."""

from laneway.client.app import App
from laneway.client.context import Context, stand_in_context
from laneway.client.handle import Handle, TaskStatus
from laneway.client.middleware import Middleware
from laneway.client.sync import SyncApp, SyncHandle
from laneway.client.task import AsyncTask, Call, SyncTask, Task

__all__ = [
    "App",
    "AsyncTask",
    "Call",
    "Context",
    "Handle",
    "Middleware",
    "SyncApp",
    "SyncHandle",
    "SyncTask",
    "Task",
    "TaskStatus",
    "stand_in_context",
]
