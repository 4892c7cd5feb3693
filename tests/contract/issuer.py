"""A small OpenID Connect issuer: real keys, real signatures, discovery and keys over HTTP on loopback."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from servers.certificates import Pair

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
AUDIENCE = "laneway"


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _number(value: int) -> str:
    return b64(value.to_bytes((value.bit_length() + 7) // 8, "big"))


@dataclass
class SigningKey:
    """A key pair under a name. Signatures are made here, without the library that the gateway verifies with."""

    kid: str
    private: PrivateKey
    more: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def rsa(cls, kid: str, bits: int = 2048, **more: Any) -> SigningKey:
        return cls(kid, rsa.generate_private_key(65537, bits), more)

    @classmethod
    def ec(cls, kid: str, **more: Any) -> SigningKey:
        return cls(kid, ec.generate_private_key(ec.SECP256R1()), more)

    @property
    def algorithm(self) -> str:
        return "RS256" if isinstance(self.private, rsa.RSAPrivateKey) else "ES256"

    @property
    def pem(self) -> bytes:
        """The public half."""
        return self.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def jwk(self) -> dict[str, Any]:
        public = self.private.public_key()
        if isinstance(public, rsa.RSAPublicKey):
            numbers = public.public_numbers()
            made = {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}
        else:
            point = public.public_numbers()
            made = {
                "kty": "EC",
                "crv": "P-256",
                "x": b64(point.x.to_bytes(32, "big")),
                "y": b64(point.y.to_bytes(32, "big")),
            }
        return {"kid": self.kid, **made, **self.more}

    def sign(self, claims: Mapping[str, Any] | bytes, **header: Any) -> str:
        """A token. What ``header`` says replaces what would be right; None leaves it out."""
        head = {"typ": "JWT", "alg": self.algorithm, "kid": self.kid, **header}
        text = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
        signed = f"{b64(json.dumps({k: v for k, v in head.items() if v is not None}).encode())}.{b64(text)}"
        return f"{signed}.{b64(self._signature(signed.encode(), str(head['alg'])))}"

    def _signature(self, signed: bytes, algorithm: str) -> bytes:
        hash = {"384": hashes.SHA384(), "512": hashes.SHA512()}.get(algorithm[2:], hashes.SHA256())
        if isinstance(self.private, rsa.RSAPrivateKey):
            return self.private.sign(signed, padding.PKCS1v15(), hash)
        r, s = decode_dss_signature(self.private.sign(signed, ec.ECDSA(hash)))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def with_secret(claims: Mapping[str, Any], secret: bytes, **header: Any) -> str:
    """A token of HS256 with any bytes as the secret, as one forges it who takes the public key for one."""
    head = {"alg": "HS256", "typ": "JWT", **header}
    signed = f"{b64(json.dumps(head).encode())}.{b64(json.dumps(claims).encode())}"
    return f"{signed}.{b64(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"


def unsigned(claims: Mapping[str, Any], algorithm: str) -> str:
    return f"{b64(json.dumps({'alg': algorithm}).encode())}.{b64(json.dumps(claims).encode())}."


class Issuer:
    """Serves its discovery document and keys; what it serves can be changed. ``asked`` counts requests by path."""

    def __init__(self, tls: Pair | None = None) -> None:
        self.keys = [SigningKey.rsa("rsa-1"), SigningKey.ec("ec-1")]
        self.asked: dict[str, int] = {}
        self.says: dict[str, Any] = {}
        self.status = 200
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked[self.path] = issuer.asked.get(self.path, 0) + 1
                body = json.dumps(issuer._answer(self.path)).encode()
                self.send_response(issuer.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        if tls is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(tls.cert, tls.key)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self.url = self.url.replace("http:", "https:")

    def _answer(self, path: str) -> dict[str, Any]:
        if path == "/.well-known/openid-configuration":
            return {"issuer": self.url, "jwks_uri": f"{self.url}/keys", **self.says}
        return {"keys": [key if isinstance(key, dict) else key.jwk() for key in self.keys]}

    def claims(self, **more: Any) -> dict[str, Any]:
        """The claims of a good token, with some of them replaced; None leaves one out."""
        now = int(time.time())
        good = {"iss": self.url, "aud": AUDIENCE, "sub": "u-17", "iat": now, "exp": now + 300}
        return {name: value for name, value in {**good, **more}.items() if value is not None}

    def token(self, **more: Any) -> str:
        return self.keys[0].sign(self.claims(**more))


@contextmanager
def running_issuer(tls: Pair | None = None) -> Iterator[Issuer]:
    """An issuer that serves until the block ends; with ``tls``, by this certificate."""
    issuer = Issuer(tls)
    thread = threading.Thread(target=issuer._server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield issuer
    finally:
        issuer._server.shutdown()
        issuer._server.server_close()
        thread.join()
