"""Invitations to publish on a stage, and requests for one."""

from typing import Annotated

import strawberry

from resolvers import invitations, join_requests, stage_exits, stages
from resolvers.errors import Refused
from schema.base import Info, parse_id, typed
from schema.errors import (
    AmazonUnavailable,
    NotFound,
    NotReady,
    OwnStage,
    RequestAnswered,
    StageFull,
    TooManyAttempts,
    members,
)
from schema.stage import Stage, StageJoinRequest, StageToken

StageInviteError = Annotated[
    NotFound | OwnStage | NotReady | StageFull | TooManyAttempts | AmazonUnavailable,
    strawberry.union("StageInviteError", description="Why nobody was invited."),
]
StageInvitationDeclineError = Annotated[
    NotFound | AmazonUnavailable,
    strawberry.union("StageInvitationDeclineError", description="Why nothing was declined."),
]
StageJoinRequestError = Annotated[
    NotFound | OwnStage | NotReady | TooManyAttempts,
    strawberry.union("StageJoinRequestError", description="Why nothing was asked."),
]
StageJoinRequestAcceptError = Annotated[
    NotFound | NotReady | StageFull | TooManyAttempts | AmazonUnavailable,
    strawberry.union("StageJoinRequestAcceptError", description="Why the request was not accepted."),
]
StageJoinRequestRefuseError = Annotated[
    RequestAnswered, strawberry.union("StageJoinRequestRefuseError", description="Why the request was not refused.")
]

_NULL = "null if there are errors."
_WRONG = "What was wrong."


@strawberry.input(one_of=True, description="Ways to name a user: exactly one.")
class UserBy:
    id: strawberry.Maybe[strawberry.ID] = strawberry.field(description="The user's id.")
    username: strawberry.Maybe[str] = strawberry.field(description="The name, in any mix of upper and lower case.")


@strawberry.input(description="Whom to invite to which stage.")
class StageInviteInput:
    stage_id: strawberry.ID = strawberry.field(description="Id of the stage.")
    user: UserBy = strawberry.field(description="Who is invited.")


@strawberry.type(description="Outcome of inviting somebody: the invitation, or errors.")
class StageInvitePayload:
    invitation: StageToken | None = strawberry.field(default=None, description=f"The invitation; {_NULL}")
    errors: list[StageInviteError] = strawberry.field(default_factory=list, description=_WRONG)


@strawberry.input(description="Stage whose invitation is declined.")
class StageInvitationDeclineInput:
    stage_id: strawberry.ID = strawberry.field(description="Id of the stage.")


@strawberry.type(description="Outcome of declining an invitation: the stage, or errors.")
class StageInvitationDeclinePayload:
    stage: Stage | None = strawberry.field(default=None, description=f"The stage; {_NULL}")
    errors: list[StageInvitationDeclineError] = strawberry.field(default_factory=list, description=_WRONG)


@strawberry.input(description="Stage on which the viewer would like to be.")
class StageJoinRequestInput:
    stage_id: strawberry.ID = strawberry.field(description="Id of the stage.")


@strawberry.type(description="Outcome of asking to join: the request, or errors.")
class StageJoinRequestPayload:
    request: StageJoinRequest | None = strawberry.field(
        default=None, description=f"The request; ACCEPTED at once if the viewer is invited already; {_NULL}"
    )
    errors: list[StageJoinRequestError] = strawberry.field(default_factory=list, description=_WRONG)


@strawberry.input(description="Request that is accepted.")
class StageJoinRequestAcceptInput:
    request_id: strawberry.ID = strawberry.field(description="Id of the request.")


@strawberry.type(description="Outcome of accepting a request: it and the invitation, or errors.")
class StageJoinRequestAcceptPayload:
    request: StageJoinRequest | None = strawberry.field(default=None, description=f"The request; {_NULL}")
    invitation: StageToken | None = strawberry.field(default=None, description=f"The invitation; {_NULL}")
    errors: list[StageJoinRequestAcceptError] = strawberry.field(default_factory=list, description=_WRONG)


@strawberry.input(description="Request that is refused.")
class StageJoinRequestRefuseInput:
    request_id: strawberry.ID = strawberry.field(description="Id of the request.")


@strawberry.type(description="Outcome of refusing a request: it, or errors.")
class StageJoinRequestRefusePayload:
    request: StageJoinRequest | None = strawberry.field(default=None, description=f"The request; {_NULL}")
    errors: list[StageJoinRequestRefuseError] = strawberry.field(default_factory=list, description=_WRONG)


@strawberry.type(description="Mutations of invitations to stages.")
class InvitationMutations:
    """Mutations of invitations to stages."""

    @strawberry.mutation(
        description="Invite a user to publish on the viewer's stage. Who has an open invitation keeps it; one that "
        "has expired is renewed. The stage's owner only."
    )
    async def stage_invite(
        self, info: Info, input: Annotated[StageInviteInput, strawberry.argument(description="Whom, and where.")]
    ) -> StageInvitePayload:
        _, key = parse_id(input.stage_id, argument="input.stageId", expected="Stage")
        by, user_id = input.user, None
        if by.id is not None:
            _, user_id = parse_id(by.id.value, argument="input.user.id", expected="User")
        username = by.username.value if by.username is not None else ""
        try:
            invitation = await invitations.invite(info.context, key, user_id=user_id, username=username)
        except Refused as refused:
            return StageInvitePayload(errors=members(refused))
        info.context.renew()
        return StageInvitePayload(invitation=typed(StageToken, invitation))

    @strawberry.mutation(
        description="Give the viewer's invitation to a stage back, so that its place is free. May be repeated. "
        "Signed-in viewers only."
    )
    async def stage_invitation_decline(
        self, info: Info, input: Annotated[StageInvitationDeclineInput, strawberry.argument(description="Which one.")]
    ) -> StageInvitationDeclinePayload:
        _, key = parse_id(input.stage_id, argument="input.stageId", expected="Stage")
        try:
            await stage_exits.decline(info.context, key)
        except Refused as refused:
            return StageInvitationDeclinePayload(errors=members(refused))
        info.context.renew()
        return StageInvitationDeclinePayload(stage=await info.context.reads.row(stages.BY_ID, key))

    @strawberry.mutation(
        description="Ask the owner of a stage for an invitation. Asking again changes nothing while the request is "
        "open; who was refused may ask anew. Signed-in viewers only."
    )
    async def stage_join_request(
        self, info: Info, input: Annotated[StageJoinRequestInput, strawberry.argument(description="Which stage.")]
    ) -> StageJoinRequestPayload:
        _, key = parse_id(input.stage_id, argument="input.stageId", expected="Stage")
        try:
            request = await join_requests.ask(info.context, key)
        except Refused as refused:
            return StageJoinRequestPayload(errors=members(refused))
        info.context.renew()
        return StageJoinRequestPayload(request=typed(StageJoinRequest, request))

    @strawberry.mutation(
        description="Accept a request to join: invite who asked. May be repeated. The stage's owner only."
    )
    async def stage_join_request_accept(
        self, info: Info, input: Annotated[StageJoinRequestAcceptInput, strawberry.argument(description="Which one.")]
    ) -> StageJoinRequestAcceptPayload:
        _, key = parse_id(input.request_id, argument="input.requestId", expected="StageJoinRequest")
        try:
            request, invitation = await join_requests.accept(info.context, key)
        except Refused as refused:
            return StageJoinRequestAcceptPayload(errors=members(refused))
        info.context.renew()
        return StageJoinRequestAcceptPayload(
            request=typed(StageJoinRequest, request), invitation=typed(StageToken, invitation)
        )

    @strawberry.mutation(description="Refuse a request to join. May be repeated. The stage's owner only.")
    async def stage_join_request_refuse(
        self, info: Info, input: Annotated[StageJoinRequestRefuseInput, strawberry.argument(description="Which one.")]
    ) -> StageJoinRequestRefusePayload:
        _, key = parse_id(input.request_id, argument="input.requestId", expected="StageJoinRequest")
        try:
            request = await join_requests.refuse(info.context, key)
        except Refused as refused:
            return StageJoinRequestRefusePayload(errors=members(refused))
        info.context.renew()
        return StageJoinRequestRefusePayload(request=typed(StageJoinRequest, request))
