"""Everything that lives as long as the process, opened in order and closed in reverse."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from ivs.chat_logs import ChatLog
from ivs.client import Aws, AwsConfig, open_aws
from ivs.stage_tokens import Signer
from ivs.tokens import load_es384
from models.engine import Sessions, create_engine, create_sessions
from models.vault import Vault
from resolvers import heartbeats
from resolvers.context import AccountRules, ChannelRules, ChatRules, PlaybackRules, Services, StageRules
from resolvers.passwords import Passwords
from resolvers.user_agents import UserAgents
from resolvers.viewer_tokens import ViewerTokens
from server.errors import UNAVAILABLE, StartupError
from server.jobs import create_worker
from server.settings import Settings
from subscriptions.bus import Bus, BusUnavailable
from subscriptions.chores import Chores, ChoresConfig
from subscriptions.hub import Hub
from subscriptions.ingest import Ingest
from subscriptions.metrics import Intake, IntakeConfig
from subscriptions.pacing import Pacer
from subscriptions.provisioning import Provisioner, ProvisioningConfig
from subscriptions.publish import Publisher
from subscriptions.removal import Remover
from subscriptions.worker import Worker


@dataclass(frozen=True, slots=True)
class Resolved:
    """What the settings left open and the embedded stack, or the operator, has answered."""

    database_url: str = field(repr=False)
    bus_url: str = field(repr=False)
    secret_keys: tuple[str, ...] = field(repr=False)
    aws: AwsConfig
    events_queue_url: str
    recording_configuration_arn: str | None
    recordings_cdn_url: str | None = None
    chat_logging_configuration_arn: str | None = None


@dataclass(frozen=True, slots=True)
class Runtime:
    """The open services of a process."""

    settings: Settings
    resolved: Resolved
    services: Services
    aws: Aws
    ingest: Ingest
    worker: Worker


def aws_config(settings: Settings, endpoint_url: str | None, *, emulated: bool, region: str) -> AwsConfig:
    """Return how to reach AWS, or the emulator with keys that mean nothing."""
    return AwsConfig(
        region=region,
        endpoint_url=endpoint_url,
        access_key_id="emulator" if emulated else None,
        secret_access_key="emulator" if emulated else None,
        connect_timeout=settings.aws_connect_timeout_seconds,
        read_timeout=settings.aws_read_timeout_seconds,
        retry_mode=settings.aws_retry_mode,
        max_attempts=settings.aws_max_attempts,
        max_pool_connections=settings.aws_max_pool_connections,
    )


def inherited(resolved: Resolved) -> dict[str, str]:
    """Return the environment in which another process comes to the same answers, without a stack of its own."""
    aws = resolved.aws
    answers = {
        "DATABASE_URL": resolved.database_url,
        "SECRET_KEY": ",".join(resolved.secret_keys),
        "EVENTS_QUEUE_URL": resolved.events_queue_url,
        "RECORDING_CONFIGURATION_ARN": resolved.recording_configuration_arn,
        "RECORDINGS_CDN_URL": resolved.recordings_cdn_url,
        "CHAT_LOGGING_CONFIGURATION_ARN": resolved.chat_logging_configuration_arn,
        "AWS_REGION": aws.region,
        "AWS_ENDPOINT_URL": aws.endpoint_url,
        "AWS_ACCESS_KEY_ID": aws.access_key_id,
        "AWS_SECRET_ACCESS_KEY": aws.secret_access_key,
    }
    return {name: answer for name, answer in answers.items() if answer is not None}


@asynccontextmanager
async def open_runtime(settings: Settings, resolved: Resolved) -> AsyncIterator[Runtime]:
    """Open database, bus, AWS and jobs; at the end let work in hand finish within SHUTDOWN_SECONDS.

    Raises:
        StartupError: The bus or the database does not answer.
    """
    async with AsyncExitStack() as stack:
        # Writers are few and each waits for AWS or a hash between its transactions; readers are many.
        writers = max(1, settings.database_pool_size // 4)
        sessions = _sessions(settings, resolved, stack, pool_size=writers)
        read_sessions = _sessions(
            settings, resolved, stack, pool_size=settings.database_pool_size - writers, read_only=True
        )
        bus = Bus(resolved.bus_url, sessions, heartbeat=settings.bus_heartbeat_seconds)
        hub = Hub(bus)
        try:
            await hub.start()
        except BusUnavailable as error:
            sentence = str(error).rstrip(".")
            hint = "; correct BUS_URL, or unset it to use the database" if settings.bus_url else ""
            raise StartupError(f"{sentence[0].upper()}{sentence[1:]}{hint}.", UNAVAILABLE) from error
        stack.push_async_callback(hub.stop)
        aws = await stack.enter_async_context(
            open_aws(resolved.aws, Pacer(sessions, calls_per_second=settings.aws_calls_per_second))
        )
        publisher = Publisher(sessions, bus)
        ingest = Ingest(publisher, batch_rows=settings.events_batch_rows)
        vault = Vault(resolved.secret_keys)
        logging_arn = settings.chat_logging_configuration_arn or resolved.chat_logging_configuration_arn
        config = provisioning(settings, resolved.recording_configuration_arn, logging_arn)
        provisioner = Provisioner(publisher, aws, vault, ingest, config)
        stack.push_async_callback(provisioner.stop, settings.shutdown_seconds)
        remover = Remover(sessions, aws, config)
        stack.push_async_callback(remover.stop, settings.shutdown_seconds)
        chores = Chores(publisher, aws, vault, _chores(settings))
        stack.push_async_callback(chores.stop, settings.shutdown_seconds)
        intake = Intake(sessions, _intake(settings))
        stack.push_async_callback(intake.stop, settings.shutdown_seconds)
        passwords = Passwords(memory_kib=settings.password_memory_kib, passes=settings.password_passes)
        stack.callback(passwords.close)
        services = Services(
            sessions=sessions,
            read_sessions=read_sessions,
            aws=aws,
            publisher=publisher,
            hub=hub,
            provisioner=provisioner,
            remover=remover,
            chores=chores,
            passwords=passwords,
            vault=vault,
            account_rules=_account_rules(settings),
            intake=intake,
            viewer_tokens=ViewerTokens(resolved.secret_keys, lifetime=settings.viewer_token_seconds),
            user_agents=UserAgents(remembered=settings.user_agents_remembered, lengths=heartbeats.TEXTS),
            playback=_playback_rules(settings),
            channel_rules=_channel_rules(settings),
            chat_rules=_chat_rules(settings),
            recordings_cdn_url=settings.recordings_cdn_url or resolved.recordings_cdn_url,
            stage_rules=_stage_rules(settings),
            stage_signer=_stage_signer(settings),
        )
        chat_log = ChatLog(aws, logging_arn) if logging_arn else None
        worker = create_worker(settings, services, ingest, resolved.events_queue_url, chat_log)
        stack.push_async_callback(worker.stop, settings.shutdown_seconds)
        yield Runtime(settings, resolved, services, aws, ingest, worker)


def _sessions(
    settings: Settings, resolved: Resolved, stack: AsyncExitStack, *, pool_size: int, read_only: bool = False
) -> Sessions:
    engine = create_engine(
        resolved.database_url,
        pool_size=pool_size,
        statement_timeout_ms=int(settings.database_statement_timeout_seconds * 1000),
        name="streamcat-read" if read_only else "streamcat",
        read_only=read_only,
    )
    stack.push_async_callback(engine.dispose)
    return create_sessions(engine)


def provisioning(
    settings: Settings, recording_configuration_arn: str | None, chat_logging_configuration_arn: str | None
) -> ProvisioningConfig:
    """Return how resources are created and removed."""
    return ProvisioningConfig(
        deployment=settings.deployment,
        recording_configuration_arn=recording_configuration_arn,
        channel_type=settings.channel_type,
        chat_review_handler_arn=settings.chat_review_handler_arn,
        chat_review_fallback=settings.chat_review_fallback.upper(),
        chat_logging_configuration_arn=chat_logging_configuration_arn,
        lease=settings.provision_lease_seconds,
        first_pause=settings.provision_first_pause_seconds,
        settle=settings.provision_settle_seconds,
        max_attempts=settings.provision_max_attempts,
    )


def _chores(settings: Settings) -> ChoresConfig:
    return ChoresConfig(
        deployment=settings.deployment,
        partner_followers=settings.partner_followers,
        partner_type=settings.partner_channel_type,
        # AWS takes a preset for these alone.
        partner_preset=settings.partner_channel_preset if "ADVANCED" in settings.partner_channel_type else "",
        lease=settings.provision_lease_seconds,
        first_pause=settings.provision_first_pause_seconds,
    )


def _intake(settings: Settings) -> IntakeConfig:
    return IntakeConfig(
        interval=settings.heartbeat_interval_seconds,
        grace=settings.heartbeat_grace_seconds,
        batch_delay=settings.metrics_batch_delay_seconds,
        batch_rows=settings.metrics_batch_rows,
        queue_rows=settings.metrics_queue_rows,
    )


def _playback_rules(settings: Settings) -> PlaybackRules:
    return PlaybackRules(
        keys=tuple(load_es384(key) for key in settings.playback_private_keys or ()),
        starts_per_minute=settings.playback_starts_per_minute_per_address,
        token_lifetime=settings.playback_token_seconds,
        heartbeat_interval=settings.heartbeat_interval_seconds,
        window=settings.viewer_window_seconds,
        stats_interval=settings.live_stats_interval_seconds,
        address=settings.metrics_address,
        most_buckets=settings.analytics_max_buckets,
    )


def _account_rules(settings: Settings) -> AccountRules:
    return AccountRules(
        session_lifetime=settings.session_lifetime_days * 86_400,
        provision_wait=settings.provision_wait_seconds,
        sign_ins_per_hour_per_user=settings.sign_ins_per_hour_per_user,
        sign_ins_per_hour_per_address=settings.sign_ins_per_hour_per_address,
        sign_in_burst=settings.sign_in_burst,
        registrations_per_hour_per_address=settings.registrations_per_hour_per_address,
    )


def _channel_rules(settings: Settings) -> ChannelRules:
    return ChannelRules(
        key_wait=settings.stream_key_wait_seconds,
        commands_per_minute=settings.channel_commands_per_minute,
        metadata_per_second=settings.metadata_per_second,
        all_metadata_per_second=settings.all_metadata_per_second,
        directory_interval=settings.directory_interval_seconds,
    )


def _chat_rules(settings: Settings) -> ChatRules:
    return ChatRules(
        guests=settings.chat_guests,
        endpoint=settings.chat_endpoint,
        session_minutes=settings.chat_session_minutes,
        tokens_per_minute_per_user=settings.chat_tokens_per_minute_per_user,
        tokens_per_minute_per_address=settings.chat_tokens_per_minute_per_address,
        tokens_per_second=settings.chat_tokens_per_second,
        actions_per_minute_per_user=settings.chat_actions_per_minute_per_user,
        actions_per_second=settings.chat_actions_per_second,
    )


def _stage_rules(settings: Settings) -> StageRules:
    return StageRules(
        token_minutes=settings.stage_token_minutes,
        publishers=settings.stage_publishers,
        guests=settings.stage_guests,
        tokens_per_hour_per_user=settings.stage_tokens_per_hour_per_user,
        tokens_per_hour_per_address=settings.stage_tokens_per_hour_per_address,
        invitations_per_hour=settings.stage_invitations_per_hour,
        join_requests_per_hour=settings.stage_join_requests_per_hour,
    )


def _stage_signer(settings: Settings) -> Signer | None:
    key, arn = settings.stage_private_key, settings.stage_public_key_arn
    return Signer(key, arn) if key is not None and arn is not None else None
