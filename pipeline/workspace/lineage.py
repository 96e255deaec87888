"""What a run read and wrote, as events of OpenLineage: names of columns and counts, never a cell of any row.

The events follow version 2-0-2 of the specification (https://openlineage.io/spec/2-0-2/OpenLineage.json) and the
versions of its facets in `FACETS`. Their null counts are those of the Parquet files' footers, so that no row is read.
"""

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO, Literal
from urllib.parse import urlsplit
from uuid import uuid4

import pyarrow as pa
from filelock import FileLock, Timeout

from pipeline.errors import InputError, plain
from pipeline.settings.config import Config
from pipeline.settings.stores import is_address
from pipeline.tables.files import parquet_file, printable
from pipeline.workspace.folder import WorkFolder
from pipeline.workspace.posting import post

SPEC = "https://openlineage.io/spec"
FACETS = {
    "dataQualityMetrics": ("1-0-2", "DataQualityMetricsInputDatasetFacet"),
    "dataSource": ("1-0-1", "DatasourceDatasetFacet"),
    "errorMessage": ("1-0-1", "ErrorMessageRunFacet"),
    "jobType": ("2-0-3", "JobTypeJobFacet"),
    "nominalTime": ("1-0-1", "NominalTimeRunFacet"),
    "outputStatistics": ("1-0-2", "OutputStatisticsOutputDatasetFacet"),
    "parent": ("1-0-1", "ParentRunFacet"),
    "schema": ("1-1-1", "SchemaDatasetFacet"),
    "version": ("1-0-1", "DatasetVersionDatasetFacet"),
}
"""By name of a facet its version, and what the specification calls it."""
WAIT = 10
"""Seconds that an event waits for another process to have written its own."""

Job = Literal["train", "score"]
EventType = Literal["START", "COMPLETE", "ABORT", "FAIL"]
Facets = dict[str, dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What a Parquet file says of itself in its footer.

    Parameters
    ----------
    schema : pyarrow.Schema
    rows : int
    nulls : mapping of str to int
        Empty cells, of the columns where they were counted; NaN is none.
    """

    schema: pa.Schema
    rows: int
    nulls: Mapping[str, int]

    @classmethod
    def of(cls, path: Path) -> "Contents":
        """Read the footer of a file."""
        with parquet_file(path) as file:
            meta, schema = file.metadata, file.schema_arrow
            groups = [meta.row_group(number) for number in range(meta.num_row_groups)]
        nulls: dict[str, int] = {
            name: 0 for name, kind in zip(schema.names, schema.types, strict=True) if not pa.types.is_nested(kind)
        }
        for group in groups:
            for number in range(group.num_columns):
                column = group.column(number)
                name, counts = column.path_in_schema, column.statistics
                if counts is None or not counts.has_null_count:
                    nulls.pop(name, None)
                elif name in nulls:
                    nulls[name] += counts.null_count
        return cls(schema=schema, rows=meta.num_rows, nulls=nulls)


@dataclass(frozen=True, kw_only=True)
class Parent:
    """The run of a scheduler that started this one.

    Parameters
    ----------
    run_id : str
        A UUID.
    job : str
    due : datetime or None
        When it was to begin, with a zone.
    """

    run_id: str
    job: str
    due: datetime | None = None


@dataclass(kw_only=True)
class JobRun:
    """A run of a job on one table, and what is known of it so far. `event` says it.

    Parameters
    ----------
    config : Config
    job : {"train", "score"}
    source : Path or str
        The file or folder that is read, or its address in a store.
    parent : Parent or None
    id : str
        A UUID.
    accepted : Contents or None
        The rows of the source that validation accepted.
    outputs : list of Path
        Parquet files that were written.
    model_version : str
        That was made, or that scored; "" where it is not known yet.
    """

    config: Config
    job: Job
    source: Path | str
    parent: Parent | None = None
    id: str = field(default_factory=lambda: str(uuid4()))
    accepted: Contents | None = None
    outputs: list[Path] = field(default_factory=list)
    model_version: str = ""

    def take_in(self, accepted: Path) -> None:
        """Note what was accepted, while the file is there; of one that can't be read, nothing is told."""
        with suppress(OSError, pa.ArrowException):
            self.accepted = Contents.of(accepted)

    def event(self, kind: EventType, error: BaseException | None = None) -> dict[str, Any]:
        """Return an event of this run as JSON types.

        Parameters
        ----------
        kind : {"START", "COMPLETE", "ABORT", "FAIL"}
        error : exception, optional
            What it failed with. Only its kind is told: a message may name a cell.
        """
        namespace = self.config.lineage.namespace
        type_of = {"processingType": "BATCH", "integration": "ASSAY", "jobType": self.job.upper()}
        return {
            "eventType": kind,
            "eventTime": _moment(datetime.now(UTC)),
            "producer": _producer(),
            "schemaURL": f"{SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent",
            "run": {"runId": self.id, "facets": self._of_run(error)},
            "job": {
                "namespace": namespace,
                "name": f"{self.config.name}.{self.job}",
                "facets": _facets(jobType=type_of),
            },
            "inputs": [self._source(), *([self._model()] if self.job == "score" and self.model_version else [])],
            "outputs": [
                *map(_output, self.outputs),
                *([self._model()] if self.job == "train" and self.model_version else []),
            ],
        }

    def _of_run(self, error: BaseException | None) -> Facets:
        facets: dict[str, dict[str, Any]] = {}
        if self.parent:
            job = {"namespace": self.config.lineage.namespace, "name": self.parent.job}
            facets["parent"] = {"run": {"runId": self.parent.run_id}, "job": job}
            if self.parent.due:
                facets["nominalTime"] = {"nominalStartTime": _moment(self.parent.due)}
        if error is not None:
            facets["errorMessage"] = {"message": reason(error), "programmingLanguage": "PYTHON"}
        return _facets(**facets)

    def _source(self) -> dict[str, Any]:
        dataset, contents = _file(self.source), self.accepted
        if contents is None:
            return dataset
        dataset["facets"] |= _facets(schema=_schema(contents.schema))
        columns: dict[str, dict[str, int]] = {
            name: {"nullCount": count, "count": contents.rows - count} for name, count in contents.nulls.items()
        }
        key = self.config.contract.id  # the one column of which no value comes twice
        if key in columns:
            columns[key]["distinctCount"] = columns[key]["count"]
        counts = {"rowCount": contents.rows, "columnMetrics": columns}
        return {**dataset, "inputFacets": _facets(dataQualityMetrics=counts)}

    def _model(self) -> dict[str, Any]:
        return {
            "namespace": self.config.lineage.namespace,
            "name": f"{self.config.name}.model",
            "facets": _facets(version={"datasetVersion": self.model_version}),
        }


class LineageLog:
    """Where the events of a table's runs go: a file a month, and the address of ``lineage.url``.

    Parameters
    ----------
    config : Config
    """

    def __init__(self, config: Config) -> None:
        self._settings, self._folder = config.lineage, WorkFolder(config).lineage
        self._is_down = False

    @property
    def is_on(self) -> bool:
        """Whether events are kept or sent at all."""
        return self._settings.enabled or bool(self._settings.url)

    def put(self, event: Mapping[str, Any]) -> list[str]:
        """Keep an event, and send it.

        Returns
        -------
        list of str
            What failed, a sentence each. Once an event could not be sent, no later one is: one address that is down
            shall not hold up ten thousand files.
        """
        line = json.dumps(event).encode()
        faults = self._keep(line, str(event["eventTime"])[:7]) if self._settings.enabled else []
        if self._settings.url and not self._is_down:
            fault = self._send(line)
            self._is_down = bool(fault)
            faults += [fault] if fault else []
        return faults

    def _keep(self, line: bytes, month: str) -> list[str]:
        path = self._folder / f"{month}.ndjson"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self._folder / ".lock", timeout=WAIT), path.open("a+b") as stream:
                _append(stream, line + b"\n")
        except Timeout:
            return [
                f"{path} is held by another process for {WAIT} seconds, so an event is not in it; see what holds it"
            ]
        except OSError as error:
            return [f"{path} can't be written to ({error.strerror}), so an event is not in it; mend that"]
        return []

    def _send(self, body: bytes) -> str:
        url, name = self._settings.url, self._settings.key
        host, headers = urlsplit(url).hostname, {"content-type": "application/json"}
        then = "no more events are sent by this run"
        if name:
            key = os.environ.get(name, "").strip()
            if not key or not key.isascii() or not key.isprintable():
                return f"the environment variable {name} of lineage.key is not set to a key; set it; {then}"
            headers["authorization"] = f"Bearer {key}"
        try:
            status = post(url, body, headers, timeout=self._settings.timeout_seconds)
        except OSError as error:
            return f"{host} of lineage.url did not take an event ({error or type(error).__name__}); {then}"
        return "" if 200 <= status < 300 else f"{host} of lineage.url answered {status} to an event; {then}"


def reason(error: BaseException) -> str:
    """Return why a run failed in words that hold nothing of any row: a message for the user may name a cell.

    Examples
    --------
    >>> reason(InputError("in.csv: row 7 has 'secret' as its amount"))
    'the table was refused (InputError); assay status says why'
    >>> reason(MemoryError())
    'the run ended early (MemoryError); assay status says why'
    """
    what = "the table was refused" if isinstance(error, InputError) else "the run ended early"
    return f"{what} ({type(error).__name__}); assay status says why"


def _append(stream: BinaryIO, line: bytes) -> None:
    """Write a line to the end of a file, whole or not at all, also behind what a power cut has left of another."""
    end = stream.seek(0, os.SEEK_END)
    if end:
        stream.seek(end - 1)
        if stream.read(1) != b"\n":
            stream.seek(0)
            end = stream.read().rfind(b"\n") + 1
            stream.truncate(end)
    try:
        stream.write(line)
        stream.flush()
    except OSError:
        stream.truncate(end)
        raise


def _facets(**facets: Mapping[str, Any]) -> Facets:
    """Return facets with what each must say of itself."""
    return {
        name: {"_producer": _producer(), "_schemaURL": _schema_url(*FACETS[name]), **values}
        for name, values in facets.items()
    }


def _schema_url(number: str, kind: str) -> str:
    return f"{SPEC}/facets/{number}/{kind}.json#/$defs/{kind}"


def _producer() -> str:
    return f"urn:assay:{version('assay')}"


def _file(path: Path | str) -> dict[str, Any]:
    if is_address(str(path)):  # https://openlineage.io/docs/spec/naming
        parts = urlsplit(str(path))
        return {
            "namespace": f"{parts.scheme}://{parts.netloc}",
            "name": plain(parts.path.lstrip("/")),
            "facets": _facets(dataSource={"name": plain(parts.path.rpartition("/")[2]), "uri": plain(str(path))}),
        }
    place = Path(path).absolute()
    return {
        "namespace": "file",
        "name": plain(printable(place)),
        "facets": _facets(dataSource={"name": plain(printable(Path(place.name))), "uri": place.as_uri()}),
    }


def _output(path: Path) -> dict[str, Any]:
    dataset, contents = _file(path), Contents.of(path)
    dataset["facets"] |= _facets(schema=_schema(contents.schema))
    size = path.stat().st_size
    return {**dataset, "outputFacets": _facets(outputStatistics={"rowCount": contents.rows, "size": size})}


def _schema(schema: pa.Schema) -> dict[str, Sequence[Mapping[str, str]]]:
    return {"fields": [{"name": column.name, "type": str(column.type)} for column in schema]}


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
