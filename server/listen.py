"""The web server's address, taken before anything else is started."""

import errno
import socket
from typing import Final

from server.errors import CONFIGURATION, UNAVAILABLE, StartupError, reason

_BACKLOG: Final = 2048


def listen(host: str, port: int) -> socket.socket:
    """Takes an address; who connects waits until the socket is served.

    Args:
        host: A name or address of this machine, from HOST.
        port: From PORT; 0 for any free one.

    Returns:
        A listening socket.

    Raises:
        StartupError: The address is in use, not allowed, or not this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError) as error:  # the latter for what cannot be a name
        raise _stranger(host) from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise _refusal(host, port, error) from error
    return listener


def _refusal(host: str, port: int, error: OSError) -> StartupError:
    if error.errno == errno.EADDRINUSE:
        return StartupError(
            f"Port {port} on {host} is in use; stop the program that uses it, or set PORT to another number.",
            UNAVAILABLE,
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return _stranger(host)
    return StartupError(
        f"Port {port} on {host} cannot be used: {reason(error)}; set HOST and PORT to an address that can.",
        UNAVAILABLE,
    )


def _stranger(host: str) -> StartupError:
    return StartupError(
        f"HOST {host} is not a name or address of this machine; set HOST to one, as 127.0.0.1.", CONFIGURATION
    )
