"""Joining a stage, and being put off it."""

from datetime import datetime
from typing import Annotated

import strawberry
from strawberry import UNSET

from resolvers import stage_exits, stage_tokens, stages
from resolvers.errors import Refused
from schema.base import Info, parse_id, secret
from schema.enums import StageCapability, StageRole
from schema.errors import (
    AmazonUnavailable,
    NotFound,
    NotInvited,
    NotLive,
    NotReady,
    TextInvalid,
    TooManyAttempts,
    members,
)
from schema.stage import Stage, capabilities

StageTokenCreateError = Annotated[
    NotFound | NotReady | NotLive | NotInvited | TooManyAttempts | AmazonUnavailable,
    strawberry.union("StageTokenCreateError", description="Why there is no token for the stage."),
]
StageParticipantDisconnectError = Annotated[
    NotFound | TextInvalid | NotReady | TooManyAttempts | AmazonUnavailable,
    strawberry.union("StageParticipantDisconnectError", description="Why nobody was put off the stage."),
]

_NULL = "null if there are errors."


@strawberry.input(description="Stage to join, and as what.")
class StageTokenCreateInput:
    stage_id: strawberry.ID = strawberry.field(description="Id of the stage.")
    role: StageRole = strawberry.field(description="HOST to publish, AUDIENCE to watch.")


@strawberry.type(description="Outcome of asking for a token: one with what it allows, or errors.")
class StageTokenCreatePayload:
    stage: Stage | None = strawberry.field(default=None, description=f"Stage to join; {_NULL}")
    token: str | None = secret(
        default=None, description=f"Secret with which the viewer's client joins; shown to nobody else; {_NULL}"
    )
    participant_id: str | None = strawberry.field(
        default=None, description=f"Id that the viewer will have on Amazon IVS Real-Time; {_NULL}"
    )
    capabilities: list[StageCapability] | None = strawberry.field(
        default=None, description=f"What the token allows; {_NULL}"
    )
    expires_at: datetime | None = strawberry.field(
        default=None, description=f"When the token can no longer be used to join; {_NULL}"
    )
    errors: list[StageTokenCreateError] = strawberry.field(default_factory=list, description="What was wrong.")


@strawberry.input(one_of=True, description="Ways to say who is meant: exactly one.")
class StageParticipantBy:
    participant_id: strawberry.Maybe[str] = strawberry.field(description="One participant, by the id on Amazon.")
    user_id: strawberry.Maybe[strawberry.ID] = strawberry.field(description="All that one user is on the stage.")


@strawberry.input(description="Who is to be put off which stage.")
class StageParticipantDisconnectInput:
    stage_id: strawberry.ID = strawberry.field(description="Id of the stage.")
    participant: StageParticipantBy = strawberry.field(description="Who is put off.")
    reason: str | None = strawberry.field(
        default=UNSET, description="Text for the participant, at most 128 characters."
    )


@strawberry.type(description="Outcome of putting somebody off a stage: the stage, or errors.")
class StageParticipantDisconnectPayload:
    stage: Stage | None = strawberry.field(default=None, description=f"The stage; {_NULL}")
    errors: list[StageParticipantDisconnectError] = strawberry.field(
        default_factory=list, description="All that was wrong."
    )


@strawberry.type(description="Mutations of stages.")
class StageMutations:
    """Mutations of stages."""

    @strawberry.mutation(
        description="Get a token to join a stage: as HOST for its owner and for who is invited, as AUDIENCE for "
        "everybody signed in and, while the stage is live and the operators allow it, for guests."
    )
    async def stage_token_create(
        self, info: Info, input: Annotated[StageTokenCreateInput, strawberry.argument(description="What is wanted.")]
    ) -> StageTokenCreatePayload:
        _, key = parse_id(input.stage_id, argument="input.stageId", expected="Stage")
        try:
            admitted = await stage_tokens.create(info.context, key, host=input.role is StageRole.HOST)
        except Refused as refused:
            return StageTokenCreatePayload(errors=members(refused))
        info.context.renew()
        return StageTokenCreatePayload(
            stage=await info.context.reads.row(stages.BY_ID, key),
            token=admitted.ticket.token,
            participant_id=admitted.ticket.participant_id,
            capabilities=capabilities(may_publish=admitted.may_publish),
            expires_at=admitted.ticket.expires_at,
        )

    @strawberry.mutation(
        description="Put a participant, or all of a user's, off the viewer's stage and take the invitation back. Who "
        "comes back with a token that has not expired is put off again within seconds. May be repeated; who is gone "
        "already is no error. The stage's owner only."
    )
    async def stage_participant_disconnect(
        self,
        info: Info,
        input: Annotated[StageParticipantDisconnectInput, strawberry.argument(description="Who, and why.")],
    ) -> StageParticipantDisconnectPayload:
        _, key = parse_id(input.stage_id, argument="input.stageId", expected="Stage")
        by, user_id = input.participant, None
        if by.user_id is not None:
            _, user_id = parse_id(by.user_id.value, argument="input.participant.userId", expected="User")
        try:
            await stage_exits.put_out(
                info.context,
                key,
                participant_id=by.participant_id.value if by.participant_id is not None else None,
                user_id=user_id,
                reason=input.reason or "",
            )
        except Refused as refused:
            return StageParticipantDisconnectPayload(errors=members(refused))
        info.context.renew()
        return StageParticipantDisconnectPayload(stage=await info.context.reads.row(stages.BY_ID, key))
