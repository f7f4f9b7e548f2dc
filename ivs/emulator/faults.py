"""Faults that tests order: throttling, errors, time-outs before or after the work, late answers, lost answers."""

import threading
from dataclasses import dataclass, field
from typing import Any

from ivs.emulator.errors import ControlError

KINDS = ("throttle", "error", "timeout", "timeout-after", "late", "drop-after", "empty-page")
WAITING = frozenset({"timeout", "timeout-after", "late"})


@dataclass
class Fault:
    """What shall happen to matching calls.

    Attributes:
        kind: `throttle` answers ThrottlingException; `error` answers `code`; `timeout` does nothing, answers nothing
            for `seconds`, then closes the connection; `timeout-after` does the work first; `late` waits, then works
            and answers; `drop-after` does the work and closes the connection at once; `empty-page` answers a page of
            FilterLogEvents without events before the one that is asked for.
        operation: The operation it strikes.
        service: The service, or None for any that has this operation.
        where: Members the request must have with exactly these values.
        times: How many calls it strikes; None is all of them.
        skip: How many matching calls pass first.
        code: Error code of `error` (default InternalServerException).
        status: HTTP status of `error`; by default the one of AWS's model for the code.
        seconds: How long the waiting kinds wait (default 1).
        lifted: Set when the fault is removed, which ends all waiting at once.
    """

    kind: str
    operation: str
    service: str | None = None
    where: dict[str, Any] = field(default_factory=dict)
    times: int | None = 1
    skip: int = 0
    code: str = "InternalServerException"
    status: int | None = None
    seconds: float = 1.0
    id: int = 0
    lifted: threading.Event = field(default_factory=threading.Event, repr=False)

    def strikes(self, service: str, operation: str, params: dict[str, Any]) -> bool:
        """Whether a call is meant, without counting it."""
        return (
            self.operation == operation
            and self.service in (None, service)
            and all(name in params and params[name] == value for name, value in self.where.items())
        )

    def wait(self) -> None:
        """Sleeps for `seconds`, or until the fault is removed."""
        self.lifted.wait(self.seconds)

    def shown(self) -> dict[str, Any]:
        """What the control door answers about it."""
        names = ("id", "kind", "operation", "service", "where", "times", "skip", "code", "status", "seconds")
        return {name: getattr(self, name) for name in names}


class Faults:
    """The faults that are ordered, oldest first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._last_id = 0

    def add(self, fault: Fault) -> Fault:
        """Orders a fault.

        Raises:
            ControlError: an unknown kind (400).
        """
        if fault.kind not in KINDS:
            raise ControlError(400, f"kind must be one of {', '.join(KINDS)}")
        with self._lock:
            self._last_id += 1
            fault.id = self._last_id
            self._faults.append(fault)
        return fault

    def take(self, service: str, operation: str, params: dict[str, Any]) -> Fault | None:
        """The first fault that strikes this call, counted down; None when the call shall pass."""
        with self._lock:
            for fault in self._faults:
                if fault.times == 0 or not fault.strikes(service, operation, params):
                    continue
                if fault.skip > 0:
                    fault.skip -= 1
                    continue
                if fault.times is not None:
                    fault.times -= 1
                return fault
        return None

    def list(self) -> list[dict[str, Any]]:
        """All faults, also those that struck as often as they should."""
        with self._lock:
            return [fault.shown() for fault in self._faults]

    def clear(self, fault_id: int | None = None) -> None:
        """Removes one fault, or all, and releases the calls that wait because of it."""
        with self._lock:
            gone = [fault for fault in self._faults if fault_id in (None, fault.id)]
            self._faults = [fault for fault in self._faults if fault not in gone]
        for fault in gone:
            fault.lifted.set()
