"""Where the relay listens: on loopback, or at an address that the containers of an app reach."""

from __future__ import annotations

import ipaddress
import re

_NAME = re.compile(r"(?!-)[0-9A-Za-z_-]{1,63}(?:\.[0-9A-Za-z_-]{1,63})*")


def parse_relay_host(given: str) -> str:
    """The host of ``--llmperf-relay-host``: an address, without the brackets of one of IPv6, or a name of this host.

    Raises:
        ValueError: it is neither, or it stands for every address of the host.
    """
    host = given.strip().removeprefix("[").removesuffix("]")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        if not _NAME.fullmatch(host) or host.replace(".", "").isdigit():
            raise ValueError(
                f"--llmperf-relay-host={given} is no address of this host: write one such as 172.17.0.1, with neither "
                "http:// nor a port"
            ) from None
        return host
    if address.is_unspecified:
        raise ValueError(
            f"--llmperf-relay-host={given} would listen on every network of this host: write the one address that the "
            "app reaches, such as 172.17.0.1"
        )
    return host


def is_loopback(host: str) -> bool:
    """Whether only this host reaches it. A name may stand for anything but ``localhost``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
