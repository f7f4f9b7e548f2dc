"""The lists of the plain schema, and their orders."""

import models
from bench.reads.loaders import Many, Order

STREAMS = Many(
    models.Stream.channel_id,
    Order((models.Stream.started_at, models.Stream.id), descending=True),
    models.Stream.started_at.is_not(None),
)
OF_RECORDING = Many(models.Stream.recording_id, Order((models.Stream.first_seen_at, models.Stream.id)))
OF_ROOM = Many(models.ChatMessage.chat_room_id, Order((models.ChatMessage.sent_at, models.ChatMessage.id)))
OF_STREAM = Many(models.ChatMessage.stream_id, OF_ROOM.order)
BANS = Many(models.ChatBan.chat_room_id, Order((models.ChatBan.id,), descending=True))
IN_CATEGORY = Many(models.Channel.category_id, Order((models.Channel.listed_at, models.Channel.id), descending=True))
PARTICIPANTS = Many(
    models.StageParticipant.stage_id,
    Order((models.StageParticipant.published_at, models.StageParticipant.id)),
    models.StageParticipant.on_stage,
)
LIVE = Order((models.Channel.live_since, models.Channel.id), descending=True)
RECORDED = Order((models.Recording.ended_at, models.Recording.id), descending=True)
INVITED = Order((models.StageToken.id,), descending=True)
ASKED = Order((models.StageJoinRequest.asked_at, models.StageJoinRequest.id), descending=True)
OCCURRED = Order((models.ReceivedEvent.occurred_at, models.ReceivedEvent.position))
HEARD = Order((models.Metric.sent_at, models.Metric.id), descending=True)
