"""Who may talk to a cluster: TLS for everything that leaves this machine."""

from __future__ import annotations

import ipaddress
from typing import Any

from gpuarray.kernels.errors import ConfigError


def on_loopback(host: str) -> bool:
    """Whether only this machine can reach an address.

    >>> on_loopback("127.0.0.1"), on_loopback("localhost"), on_loopback("0.0.0.0"), on_loopback("10.0.0.5")
    (True, True, False, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def local_security(security: Any, host: str) -> Any:
    """What workers that are started here talk with."""
    if security == "auto":
        return None if on_loopback(host) else temporary()
    return None if security is False else security


def temporary() -> Any:
    """Credentials that exist only in memory."""
    from distributed import Security

    try:
        return Security.temporary()
    except ImportError as error:
        raise ConfigError(
            f"TLS with temporary credentials needs the package cryptography ({error}): install it, pass security= with "
            "credentials of your own, or security=False on a network that you trust"
        ) from error


def connection_security(security: Any, address: str) -> Any:
    """What to connect to a scheduler with. Raises ConfigError for one beyond this machine that is not encrypted."""
    protocol, _, rest = address.partition("://")
    host = rest.rsplit(":", 1)[0]
    if security is False:
        return None
    if security != "auto":
        return security
    if protocol in ("tcp", "ws", "ucx", "ucxx") and not on_loopback(host):
        raise ConfigError(
            f"{address} is not encrypted, and whoever reads along or gets in between can run code on the workers. Use "
            "tls:// with security=distributed.Security(...), or pass security=False on a network that you trust"
        )
    if protocol in ("tls", "wss"):
        from distributed import Security

        found = Security()  # from dask's configuration
        if not found.tls_ca_file:
            raise ConfigError(
                f"{address} needs credentials: pass security=distributed.Security(tls_ca_file=..., "
                "tls_client_cert=..., tls_client_key=..., require_encryption=True), or set distributed.comm.tls in "
                "dask's configuration"
            )
        return found
    return None
