"""TLS contexts of clients, from PEM files."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

from laneway.errors import ConfigError


def check_files(prefix: str, ca_file: str, cert_file: str, key_file: str) -> None:
    """Reads the files as a connection would, so that a wrong one is found before the first.

    Raises:
        ConfigError: a file is missing or is not what its variable says; ``prefix`` begins the variables' names.
    """
    client_context(prefix, ca_file, cert_file, key_file)


def client_context(prefix: str, ca_file: str, cert_file: str, key_file: str) -> ssl.SSLContext:
    """A context that checks the server's certificate and name against ``ca_file`` (empty: what this machine trusts),
    and shows ``cert_file`` where there is one.

    Raises:
        ConfigError: a file is missing or is not what its variable says; ``prefix`` begins the variables' names.
    """
    context = ssl.create_default_context()
    if ca_file:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        _load(f"{prefix}_CA_FILE", ca_file, "certificates in PEM", lambda: context.load_verify_locations(ca_file))
    if cert_file:
        for name, path in (("CERT", cert_file), ("KEY", key_file)):
            _load(f"{prefix}_{name}_FILE", path, "a file in PEM", Path(path).read_bytes)
        _load(
            f"{prefix}_CERT_FILE and {prefix}_KEY_FILE",
            f"{cert_file} and {key_file}",
            "a certificate and its own key in PEM, without a passphrase",
            lambda: context.load_cert_chain(cert_file, key_file, password=_no_passphrase),
        )
    return context


def _load(variable: str, path: str, right: str, read: Callable[[], object]) -> None:
    try:
        read()
    except FileNotFoundError:
        raise ConfigError(f"{variable}: there is no file {path}; it must name {right}") from None
    except ssl.SSLError as error:
        raise ConfigError(f"{variable}: {path} must hold {right} ({error.reason or error})") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{variable}: {path} can't be read ({error}); it must name {right}") from error


def _no_passphrase() -> str:
    # Without this OpenSSL would ask for one on the terminal.
    raise ValueError("the key has a passphrase")
