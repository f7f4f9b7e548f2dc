"""Imported public keys: playback key pairs of Amazon IVS, public keys of IVS Real-Time (facts d.1, d.2)."""

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import MD5, Hash
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from ivs.emulator.errors import conflict, constraint
from ivs.emulator.paging import page
from ivs.emulator.store import Doc, pick, public
from ivs.emulator.world import Call, World

PLAYBACK, PUBLIC = "playback-key", "public-key"
SUMMARY = ("arn", "name", "tags")


def import_playback_key_pair(world: World, call: Call) -> Doc:
    """ImportPlaybackKeyPair: a PEM public key on P-384; its material is not answered again."""
    return {"keyPair": public(_import(world, call, PLAYBACK, "_material"))}


def get_playback_key_pair(world: World, call: Call) -> Doc:
    """GetPlaybackKeyPair."""
    return {"keyPair": public(world.find(call, PLAYBACK, call.params["arn"]))}


def list_playback_key_pairs(world: World, call: Call) -> Doc:
    """ListPlaybackKeyPairs."""
    return page(world, call, "keyPairs", world.store.rows(PLAYBACK, region=call.region), _summary)


def delete_playback_key_pair(world: World, call: Call) -> Doc:
    """DeletePlaybackKeyPair."""
    world.store.delete(PLAYBACK, world.find(call, PLAYBACK, call.params["arn"])["arn"])
    return {}


def import_public_key(world: World, call: Call) -> Doc:
    """ImportPublicKey: a PEM public key on P-384, for stage tokens that the application signs."""
    return {"publicKey": public(_import(world, call, PUBLIC, "publicKeyMaterial"))}


def get_public_key(world: World, call: Call) -> Doc:
    """GetPublicKey."""
    return {"publicKey": public(world.find(call, PUBLIC, call.params["arn"]))}


def list_public_keys(world: World, call: Call) -> Doc:
    """ListPublicKeys."""
    return page(world, call, "publicKeys", world.store.rows(PUBLIC, region=call.region), _summary, size=50)


def delete_public_key(world: World, call: Call) -> Doc:
    """DeletePublicKey: ends the validity of every token signed with its private half."""
    world.store.delete(PUBLIC, world.find(call, PUBLIC, call.params["arn"])["arn"])
    return {}


def _import(world: World, call: Call, kind: str, member: str) -> Doc:
    fingerprint = _fingerprint(call.params["publicKeyMaterial"])
    for other in world.store.all(kind, region=call.region):
        if other["fingerprint"] == fingerprint:
            raise conflict("The same public key was imported before", other["arn"])
    body = {
        "name": call.params.get("name", ""),
        "fingerprint": fingerprint,
        member: call.params["publicKeyMaterial"],
    }
    return world.create(call, "ivs", kind, body)


def _fingerprint(material: str) -> str:
    try:
        key = load_pem_public_key(material.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise constraint("publicKeyMaterial", "Member must be a public key in PEM format") from error
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP384R1):
        raise constraint("publicKeyMaterial", "Member must be an elliptic curve key on P-384")
    digest = Hash(MD5())  # noqa: S303  # the form of AWS's fingerprints; nothing rests on its strength
    digest.update(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    return ":".join(f"{byte:02x}" for byte in digest.finalize())


def _summary(doc: Doc) -> Doc:
    return pick(doc, *SUMMARY)


PLAYBACK_OPERATIONS = {
    "ImportPlaybackKeyPair": import_playback_key_pair,
    "GetPlaybackKeyPair": get_playback_key_pair,
    "ListPlaybackKeyPairs": list_playback_key_pairs,
    "DeletePlaybackKeyPair": delete_playback_key_pair,
}
PUBLIC_KEY_OPERATIONS = {
    "ImportPublicKey": import_public_key,
    "GetPublicKey": get_public_key,
    "ListPublicKeys": list_public_keys,
    "DeletePublicKey": delete_public_key,
}
