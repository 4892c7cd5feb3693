"""An application with a process handler, which child processes load by its path."""

import os

from laneway import App

app = App("processes")


def here() -> int:
    """This process."""
    return os.getpid()


@app.task(process=True)
def own_pid() -> int:
    return os.getpid()
