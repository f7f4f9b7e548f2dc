"""Which prefixes are one recording of a channel's."""

import pytest

from ivs.recordings import belongs

ARN = "arn:aws:ivs:us-east-1:123456789012:channel/AbCdEf1H2j3K"
OWN = "ivs/v1/123456789012/AbCdEf1H2j3K/2020/6/23/20/12/1G9uLKLW9BnP"


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        (OWN, True),
        (f"kept/{OWN}", True),
        # A whole minute, or all of a channel.
        (OWN.rpartition("/")[0], False),
        ("ivs/v1/123456789012/AbCdEf1H2j3K", False),
        ("", False),
        (OWN.replace("AbCdEf1H2j3K", "AbCdEf1H2j3KL"), False),
        (OWN.replace("1G9uLKLW9BnP", ""), False),
        (f"{OWN}/..", False),
        # The channel's id, but as the recording's.
        ("ivs/v1/123456789012/Other/2020/6/23/20/12/AbCdEf1H2j3K", False),
    ],
)
def test_a_prefix_is_one_recording_of_the_channel(prefix: str, expected: bool) -> None:
    assert belongs(prefix, ARN) is expected


def test_without_a_channel_nothing_belongs() -> None:
    assert not belongs(OWN, "")
