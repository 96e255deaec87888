"""Versions that share another one's weights: what they were derived from, and which others do."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.settings.config import Config
from pipeline.tracking.client import resolve_version, start, store_answering

if TYPE_CHECKING:
    import pandas as pd

WEIGHTS_OF = "weights_of"


@dataclass(frozen=True)
class Origin:
    """An origin: a registered version that another one is derived from.

    Attributes
    ----------
    version, run_id : str
    weights_of : str
        The version whose training made the weights: itself, where it was not derived.
    sharing : frozenset of str
        Every version with these weights, so that their scores are the same.
    data_digest, history : str
        As its run has them.
    input_example : pandas.DataFrame
        A few rows in the contract's columns, sensitive ones masked.
    """

    version: str
    run_id: str
    weights_of: str
    sharing: frozenset[str]
    data_digest: str
    history: str
    input_example: "pd.DataFrame"


def origin(config: Config, version: str) -> Origin:
    """Return what a version (a number or an alias) is, for one to be derived from it.

    Raises
    ------
    AssayError
        When there is no such version.
    StoreError
        When the store does not answer.
    """
    client = start(config)
    from mlflow.models import Model

    with store_answering(config):
        number = resolve_version(client, config, version)
        roots = {
            str(entry.version): entry.tags.get(WEIGHTS_OF, str(entry.version))
            for entry in client.search_model_versions(f"name = '{config.name}'")
        }
        run_id = client.get_model_version(config.name, number).run_id or ""
        tags = client.get_run(run_id).data.tags
        uri = f"models:/{config.name}/{number}"
        example: Any = Model.load(uri).load_input_example(uri)
    return Origin(
        version=number,
        run_id=run_id,
        weights_of=roots[number],
        sharing=frozenset(other for other, root in roots.items() if root == roots[number]),
        data_digest=tags.get("data_digest", ""),
        history=tags.get("history", ""),
        input_example=example,
    )
