"""Tags of any resource; the same three operations for all services (facts b.1)."""

from ivs.emulator.errors import constraint, not_found
from ivs.emulator.identity import kind_of
from ivs.emulator.store import Doc
from ivs.emulator.world import Call, World

TAGS_PER_RESOURCE = 50
TAGGABLE = frozenset(
    {
        "channel",
        "stream-key",
        "recording-configuration",
        "playback-key",
        "room",
        "logging-configuration",
        "stage",
        "public-key",
    }
)


def list_tags_for_resource(world: World, call: Call) -> Doc:
    """ListTagsForResource."""
    return {"tags": _tagged(world, call)["tags"]}


def tag_resource(world: World, call: Call) -> Doc:
    """TagResource: adds tags and overwrites those with the same key."""
    check_tags(call.params["tags"])
    doc = _tagged(world, call)
    doc["tags"] = {**doc["tags"], **call.params["tags"]}
    if len(doc["tags"]) > TAGS_PER_RESOURCE:
        raise constraint("tags", f"A resource must have at most {TAGS_PER_RESOURCE}, old and new together")
    world.save(kind_of(doc["arn"]), doc)
    return {}


def untag_resource(world: World, call: Call) -> Doc:
    """UntagResource: removes the tags with these keys."""
    doc = _tagged(world, call)
    doc["tags"] = {key: value for key, value in doc["tags"].items() if key not in call.params["tagKeys"]}
    world.save(kind_of(doc["arn"]), doc)
    return {}


def check_tags(tags: dict[str, str]) -> None:
    """AWS keeps the prefix `aws:` for itself.

    Raises:
        AwsError: ValidationException.
    """
    if any(key.lower().startswith("aws:") for key in tags):
        raise constraint("tags", "Keys must not start with aws:")


def _tagged(world: World, call: Call) -> Doc:
    arn = call.params["resourceArn"]
    if kind_of(arn) not in TAGGABLE:
        raise not_found(arn)
    return world.find(call, kind_of(arn), arn)


OPERATIONS = {
    "ListTagsForResource": list_tags_for_resource,
    "TagResource": tag_resource,
    "UntagResource": untag_resource,
}
