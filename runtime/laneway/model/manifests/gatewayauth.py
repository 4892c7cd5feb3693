"""Who may use a queue's HTTP API: API keys, OpenID Connect, and Kubernetes' own tokens.

The same parts are used by the document of ``laneway gateway --auth`` (``laneway.model.auth``), which says where files
are instead of naming Secrets.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from laneway.model.manifests.base import Duration, Model, Rule, Text
from laneway.model.manifests.parts import SecretKey, TenantName, list_map

RoleName = Literal["viewer", "submitter", "operator", "admin"]
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]

_LOOPBACK = r"(localhost|127\.0\.0\.1|\[::1\])"
_ISSUER_PATTERN = rf"^(https://[^\s?#]+|http://{_LOOPBACK}(:[0-9]{{1,5}})?(/[^\s?#]*)?)$"
_ISSUER = re.compile(_ISSUER_PATTERN)
_ISSUER_RULE = "must be https://HOST[/PATH] as the tokens' iss says it (http:// only on loopback), without ? and #"


def _issuer(url: str) -> str:
    if len(url) <= 512 and _ISSUER.fullmatch(url):
        return url
    raise ValueError(f"{_ISSUER_RULE}, not {url[:80]!r}")


_TEXT_PATTERN = r"^[!-~]([ -~]*[!-~])?$"
_TEXT = re.compile(_TEXT_PATTERN)
_TEXT_RULE = "must be 1 to 256 printable ASCII characters, without spaces at the ends"


def _text(value: str) -> str:
    if len(value) <= 256 and _TEXT.fullmatch(value):
        return value
    raise ValueError(f"{_TEXT_RULE}, not {value[:80]!r}")


Word = Annotated[str, Text(_text, _TEXT_PATTERN, 1, 256, _TEXT_RULE)]

_PEM_PATTERN = r"^\s*-----BEGIN CERTIFICATE-----[\s\S]+-----END CERTIFICATE-----\s*$"
_PEM = re.compile(_PEM_PATTERN)
_PEM_RULE = "must be certificates in PEM, -----BEGIN CERTIFICATE----- and so on"


def _pem(text: str) -> str:
    if len(text) <= 16_384 and _PEM.fullmatch(text):
        return text
    raise ValueError(_PEM_RULE)


_NETWORK_RULE = "must be an address or a network such as 10.0.0.0/8 or fd00::/8"


def _network(text: str) -> str:
    try:
        if len(text) > 49:
            raise ValueError("it is too long")
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{_NETWORK_RULE}, not {text[:60]!r}") from None
    return text


Network = Annotated[
    str,
    Text(
        _network,
        r"^[0-9a-fA-F:.]+(/[0-9]{1,3})?$",
        2,
        49,
        _NETWORK_RULE,
        (Rule("isIP(self) || isCIDR(self)", _NETWORK_RULE),),
    ),
]


class OidcGrant(Model):
    """What tokens may do that have some claim."""

    RULES = (
        Rule("has(self.claim) == has(self.value)", "claim and value go together; leave out both for every token"),
        Rule(
            "!has(self.tenants) || !has(self.tenantsClaim)",
            "must have at most one of tenants and tenantsClaim",
            at=".tenantsClaim",
        ),
    )

    claim: Word | None = Field(
        default=None,
        description="The claim to look at: its name, or names with dots between for a claim within claims, such as"
        " realm_access.roles.",
    )
    value: Word | None = Field(
        default=None, description="What the claim must be, or have among its values when it is a list."
    )
    role: RoleName = Field(
        description="What they may do. viewer: look, without payloads. submitter: submit, and look at tasks by id."
        " operator: both, cancel, retry and replay, with payloads. admin: also purge."
    )
    tenants: list[TenantName] | None = Field(
        default=None,
        min_length=1,
        max_length=100,
        description="They see and submit only tasks of these tenants. Absent: of all.",
    )
    tenantsClaim: Word | None = Field(
        default=None,
        description="The claim that has the tenants whose tasks they see, a text or a list. A token without it is"
        " refused.",
    )
    payloads: bool | None = Field(
        default=None,
        description="Whether they see payloads, results, tracebacks and log lines. Absent: as the role says.",
    )

    @model_validator(mode="after")
    def _fields_agree(self) -> Self:
        if (self.claim is None) != (self.value is None):
            raise ValueError("claim and value go together; leave out both for every token")
        if self.tenants is not None and self.tenantsClaim is not None:
            raise ValueError("must have at most one of tenants and tenantsClaim")
        return self


class Oidc(Model):
    """An issuer of OpenID Connect tokens. Its keys are found by discovery."""

    issuer: Annotated[str, Text(_issuer, _ISSUER_PATTERN, 8, 512, _ISSUER_RULE)] = Field(
        description="The issuer, exactly as tokens name it in iss."
    )
    audiences: list[Word] = Field(
        min_length=1, max_length=16, description="A token must be for one of these (aud), such as the client's id."
    )
    algorithms: list[Algorithm] = Field(
        default=["RS256", "ES256"],
        min_length=1,
        max_length=10,
        description="The algorithms that tokens may be signed with; others are refused, whatever the token says.",
    )
    leeway: Annotated[str, Duration("1s", "5m", zero=True)] = Field(
        default="30s", description="How far the issuer's clock may be off, for exp and nbf."
    )
    nameClaim: Word = Field(
        default="sub", description="The claim that names who it is in logs. Tokens without it are named by sub."
    )
    caBundle: Annotated[str, Text(_pem, _PEM_PATTERN, 64, 16_384, _PEM_RULE)] | None = Field(
        default=None,
        description="The certificates (PEM) of the authorities to trust for the issuer. Absent: those that the image"
        " trusts.",
    )
    grants: list[OidcGrant] = Field(
        min_length=1,
        max_length=50,
        description="Who may do what: the first that fits holds. A token that none fits is known, and may do nothing.",
    )


class ReviewGrant(Model):
    """What a user of the cluster, or a group of them, may do."""

    RULES = (Rule("has(self.user) != has(self.group)", "must have exactly one of user and group"),)

    user: Word | None = Field(
        default=None, description="A user, such as system:serviceaccount:NAMESPACE:NAME for a service account."
    )
    group: Word | None = Field(
        default=None, description="A group, such as system:serviceaccounts:NAMESPACE for those of a namespace."
    )
    role: RoleName = Field(description="What they may do: viewer, submitter, operator or admin.")
    tenants: list[TenantName] | None = Field(
        default=None,
        min_length=1,
        max_length=100,
        description="They see and submit only tasks of these tenants. Absent: of all.",
    )
    payloads: bool | None = Field(
        default=None,
        description="Whether they see payloads, results, tracebacks and log lines. Absent: as the role says.",
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.user is None) == (self.group is None):
            raise ValueError("must have exactly one of user and group")
        return self


class TokenReview(Model):
    """Tokens of Kubernetes, such as those of service accounts: the API server is asked whose they are."""

    audiences: list[Word] = Field(
        default_factory=list,
        max_length=16,
        description="A token must be for one of these. Absent: for the API server itself, as those are that pods have"
        " by default; better is one of the queue's own.",
    )
    cache: Annotated[str, Duration("1s", "5m", zero=True)] = Field(
        default="10s", description="How long an answer is believed: a token that was revoked works so long."
    )
    grants: list[ReviewGrant] = Field(
        min_length=1,
        max_length=50,
        description="Who may do what: the first that fits holds. A user that none fits is known, and may do nothing.",
    )


class Failures(Model):
    """How many invalid credentials one address may send. Valid ones are taken from it all the same."""

    perMinute: int = Field(default=30, ge=1, le=100_000, description="So many in the long run.")
    burst: int = Field(default=30, ge=1, le=100_000, description="So many at once after a pause.")


class Audit(Model):
    """The log of changes: who did what to which task, and how it ended."""

    submissions: bool = Field(
        default=True, description="Whether submissions are written down too; cancellations and the like always are."
    )


_NONE_RULE = "mode None serves everybody: leave out {what}, or set mode: Required"


class AuthRules(Model):
    """What a manifest and the gateway's own document have in common."""

    mode: Literal["Required", "None"] = Field(
        default="Required",
        description="Required: every request needs a credential. None: everybody who reaches the gateway may do all.",
    )
    oidc: list[Oidc] = Field(
        default_factory=list,
        max_length=8,
        description="Issuers of OpenID Connect tokens.",
        json_schema_extra=list_map("issuer"),
    )
    failures: Failures = Field(default_factory=Failures, description="How many invalid credentials are looked at.")
    trustedProxies: list[Network] = Field(
        default_factory=list,
        max_length=32,
        description="Addresses of proxies whose X-Forwarded-For is believed, for the log and for `failures`.",
    )
    audit: Audit = Field(default_factory=Audit, description="The log of changes.")

    @model_validator(mode="after")
    def _issuers_once(self) -> Self:
        issuers = [one.issuer for one in self.oidc]
        if len(set(issuers)) != len(issuers):
            raise ValueError("oidc must name each issuer once")
        return self


class GatewayKeys(Model):
    """API keys, of which the gateway has the hashes alone."""

    secretRef: SecretKey | None = Field(
        default=None,
        description="The key in a Secret that has a file made by `laneway keys create`. Absent: the operator makes a"
        " Secret <queue>-gateway-keys with one key for each role.",
    )


class GatewayAuth(AuthRules):
    """Who may use the HTTP API. With none of keys, oidc and tokenReview: those who have one of the keys that the
    operator makes."""

    RULES = (
        Rule(
            "!has(self.mode) || self.mode != 'None' || !(has(self.keys) || has(self.tokenReview)"
            " || (has(self.oidc) && size(self.oidc) > 0))",
            _NONE_RULE.format(what="keys, oidc and tokenReview"),
            at=".mode",
        ),
    )

    keys: GatewayKeys | None = Field(
        default=None, description="API keys. Absent: none, if there is oidc or tokenReview."
    )
    tokenReview: TokenReview | None = Field(
        default=None,
        description="Tokens of Kubernetes. The gateway's service account (gateway.pod.serviceAccountName) must be"
        " allowed to create tokenreviews. Absent: none are taken.",
    )

    @model_validator(mode="after")
    def _none_is_none(self) -> Self:
        if self.mode == "None" and (self.keys or self.oidc or self.tokenReview):
            raise ValueError(_NONE_RULE.format(what="keys, oidc and tokenReview"))
        return self

    @property
    def needs_own_keys(self) -> bool:
        """Whether the operator makes the Secret with keys."""
        if self.mode == "None":
            return False
        if self.keys is not None:
            return self.keys.secretRef is None
        return not self.oidc and self.tokenReview is None
