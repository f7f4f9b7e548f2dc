"""What every resolver function is given: who is asking, and the services of the process. Never a session."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from ivs.client import Aws
from ivs.stage_tokens import Signer
from models.engine import Sessions
from models.rollup import Rhythm
from models.user import User
from models.vault import Vault
from resolvers.passwords import Passwords
from resolvers.reads import Reads, Together
from resolvers.user_agents import UserAgents
from resolvers.viewer_tokens import ViewerTokens
from subscriptions.chores import Chores
from subscriptions.hub import Hub, Listener
from subscriptions.metrics import Intake
from subscriptions.provisioning import Provisioner
from subscriptions.publish import Publisher
from subscriptions.removal import Remover


@dataclass(frozen=True, slots=True)
class Viewer:
    """A signed-in user, known by a session. The channel is the user's own, and the same for life.

    `user` is the row as it was when the session was looked up: good for the query that came with it, and no longer.
    """

    user_id: UUID
    session_id: UUID
    expires_at: datetime
    channel_id: UUID | None = None
    user: User | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class AccountRules:
    """Limits on accounts. Rates are attempts per hour, `burst` of which may come at once; times in seconds."""

    session_lifetime: float
    provision_wait: float
    sign_ins_per_hour_per_user: int
    sign_ins_per_hour_per_address: int
    sign_in_burst: int
    registrations_per_hour_per_address: int


@dataclass(frozen=True, slots=True)
class StageRules:
    """Limits on stages. `publishers` counts the owner; without `guests`, only who is signed in may watch."""

    token_minutes: int
    publishers: int
    guests: bool
    tokens_per_hour_per_user: int
    tokens_per_hour_per_address: int
    invitations_per_hour: int
    join_requests_per_hour: int


@dataclass(frozen=True, slots=True)
class PlaybackRules:
    """How playback begins and is followed. Times in seconds.

    Attributes:
        keys: With the first of which playback tokens are signed; without any there are no private channels.
        starts_per_minute: Viewings that one address may begin.
        token_lifetime: In which a player has to begin with a playback token.
        heartbeat_interval: From one heartbeat of a player to the next.
        window: For which a heartbeat makes its viewing a current one.
        stats_interval: Between two frames of live statistics.
        address: How much of a viewer's address is kept.
        most_buckets: Buckets that an answer of analytics has at most.
    """

    keys: tuple[EllipticCurvePrivateKey, ...] = field(repr=False)
    starts_per_minute: int
    token_lifetime: float
    heartbeat_interval: float
    window: float
    stats_interval: float
    address: Literal["full", "truncated", "none"]
    most_buckets: int

    @property
    def rhythm(self) -> Rhythm:
        """What a heartbeat stands for."""
        return Rhythm(window=timedelta(seconds=self.window), interval=timedelta(seconds=self.heartbeat_interval))


@dataclass(frozen=True, slots=True)
class ChannelRules:
    """Limits on what owners do to their channels, and on who watches them. Times in seconds."""

    key_wait: float
    commands_per_minute: int
    metadata_per_second: int
    all_metadata_per_second: int
    directory_interval: float


@dataclass(frozen=True, slots=True)
class ChatRules:
    """What chat allows. `guests` is a `policy.Guests`; `endpoint` replaces Amazon's own, if there is one."""

    guests: Literal["write", "read", "none"]
    endpoint: str | None
    session_minutes: int
    tokens_per_minute_per_user: int
    tokens_per_minute_per_address: int
    tokens_per_second: int
    actions_per_minute_per_user: int
    actions_per_second: int


@dataclass(frozen=True, slots=True)
class Services:
    """What lives as long as the process."""

    sessions: Sessions
    read_sessions: Sessions
    aws: Aws
    publisher: Publisher
    hub: Hub
    provisioner: Provisioner
    remover: Remover
    chores: Chores
    passwords: Passwords
    vault: Vault
    account_rules: AccountRules
    intake: Intake
    viewer_tokens: ViewerTokens
    user_agents: UserAgents
    playback: PlaybackRules
    channel_rules: ChannelRules
    chat_rules: ChatRules
    recordings_cdn_url: str | None
    stage_rules: StageRules
    stage_signer: Signer | None


@dataclass(frozen=True, slots=True)
class SessionCookie:
    """The session token that the response sets as a cookie, or takes back when the token is null."""

    token: str | None = field(repr=False)
    max_age: int = 0


@dataclass(slots=True)
class Context:
    """One operation's world. `address` is the client's, as far as trusted proxies tell; `user_agent` what it says."""

    services: Services
    viewer: Viewer | None
    address: str
    user_agent: str | None = None
    together: Together | None = field(default=None, repr=False)
    _reads: Reads | None = field(default=None, init=False, repr=False)
    cookie: SessionCookie | None = None
    listener: Listener | None = field(default=None, init=False)
    """What a subscription waits for."""
    every_event_counts: bool = False
    """Whether a subscription's event is news even if the client asked for too little to tell it from the last one."""

    @property
    def reads(self) -> Reads:
        """Reads and what they have read so far."""
        if self._reads is None:
            viewer_id = self.viewer.user_id if self.viewer else None
            self._reads = Reads(self.services.read_sessions, viewer_id, together=self.together)
        return self._reads

    @contextmanager
    def listen(self, *topics: str) -> Iterator[Listener]:
        """Listen while the block runs; see `Hub.listen`."""
        with self.services.hub.listen(*topics) as self.listener:
            yield self.listener

    def renew(self) -> None:
        """Forget what was read: the next event of a subscription must see the present."""
        self._reads = None
