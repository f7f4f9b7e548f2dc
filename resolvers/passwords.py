"""Passwords: which are accepted, and how they are kept."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

SHORTEST = 8
LONGEST = 128
FEWEST_DIFFERENT = 5
FEWEST_RUNS = 4

# Neighbours on a keyboard, and around the end of the digits; those of an alphabet have neighbouring numbers.
_ROWS = "qwertyuiop asdfghjkl zxcvbnm 90"

# The usual first guesses of at least eight characters, and the one that the README publishes; what length, variety and
# runs alone would let pass.
# fmt: off
COMMON = frozenset({
    "password", "password1", "password12", "password123", "passw0rd", "p@ssw0rd", "p@ssword", "1q2w3e4r",
    "1q2w3e4r5t", "1qaz2wsx", "zaq12wsx", "iloveyou", "sunshine", "princess", "football", "baseball",
    "superman", "trustno1", "welcome1", "welcome123", "letmein1", "letmein123", "admin123", "administrator",
    "changeme", "changeme123", "starwars", "whatever", "computer", "michelle", "jennifer", "internet",
    "samsung1", "a1b2c3d4", "streamcat", "streamcat1", "streamcat-demo",
})
# fmt: on


def faults(password: str, username: str) -> Iterator[str]:
    """Yield what makes a password unacceptable, each as a sentence. Source: NIST SP 800-63B, 3.1.1.2."""
    if len(password) < SHORTEST:
        yield f"A password needs at least {SHORTEST} characters."
    if len(password) > LONGEST:
        yield f"A password may have at most {LONGEST} characters."
    elif len(set(password)) < FEWEST_DIFFERENT:
        yield f"A password needs at least {FEWEST_DIFFERENT} different characters."
    elif len(password) >= SHORTEST and _runs(password.lower()) < FEWEST_RUNS:
        yield "A password must be more than runs of neighbours, as in 12345678 or qwer4321; choose another."
    if password.lower() in COMMON:
        yield "This password is among the first that anybody would guess; choose another."
    if password.lower() == username.lower():
        yield "The password must not be the user name."


def _runs(password: str) -> int:
    """Count the runs: how often a character is no neighbour of the one before it, and one for the first."""
    return 1 + sum(
        abs(ord(one) - ord(other)) > 1 and one + other not in _ROWS and other + one not in _ROWS
        for one, other in pairwise(password)
    )


class Passwords:
    """Argon2id, in threads of its own: one hash takes tens of milliseconds that no other request should wait for.

    `memory_kib` and `passes` are its costs; OWASP's password storage advice is 19 MiB and 2 passes on one lane.
    """

    def __init__(self, *, memory_kib: int, passes: int, threads: int = 2) -> None:
        self._hasher = PasswordHasher(time_cost=passes, memory_cost=memory_kib, parallelism=1)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="argon2")
        self._nobody = self._hasher.hash("nobody's password")

    async def hash(self, password: str) -> str:
        """Return the hash with its salt and parameters, in PHC string format."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._hasher.hash, password)

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Tell whether the password fits. Without a hash it costs as much and fails, so that time tells nothing."""
        fits = await asyncio.get_running_loop().run_in_executor(
            self._threads, self._fits, password_hash or self._nobody, password
        )
        return fits and password_hash is not None

    def outdated(self, password_hash: str) -> bool:
        """Tell whether the hash was made with other costs than today's."""
        return self._hasher.check_needs_rehash(password_hash)

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _fits(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False
