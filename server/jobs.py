"""What a worker does, and how often."""

from collections.abc import Iterator

from resolvers.context import Services
from server.settings import Settings
from subscriptions.bans import Bans
from subscriptions.housekeeping import Housekeeping
from subscriptions.ingest import Ingest
from subscriptions.reconcile.rounds import ReconcilerConfig
from subscriptions.reconcile.stages import StageReconciler
from subscriptions.reconcile.streams import StreamReconciler
from subscriptions.recordings import RecordingJobs, RecordingsConfig
from subscriptions.sqs import QueueConfig, QueueConsumer
from subscriptions.stage_guard import StageGuard
from subscriptions.viewers import Viewers, ViewersConfig
from subscriptions.worker import Job, Worker

_HOUSEKEEPING_SECONDS = 600.0
_PARTITIONS_SECONDS = 3600.0


def create_worker(settings: Settings, services: Services, ingest: Ingest, events_queue_url: str) -> Worker:
    """Return the worker with all its jobs."""
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
            retention_days=settings.metrics_retention_days,
        ),
    )
    bans = Bans(services.publisher, services.aws, calls_per_second=settings.chat_actions_per_second)
    recordings = RecordingsConfig(
        lease=settings.recordings_lease_seconds,
        first_pause=settings.recordings_first_pause_seconds,
        max_looks=settings.recordings_max_attempts,
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
            Job("housekeeping", _HOUSEKEEPING_SECONDS, Housekeeping(services.publisher).tidy),
            *_reconciliation(settings, services, ingest),
        ],
    )


def _reconciliation(settings: Settings, services: Services, ingest: Ingest) -> Iterator[Job]:
    for name, interval, reconciler in (
        ("streams", settings.reconcile_seconds, StreamReconciler),
        ("stages", settings.reconcile_stages_seconds, StageReconciler),
    ):
        if interval:
            config = ReconcilerConfig(interval, settings.reconcile_grace_seconds)
            compare = reconciler(services.publisher, services.aws, ingest, config).compare
            yield Job(f"reconcile-{name}", interval, compare)
