"""The BatchGet operations of Amazon IVS."""

from ivs.emulator.errors import AwsError
from ivs.emulator.store import Doc, public
from ivs.emulator.world import Call, World


def batch(world: World, call: Call, kind: str, member: str) -> Doc:
    """The resources with the ARNs in `arns` under the name `member`, and `errors` for the others."""
    found, errors = [], []
    for arn in call.params["arns"]:
        try:
            found.append(public(world.find(call, kind, arn)))
        except AwsError as error:
            errors.append({"arn": arn, "code": error.code, "message": error.message})
    return {member: found, "errors": errors}
