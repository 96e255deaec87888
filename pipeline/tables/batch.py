"""A batch: a file or folder and the period asked of it, known by its content."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pipeline.errors import InputError
from pipeline.settings.config import Config, TableConfig
from pipeline.settings.contract import Contract
from pipeline.tables.manifest import beside
from pipeline.tables.period import Period
from pipeline.tables.reading import Table, content_digest, open_table

WHOLE = Period(None, None)
"""The period of a batch of which nothing is left out."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """A file or folder, and the period asked of it.

    Parameters
    ----------
    path : Path
        The file or folder.
    period : Period
        The rows that are asked for.
    digest : str
        SHA-256 of the content. A table that can't be read has the digest of the reason, so that it is refused once.
    id : str
        `batch_id`: the same content, period and contract have the same one, whatever the file's name.
    settings : TableConfig
        How CSV files are read.
    rules : str
        `rules_digest` of the settings that it is read and judged by.
    source : str
        Address in a store that ``path`` is a copy of; empty for a file that is its own.
    """

    path: Path
    period: Period
    digest: str
    id: str
    settings: TableConfig
    rules: str = ""
    source: str = ""

    @classmethod
    def of(cls, path: str | Path, config: Config, period: Period = WHOLE, *, source: str = "") -> Self:
        """Return the batch of a path; its content is read once, for the digest, and nothing is refused yet.

        Raises
        ------
        ResourceError
            When the path does not exist or may not be read.
        """
        try:
            digest = content_digest(path, config.table)
        except InputError as error:
            digest = hashlib.sha256(str(error).encode()).hexdigest()
        name = batch_id(digest, period, config.contract)
        manifest = beside(Path(path), config.incoming.manifest) if config.incoming.manifest else None
        rules = rules_digest(config)
        if manifest:  # a delivery that does not add up may be mended there
            rules = with_manifest(rules, hashlib.sha256(manifest.read_bytes()).hexdigest())
        return cls(
            path=Path(path), period=period, digest=digest, id=name, settings=config.table, rules=rules, source=source
        )

    def named(self, text: str) -> str:
        """Return a sentence about a copy with the address of what it is a copy of."""
        return text.replace(str(self.path), self.source) if self.source else text

    def open(self) -> Table:
        """Return the table, opened and not read.

        Raises
        ------
        InputError
            When it can't be read, with the reason in one sentence.
        """
        return open_table(self.path, self.settings)


def with_manifest(rules: str, manifest: str) -> str:
    """Return the digest of the rules of a delivery that has a manifest, of which the SHA-256 is given."""
    return hashlib.sha256(f"{rules} {manifest}".encode()).hexdigest()


def batch_id(digest: str, period: Period, contract: Contract) -> str:
    """Return the name of a batch: a hash of its content, the period asked of it, and the contract.

    Parameters
    ----------
    digest : str
        Digest of the content, from ``Table.digest``.
    period : Period
    contract : Contract

    Returns
    -------
    str
        16 hexadecimal digits.

    Examples
    --------
    >>> from datetime import datetime
    >>> contract = Contract(id="tx", timestamp="at", amount="eur")
    >>> name = batch_id("ab12", WHOLE, contract)
    >>> name == batch_id("ab12", WHOLE, contract)
    True
    >>> name == batch_id("ab12", Period(datetime(2025, 1, 1), None), contract)
    False
    """
    parts = {
        "digest": digest,
        "period": [str(moment) for moment in (period.start, period.end)],
        "contract": contract.model_dump(mode="json"),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def rules_digest(config: Config) -> str:
    """Return a digest of the settings that a batch is read and judged by, the text of the table's own suite included.

    A batch that was refused may pass once it is another one; where things lie, and how many rows are read at a time, is
    not in it.

    Parameters
    ----------
    config : Config

    Returns
    -------
    str
        64 hexadecimal digits.

    Examples
    --------
    >>> config = Config.model_validate({"contract": {"id": "tx", "timestamp": "at", "amount": "eur"}})
    >>> mended = config.model_copy(update={"table": TableConfig(decimal=",")})
    >>> moved = config.model_copy(update={"table": TableConfig(path="tx.csv")})
    >>> rules_digest(config) == rules_digest(moved), rules_digest(config) == rules_digest(mended)
    (True, False)
    """
    suite = Path(config.validation.suite)
    parts = {
        "table": config.table.model_dump(mode="json", exclude={"path", "incoming"}),
        "contract": config.contract.model_dump(mode="json"),
        "validation": config.validation.model_dump(mode="json", exclude={"suite", "batch_rows"}),
        "suite": suite.read_bytes().hex() if suite.is_file() else "",
        **({"stop_on": sorted(config.monitor.stop_on)} if config.monitor.stop_on else {}),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
