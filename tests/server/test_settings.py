import dataclasses
import re
from pathlib import Path

import pytest

from server.errors import StartupError
from server.settings import Settings, sdk_variables, table

KEY = "k" * 32


def refusal(environ: dict[str, str], dotenv: Path | None = None) -> tuple[str, int]:
    with pytest.raises(StartupError) as caught:
        Settings.from_env(environ, dotenv)
    return caught.value.message, caught.value.exit_code


def test_empty_environment_gives_the_defaults() -> None:
    assert Settings.from_env({}) == Settings()


def test_empty_value_is_no_value() -> None:
    names = [field.name.upper() for field in dataclasses.fields(Settings)]
    assert Settings.from_env(dict.fromkeys(names, "")) == Settings()


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("HOST", "0.0.0.0", "0.0.0.0"),  # noqa: S104
        ("PORT", "0", 0),
        ("PORT", "65535", 65535),
        ("DATA_DIR", "data/of mine", Path("data/of mine")),
        ("LOG_LEVEL", "WARNING", "warning"),
        ("WORKERS", "External", "external"),
        ("DATABASE_URL", "postgres://u:p@h/d", "postgres://u:p@h/d"),
        ("BUS_URL", "rediss://h:6379/0", "rediss://h:6379/0"),
        ("SECRET_KEY", f"{KEY}, {KEY}x", (KEY, f"{KEY}x")),
        ("DEPLOYMENT", "stage-2", "stage-2"),
        (
            "EVENTS_QUEUE_URL",
            "https://sqs.eu-central-1.amazonaws.com/1/q",
            "https://sqs.eu-central-1.amazonaws.com/1/q",
        ),
        ("AWS_REGION", "eu-central-1", "eu-central-1"),
        ("AWS_CALLS_PER_SECOND", "2.5", 2.5),
        ("TRUSTED_PROXIES", "10.0.0.0/8, ::1", ("10.0.0.0/8", "::1/128")),
        ("ALLOWED_ORIGINS", "https://a.example,http://b.example:81", ("https://a.example", "http://b.example:81")),
        ("GRAPHIQL", "no", False),
        (
            "RECORDING_CONFIGURATION_ARN",
            "arn:aws:ivs:eu-central-1:123456789012:recording-configuration/aBc-1",
            "arn:aws:ivs:eu-central-1:123456789012:recording-configuration/aBc-1",
        ),
        ("SHUTDOWN_SECONDS", "1e1", 10.0),
    ],
)
def test_value_is_taken(name: str, text: str, value: object) -> None:
    settings = Settings.from_env({name: text})
    assert getattr(settings, name.lower()) == value
    assert dataclasses.replace(settings, **{name.lower(): getattr(Settings(), name.lower())}) == Settings()


URL = "expected a URL of the form postgresql://user:password@host:5432/database"
BUS = "expected a URL that begins with redis:// or rediss:// or postgresql:// or postgres://"
PORT = "expected a whole number from 0 to 65535"
SECONDS = "expected a number of seconds from 0.1 to 600"
SECRET = "expected at least 32 random characters in each key"
ORIGIN = "expected origins such as https://example.com, without a path"
RECORDING = "expected arn:aws:ivs:REGION:ACCOUNT:recording-configuration/ID"
NETWORK = "expected addresses or networks such as 10.0.0.0/8"


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("PORT", "hunter2", PORT),
        ("PORT", "-1", PORT),
        ("PORT", "65536", PORT),
        ("PORT", "8_000", PORT),
        ("PORT", "8000.0", PORT),
        pytest.param("PORT", "80\N{ARABIC-INDIC DIGIT THREE}", PORT, id="PORT-arabic"),
        pytest.param("SHUTDOWN_SECONDS", "1\N{ARABIC-INDIC DIGIT THREE}", SECONDS, id="SECONDS-arabic"),
        ("SHUTDOWN_SECONDS", "1_0", SECONDS),
        ("RECORDING_CONFIGURATION_ARN", "x", RECORDING),
        ("RECORDING_CONFIGURATION_ARN", "arn:aws:ivs:us-east-1:123456789012:channel/abc", RECORDING),
        pytest.param("PORT", "9" * 100_000, PORT, id="PORT-enormous"),
        ("SHUTDOWN_SECONDS", "nan", SECONDS),
        ("SHUTDOWN_SECONDS", "inf", SECONDS),
        ("SHUTDOWN_SECONDS", "0", SECONDS),
        ("SHUTDOWN_SECONDS", "soon", SECONDS),
        ("GRAPHIQL", "perhaps", "expected true or false"),
        ("WORKERS", "both", "expected one of embedded, external"),
        ("LOG_LEVEL", "loud", "expected one of debug, info, warning, error"),
        ("DATABASE_URL", "mysql://u:hunter2@h/d", URL),
        ("DATABASE_URL", "hunter2", URL),
        ("DATABASE_URL", "postgresql://u:hunter2@h:port/d", URL),
        ("BUS_URL", "amqp://u:hunter2@h", BUS),
        ("BUS_URL", "redis://", BUS),
        ("BUS_URL", "redis://[hunter2", BUS),
        ("BUS_URL", "redis://:hunter2\N{CARE OF}@h", BUS),
        ("SECRET_KEY", "hunter2", SECRET),
        ("SECRET_KEY", f"{KEY},hunter2", SECRET),
        ("SECRET_KEY", f"{KEY},", SECRET),
        ("SECRET_KEY", " , ", SECRET),
        ("EVENTS_QUEUE_URL", "streamcat-events", "expected a URL that begins with http:// or https://"),
        ("AWS_REGION", "eu central", "expected a region such as eu-central-1"),
        ("DEPLOYMENT", "under_score", "expected 1 to 32 letters, digits and hyphens"),
        ("DEPLOYMENT", "x" * 33, "expected 1 to 32 letters, digits and hyphens"),
        ("TRUSTED_PROXIES", "10.0.0.1/8", NETWORK),
        ("TRUSTED_PROXIES", "proxy.example", NETWORK),
        ("ALLOWED_ORIGINS", "https://a.example/path", ORIGIN),
        ("ALLOWED_ORIGINS", "https://a.example,b.example", ORIGIN),
        ("ALLOWED_ORIGINS", "https://hunter2\N{CARE OF}", ORIGIN),
    ],
)
def test_refusal_names_the_variable_and_hides_its_value(name: str, text: str, reason: str) -> None:
    assert refusal({name: text}) == (f"{name} is not acceptable: {reason}.", 78)


def test_environment_goes_before_the_file(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text("# ours\nPORT=1\nexport HOST='::1'\nLOG_LEVEL=\n", "utf-8")
    assert Settings.from_env({"PORT": "2"}, dotenv) == Settings(port=2, host="::1")


def test_missing_file_is_no_file(tmp_path: Path) -> None:
    assert Settings.from_env({}, tmp_path / ".env") == Settings()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("PROT=1", ".env sets PROT, which is no setting; did you mean PORT?"),
        ("DATABSE_URL=x", ".env sets DATABSE_URL, which is no setting; did you mean DATABASE_URL?"),
        ("port=1", ".env sets port, which is no setting; did you mean PORT?"),
        ("XYZZY=1", ".env sets XYZZY, which is no setting; `python -m app settings` lists all."),
        ("PORT=x", "PORT is not acceptable: expected a whole number from 0 to 65535."),
    ],
)
def test_file_is_read_as_strictly(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / ".env").write_text(f"{line}\n", "utf-8")
    assert refusal({}, tmp_path / ".env") == (message, 78)


@pytest.mark.parametrize("line", ["garbage line", "PORT: 9000", "PORT", "HOST='::1"])
def test_line_that_sets_nothing_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / ".env").write_text(f"# ours\nLOG_LEVEL=debug\n\n\n{line}\nWORKERS=external\n", "utf-8")
    assert refusal({}, tmp_path / ".env") == (".env has, in line 5, something other than NAME=value.", 78)


def test_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=1\n", "utf-8-sig")
    assert Settings.from_env({}, tmp_path / ".env") == Settings(port=1)


def test_directory_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    assert refusal({}, tmp_path / ".env") == (".env cannot be read: is a directory.", 78)


def test_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"PORT=\xff\n")
    assert refusal({}, tmp_path / ".env") == (".env cannot be read: it is not UTF-8.", 78)


def test_credentials_in_the_file_are_for_the_sdk(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text(
        "AWS_ACCESS_KEY_ID=a\nAWS_SECRET_ACCESS_KEY=b\nAWS_SESSION_TOKEN=\nAWS_REGION=r\nPORT=1\n", "utf-8"
    )
    assert Settings.from_env({}, dotenv) == Settings(port=1, aws_region="r")
    assert sdk_variables(dotenv) == {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    assert sdk_variables(tmp_path / "none") == {}


def test_secrets_are_not_in_the_representation() -> None:
    shown = repr(
        Settings(secret_key=("hunter2",), database_url="postgresql://u:hunter2@h/d", bus_url="redis://:hunter2@h")
    )
    assert "hunter2" not in shown


def test_table_has_a_row_for_every_setting_with_default_and_meaning() -> None:
    head, line, *rows = table().splitlines()
    assert (head, line) == ("| setting | default | meaning |", "| --- | --- | --- |")
    cells = [re.fullmatch(r"\| `([A-Z_]+)` \| (.+?) \| (.+\.) \|", row) for row in rows]
    assert None not in cells
    assert [cell[1] for cell in cells if cell] == [field.name.upper() for field in dataclasses.fields(Settings)]


def test_setting_with_a_unit_says_it() -> None:
    units = {"seconds": "econds", "days": "Days", "kib": "KiB", "bytes": "bytes", "characters": "Characters"}
    for field in dataclasses.fields(Settings):
        unit = units.get(field.name.rpartition("_")[2])
        assert unit is None or unit in field.metadata["meaning"], field.name
