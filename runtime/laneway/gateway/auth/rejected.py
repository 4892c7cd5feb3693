"""Why a credential was not taken."""

from __future__ import annotations

from typing import Literal

Outcome = Literal["missing", "malformed", "invalid", "expired", "revoked", "unavailable"]


class Rejected(Exception):
    """A credential that does not let in. ``outcome`` is how metrics count it; the message is for whoever sent it, so it
    says nothing that helps to guess one. ``log`` is for the gateway's own log alone."""

    def __init__(self, outcome: Outcome, message: str, *, log: str = "", retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.outcome: Outcome = outcome
        self.log = log or message
        self.retry_after = retry_after
