"""The document of ``laneway gateway --auth FILE``: who may use the HTTP API."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from laneway.model.manifests.base import Model, Text
from laneway.model.manifests.gatewayauth import Audit as AuditRules
from laneway.model.manifests.gatewayauth import AuthRules, TokenReview


def _path(text: str) -> str:
    if 1 <= len(text) <= 4096 and "\0" not in text:
        return text
    raise ValueError("must be the path of a file")


Path = Annotated[str, Text(_path, "", 1, 4096)]

NOTHING_SAID = "must have at least one of keys, oidc and tokenReview; or set mode: None to let everybody in"


class KeysAt(Model):
    """API keys in a file that ``laneway keys create`` writes, or in all files of a folder."""

    path: Path = Field(description="The file or folder; one that is not absolute is looked for beside this document.")


class ReviewBy(TokenReview):
    """Tokens of Kubernetes. In a pod, the API server is found by itself."""

    server: Path | None = Field(default=None, description="The API server's URL. Absent: that of the cluster it is in.")
    tokenFile: Path | None = Field(
        default=None, description="The file with the gateway's own token. Absent: that of its service account."
    )
    caFile: Path | None = Field(
        default=None, description="The authority to trust for the API server (PEM). Absent: that of the cluster."
    )


class AuditLog(AuditRules):
    """The log of changes."""

    file: Path | None = Field(
        default=None, description="A file that lines are appended to, beside the gateway's own log. Absent: none."
    )


class AuthSettings(AuthRules):
    """Who may use the HTTP API of one gateway."""

    keys: KeysAt | None = Field(default=None, description="API keys. Absent: none are taken.")
    tokenReview: ReviewBy | None = Field(default=None, description="Tokens of Kubernetes. Absent: none are taken.")
    audit: AuditLog = Field(default_factory=AuditLog, description="The log of changes.")

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        said = bool(self.keys or self.oidc or self.tokenReview)
        if self.mode == "None" and said:
            raise ValueError("mode None serves everybody: leave out keys, oidc and tokenReview, or set mode: Required")
        if self.mode == "Required" and not said:
            raise ValueError(NOTHING_SAID)
        return self


#: Everybody may do all.
OPEN = AuthSettings(mode="None")
