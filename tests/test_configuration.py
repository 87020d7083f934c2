"""Test options in nipype's configuration: names, precedence, invalid values."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from nipype import MapNode, Node, Workflow, config

from nipype_datasink import DataSink, MissingSourceError, SettingsError
from nipype_datasink.configuration import S3_INPUTS, calling_node
from nipype_datasink.settings import Settings

if TYPE_CHECKING:
    from types_boto3_s3.service_resource import Bucket

SECTION = "execution"


def sink(**inputs: Any) -> DataSink:
    return DataSink(base_directory=str(Path("out").resolve()), **inputs)


def setting_of(sink: DataSink, name: str) -> object:
    return getattr(Settings.from_inputs(sink.inputs, ["sink_missing", *S3_INPUTS]), name)


@pytest.mark.parametrize(
    ("option", "text", "name", "value"),
    [
        ("datasink_missing", "skip", "sink_missing", "skip"),
        ("datasink_s3_endpoint_url", "https://minio.lab", "s3_endpoint_url", "https://minio.lab"),
        ("datasink_s3_profile", "lab", "s3_profile", "lab"),
        ("datasink_s3_region", " eu-west-1 ", "s3_region", "eu-west-1"),
        ("datasink_s3_transfer_client", "classic", "s3_transfer_client", "classic"),
        ("datasink_s3_max_concurrency", "4", "s3_max_concurrency", 4),
        ("datasink_encrypt_bucket_keys", "yes", "encrypt_bucket_keys", True),
        ("datasink_encrypt_bucket_keys", "false", "encrypt_bucket_keys", False),
        ("datasink_missing", "", "sink_missing", "error"),
        ("datasink_container", "sub01", "container", ""),
    ],
)
def test_option_sets_an_input(option: str, text: str, name: str, value: object) -> None:
    config.set(SECTION, option, text)
    assert setting_of(sink(), name) == value


def test_unreadable_option_is_an_error_without_its_value() -> None:
    config.set(SECTION, "datasink_s3_region", "%(secret)s")
    with pytest.raises(SettingsError, match="datasink_s3_region cannot be read") as caught:
        setting_of(sink(), "s3_region")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("option", "text", "expected"),
    [
        ("datasink_missing", "ignore", "'error' or 'skip'"),
        ("datasink_s3_max_concurrency", "0", "at least 1"),
        ("datasink_s3_max_concurrency", "many", "a whole number"),
        ("datasink_encrypt_bucket_keys", "maybe", "'true' or 'false'"),
        ("datasink_s3_transfer_client", "curl", "'auto' or 'classic' or 'crt'"),
    ],
)
def test_invalid_option_is_an_error_with_allowed_values(
    option: str, text: str, expected: str
) -> None:
    config.set(SECTION, option, text)
    name = option.replace("datasink_missing", "sink_missing").removeprefix("datasink_")
    with pytest.raises(SettingsError) as caught:
        setting_of(sink(), name)
    assert f"section [execution]: {option} = {text!r}" in str(caught.value)
    assert expected in str(caught.value)


def test_invalid_datasink_missing_is_an_error_without_missing_sources(workdir: Path) -> None:
    config.set(SECTION, "datasink_missing", "maybe")
    with pytest.raises(SettingsError, match="write 'error' or 'skip'"):
        sink().run()


@pytest.mark.parametrize("where", ["global", "workflow"])
def test_unknown_option_logs_a_warning(
    where: str, workdir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    option = {"datasink_mising": "skip"}
    if where == "global":
        config.set(SECTION, *next(iter(option.items())))
    node = Node(sink(), name="datasink")
    run_in_workflow(node, option if where == "workflow" else None)
    (warning,) = [item.getMessage() for item in caplog.records if item.levelname == "WARNING"]
    assert "unknown option datasink_mising; allowed: datasink_missing, " in warning


def test_options_for_s3_are_not_checked_on_disk(workdir: Path) -> None:
    config.set(SECTION, "datasink_s3_max_concurrency", "many")
    assert sink().run().outputs.out_file == []
    with pytest.raises(SettingsError, match="datasink_s3_max_concurrency"):
        DataSink(base_directory="s3://bucket", x=__file__).run()


def test_options_that_are_not_used_are_not_checked(workdir: Path) -> None:
    class Local(DataSink):
        def _check_s3_base_dir(self) -> tuple[bool, str]:
            return False, "<N/A>"

    config.set(SECTION, "datasink_s3_max_concurrency", "many")
    Local(base_directory="s3://mybucket/p").plan()
    config.set(SECTION, "datasink_s3_max_concurrency", "3")
    config.set(SECTION, "datasink_missing", "perhaps")
    assert sink()._fetch_bucket("mybucket").name == "mybucket"


def test_methods_called_without_a_run_read_the_options_for_s3(
    workdir: Path, bucket: Bucket, endpoint: str
) -> None:
    config.set(SECTION, "datasink_s3_region", "eu-west-1")
    config.set(SECTION, "datasink_s3_endpoint_url", endpoint)
    config.set(SECTION, "datasink_encrypt_bucket_keys", "true")
    opened = sink()._fetch_bucket("mybucket")
    assert opened.meta.client.meta.region_name == "eu-west-1"
    sink()._upload_to_s3(bucket, __file__, "s3://mybucket/a")
    assert bucket.Object("a").server_side_encryption == "AES256"


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("s3_profile", {"creds_path": "/keys.csv"}),
        ("s3_profile", {"bucket": object()}),
        ("s3_endpoint_url", {"bucket": object()}),
        ("s3_region", {"bucket": object()}),
        ("s3_transfer_client", {"bucket": object()}),
    ],
)
def test_conflicting_input_overrides_an_option(
    name: str, inputs: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    config.set(SECTION, f"datasink_{name}", "crt")
    assert setting_of(sink(), name) == "crt"
    clashing = DataSink(base_directory="s3://mybucket", **inputs)
    assert setting_of(clashing, name) == (None if name != "s3_transfer_client" else "auto")
    clashing.plan()
    assert caplog.messages == []


def node_with_missing_source(kind: type[Node] = Node, **settings: Any) -> Node:
    """Return a node of a sink whose only source does not exist."""
    node = kind(sink(infields=["x"]), name="datasink", **settings)
    node.inputs.x = ["/none/a"] if kind is MapNode else "/none/a"
    return node


def run_in_workflow(node: Node, own: dict[str, str] | None = None, **plugin: Any) -> None:
    workflow = Workflow(name="study", base_dir=str(Path("work").resolve()))
    workflow.config[SECTION] = {
        "crashdump_dir": str(Path("crashes").resolve()),
        "poll_sleep_duration": "0.05",
        **(own or {}),
    }
    workflow.add_nodes([node])
    workflow.run(**plugin)


SKIP, ERROR = {"datasink_missing": "skip"}, {"datasink_missing": "error"}


@pytest.mark.parametrize(
    ("global_value", "workflow", "node", "explicit", "fails"),
    [
        pytest.param("error", SKIP, None, None, False, id="workflow-over-global"),
        pytest.param("skip", ERROR, None, None, True, id="strict-workflow-over-global"),
        pytest.param("skip", {}, None, None, False, id="global"),
        pytest.param("error", ERROR, SKIP, None, False, id="node-over-workflow"),
        pytest.param("skip", SKIP, SKIP, "error", True, id="input-over-all"),
        pytest.param("error", ERROR, ERROR, "skip", False, id="lenient-input-over-all"),
    ],
)
def test_precedence_of_input_node_workflow_and_global_configuration(
    global_value: str,
    workflow: dict[str, str],
    node: dict[str, str] | None,
    explicit: str | None,
    fails: bool,
    workdir: Path,
) -> None:
    config.set(SECTION, "datasink_missing", global_value)
    sinking = node_with_missing_source()
    sinking.config = {SECTION: node} if node else None
    if explicit:
        sinking.inputs.sink_missing = explicit
    if fails:
        with pytest.raises(Exception, match="/none/a does not exist"):
            run_in_workflow(sinking, workflow)
    else:
        run_in_workflow(sinking, workflow)


@pytest.mark.parametrize(
    "plugin",
    [
        {"plugin": "Linear"},
        {"plugin": "MultiProc", "plugin_args": {"n_procs": 2, "mp_context": "fork"}},
        {"plugin": "MultiProc", "plugin_args": {"n_procs": 2, "mp_context": "spawn"}},
    ],
    ids=["linear", "fork", "spawn"],
)
@pytest.mark.parametrize("kind", [Node, MapNode], ids=["node", "mapnode"])
def test_workflow_configuration_reaches_workers(
    kind: type[Node], plugin: dict[str, Any], workdir: Path
) -> None:
    settings = {"iterfield": ["x"]} if kind is MapNode else {}
    run_in_workflow(node_with_missing_source(kind, **settings), SKIP, **plugin)


def test_run_without_node_uses_the_global_configuration(workdir: Path) -> None:
    bare = sink(x="/none/a", infields=["x"])
    with pytest.raises(MissingSourceError):
        bare.run()
    config.set(SECTION, "datasink_missing", "skip")
    assert bare.run().outputs.out_file == []


class RecordingSink(DataSink):
    """A sink that records which node runs it."""

    nodes: ClassVar[list[Node | None]] = []

    def _list_outputs(self) -> dict[str, Any]:
        self.nodes.append(calling_node(self.inputs))
        return super()._list_outputs()


def test_calling_node_is_found(workdir: Path) -> None:
    node = Node(
        RecordingSink(base_directory=str(workdir / "out")), name="recording", base_dir=str(workdir)
    )
    RecordingSink.nodes.clear()
    node.run()
    node.interface.run()
    assert RecordingSink.nodes == [node, None]


def test_options_can_be_set_with_update_config(
    workdir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        config.update_config({SECTION: {"datasink_missing": "skip"}})
    assert setting_of(sink(), "sink_missing") == "skip"
    assert caplog.messages == []
