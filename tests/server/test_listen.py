import socket

import pytest

from server.errors import StartupError
from server.listen import listen


def refusal(host: str, port: int) -> tuple[str, int]:
    with pytest.raises(StartupError) as caught:
        listen(host, port)
    return caught.value.message, caught.value.exit_code


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_address_is_taken_at_once(host: str) -> None:
    with listen(host, 0) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection((host, port)):
            pass
        assert refusal(host, port) == (
            f"Port {port} on {host} is in use; stop the program that uses it, or set PORT to another number.",
            69,
        )


@pytest.mark.parametrize("host", ["203.0.113.1", "x" * 64])
def test_host_of_another_machine_is_refused(host: str) -> None:
    assert refusal(host, 0) == (
        f"HOST {host} is not a name or address of this machine; set HOST to one, as 127.0.0.1.",
        78,
    )
