"""Predict where one run of a sink will deliver its files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from nipype_datasink.configuration import explicit_value
from nipype_datasink.errors import DataSinkError, DestinationError
from nipype_datasink.inputs import fields_of, known_inputs
from nipype_datasink.planning.contents import scan
from nipype_datasink.planning.location import Location
from nipype_datasink.planning.plan import Delivery
from nipype_datasink.planning.routing import Rules, bucket_root, route
from nipype_datasink.planning.sources import Problem, Source, flatten
from nipype_datasink.planning.validation import make_valid_plan
from nipype_datasink.settings import substitutions_of
from nipype_datasink.workflows.own_directories import (
    DIRECTORIES,
    MANIFEST,
    make_directories_absolute,
)
from nipype_datasink.workflows.partial_substitutions import apply_to_examples, apply_to_known
from nipype_datasink.workflows.placeholders import NAME, TREE, is_complete, show
from nipype_datasink.workflows.prediction import Prediction, SinkPlan, add_unknown_copies
from nipype_datasink.workflows.sink_run import Connection, SinkRun
from nipype_datasink.workflows.unknown_inputs import PLACES, ShownDestination, UnknownInputs


def predict(run: SinkRun) -> SinkPlan:
    """Return what one run of a sink will do. Nothing is written.

    Parameters
    ----------
    run
        Its inputs that are not known are set to placeholders.
    """
    predictor = _Predictor(run)
    try:
        return predictor.plan()
    except Exception as error:  # noqa: BLE001 - subclasses of users may raise anything
        base = explicit_value(run.interface.inputs, "base_directory")
        return SinkPlan(run=run, bases=(base,) if base else (), error=run.error or _describe(error))


def _describe(error: Exception) -> str:
    if not isinstance(error, DataSinkError):
        return f"{type(error).__name__}: {error}"
    text, done = str(error), "nothing was written"
    return text.replace(done, "nothing would be written", 1) if text.startswith(done) else text


class _Predictor:
    """Predicts the destinations of one run."""

    def __init__(self, run: SinkRun) -> None:
        self._run = run
        self._sink = run.interface
        self._unknown_connections = run.unknown
        self._unknown_inputs = UnknownInputs.of(run)
        self._paths: list[str] = []
        self._missing: dict[tuple[str, str], Problem] = {}

    def plan(self) -> SinkPlan:
        """Return what the run will do."""
        self._set_places()
        rules = self._sink._make_rules(self._substitute)
        settings, base = self._sink._read_settings()
        fields = fields_of(self._sink.inputs)
        known, ignored, error = self._known(fields, rules)
        bases = [show(each.label, self._unknown_inputs.places) for each in settings.bases(base)]
        predictions = [
            prediction
            for field in fields
            for prediction in [*known.get(field, ()), *self._unknown(field, rules)]
        ]
        if connections := self._unknown_connections.get("s3_copy"):
            copy = f"{{{connections[0].name}}}"
            predictions = list(add_unknown_copies(predictions, bases[0], copy))
            bases.append(copy)
        return SinkPlan(
            run=self._run,
            bases=tuple(bases),
            predictions=tuple(predictions),
            ignored=ignored,
            missing=tuple(self._missing.values()),
            skips_missing=settings.sink_missing == "skip",
            paths=tuple(self._paths),
            removes_others=rules.remove_dest_dir,
            manifest_directory=self._manifest_directory(rules),
            error=self._run.error or error,
        )

    def _set_places(self) -> None:
        """Set directories and container; a relative directory is one of the node."""
        inputs = self._sink.inputs
        make_directories_absolute(self._run)
        for name, placeholder in PLACES.items():
            if name in self._unknown_connections:
                inputs.trait_set(**{name: placeholder})
        if not any(explicit_value(inputs, name) for name in DIRECTORIES):
            inputs.base_directory = self._run.directory

    def _manifest_directory(self, rules: Rules) -> str:
        """Return where the manifest will be written, in braces if only another node names it."""
        if connections := self._unknown_connections.get(MANIFEST):
            return f"{{{connections[0].name}}}"
        return rules.manifest_directory.label if rules.manifest_directory else ""

    def _substitute(self, path: str) -> str:
        """Apply the rules of the sink to what is known of a destination."""
        self._paths.append(path)
        if is_complete(path):
            return self._sink._substitute(path)
        if self._sink._is_overridden("_substitute"):
            return apply_to_examples(self._sink._substitute, path)
        rules = substitutions_of(self._sink.inputs)
        return apply_to_known(rules, path, root=bucket_root(path))

    def _known(
        self, fields: Mapping[str, Any], rules: Rules
    ) -> tuple[dict[str, list[Prediction]], tuple[str, ...], str]:
        """Return the predictions for values that are known, ignored texts, and an error."""
        deliveries, error = self._deliveries(fields, rules)
        found: dict[str, list[Prediction]] = {}
        ignored: list[str] = []
        for source in flatten(fields, directory=self._run.directory)[0]:
            predictions = found.setdefault(source.field, [])
            delivered = deliveries.get((source.field, source.path), [])
            if delivered:
                predictions += [self._delivered(each, rules) for each in delivered]
                continue
            contents = scan(source)
            if source.is_bare_text and not contents.exists:
                ignored.append(f"{source.field}: {os.path.basename(source.path)}")
            else:
                self._add_missing(contents.problems)
                predictions += self._routed(source, rules, is_missing=not contents.exists)
        return found, tuple(ignored), error

    def _deliveries(
        self, fields: Mapping[str, Any], rules: Rules
    ) -> tuple[dict[tuple[str, str], list[Delivery]], str]:
        """Return what the sink's own plan delivers, by field and source, or its error."""
        deliveries: dict[tuple[str, str], list[Delivery]] = {}
        if self._unknown_inputs:
            return deliveries, ""  # its checks need whole destinations
        try:
            plan = make_valid_plan(
                fields,
                rules,
                inputs=known_inputs(self._sink.inputs),
                directory=self._run.directory,
            )
        except DataSinkError as error:
            return deliveries, _describe(error)
        self._add_missing(plan.missing)
        for delivery in dict.fromkeys(plan.deliveries):
            deliveries.setdefault((delivery.field, delivery.source), []).append(delivery)
        return deliveries, ""

    def _add_missing(self, problems: Iterable[Problem]) -> None:
        for problem in problems:
            if problem.missing:
                self._missing.setdefault((problem.field, problem.value), problem)

    def _delivered(self, delivery: Delivery, rules: Rules) -> Prediction:
        return Prediction(
            field=delivery.field,
            source=delivery.source,
            output=self._output(delivery.field),
            destination=delivery.destination,
            is_copy=delivery.location != rules.locations[0],
            transfers=delivery.transfers,
        )

    def _output(self, field: str) -> str:
        """Return the name of the output that is connected to a field; empty text if none is."""
        connections = self._run.connections.get(field)
        return connections[0].name if connections else ""

    def _routed(self, source: Source, rules: Rules, *, is_missing: bool) -> Iterator[Prediction]:
        """Yield the destinations of a path for which the sink makes no plan."""
        for location in rules.locations:
            with suppress(DestinationError):  # it is the error of the plan
                shown = self._destination(source.path, source.field, location, rules)
                yield Prediction(
                    field=source.field,
                    source=source.path,
                    output=self._output(source.field),
                    destination=shown.text,
                    is_known=shown.is_known,
                    has_folders=shown.has_folders,
                    hides_folders=shown.hides_folders,
                    is_missing=is_missing,
                    is_copy=location != rules.locations[0],
                    possible_destinations=frozenset({shown.text}),
                )

    def _unknown(self, field: str, rules: Rules) -> Iterator[Prediction]:
        """Yield the destinations of outputs of nodes that have not run."""
        for connection in self._unknown_connections.get(field, ()):
            if not connection.is_known:
                for location in rules.locations:
                    yield self._connected(connection, field, location, rules)

    def _connected(
        self, connection: Connection, field: str, location: Location, rules: Rules
    ) -> Prediction:
        directories = {origin.directory for origin in connection.origins}
        placeholder = TREE if any(each.has_folders for each in connection.origins) else NAME
        possible = [
            self._destination(
                f"{each or ''}/{placeholder}", field, location, rules, connection.name
            )
            for each in directories
        ]
        shown = possible[0]
        if len(set(possible)) > 1:
            shown = self._destination(f"/{TREE}", field, location, rules, connection.name)
        return Prediction(
            field=field,
            output=connection.name,
            destination=shown.text,
            is_known=shown.is_known,
            has_folders=shown.has_folders,
            hides_folders=shown.hides_folders,
            is_copy=location != rules.locations[0],
            possible_destinations=frozenset(each.text for each in possible),
            written_by=frozenset(
                (each.directory or each.node, connection.output) for each in connection.origins
            ),
        )

    def _destination(
        self, source: str, field: str, location: Location, rules: Rules, name: str = ""
    ) -> ShownDestination:
        """Return the destination of a path; `name` is that of its output, if it is not known."""
        path = location.resolve(route(source, field, location, rules))
        return self._unknown_inputs.show(path, location, name)
