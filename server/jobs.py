"""What a worker does, and how often."""

import math
from collections.abc import Iterator

from ivs.chat_logs import ChatLog
from resolvers.context import Services
from server.settings import Settings
from subscriptions.bans import Bans
from subscriptions.chat_archive import Archivist, ChatArchiveConfig
from subscriptions.housekeeping import Housekeeping
from subscriptions.ingest import Ingest
from subscriptions.reconcile.recordings import RecordingReconciler, RecordingReconcilerConfig
from subscriptions.reconcile.rounds import ReconcilerConfig
from subscriptions.reconcile.stages import StageReconciler
from subscriptions.reconcile.streams import StreamReconciler
from subscriptions.recordings import RecordingJobs, RecordingsConfig
from subscriptions.retention import Retention, RetentionConfig
from subscriptions.rollups import Rollups, RollupsConfig
from subscriptions.sqs import QueueConfig, QueueConsumer
from subscriptions.stage_guard import StageGuard
from subscriptions.viewers import Viewers, ViewersConfig
from subscriptions.worker import Job, Worker

_HOUSEKEEPING_SECONDS = 600.0
_PARTITIONS_SECONDS = 3600.0
_LOOKS_PER_READING = 5
# Amazon broadcasts nothing for longer than two days.
_LONGEST_STREAM_DAYS = 3
_DAY_SECONDS = 86_400


def create_worker(
    settings: Settings, services: Services, ingest: Ingest, events_queue_url: str, chat_log: ChatLog | None
) -> Worker:
    """Return the worker with all its jobs; without chat logs there is nothing to archive."""
    queue = QueueConfig(
        events_queue_url,
        wait_seconds=settings.events_wait_seconds,
        visibility_timeout=settings.events_visibility_seconds,
    )
    viewers = Viewers(
        services.publisher,
        ViewersConfig(
            window=settings.viewer_window_seconds,
            interval=settings.viewer_count_interval_seconds,
            retention_days=_retention_days(settings),
        ),
    )
    rollups = Rollups(
        services.sessions, RollupsConfig(services.playback.rhythm, settings.metrics_rollup_retention_days)
    )
    bans = Bans(services.publisher, services.aws, calls_per_second=settings.chat_actions_per_second)
    recordings = RecordingsConfig(
        lease=settings.recordings_lease_seconds,
        first_pause=settings.recordings_first_pause_seconds,
        max_looks=settings.recordings_max_attempts,
        lost_pause=settings.recordings_lost_seconds,
    )
    return Worker(
        [QueueConsumer(services.aws, ingest, queue) for _ in range(settings.events_consumers)],
        [
            Job("provisioning", settings.provision_interval_seconds, services.provisioner.run_due),
            Job("removal", settings.provision_interval_seconds, services.remover.run_due),
            Job("chores", settings.provision_interval_seconds, services.chores.run_due),
            Job(
                "recordings",
                settings.recordings_interval_seconds,
                RecordingJobs(services.publisher, services.aws, recordings).run_due,
            ),
            Job("chat-bans", settings.provision_interval_seconds, bans.run_due),
            Job("stage-guard", settings.stage_guard_seconds, StageGuard(services.publisher, services.aws).sweep),
            Job("partners", _HOUSEKEEPING_SECONDS, services.chores.sweep),
            Job("viewers", settings.viewer_count_interval_seconds, viewers.count_viewers),
            Job("partitions", _PARTITIONS_SECONDS, viewers.keep_partitions),
            Job("rollups", settings.metrics_rollup_seconds, rollups.roll_up),
            Job("old-rollups", _PARTITIONS_SECONDS, rollups.forget),
            Job("housekeeping", _HOUSEKEEPING_SECONDS, Housekeeping(services.publisher).tidy),
            Job("retention", _HOUSEKEEPING_SECONDS, _retention(settings, services).run_due),
            *_reconciliation(settings, services, ingest),
            *([_chat_archive(settings, services, chat_log)] if chat_log is not None else []),
        ],
    )


def _retention_days(settings: Settings) -> int:
    # A late heartbeat may be as old as its viewer token, and its minute have heartbeats of a viewing that is older by
    # another one: to compute that minute anew, all must still be there.
    return max(settings.metrics_retention_days, 1 + math.ceil(2 * settings.viewer_token_seconds / _DAY_SECONDS))


def _reconciliation(settings: Settings, services: Services, ingest: Ingest) -> Iterator[Job]:
    for name, interval, reconciler in (
        ("streams", settings.reconcile_seconds, StreamReconciler),
        ("stages", settings.reconcile_stages_seconds, StageReconciler),
    ):
        if interval:
            config = ReconcilerConfig(interval, settings.reconcile_grace_seconds)
            compare = reconciler(services.publisher, services.aws, ingest, config).compare
            yield Job(f"reconcile-{name}", interval, compare)
    if settings.reconcile_recordings_seconds:
        search = RecordingReconcilerConfig(
            settings.reconcile_recordings_seconds, settings.recordings_lost_seconds, settings.recordings_lost_looks
        )
        compare = RecordingReconciler(services.publisher, services.aws, ingest, search).compare
        yield Job("reconcile-recordings", search.interval, compare)


def _retention(settings: Settings, services: Services) -> Retention:
    config = RetentionConfig(
        events_days=settings.events_retention_days,
        chat_days=settings.chat_retention_days,
        # A log that is read so late may begin with the longest of streams.
        deletions_days=settings.chat_archive_give_up_days + _LONGEST_STREAM_DAYS,
        batch_rows=settings.retention_batch_rows,
    )
    return Retention(services.publisher, config)


def _chat_archive(settings: Settings, services: Services, chat_log: ChatLog) -> Job:
    config = ChatArchiveConfig(
        interval=settings.chat_archive_seconds,
        settle=settings.chat_archive_settle_seconds,
        overlap=settings.chat_archive_overlap_seconds,
        give_up_days=settings.chat_archive_give_up_days,
        page_records=settings.chat_archive_page_records,
        pages=settings.chat_archive_pages,
        reads_per_second=settings.chat_log_reads_per_second,
        lease=settings.chat_archive_lease_seconds,
    )
    archivist = Archivist(services.publisher, chat_log, config)
    return Job("chat-archive", settings.chat_archive_seconds / _LOOKS_PER_READING, archivist.run_due)
