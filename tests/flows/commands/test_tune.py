"""assay tune end to end: blocks, trials in MLflow, going on, and a configuration to train with."""

import re
import shutil
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from flows.commands.tune import configuration
from pipeline.settings.config import ModelConfig
from pipeline.settings.file import read_config
from tests.flows.assay import client_of, run

DAYS = ("--from", "2025-01-25", "--to", "2025-02-21")


@pytest.fixture
def config(small: Path, tmp_path: Path) -> Path:
    shutil.copy(small / "transactions.parquet", tmp_path)
    text = re.sub(r"# max_epochs = \d+", "max_epochs = 4", (small / "assay.toml").read_text())
    text = re.sub(r'families = \["committee".*\]', 'families = ["dense", "pca"]', text)
    text = re.sub(r"hidden = \[\[64\].*\]", "hidden = [[8], [16]]", text)
    path = tmp_path / "assay.toml"
    path.write_text(re.sub(r"\n\[tuning\.options.*?(?=\n\[report\])", "\n", text, flags=re.DOTALL))
    assert read_config(path).tuning.families == ("dense", "pca")
    return path


def test_tune_searches_logs_every_trial_goes_on_and_writes_a_configuration(config: Path) -> None:
    import mlflow

    first = run("tune", "--config", config, *DAYS, "--trials", "3")
    assert first.exit_code == 0, first.output
    words = " ".join(first.output.split())
    assert "left alone, to test on 2025-02-16 to 2025-02-21" in words
    assert "average precision" in words
    client = client_of(config.parent)
    (experiment,) = [each for each in client.search_experiments() if each.name == "transactions"]

    def logged() -> dict[str, mlflow.entities.Run]:
        found = client.search_runs([experiment.experiment_id], "tags.kind = 'trial'")
        return {each.data.tags["trial"]: each for each in found}

    assert logged().keys() == {"0", "1", "2"}
    out = config.parent / "tuned.toml"
    second = run("tune", "--config", config, *DAYS, "--trials", "5", "--out", out)
    assert second.exit_code == 0, second.output
    runs = logged()
    assert runs.keys() == {"0", "1", "2", "3", "4"}
    assert len({each.data.tags["mlflow.parentRunId"] for each in runs.values()}) == 1
    (parent,) = client.search_runs([experiment.experiment_id], "tags.kind = 'tuning'")
    best = max(runs.values(), key=lambda each: each.data.metrics.get("average_precision", -1))
    assert parent.data.metrics["best_average_precision"] == best.data.metrics["average_precision"]
    assert parent.info.status == "FINISHED"
    tuned, given = read_config(out), read_config(config)
    assert tuned.model.name == best.data.params["family"]
    assert tuned.model_copy(update={"model": given.model}) == given
    assert f"assay train --config {out}" in second.output.replace("\n", "")


def test_the_test_block_changes_nothing_of_what_is_chosen(config: Path) -> None:
    def chosen() -> ModelConfig:
        out = config.parent / "tuned.toml"
        result = run("tune", "--config", config, *DAYS, "--trials", "3", "--out", out)
        assert result.exit_code == 0, result.output
        return read_config(out).model

    before = chosen()
    rows = pq.read_table(config.parent / "transactions.parquet")
    tested = pc.greater_equal(pc.cast(rows["TX_DATETIME"], pa.date32()), date(2025, 2, 16))
    changes = {"TX_FRAUD": pc.subtract(1, rows["TX_FRAUD"]), "TX_AMOUNT": pc.multiply(rows["TX_AMOUNT"], 50.0)}
    for name, values in changes.items():
        place = rows.schema.get_field_index(name)
        mixed = pc.if_else(tested, values, rows[name]).cast(rows.schema.field(name).type)
        rows = rows.set_column(place, name, mixed)
    pq.write_table(rows, config.parent / "transactions.parquet")
    assert chosen() == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--out", "tuned.yaml"), "must name a .toml file beside"),
        (("--out", "/tmp/tuned.toml"), "must name a .toml file beside"),
        (("--from", "2025-02-21", "--to", "2025-02-20"), "comes after its last day 2025-02-20; swap --from and --to"),
        (("--from", "2025-02-20", "--to", "2025-02-21"), "2 days from 2025-02-20 to 2025-02-21 are too few"),
    ],
)
def test_mistakes_end_in_one_sentence(config: Path, words: tuple[str, ...], message: str) -> None:
    result = run("tune", "--config", config, *words)
    assert result.exit_code == 1
    assert message in " ".join(result.output.split())
    assert "Traceback" not in result.output


def test_a_configuration_keeps_its_comments_and_all_but_the_model() -> None:
    section = '[model]\n# Family\nname = "dense"  # chosen by us\nscore = "elbo"\ntrim = 0.1\n'
    text = f'# ours\nname = "cards"\n\n{section}\n[x]\na = 1\n'
    model = ModelConfig(name="memory", code_size=3, options={"bandwidth": 0.5, "n_prototypes": 512})
    made = configuration(text, model)
    assert made.startswith('# ours\nname = "cards"\n')
    for line in ('name = "memory"  # chosen by us', "code_size = 3", "trim = 0.0", "[x]\na = 1"):
        assert line in made
    assert "options = {bandwidth = 0.5, n_prototypes = 512}" in made
    assert "score" not in made
