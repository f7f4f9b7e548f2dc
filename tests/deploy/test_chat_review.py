"""The message review function: the answers that Amazon documents, what it sees through, and what it leaves alone."""

import json
import logging
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from deploy.chat_review import handler
from deploy.chat_review.handler import Reviewer, answer

LIST = Reviewer(["ass", "shit*", "*fuck*", "fick", "cock", "кот", "pute", "vulva"])
FOLDER = Path(handler.__file__).parent


def request(content: Any, **members: Any) -> dict[str, Any]:
    """A request as the guide shows it: IVS Chat user guide, "Chat Message Review Handler", request syntax."""
    return {
        "Content": content,
        "MessageId": "AYk6xKitV4On",
        "RoomArn": "arn:aws:ivschat:us-west-2:123456789012:room/gSAmPLeRooM1",
        "Attributes": {},
        "Sender": {"UserId": "0123", "Ip": "203.0.113.7", "Attributes": {"displayName": "Zoë"}},
        **members,
    }


def reviewed(event: Any, reviewer: Reviewer | None = LIST, *, deny: bool = False, allow: bool = False) -> Any:
    return answer(event, reviewer, deny=deny, allow_on_fault=allow)


def test_a_decent_message_passes_unchanged_with_what_came_with_it() -> None:
    event = request("What a fine day.", Attributes={"color": "red"})
    assert reviewed(event) == {
        "ReviewResult": "ALLOW",
        "Content": "What a fine day.",
        "Attributes": {"color": "red"},
    }


def test_words_are_masked_or_the_message_is_denied() -> None:
    event = request("You ass!")
    assert reviewed(event) == {"ReviewResult": "ALLOW", "Content": "You ***!", "Attributes": {}}
    assert reviewed(event, deny=True) == {
        "ReviewResult": "DENY",
        "Content": "You ***!",
        "Attributes": {"Reason": "The message holds words that are not said here."},
    }
    assert reviewed(request("You!"), deny=True)["ReviewResult"] == "ALLOW"


@pytest.mark.parametrize("event", [None, [], {}, {"Content": None}, {"Content": ""}, request(7)])
@pytest.mark.parametrize("allow", [False, True])
def test_what_is_no_request_is_denied(event: Any, *, allow: bool) -> None:
    refused = {"ReviewResult": "DENY", "Content": "*", "Attributes": {"Reason": "The message was not reviewed."}}
    assert reviewed(event, allow=allow) == refused


def test_without_a_list_nothing_passes_unless_that_is_set(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    event = request("hello")
    assert reviewed(event, None)["ReviewResult"] == "DENY"
    assert reviewed(event, None, allow=True) == {"ReviewResult": "ALLOW", "Content": "hello"}
    assert caplog.records == []


@pytest.mark.parametrize(
    "text",
    [
        "ass", "ASS", "Ass.", "(ass)", "aaassss",
        # Digits and symbols.
        "a$$", "@ss", "4ss", "sh1t", "sh!t", "$h|t", "f*ck", "fu(k", "motherf*cker", "ƒ¡<k",
        # Look-alikes, accents, forms and emoji of letters, ligatures.
        "аss", "ａｓｓ", "áşș", "𝓪𝓼𝓼", "ⓐⓢⓢ", "🅰🆂🆂", "🇦 🇸 🇸", "ᴀꜱꜱ", "aß", "ﬁck", "a̴s̴s̴",
        # What is not seen.
        "a\u200bs\u200bs", "a\u00ads\u2060s", "a\ufe0fss", "a\u3164ss", "\u202eass",
        # What stands between.
        "a s s", "a.s.s", "a-s s", "a  s\u00a0s", "a_s_s", "s h i t", "f.u.c.k", "f u ck", "f u u u c k",
        # Parts and beginnings.
        "shitty", "unfuckable", "un-fuck-able",
        # Other scripts, and letters that stand for two.
        "КОТ", "к0т", "к о т", "vvlva", "FlCK",
    ],
)  # fmt: skip
def test_disguises_are_seen_through(text: str) -> None:
    censored = LIST.censored(f"oh {text} oh")
    assert len(censored) == len(text) + 6
    assert censored.startswith("oh ")
    assert censored.endswith(" oh")
    assert "*" in censored
    # Nothing but punctuation at the ends, and suffixes that are no part of the word, is left of it.
    assert [each for each in censored[3:-3] if each.isalpha() and each not in "unable"] == []


@pytest.mark.parametrize(
    "text",
    [
        "class", "assume", "Massachusetts", "brass", "as", "a", "that's hit", "pass it", "Scunthorpe", "peacocks",
        "котик", "скот", "the cost of 455 is $5", "as soon as she is", "1,000 * 2 * 3", "***", "a*b", "Ficken",
        "reputed", "I/O", "e.g. this", "5 s", "\u200b", "¡Hola! ¿Qué tal?", "漢字", "שלום", "👍🏽", "a\u0301",
    ],
)  # fmt: skip
def test_what_only_looks_like_it_is_left_alone(text: str) -> None:
    assert LIST.censored(text) == text


def test_spaces_stay_and_only_the_word_is_masked() -> None:
    assert LIST.censored("one a s\ts two") == "one * *\t* two"
    assert LIST.censored("x shit y ass") == "x **** y ***"


@pytest.mark.parametrize("line", ["two words", "a", "a1b", "*", "!!", "x*y"])
def test_what_is_no_entry_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="line 2 is no word of letters"):
        Reviewer(["word", line])


PIECES = st.sampled_from(
    ["a", "s", "$", "ass", "shit", "f", "u", "c", "k", "fuck", "*", "!", "5", " ", ".", "\u200b", "ß", "ﬁ", "v", "I"]
)
TEXTS = st.text(max_size=60) | st.lists(PIECES, max_size=24).map("".join)


@given(TEXTS)
@settings(max_examples=400)
@example("f*a s s*k")
@example("5a*s*s5")
@example("ﷺ" * 500)
def test_no_message_grows_and_a_censored_one_stays(text: str) -> None:
    censored = LIST.censored(text)
    assert len(censored) == len(text)
    assert all(now in (was, "*") for was, now in zip(text, censored, strict=True))
    assert [each for each, now in zip(text, censored, strict=True) if each.isspace() and now == "*"] == []
    assert LIST.censored(censored) == censored


@given(
    word=st.sampled_from(["ass", "shit", "fuck", "cock", "vulva"]),
    between=st.sampled_from(["", " ", ".", "-", "\u200b", "\u00ad", " - "]),
    repeat=st.integers(1, 4),
    form=st.sampled_from(["NFC", "full", "bold", "upper", "accents"]),
)
def test_disguises_add_up(word: str, between: str, repeat: int, form: str) -> None:
    shapes = {
        "NFC": lambda each: each,
        "full": lambda each: chr(ord(each) - ord("a") + 0xFF41),
        "bold": lambda each: chr(ord(each) - ord("a") + 0x1D41A),
        "upper": str.upper,
        "accents": lambda each: unicodedata.normalize("NFC", each + "\u0301"),
    }
    text = between.join(shapes[form](each) for each in word for _ in range(repeat))
    assert [each for each in LIST.censored(text) if each.isalpha()] == []


def test_the_shipped_list_is_good_and_the_function_needs_nothing_else(tmp_path: Path) -> None:
    """As Lambda has it: the files alone in a folder, imported by the name of the file, on a bare Python."""
    for name in ("handler.py", "words.txt"):
        (tmp_path / name).write_bytes((FOLDER / name).read_bytes())
    program = (
        "import json, sys; sys.path.insert(0, '.'); import handler; "
        "print(json.dumps([handler.handler(json.loads(line), None) for line in sys.stdin]))"
    )
    events = [request("what a s.h.i.t day"), request("what a day")]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-W", "error", "-c", program],
        input="\n".join(json.dumps(event) for event in events),
        capture_output=True, text=True, check=True, timeout=30, cwd=tmp_path, env={"PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip
    answers = json.loads(done.stdout)
    assert [each["Content"] for each in answers] == ["what a ******* day", "what a day"]
    assert {each["ReviewResult"] for each in answers} == {"ALLOW"}
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("mode", "fault", "results"),
    [("", "", ["ALLOW", "DENY"]), ("DENY", "allow", ["DENY", "DENY"]), ("censor", "deny", ["ALLOW", "DENY"])],
)
def test_the_environment_decides(mode: str, fault: str, results: list[str]) -> None:
    program = (
        "from deploy.chat_review.handler import handler; "
        "print(handler({'Content': 'shit'})['ReviewResult'], handler({'Content': ''})['ReviewResult'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True, text=True, check=True, timeout=30, cwd=FOLDER.parent.parent,
        env={"CHAT_REVIEW_MODE": mode, "CHAT_REVIEW_ON_FAULT": fault},
    )  # fmt: skip
    assert done.stdout.split() == results


def test_lists_that_cannot_be_read_deny(tmp_path: Path) -> None:
    (tmp_path / "handler.py").write_bytes((FOLDER / "handler.py").read_bytes())
    program = "import sys; sys.path.insert(0, '.'); import handler; print(handler.handler({'Content': 'hi'}))"
    for words in (None, b"two words\n", b"\xff\xfe"):
        if words is not None:
            (tmp_path / "words.txt").write_bytes(words)
        done = subprocess.run(
            [sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True, timeout=30, cwd=tmp_path
        )
        assert "'DENY'" in done.stdout
        assert done.stderr == ""
