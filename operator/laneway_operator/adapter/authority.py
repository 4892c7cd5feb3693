"""The adapter's own certificate authority and serving certificate: made, and renewed before they expire. Pure.

A new authority is trusted first and used later: it joins the bundle that the API server trusts, and only
``Lifetimes.settle`` later a certificate is issued by it. The old one stays in the bundle until it expires, so at no
moment a certificate is served that the API server does not trust.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, cast

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

#: Clocks of this and of another machine may differ by so much.
_SKEW: Final = timedelta(hours=1)
#: The parts of the Secret.
CA, CA_KEY, CERT, KEY = "ca.crt", "ca.key", "tls.crt", "tls.key"


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long each is valid. Either is renewed when a third of its time is left."""

    ca: timedelta = timedelta(days=365)
    cert: timedelta = timedelta(days=90)
    settle: timedelta = timedelta(minutes=10)
    """How long a new authority is in the bundle before it is used: longer than the API server takes to hear of it."""


@dataclass(frozen=True, slots=True)
class Chain:
    """All of it, PEM. ``bundle`` are the authorities that are trusted, newest first; ``ca_key`` is the newest's."""

    bundle: tuple[bytes, ...]
    ca_key: bytes
    cert: bytes
    key: bytes

    def data(self) -> dict[str, bytes]:
        """As the Secret has it."""
        return {CA: self.ca_bundle, CA_KEY: self.ca_key, CERT: self.cert, KEY: self.key}

    @property
    def ca_bundle(self) -> bytes:
        """What the API server is told to trust."""
        return b"".join(self.bundle)

    def __repr__(self) -> str:
        return f"Chain({len(self.bundle)} authorities)"


def chain_of(data: Mapping[str, bytes]) -> Chain | None:
    """The chain in a Secret's data; None when it is not whole, or not what it should be."""
    try:
        authorities = x509.load_pem_x509_certificates(data[CA])
        chain = Chain(tuple(_pem(ca) for ca in authorities), data[CA_KEY], data[CERT], data[KEY])
        key = _load_key(chain.ca_key)
        if key.public_key() != authorities[0].public_key():
            return None
        if _load_key(chain.key).public_key() != _load(chain.cert).public_key():
            return None
        return chain if _signers(chain) else None
    except (KeyError, ValueError, TypeError):
        return None


def renewed(
    chain: Chain | None,
    hosts: Sequence[str],
    now: datetime,
    lifetimes: Lifetimes = Lifetimes(),
) -> Chain:
    """The chain that there should be at ``now``: the same object when nothing is to be done. ``hosts`` are the DNS
    names that the serving certificate has."""
    if chain is None:
        ca, ca_key = _new_authority(now, lifetimes)
        return _issued(Chain((ca,), ca_key, b"", b""), hosts, now, lifetimes)
    valid = tuple(ca for ca in chain.bundle if _load(ca).not_valid_after_utc > now)
    if not valid or valid[0] != chain.bundle[0]:
        return renewed(None, hosts, now, lifetimes)  # nobody looked for a year
    if valid != chain.bundle:
        chain = replace(chain, bundle=valid)
    if _is_due(valid[0], now):
        ca, ca_key = _new_authority(now, lifetimes)
        chain = Chain((ca, *valid), ca_key, chain.cert, chain.key)
    newest = chain.bundle[0]
    by_newest = _signers(chain)[:1] == [newest]
    settled = now >= _made(newest) + lifetimes.settle
    due = not by_newest or _is_due(chain.cert, now) or _hosts(chain.cert) != set(hosts)
    # One that is not trusted by anybody's bundle any more is replaced at once: it can't get worse.
    if due and (by_newest or settled or not _signers(chain)):
        return _issued(chain, hosts, now, lifetimes)
    return chain


def _new_authority(now: datetime, lifetimes: Lifetimes) -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    # A number of its own in its name: two authorities of one name could not be told apart by who verifies.
    name = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, f"laneway-adapter-ca-{x509.random_serial_number():x}"[:64])]
    )
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    certificate = (
        _builder(name, name, key.public_key(), now, lifetimes.ca)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _pem(certificate), _key_pem(key)


def _issued(chain: Chain, hosts: Sequence[str], now: datetime, lifetimes: Lifetimes) -> Chain:
    """With a new serving certificate by the newest authority."""
    authority, authority_key = _load(chain.bundle[0]), _load_key(chain.ca_key)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:64])])
    certificate = (
        _builder(name, authority.subject, key.public_key(), now, lifetimes.cert)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    return replace(chain, cert=_pem(certificate), key=_key_pem(key))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, valid: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + valid)
    )


def _signers(chain: Chain) -> list[bytes]:
    """The authorities of the bundle that issued the serving certificate (one, or none)."""
    certificate = _load(chain.cert)
    found = []
    for ca in chain.bundle:
        try:
            certificate.verify_directly_issued_by(_load(ca))
        except (InvalidSignature, ValueError, TypeError):
            continue
        found.append(ca)
    return found


def _is_due(pem: bytes, now: datetime) -> bool:
    certificate = _load(pem)
    whole = certificate.not_valid_after_utc - _made(pem)
    return certificate.not_valid_after_utc - now < whole / 3


def _made(pem: bytes) -> datetime:
    return _load(pem).not_valid_before_utc + _SKEW


def _hosts(pem: bytes) -> set[str]:
    try:
        names = _load(pem).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    return set(names.get_values_for_type(x509.DNSName))


def _load(pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem)


def _load_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    return cast(ec.EllipticCurvePrivateKey, serialization.load_pem_private_key(pem, None))


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
