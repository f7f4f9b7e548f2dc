"""Every setting: its name in the environment, its type, unit, default and meaning. Read once, by `app.py`."""

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, Final, Literal

from dotenv import dotenv_values
from dotenv.parser import Binding, parse_stream

from models import ChannelType
from server import parsers
from server.errors import CONFIGURATION, StartupError, reason

_SDK: Final = "AWS_"
CHANNEL_TYPES: Final = tuple(ChannelType)
CHANNEL_PRESETS: Final = ("HIGHER_BANDWIDTH_DELIVERY", "CONSTRAINED_BANDWIDTH_DELIVERY")


def _setting(
    default: Any, parse: parsers.Parser, meaning: str, *, unset: str | None = None, secret: bool = False
) -> Any:
    """Describe a setting; `unset` says what happens without it where the default is nothing."""
    metadata = {"parse": parse, "meaning": meaning, "unset": unset}
    return dataclasses.field(default=default, metadata=metadata, repr=not secret)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings. The name in the environment is the field's in upper case."""

    host: str = _setting("127.0.0.1", parsers.text, "Address to listen on.")
    port: int = _setting(8000, parsers.whole(0, 65535), "Port to listen on; 0 takes a free one.")
    data_dir: Path = _setting(Path(".data"), Path, "Folder of the embedded database, the emulator and generated keys.")
    log_level: str = _setting(
        "info", parsers.choice("debug", "info", "warning", "error"), "Least level that is logged."
    )
    workers: Literal["embedded", "external"] = _setting(
        "embedded",
        parsers.choice("embedded", "external"),
        "`embedded` runs the jobs inside `serve`; `external`: `worker` does.",
    )
    database_url: str | None = _setting(
        None, parsers.database, "PostgreSQL 15 or newer.", unset="a PostgreSQL of our own under DATA_DIR", secret=True
    )
    database_pool_size: int = _setting(20, parsers.whole(2, 500), "Connections per process.")
    database_statement_timeout_seconds: float = _setting(
        15.0, parsers.seconds(0.1, 3600), "Longest time, in seconds, that a statement may take."
    )
    bus_url: str | None = _setting(
        None,
        parsers.url("redis", "rediss", "postgresql", "postgres"),
        "Bus between processes.",
        unset="the database",
        secret=True,
    )
    bus_heartbeat_seconds: float = _setting(
        2.0, parsers.seconds(0.05, 60), "Seconds between probes of the bus; one that is not heard makes it reconnect."
    )
    secret_key: tuple[str, ...] | None = _setting(
        None,
        parsers.secret_keys,
        "Keys, separated by commas, under which stream keys are encrypted and viewer tokens signed: the first encrypts "
        "and signs, all decrypt and verify.",
        unset="generated once and kept in DATA_DIR",
        secret=True,
    )
    deployment: str = _setting(
        "streamcat",
        parsers.deployment,
        "Name of this installation, in the names and tags of its AWS resources; 1 to 32 letters.",
    )
    events_queue_url: str | None = _setting(
        None,
        parsers.url("http", "https"),
        "SQS queue with the events of Amazon IVS.",
        unset="the emulator instead of AWS",
    )
    aws_region: str | None = _setting(None, parsers.region, "AWS region.", unset="AWS_DEFAULT_REGION, then us-east-1")
    aws_endpoint_url: str | None = _setting(
        None, parsers.url("http", "https"), "Endpoint of every AWS service.", unset="Amazon's own, or the emulator's"
    )
    recording_configuration_arn: str | None = _setting(
        None,
        parsers.recording_configuration,
        "Recording configuration of new channels.",
        unset="no recording on AWS; one of the emulator's there",
    )
    reconcile_recordings_seconds: float = _setting(
        10.0,
        parsers.seconds(0, 3600),
        "Seconds between looks on S3 for recordings of which events got lost; 0 for none.",
    )
    recordings_lost_seconds: float = _setting(
        60.0,
        parsers.seconds(0, 3600),
        "Seconds from a stream's end until its recording is looked for, if no event has told of its end; then twice as "
        "long, and so on.",
    )
    recordings_lost_looks: int = _setting(
        6, parsers.whole(1, 20), "Looks on S3 for the recording of a stream of which no event has told one."
    )
    recordings_cdn_url: str | None = _setting(
        None,
        parsers.url("http", "https"),
        "Where the bucket of recordings is published, as in https://d111111abcdef8.cloudfront.net.",
        unset="no playback URLs on AWS; the emulator's own bucket there",
    )
    recordings_interval_seconds: float = _setting(
        2.0, parsers.seconds(0.05, 300), "Seconds between a worker's looks for recordings to read or to delete on S3."
    )
    recordings_lease_seconds: float = _setting(
        60.0, parsers.seconds(0.5, 3600), "Seconds after which another worker takes up a recording whose worker died."
    )
    recordings_first_pause_seconds: float = _setting(
        2.0,
        parsers.seconds(0.01, 300),
        "Seconds from S3's first failure with a recording to the next try; doubled at each, to 600.",
    )
    recordings_max_attempts: int = _setting(
        12, parsers.whole(1, 100), "Looks for a recording's metadata on S3 until it stays without a playback URL."
    )
    stage_private_key: str | None = _setting(
        None,
        parsers.private_key,
        "Private key on P-384, in PEM format, that signs the tokens of stages; line breaks may be written as `\\n`.",
        unset="Amazon makes each token, 50 per second",
        secret=True,
    )
    stage_public_key_arn: str | None = _setting(
        None, parsers.text, "ARN of its public key, imported into IVS Real-Time.", unset="as for STAGE_PRIVATE_KEY"
    )
    stage_token_minutes: int = _setting(
        720, parsers.whole(1, 20_160), "Minutes until a token for a stage, and so an invitation, expires."
    )
    stage_publishers: int = _setting(
        12, parsers.whole(1, 12), "Most publishers of a stage: its owner and those with an open invitation."
    )
    stage_guests: bool = _setting(True, parsers.flag, "Whether who is not signed in may watch stages that are live.")
    stage_tokens_per_hour_per_user: int = _setting(
        120, parsers.whole(1, 1_000_000), "Tokens for stages per hour for one user."
    )
    stage_tokens_per_hour_per_address: int = _setting(
        600, parsers.whole(1, 1_000_000), "Tokens for stages per hour for guests of one address."
    )
    stage_invitations_per_hour: int = _setting(
        120, parsers.whole(1, 1_000_000), "Invitations to a stage per hour, accepted requests included."
    )
    stage_join_requests_per_hour: int = _setting(
        30, parsers.whole(1, 1_000_000), "Requests to join stages per hour of one user."
    )
    stage_guard_seconds: float = _setting(
        2.0, parsers.seconds(0.05, 60), "Seconds between looks for participants who came back after they were put out."
    )
    aws_connect_timeout_seconds: float = _setting(
        2.0, parsers.seconds(0.05, 60), "Seconds to wait for a connection to AWS."
    )
    aws_read_timeout_seconds: float = _setting(5.0, parsers.seconds(0.05, 60), "Seconds to wait for an answer of AWS.")
    aws_retry_mode: Literal["standard", "adaptive"] = _setting(
        "standard", parsers.choice("standard", "adaptive"), "How the SDK repeats calls that are safe to repeat."
    )
    aws_max_attempts: int = _setting(
        3, parsers.whole(1, 10), "Attempts per safe call. Creations are never repeated by the SDK."
    )
    aws_max_pool_connections: int = _setting(20, parsers.whole(1, 500), "Connections per AWS service and process.")
    aws_calls_per_second: float = _setting(
        5.0, parsers.seconds(0.1, 100), "Calls per second and operation of the control plane, over all processes."
    )
    events_consumers: int = _setting(4, parsers.whole(1, 32), "Concurrent consumers of the queue per worker.")
    events_batch_rows: int = _setting(
        100, parsers.whole(10, 1000), "Events, of many batches and doors, that one commit holds at most."
    )
    events_wait_seconds: int = _setting(
        20, parsers.whole(0, 20), "Seconds that one poll of the queue waits for events."
    )
    events_visibility_seconds: int = _setting(
        60,
        parsers.whole(2, 43200),
        "Seconds that an event in work is hidden from other workers; prolonged while work lasts.",
    )
    events_https_secrets: tuple[str, ...] | None = _setting(
        None,
        parsers.secret_keys,
        "Secrets, separated by commas, of which EventBridge's API destination sends one in `X-Events-Secret` with each "
        "event to `/events`.",
        unset="no events over HTTPS",
        secret=True,
    )
    events_https_max_bytes: int = _setting(
        262_144, parsers.whole(1_000, 10_000_000), "Largest event over HTTPS in bytes."
    )
    events_https_seconds: float = _setting(
        4.0,
        parsers.seconds(0.1, 60),
        "Seconds until an event over HTTPS is given up and Amazon asked to deliver it again; Amazon waits for 5.",
    )
    reconcile_seconds: float = _setting(
        10.0,
        parsers.seconds(0, 3600),
        "Seconds between comparisons of what is live with Amazon's own list, for events that never came; 0 for none.",
    )
    reconcile_stages_seconds: float = _setting(
        30.0,
        parsers.seconds(0, 3600),
        "Seconds between comparisons of who is on stage with Amazon's lists, for events that never came; 0 for none.",
    )
    reconcile_grace_seconds: float = _setting(
        30.0,
        parsers.seconds(0, 3600),
        "Seconds for which what has just happened may be missing in those lists before Amazon is asked about it.",
    )
    provision_wait_seconds: float = _setting(
        2.0, parsers.seconds(0, 30), "Seconds that a registration waits for AWS before it answers PENDING."
    )
    provision_lease_seconds: float = _setting(
        60.0,
        parsers.seconds(0.5, 3600),
        "Seconds after which another worker takes up a creation or removal whose worker died.",
    )
    provision_interval_seconds: float = _setting(
        1.0,
        parsers.seconds(0.05, 60),
        "Seconds between a worker's looks for resources to create or to remove, and bans to enforce.",
    )
    provision_first_pause_seconds: float = _setting(
        1.0,
        parsers.seconds(0.01, 300),
        "Seconds from a creation's or removal's first failure to its next try; doubled at each, to 300.",
    )
    provision_settle_seconds: float = _setting(
        60.0,
        parsers.seconds(0.05, 3600),
        "Seconds after a creation that took several tries until a last look for what a given-up try made after all.",
    )
    provision_max_attempts: int = _setting(
        12, parsers.whole(1, 100), "Tries per resource until it is FAILED and waits for its owner to try again."
    )
    channel_type: str = _setting("STANDARD", parsers.capitals(*CHANNEL_TYPES), "Type of new channels on Amazon IVS.")
    stream_key_wait_seconds: float = _setting(
        5.0, parsers.seconds(0, 30), "Seconds that `streamKeyReset` waits for AWS before it answers AmazonUnavailable."
    )
    channel_commands_per_minute: int = _setting(
        20,
        parsers.whole(1, 10_000),
        "Stream stops, resets of the stream key and changes of who may watch, per minute and channel.",
    )
    metadata_per_second: int = _setting(
        5, parsers.whole(1, 1_000), "Pieces of timed metadata per second and channel; AWS accepts 5."
    )
    all_metadata_per_second: int = _setting(
        155, parsers.whole(1, 100_000), "Pieces of timed metadata per second of all channels; AWS accepts 155."
    )
    directory_interval_seconds: float = _setting(
        1.0, parsers.seconds(0, 60), "Least seconds between two answers of one `directoryChanged`."
    )
    partner_followers: int = _setting(
        100, parsers.whole(1, 1_000_000_000), "Followers that make a channel a partner, which it stays."
    )
    partner_channel_type: str = _setting(
        "ADVANCED_HD", parsers.capitals(*CHANNEL_TYPES), "Type of partners' channels on Amazon IVS."
    )
    partner_channel_preset: str = _setting(
        "HIGHER_BANDWIDTH_DELIVERY",
        parsers.capitals(*CHANNEL_PRESETS),
        "Transcode preset of partners' channels; without meaning unless their type is an advanced one.",
    )
    session_lifetime_days: int = _setting(30, parsers.whole(1, 365), "Days until a session ends.")
    password_memory_kib: int = _setting(19456, parsers.whole(8, 1_048_576), "Memory of one Argon2id hash, in KiB.")
    password_passes: int = _setting(2, parsers.whole(1, 20), "Passes of one Argon2id hash.")
    sign_in_burst: int = _setting(5, parsers.whole(1, 1000), "Sign-in attempts that may come at once.")
    sign_ins_per_hour_per_user: int = _setting(60, parsers.whole(1, 100_000), "Sign-in attempts per hour for one name.")
    sign_ins_per_hour_per_address: int = _setting(
        600, parsers.whole(1, 1_000_000), "Sign-in attempts per hour from one address."
    )
    registrations_per_hour_per_address: int = _setting(
        20, parsers.whole(1, 1_000_000), "Registrations per hour from one address."
    )
    playback_private_keys: tuple[str, ...] | None = _setting(
        None,
        parsers.playback_keys,
        "Private keys for playback tokens of private channels, P-384 in PEM, one or two: the first signs. Amazon IVS "
        "has their public halves.",
        unset="channels cannot be private",
        secret=True,
    )
    playback_token_seconds: int = _setting(
        300, parsers.whole(10, 600), "Seconds within which a player has to begin with its playback token."
    )
    playback_starts_per_minute_per_address: int = _setting(
        300, parsers.whole(1, 1_000_000), "Players per minute that one address may begin to watch with."
    )
    viewer_token_seconds: int = _setting(
        86_400, parsers.whole(60, 604_800), "Seconds for which a player may send heartbeats with one viewer token."
    )
    heartbeat_interval_seconds: float = _setting(
        30.0,
        parsers.seconds(0.05, 300),
        "Seconds from one heartbeat of a player to the next; a fifth less is accepted.",
    )
    heartbeat_grace_seconds: float = _setting(
        120.0, parsers.seconds(0, 86_400), "Seconds for which a stream that is over still takes late heartbeats."
    )
    viewer_window_seconds: float = _setting(
        45.0, parsers.seconds(0.1, 600), "Seconds for which a heartbeat makes its player a current viewer."
    )
    viewer_count_interval_seconds: float = _setting(
        1.0, parsers.seconds(0.05, 60), "Seconds between two counts of all live streams' viewers."
    )
    live_stats_interval_seconds: float = _setting(
        5.0, parsers.seconds(0.05, 60), "Seconds between two frames of a streamer's live statistics."
    )
    metrics_address: Literal["full", "truncated", "none"] = _setting(
        "truncated",
        parsers.choice("full", "truncated", "none"),
        "How much of a viewer's address is kept: `truncated` is its /24, or the /48 of IPv6.",
    )
    user_agents_remembered: int = _setting(
        1000,
        parsers.whole(0, 1_000_000),
        "User agents of players whose browser and system a process remembers, the last ones.",
    )
    metrics_retention_days: int = _setting(
        90,
        parsers.whole(1, 3650),
        "Days for which heartbeats are kept, at least; never less than twice as long as a viewer token holds.",
    )
    metrics_rollup_seconds: float = _setting(
        10.0, parsers.seconds(0.05, 3600), "Seconds between a worker's looks for minutes to roll up."
    )
    metrics_rollup_retention_days: int = _setting(
        730,
        parsers.whole(1, 36_500),
        "Days after a stream's end for which its roll-ups, and so its analytics, are kept.",
    )
    metrics_batch_rows: int = _setting(
        5000, parsers.whole(1, 100_000), "Heartbeats, of many requests, that one commit holds at most."
    )
    metrics_batch_delay_seconds: float = _setting(
        0.005, parsers.seconds(0, 1), "Seconds for which the first heartbeat of a commit waits for others."
    )
    metrics_queue_rows: int = _setting(
        20_000, parsers.whole(20, 10_000_000), "Heartbeats of a process that may wait for their commit."
    )
    analytics_max_buckets: int = _setting(
        1500, parsers.whole(1, 100_000), "Buckets that an answer of analytics has at most."
    )
    chat_guests: Literal["write", "read", "none"] = _setting(
        "read",
        parsers.choice("write", "read", "none"),
        "What guests may do in chat rooms; who is banned can come back as a guest.",
    )
    chat_session_minutes: int = _setting(
        60, parsers.whole(1, 180), "Minutes until a connection to a chat room needs a new token."
    )
    chat_tokens_per_minute_per_user: int = _setting(
        30, parsers.whole(1, 10_000), "Chat tokens per minute for one user."
    )
    chat_tokens_per_minute_per_address: int = _setting(
        120, parsers.whole(1, 100_000), "Chat tokens per minute for guests from one address."
    )
    chat_tokens_per_second: int = _setting(
        150, parsers.whole(1, 10_000), "Chat tokens per second, over all processes; Amazon grants an account 200."
    )
    chat_actions_per_minute_per_user: int = _setting(
        120, parsers.whole(1, 10_000), "Deletions, disconnections, bans and events per minute of one owner of a room."
    )
    chat_actions_per_second: int = _setting(
        80, parsers.whole(1, 10_000), "Each of these per second, over all processes; Amazon grants an account 100."
    )
    chat_endpoint: str | None = _setting(
        None, parsers.url("wss", "ws"), "Websocket address of chat.", unset="Amazon's own in the room's region"
    )
    chat_review_handler_arn: str | None = _setting(
        None, parsers.text, "Lambda function that reviews the messages of new chat rooms.", unset="no review"
    )
    chat_review_fallback: Literal["allow", "deny"] = _setting(
        "deny",
        parsers.choice("allow", "deny"),
        "What becomes of a message that the function does not answer for within 200 ms.",
    )
    chat_logging_configuration_arn: str | None = _setting(
        None, parsers.text, "Logging configuration of new chat rooms.", unset="no logs"
    )
    chat_archive_seconds: float = _setting(
        15.0,
        parsers.seconds(0.05, 3600),
        "Seconds between two readings of the chat log of a live stream; after its end, and when Amazon fails, doubled "
        "at each.",
    )
    chat_archive_settle_seconds: float = _setting(
        300.0,
        parsers.seconds(0, 86_400),
        "Seconds after a stream's end until its chat log is read for the last time, from beginning to end.",
    )
    chat_archive_overlap_seconds: float = _setting(
        60.0,
        parsers.seconds(0, 3600),
        "Seconds for which a message may be late in the log: each reading begins so long before the last one's end.",
    )
    chat_archive_page_records: int = _setting(
        1000, parsers.whole(1, 10_000), "Records of a chat log that are read, and written, at once."
    )
    chat_archive_pages: int = _setting(
        10, parsers.whole(1, 1000), "Pages of one chat log that are read until it is other logs' turn."
    )
    chat_archive_lease_seconds: float = _setting(
        60.0, parsers.seconds(0.5, 3600), "Seconds after which another worker takes up a chat log whose worker died."
    )
    chat_archive_give_up_days: int = _setting(
        7, parsers.whole(1, 365), "Days after a stream's end for which a chat log that Amazon refuses is tried again."
    )
    chat_log_reads_per_second: float = _setting(
        5.0, parsers.seconds(0.1, 1000), "Pages of chat logs per second, over all processes."
    )
    chat_retention_days: int | None = _setting(
        None, parsers.whole(1, 36_500), "Days for which archived messages are kept.", unset="as long as their room"
    )
    events_retention_days: int = _setting(
        90, parsers.whole(3, 36_500), "Days for which events are kept, and so shown in a stream's timeline."
    )
    retention_batch_rows: int = _setting(
        5000, parsers.whole(1, 100_000), "Rows that are deleted at once because of their age."
    )
    trusted_proxies: tuple[str, ...] = _setting(
        (),
        parsers.many(parsers.network),
        "Proxies whose X-Forwarded-For and X-Forwarded-Proto are believed.",
        unset="none",
    )
    allowed_origins: tuple[str, ...] = _setting(
        (), parsers.many(parsers.origin), "Other sites whose pages may use the API with a browser.", unset="none"
    )
    max_request_bytes: int = _setting(100_000, parsers.whole(1_000, 10_000_000), "Largest HTTP body, in bytes.")
    max_document_tokens: int = _setting(2000, parsers.whole(10, 100_000), "Largest number of tokens in a document.")
    max_document_depth: int = _setting(12, parsers.whole(1, 100), "Deepest nesting of fields.")
    max_document_fields: int = _setting(500, parsers.whole(1, 100_000), "Largest number of fields, fragments spread.")
    max_document_aliases: int = _setting(30, parsers.whole(0, 10_000), "Largest number of aliases, fragments spread.")
    document_cache_characters: int = _setting(
        500_000, parsers.whole(0, 100_000_000), "Characters of all documents that are kept parsed and validated."
    )
    sockets: int = _setting(
        20_000,
        parsers.whole(1, 1_000_000),
        "Websockets and event streams that one process serves at once; more are answered with 503.",
    )
    sockets_per_address: int = _setting(
        1_000,
        parsers.whole(1, 1_000_000),
        "Websockets and event streams that one address, as far as TRUSTED_PROXIES tell, may have open on one process; "
        "more are answered with 429.",
    )
    socket_messages_per_second: int = _setting(
        100,
        parsers.whole(1, 100_000),
        "Messages per second that a client may send on one websocket, twice as many at once; more close it.",
    )
    socket_compression: bool = _setting(
        False,
        parsers.flag,
        "Whether clients that ask for it get compressed websocket messages (permessage-deflate): less traffic, but a "
        "window of memory for each of them, and no payload can be encoded once for all.",
    )
    socket_max_message_bytes: int = _setting(
        100_000, parsers.whole(1_000, 10_000_000), "Largest websocket message, in bytes."
    )
    socket_max_operations: int = _setting(
        100, parsers.whole(1, 10_000), "Operations that may run on one websocket at once."
    )
    socket_init_timeout_seconds: float = _setting(
        10.0, parsers.seconds(0.05, 600), "Seconds within which a websocket must send connection_init."
    )
    socket_ping_seconds: float = _setting(
        20.0,
        parsers.seconds(0.1, 600),
        "Seconds between pings on a websocket, one that is not answered as long closes it; and between comments in an "
        "event stream.",
    )
    socket_send_timeout_seconds: float = _setting(
        10.0,
        parsers.seconds(0.1, 600),
        "Seconds a client may take to accept a message before its websocket or event stream is closed.",
    )
    shutdown_seconds: float = _setting(
        10.0, parsers.seconds(0.1, 600), "Seconds that work in hand has to end at shutdown."
    )
    graphiql: bool = _setting(True, parsers.flag, "Whether browsers get GraphiQL at /graphql.")

    @classmethod
    def from_env(cls, environ: Mapping[str, str], dotenv: Path | None = None) -> "Settings":
        """Return the settings of the environment, over those of a `.env` file.

        Raises:
            StartupError: A value is not acceptable, or `.env` has a name that is no setting; it names the variable.
        """
        fields = {field.name.upper(): field for field in dataclasses.fields(cls)}
        from_file = _read(dotenv, fields)
        values: dict[str, Any] = {}
        for name, field in fields.items():
            text = environ.get(name, from_file.get(name))
            if text is None or text == "":
                continue
            try:
                values[field.name] = field.metadata["parse"](text)
            except ValueError as error:
                # Its value is not shown: it may be a secret.
                raise StartupError(f"{name} is not acceptable: {error}.", CONFIGURATION) from error
        if ("stage_private_key" in values) is not ("stage_public_key_arn" in values):
            raise StartupError(
                "STAGE_PRIVATE_KEY and STAGE_PUBLIC_KEY_ARN belong together; set both or none.", CONFIGURATION
            )
        return cls(**values)


def sdk_variables(dotenv: Path) -> dict[str, str]:
    """Return what a `.env` file holds for the AWS SDK, which looks only into the environment: credentials and the like.

    Raises:
        StartupError: The file cannot be read.
    """
    settings = {field.name.upper() for field in dataclasses.fields(Settings)}
    return {
        name: value
        for name, value in _values(dotenv).items()
        if name.startswith(_SDK) and name not in settings and value
    }


def _values(dotenv: Path | None) -> dict[str, str]:
    if dotenv is None:
        return {}
    try:
        content = dotenv.read_text("utf-8-sig")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        why = reason(error) if isinstance(error, OSError) else "it is not UTF-8"
        raise StartupError(f"{dotenv.name} cannot be read: {why}.", CONFIGURATION) from error
    for line in parse_stream(StringIO(content)):
        # The line is not shown: it may hold a secret.
        if line.error or (line.key is not None and line.value is None):
            raise StartupError(f".env has, in line {_number(line)}, something other than NAME=value.", CONFIGURATION)
    return {name: value or "" for name, value in dotenv_values(stream=StringIO(content)).items()}


def _number(line: Binding) -> int:
    """The number of its first line that is not empty."""
    text = line.original.string
    return line.original.line + text[: len(text) - len(text.lstrip())].count("\n")


def _read(dotenv: Path | None, fields: Mapping[str, Any]) -> dict[str, str]:
    values = _values(dotenv)
    for name in values:
        if name not in fields and not name.startswith(_SDK):
            near = difflib.get_close_matches(name.upper(), fields, n=1)
            hint = f"; did you mean {near[0]}?" if near else "; `python -m app settings` lists all."
            raise StartupError(f".env sets {name}, which is no setting{hint}", CONFIGURATION)
    return values


def table() -> str:
    """Return all settings as a Markdown table, as the README shows them."""
    lines = ["| setting | default | meaning |", "| --- | --- | --- |"]
    for field in dataclasses.fields(Settings):
        default = field.metadata["unset"] or f"`{_shown(field.default)}`"
        lines.append(f"| `{field.name.upper()}` | {default} | {field.metadata['meaning']} |")
    return "\n".join(lines)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
