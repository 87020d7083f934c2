"""Credentials files in every format that AWS, MinIO and s3cmd write, and other files."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import json
import pickle
import string
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nipype_datasink import CredentialsError, SettingsError
from nipype_datasink.s3.credentials import (
    AccessKey,
    are_swapped,
    parse_credentials,
    read_credentials,
)

KEY_ID = "ABCDEFGHIJKLMNOP"
SECRET = "zyx123wvu456/ABC890+gHiJk"
KEYS = AccessKey(KEY_ID, SECRET)
TOKEN = "FwoGZXIvYXdzEJr//////////wEaDA=="

MC: dict[str, Any] = {
    "version": "10",
    "aliases": {
        "gcs": {"url": "https://g", "accessKey": "YOUR-ACCESS-KEY-HERE", "secretKey": "YOUR-S"},
        "lab": {"url": "https://m", "accessKey": KEY_ID, "secretKey": SECRET, "api": "S3v4"},
        "local": {"url": "http://localhost:9000", "accessKey": "", "secretKey": ""},
        "play": {"url": "https://play.min.io", "accessKey": "Q3AM3UQ867SPQ", "secretKey": "zuf+t"},
    },
}

FILES = {
    "MinIO's console, JSON": json.dumps(
        {
            "url": "https://m",
            "accessKey": KEY_ID,
            "secretKey": SECRET,
            "api": "s3v4",
            "path": "auto",
        }
    ),
    "MinIO's console, CSV": f"Access Key,Secret Key\n{KEY_ID},{SECRET}\n",
    "mc": json.dumps(MC, indent=1),
    "mc, older": json.dumps({"version": "9", "hosts": {"lab": MC["aliases"]["lab"]}}),
    "s3cmd": (
        f"[default]\naccess_key = {KEY_ID}\naccess_token = \nhost_base = s3.amazonaws.com\n"
        f"secret_key = {SECRET}\nuse_https = True\n"
    ),
    "AWS's own JSON": json.dumps(
        {"AccessKey": {"UserName": "me", "AccessKeyId": KEY_ID, "SecretAccessKey": SECRET}}
    ),
    "semicolons": f"Access key ID;Secret access key\n{KEY_ID};{SECRET}\n",
    "semicolons, as a spreadsheet begins": f"sep=;\nAccess Key;Secret Key\n{KEY_ID};{SECRET}\n",
    "tabs": f"User name\tAccess key ID\tSecret access key\nme\t{KEY_ID}\t{SECRET}\n",
    "tabs, an empty first cell": f"Password\tAccess key ID\tSecret key\n\t{KEY_ID}\t{SECRET}\n",
    "root user, as the manual prints it": f"AWSAccessKeyID={KEY_ID}\nAWSSecretKey={SECRET}\n",
    "root user, as AWS spells it": f"AWSAccessKeyId={KEY_ID}\nAWSSecretKey={SECRET}",
    "root user, secret first": f"AWSSecretKey={SECRET}\nAWSAccessKeyId={KEY_ID}\n",
    "spaces around the equals sign": f"AWSAccessKeyId = {KEY_ID}\nAWSSecretKey = {SECRET}\n",
    "quoted values": f"AWSAccessKeyId=\"{KEY_ID}\"\nAWSSecretKey='{SECRET}'\n",
    "IAM user, as the manual prints it": (
        f'User Name,Access Key Id,Secret Access Key\n"username",{KEY_ID},{SECRET}\n'
    ),
    "IAM user, two columns": f"Access key ID,Secret access key\n{KEY_ID},{SECRET}\n",
    "IAM user, with password": (
        "User name,Password,Access key ID,Secret access key,Console login link\n"
        f"me,,{KEY_ID},{SECRET},https://123456789012.signin.aws.amazon.com/console\n"
    ),
    "IAM user, everything quoted": (
        f'"User Name","Access Key Id","Secret Access Key"\n"me","{KEY_ID}","{SECRET}"\n'
    ),
    "IAM user, spaces after commas": f"Access key ID, Secret access key\n{KEY_ID}, {SECRET}\n",
    "IAM user, comma in the quoted name": (
        f'User Name,Access Key Id,Secret Access Key\n"Doe, Jane",{KEY_ID},{SECRET}\n'
    ),
    "IAM user, the first of two": (
        f"Access key ID,Secret access key\n{KEY_ID},{SECRET}\nAKIAOTHER,other\n"
    ),
    "INI": f"[default]\naws_access_key_id = {KEY_ID}\naws_secret_access_key = {SECRET}\n",
    "INI, one named profile": (
        f"[lab]\naws_access_key_id={KEY_ID}\naws_secret_access_key={SECRET}\n"
    ),
    "INI, default after others": (
        "[lab]\naws_access_key_id=AKIAOTHER\naws_secret_access_key=other\n\n"
        f"[default]\naws_access_key_id={KEY_ID}\naws_secret_access_key={SECRET}\n"
    ),
    "INI, with comments and other settings": (
        "# mine\n[default]\nregion=eu-west-1\n; secret\n"
        f"aws_access_key_id={KEY_ID}\naws_secret_access_key={SECRET}\n"
    ),
    "INI without a section": f"aws_access_key_id={KEY_ID}\naws_secret_access_key={SECRET}\n",
    "shell": f"export AWS_ACCESS_KEY_ID={KEY_ID}\nexport AWS_SECRET_ACCESS_KEY={SECRET}\n",
}

BAD = {
    "empty": b"",
    "blank": b" \n\r\n\t\n",
    "byte order mark only": "\N{BOM}".encode(),
    "binary": bytes(range(256)),
    "NUL characters": b"AWSAccessKeyId=a\0\nAWSSecretKey=b\0\n",
    "half a character of UTF-16": "AWSAccessKeyId=a".encode("utf-16")[:-1],
    "UTF-16 without its mark": "AWSAccessKeyId=a\nAWSSecretKey=b\n".encode("utf-16-le"),
    "a table without secrets": b"User name,Access key ID\nme,AKIDEXAMPLE\n",
    "a table without key IDs": b"User name,Secret access key\nme,zyx123wvu456\n",
    "a header only": b"Access key ID,Secret access key\n",
    "a row that is too short": b"User name,Access key ID,Secret access key\nme,AKIDEXAMPLE\n",
    "a row without values": b"Access key ID,Secret access key\n,\n",
    "a setting lacking": b"AWSAccessKeyId=AKIDEXAMPLE\n",
    "a setting empty": b"AWSAccessKeyId=AKIDEXAMPLE\nAWSSecretKey=\n",
    "profiles without default": (
        b"[a]\naws_access_key_id=A\naws_secret_access_key=zyx123wvu456\n"
        b"[b]\naws_access_key_id=B\naws_secret_access_key=zyx123wvu456\n"
    ),
    "keys of two profiles": b"[a]\naws_access_key_id=A\n[b]\naws_secret_access_key=zyx123wvu456\n",
    "console sign-in only": b"User name,Password,Console sign-in URL\nme,zyx123wvu456,https://x\n",
    "JSON without keys": b'{"AccessKeyId": "AKIDEXAMPLE", "password": "zyx123wvu456"}',
    "JSON cut off": b'{"AccessKeyId": "AKIDEXAMPLE", "SecretAccessKey": "zyx123wvu456"',
    "JSON nested too deeply": b'{"a":' * 100_000,
    "JSON of two aliases": (
        b'{"aliases": {"a": {"accessKey": "A", "secretKey": "zyx123wvu456"},'
        b' "b": {"accessKey": "B", "secretKey": "zyx123wvu456"}}}'
    ),
    "prose": b"The keys are on the whiteboard.\n",
    "a line longer than csv takes": b"x" * (csv.field_size_limit() + 1),
}

SECRETS = st.text(string.ascii_letters + string.digits + "+/=", min_size=1, max_size=60)
KEY_IDS = st.text(string.ascii_uppercase + string.digits, min_size=1, max_size=32)
# Secrets of other stores. White space and quotes are left out: the formats use them, too.
ODD_SECRETS = st.text(
    "".join(set(string.printable) - set(string.whitespace) - set("\"'")), min_size=1
)


@pytest.mark.parametrize("content", FILES.values(), ids=FILES.keys())
@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_every_format_is_read(content: str, newline: str, encoding: str) -> None:
    assert parse_credentials(content.replace("\n", newline).encode(encoding)) == KEYS


@pytest.mark.parametrize("content", FILES.values(), ids=FILES.keys())
def test_blank_lines_are_ignored(content: str) -> None:
    assert parse_credentials(f"\n\n{content.replace(chr(10), chr(10) * 3)}".encode()) == KEYS


@pytest.mark.parametrize(
    "columns",
    list(itertools.permutations(["Access key ID", "Secret access key", "User name"])),
    ids=",".join,
)
def test_columns_may_have_any_order(columns: tuple[str, ...]) -> None:
    cells = {"Access key ID": KEY_ID, "Secret access key": SECRET, "User name": "me"}
    content = f"{','.join(columns)}\n{','.join(cells[column] for column in columns)}\n"
    assert parse_credentials(content.encode()) == KEYS


@pytest.mark.parametrize(
    "content",
    [
        "AWSAccessKeyId={id}\nAWSSecretKey={secret}\n",
        "[default]\naws_access_key_id={id}\naws_secret_access_key = {secret}\n",
        "User name,Access key ID,Secret access key\nme,{id},{secret}\n",
        "Secret access key,Access key ID\n{secret},{id}\n",
        'Access key ID,Secret access key\n{id},"{secret}"\n',
    ],
    ids=["settings", "INI", "last column", "first column", "quoted"],
)
@pytest.mark.parametrize("secret", ["a=b=c==", "a,b", ",a,", "=a=", "a,b=c,d"])
def test_secrets_may_contain_equals_signs_and_commas(content: str, secret: str) -> None:
    assert parse_credentials(content.format(id=KEY_ID, secret=secret).encode()) == AccessKey(
        KEY_ID, secret
    )


@pytest.mark.parametrize(
    "content",
    [
        "[default]\naws_access_key_id={}\naws_secret_access_key={}\naws_session_token={}\n",
        "Access key ID,Secret access key,Session token\n{},{},{}\n",
        "export AWS_ACCESS_KEY_ID={}\nexport AWS_SECRET_ACCESS_KEY={}\n"
        'export AWS_SESSION_TOKEN="{}"\n',
        "[default]\naws_access_key_id={}\naws_secret_access_key={}\naws_security_token={}\n",
    ],
    ids=["INI", "table", "shell", "its older name"],
)
def test_a_session_token_is_read(content: str) -> None:
    keys = parse_credentials(content.format(KEY_ID, SECRET, TOKEN).encode())
    assert keys == AccessKey(KEY_ID, SECRET, TOKEN)


def test_a_file_without_a_token_gives_no_token() -> None:
    content = f"aws_access_key_id={KEY_ID}\naws_secret_access_key={SECRET}\naws_session_token=\n"
    assert parse_credentials(content.encode()).session_token is None


@pytest.mark.parametrize("content", BAD.values(), ids=BAD.keys())
def test_the_error_for_another_file_quotes_nothing_of_it(content: bytes) -> None:
    with pytest.raises(CredentialsError) as caught:
        parse_credentials(content)
    assert "zyx123wvu456" not in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize(
    ("content", "lacking"),
    [
        (b"AWSAccessKeyId=a\n", "secret access key"),
        (b"AWSSecretKey=a\n", "access key ID"),
        (b"User name,Access key ID\nme,a\n", "secret access key"),
        (b"", "empty"),
        (b"Access key ID,Secret access key\n", "no row"),
        (b"[a]\nx=1\n[b]\nx=1\n", "s3_profile"),
    ],
    ids=["secret", "ID", "secret column", "everything", "row", "default profile"],
)
def test_the_error_names_what_is_missing(content: bytes, lacking: str) -> None:
    with pytest.raises(CredentialsError, match=lacking):
        parse_credentials(content)


def test_a_representation_shows_no_secret() -> None:
    shown = repr(AccessKey(KEY_ID, SECRET, TOKEN))
    assert KEY_ID in shown
    assert SECRET not in shown
    assert TOKEN not in shown


@given(KEY_IDS, SECRETS)
def test_settings_round_trip(key_id: str, secret: str) -> None:
    content = f"AWSAccessKeyID={key_id}\r\nAWSSecretKey={secret}\r\n"
    assert parse_credentials(content.encode()) == AccessKey(key_id, secret)


@given(KEY_IDS, SECRETS, SECRETS)
def test_ini_files_round_trip(key_id: str, secret: str, token: str) -> None:
    content = (
        f"[default]\naws_access_key_id = {key_id}\naws_secret_access_key = {secret}\n"
        f"aws_session_token = {token}\n"
    )
    assert parse_credentials(content.encode()) == AccessKey(key_id, secret, token)


@given(
    KEY_IDS,
    SECRETS,
    st.text(string.ascii_letters + ' ,"', max_size=9),
    st.permutations(["User name", "Access key ID", "Secret access key"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_tables_round_trip(
    key_id: str, secret: str, user: str, columns: list[str], quoting: int
) -> None:
    cells = {"User name": user, "Access key ID": key_id, "Secret access key": secret}
    content = io.StringIO()
    table = csv.DictWriter(content, columns, quoting=quoting)  # type: ignore[arg-type]
    table.writeheader()
    table.writerow(cells)
    assert parse_credentials(content.getvalue().encode()) == AccessKey(key_id, secret)


@given(ODD_SECRETS)
def test_unusual_secrets_are_read_from_settings(secret: str) -> None:
    content = f"AWSAccessKeyId={KEY_ID}\nAWSSecretKey={secret}\n"
    assert parse_credentials(content.encode()) == AccessKey(KEY_ID, secret)


@given(st.binary(max_size=200))
def test_any_other_content_raises_a_credentials_error(content: bytes) -> None:
    try:
        keys = parse_credentials(content)
    except CredentialsError:
        return
    assert keys.access_key_id
    assert keys.secret_access_key


@pytest.mark.parametrize(
    ("password", "secret"),
    [
        pytest.param("pa,ss", SECRET, id="password"),
        pytest.param("pa,55", SECRET, id="password like an ID"),
        pytest.param("p,a,ss", SECRET, id="password of two commas"),
        pytest.param("", "se,cr/et", id="secret"),
        pytest.param("pass", "s,e,cret", id="secret of two commas"),
    ],
)
def test_a_comma_goes_to_the_cell_it_belongs_to(password: str, secret: str) -> None:
    content = (
        "User name,Password,Access key ID,Secret access key,Console login link\n"
        f"me,{password},{KEY_ID},{secret},https://123456789012.signin.aws.amazon.com/console\n"
    )
    assert parse_credentials(content.encode()) == AccessKey(KEY_ID, secret)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b" \n", "it is empty"),
        (b"\xff\xfe\x00", "it is not text; expected one of AWS's formats"),
        (b"a\0b", "it is not text; expected one of AWS's formats"),
        (b"Access key ID,Secret access key\n", "it has a header but no row below it"),
        (b"AWSAccessKeyId=A", "it has no secret access key; expected"),
        (b"AWSSecretKey=S", "it has no access key ID; expected"),
        (b"[a]\nx=1\n[b]\nx=1", "it has several profiles but none named 'default'; use s3_"),
    ],
)
def test_each_unusable_file_has_its_own_message(content: bytes, message: str) -> None:
    with pytest.raises(CredentialsError) as caught:
        parse_credentials(content)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("mark", ["#", ";"])
def test_a_setting_that_is_commented_out_is_ignored(mark: str) -> None:
    lines = ["aws_access_key_id=A", "aws_secret_access_key=S", f"{mark}aws_secret_access_key=T"]
    assert parse_credentials("\n".join(lines).encode()).secret_access_key == "S"
    lines.insert(0, f"{mark}[other]")
    assert parse_credentials("\n".join(lines).encode()).access_key_id == "A"


def test_spaces_beside_quotes_are_ignored() -> None:
    content = b'Access key ID, "Secret access key"\nAKID, "sec,ret"\n'
    assert parse_credentials(content).secret_access_key == "sec,ret"


def test_a_table_without_a_key_column_has_no_key() -> None:
    with pytest.raises(CredentialsError, match="no access key ID"):
        parse_credentials(b"Secret access key\nsecret,and more\n")


def test_a_secret_with_commas_is_rejoined_beside_a_short_key_id() -> None:
    keys = parse_credentials(b"Access key ID,Secret access key\nAKID,sec,ret\n")
    assert (keys.access_key_id, keys.secret_access_key) == ("AKID", "sec,ret")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
@pytest.mark.parametrize("content", FILES.values(), ids=FILES.keys())
def test_each_format_may_have_an_encoding_of_windows(content: str, encoding: str) -> None:
    assert parse_credentials(content.replace("\n", "\r\n").encode(encoding)) == KEYS


def test_a_big_endian_file_is_read() -> None:
    content = codecs.BOM_UTF16_BE + f"Access Key,Secret Key\n{KEY_ID},{SECRET}".encode("utf-16-be")
    assert parse_credentials(content) == KEYS


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_a_secret_may_contain_the_delimiter(delimiter: str) -> None:
    content = f"Access key ID{delimiter}Secret access key\n{KEY_ID}{delimiter}a{delimiter}b,c\n"
    assert parse_credentials(content.encode()).secret_access_key == f"a{delimiter}b,c"


def test_temporary_credentials_of_aws_are_read_from_json() -> None:
    inner = {"AccessKeyId": KEY_ID, "SecretAccessKey": SECRET, "SessionToken": TOKEN}
    content = json.dumps({"Credentials": {**inner, "Expiration": "2026-01-01T00:00:00Z"}})
    assert parse_credentials(content.encode()) == AccessKey(KEY_ID, SECRET, TOKEN)


def test_the_aliases_to_choose_from_are_named() -> None:
    both = {name: {"accessKey": name, "secretKey": SECRET} for name in ("lab", "archive")}
    with pytest.raises(CredentialsError, match=r"several aliases .'lab', 'archive'.") as caught:
        parse_credentials(json.dumps({"aliases": {**MC["aliases"], **both}}).encode())
    assert SECRET not in str(caught.value)


def test_the_only_alias_counts_even_if_it_is_the_public_one() -> None:
    content = json.dumps({"aliases": {"play": MC["aliases"]["play"]}})
    assert parse_credentials(content.encode()).access_key_id == "Q3AM3UQ867SPQ"


def test_a_title_above_settings_is_ignored() -> None:
    content = f"Access key\nAWSAccessKeyId={KEY_ID}\nAWSSecretKey={SECRET}\n"
    assert parse_credentials(content.encode()) == KEYS


def test_a_row_may_lack_its_last_cells() -> None:
    content = f"Access key ID,Secret access key,Session token\n{KEY_ID},{SECRET}\n"
    assert parse_credentials(content.encode()) == KEYS


def test_a_row_with_too_many_cells_but_no_key_id_has_no_key() -> None:
    with pytest.raises(CredentialsError, match="no access key ID"):
        parse_credentials(b"User name,Secret access key\nme,secret,and more\n")


def test_invalid_json_is_called_so() -> None:
    with pytest.raises(CredentialsError, match="not valid JSON; expected one of AWS's formats"):
        parse_credentials(b'{"AccessKeyId": ')


@pytest.mark.parametrize("half", [{"accessKey": "A"}, {"secretKey": "S", "accessKey": ""}])
def test_an_alias_with_half_an_access_key_is_ignored(half: dict[str, str]) -> None:
    content = json.dumps({"aliases": {"half": half, "lab": MC["aliases"]["lab"]}})
    assert parse_credentials(content.encode()) == KEYS


def test_a_home_directory_in_creds_path_is_expanded(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(workdir))
    (workdir / "keys").write_text("AWSAccessKeyId=AKIAFILE\nAWSSecretKey=secret\n")
    assert read_credentials("~/keys") == AccessKey("AKIAFILE", "secret")


def test_the_error_for_a_relative_creds_path_shows_its_absolute_path(workdir: Path) -> None:
    with pytest.raises(CredentialsError) as caught:
        read_credentials("keys.csv")
    assert f"(tried {str(workdir / 'keys.csv')!r}; a node runs" in str(caught.value)
    with pytest.raises(CredentialsError) as caught:
        read_credentials("/nowhere/keys.csv")
    assert "tried" not in str(caught.value)


def test_a_creds_path_in_an_unknown_home_directory_is_an_error(workdir: Path) -> None:
    with pytest.raises(SettingsError, match="creds_path '~nobody-of-that-name/keys'"):
        read_credentials("~nobody-of-that-name/keys")


def test_the_error_for_an_unreadable_file_gives_the_reason_and_what_to_do() -> None:
    with pytest.raises(CredentialsError) as caught:
        read_credentials("/nowhere/keys.csv")
    message = str(caught.value)
    assert message.startswith(
        "creds_path '/nowhere/keys.csv' cannot be read: No such file or directory. Set it to"
    )
    assert message.endswith(
        "the file that AWS gave you, or leave it unset to use the environment or a profile"
    )
    assert isinstance(caught.value.original, FileNotFoundError)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_the_error_for_a_file_without_keys_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.touch()
    with pytest.raises(CredentialsError) as caught:
        read_credentials(str(path))
    assert str(caught.value) == f"creds_path {str(path)!r} cannot be used: it is empty"


def test_a_large_file_is_not_read_into_memory(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(64 << 20)
    tracemalloc.start()
    try:
        with pytest.raises(CredentialsError, match="it is not text"):
            read_credentials(str(path))
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("access_key_id", "secret_access_key", "swapped"),
    [
        ("a/b", "c" * 40, True),
        ("a+b", "c" * 40, True),
        ("ab=", "c" * 40, True),
        ("a" * 40, "c" * 20, True),
        ("a" * 40, "c" * 39, True),
        ("a" * 40, "c" * 40, False),
        ("a" * 40, "c" * 44, False),
        ("a" * 39, "c" * 20, False),
        ("a" * 41, "c" * 20, False),
        ("AKIAIOSFODNN7EXAMPLE", "c/d+e=", False),
    ],
)
def test_an_id_that_looks_like_a_secret_is_recognised(
    access_key_id: str, secret_access_key: str, swapped: bool
) -> None:
    assert are_swapped(access_key_id, secret_access_key) is swapped
