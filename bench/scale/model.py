"""What an audience costs, from unit costs: the formulae of docs/scale.md.

Times are seconds of CPU, sizes bytes, rates per second. All is linear but for two things: how many heartbeats share a
commit, and on how many processes somebody watches a channel.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp


@dataclass(frozen=True)
class Server:
    """Unit costs of a process: an `event` is one look at a channel, for all who watch it there.

    A `notice` is one that nobody waits for; what a wanted one costs is in the event. Who joins makes an event.
    """

    process_bytes: float
    socket_bytes: float
    run_bytes: float
    idle: float
    join: float
    leave: float
    delivery: float
    event: float
    ping: float
    notice: float
    heartbeat: float
    commit: float


@dataclass(frozen=True)
class Postgres:
    """Unit costs of PostgreSQL: `notice` is one at one process, `read` the look at a channel by one process.

    A count costs `count`, for each live channel `count_channel`, for each heartbeat of the window `count_row`, and for
    each number that is another `count_changed`. A roll-up of a minute costs `roll_stream` and `roll_beat`.
    """

    heartbeat: float
    commit: float
    notice: float
    read: float
    count: float
    count_channel: float
    count_row: float
    count_changed: float
    roll_stream: float
    roll_beat: float
    wal_bytes: float
    commit_wal_bytes: float
    row_bytes: float


@dataclass(frozen=True)
class Load:
    """An audience and how it is served.

    Attributes:
        audiences: Viewers of each live channel, each with one socket and one player.
        changes: Per second, of each number of viewers that is not 0.
        stay: Seconds from a viewer's coming to its going.
        wire_bytes: Of a delivery.
        commit_seconds: That a commit of heartbeats takes, by the clock.
        batch_delay: That the first of commits which follow each other waits for company.
    """

    audiences: Sequence[int]
    processes: int = 1
    changes: float = 1.0
    counts: float = 1.0
    stay: float = 1200.0
    heartbeat_interval: float = 30.0
    window: float = 45.0
    ping_interval: float = 20.0
    wire_bytes: float = 200.0
    commit_seconds: float = 0.004
    batch_delay: float = 0.005

    @property
    def viewers(self) -> int:
        return sum(self.audiences)

    @property
    def runs(self) -> float:
        """Channels that are watched on a process, if viewers come to any of them alike."""
        return sum(1 - (1 - 1 / self.processes) ** audience for audience in self.audiences)

    @property
    def changed(self) -> float:
        """Numbers of viewers that are another, per second, and so the notices."""
        return self.changes * sum(audience > 0 for audience in self.audiences)

    @property
    def heartbeats(self) -> float:
        return self.viewers / self.heartbeat_interval

    @property
    def commits(self) -> float:
        """Of all processes: who comes during one is in the next, which follows at once; only the first waits."""
        rate = self.heartbeats / self.processes
        # Nobody comes during one with the probability exp(-rate * seconds): then it was the last for now.
        row = exp(min(rate * self.commit_seconds, 50))
        return self.processes * row / (1 / rate + self.batch_delay + row * self.commit_seconds)


@dataclass(frozen=True)
class Predicted:
    """Of one process: `process_bytes`, and `process` by parts; of PostgreSQL: `postgres` by parts. Cores, that is
    seconds a second.
    """

    process_bytes: float
    process: dict[str, float]
    postgres: dict[str, float]
    wal_bytes: float
    wire_bytes: float


def predict(load: Load, server: Server, postgres: Postgres) -> Predicted:
    """Return what the load costs."""
    sockets = load.viewers / load.processes
    events = load.runs * load.changes
    rows = load.heartbeats * load.window
    return Predicted(
        process_bytes=server.process_bytes + sockets * server.socket_bytes + load.runs * server.run_bytes,
        process={
            "idle": server.idle,
            "deliveries": sockets * load.changes * server.delivery,
            "events": events * server.event,
            "notices": max(0.0, load.changed - events) * server.notice,
            "heartbeats": (load.heartbeats * server.heartbeat + load.commits * server.commit) / load.processes,
            "pings": sockets / load.ping_interval * server.ping,
            "coming and going": sockets / load.stay * (server.join + server.event + server.leave),
        },
        postgres={
            "heartbeats": load.heartbeats * postgres.heartbeat + load.commits * postgres.commit,
            "counts": load.counts
            * (postgres.count + len(load.audiences) * postgres.count_channel + rows * postgres.count_row)
            + load.changed * postgres.count_changed,
            "notices": load.changed * load.processes * postgres.notice,
            "reads": (events + sockets / load.stay) * load.processes * postgres.read,
            "roll-ups": len(load.audiences) / 60 * postgres.roll_stream + load.heartbeats * postgres.roll_beat,
        },
        wal_bytes=load.heartbeats * postgres.wal_bytes + load.commits * postgres.commit_wal_bytes,
        wire_bytes=load.viewers * load.changes * load.wire_bytes,
    )


def audiences(viewers: int, channels: int) -> list[int]:
    """Return how viewers divide among channels by a power of the rank, such that the greatest has a tenth of them."""
    low, high = 0.0, 3.0
    for _ in range(60):
        power = (low + high) / 2
        total = sum(rank**-power for rank in range(1, channels + 1))
        low, high = (power, high) if total > 10 else (low, power)
    found = [max(1, round(viewers * rank**-power / total)) for rank in range(1, channels + 1)]
    found[0] += viewers - sum(found)
    return found
