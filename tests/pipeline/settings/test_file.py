import json
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel

from pipeline.errors import ConfigError
from pipeline.settings.config import Config
from pipeline.settings.file import read_config, with_settings, write_config

BASE = {"contract": {"id": "tx", "timestamp": "at", "amount": "eur"}}
TOML = '[contract]\nid = "tx"\ntimestamp = "at"\namount = "eur"\n'


def settings_of(section: BaseModel, prefix: str = "") -> dict[str, object]:
    found = {}
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            found |= settings_of(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


def write(folder: Path, text: str) -> Path:
    path = folder / "assay.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_setting_is_in_the_file_with_its_description():
    config = Config.model_validate(BASE)
    text = write_config(config)
    raw = tomllib.loads(text)
    for key, value in settings_of(config).items():
        *sections, name = key.split(".")
        found = raw
        for section in sections:
            found = found[section]
        if value is None:
            examples = {"hidden": "[128]", "code_size": "64", "loss": '"squared"', "score": '"mahalanobis"'}
            examples |= {"batch_size": "512", "learning_rate": "0.003", "max_epochs": "30", "patience": "5"}
            shown = examples.get(name, '""')
            assert f"# {name} = {shown}\n" in text
        else:
            assert found[name] in (value, json.loads(json.dumps(value, default=str))), key
    assert "# Share of normal rows flagged by mistake" in text


def test_what_was_written_is_read_again(tmp_path):
    config = Config.model_validate(
        {
            "name": "cards",
            "contract": {
                "id": 'a.b"c',
                "timestamp": "x\ny",
                "amount": "=1",
                "entities": ["ü [x]", "#c"],
                "label": "fraud",
                "ignored": ["'q'", "\\back\t"],
                "sensitive": ["#c"],
                "types": {'a.b"c': "integer", "ü [x]": "text"},
            },
            "table": {"delimiter": "\t", "decimal": ",", "time_zone": "Europe/Berlin"},
            "columns": {"=1": {"title": "<b>", "unit": "€"}, "ü [x]": {"description": '"""'}},
            "features": {"windows_days": [1, 3]},
            "model": {
                "name": "sparse",
                "hidden": [],
                "score": "normalised",
                "options": {"target": 0.1, "penalty": "kl", "decoder": [8, 9], "scale_loss": True},
            },
            "threshold": {"strategy": "capacity", "alerts_per_day": 12.5},
            "training": {"allow_giveaway": ["case"]},
        }
    )
    found = read_config(write(tmp_path, write_config(config)))
    changed = {"work_dir", "table.path", "table.incoming", "validation.suite"}
    expected, got = settings_of(config), settings_of(found)
    assert {k: v for k, v in got.items() if k not in changed} == {k: v for k, v in expected.items() if k not in changed}


def test_reasons_stand_above_their_role_and_cannot_break_the_file(tmp_path):
    config = Config.model_validate(BASE)
    text = write_config(config, {"id": "comes once\nid = 7", "model": "no role"})
    assert "#   chosen: comes once" in text
    assert text.index("chosen: comes once") < text.index('id = "tx"')
    assert "no role" not in text
    assert read_config(write(tmp_path, text)).contract == config.contract


def test_relative_paths_start_at_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    sections = '[table]\npath = "../t.csv"\n[validation]\nsuite = "s.json"\n[metrics]\npath = "a.prom"\n'
    config = read_config(write(tmp_path, f'work_dir = "w"\n{TOML}{sections}'))
    assert config.work_dir == str(tmp_path / "w")
    assert config.metrics.path == str(tmp_path / "a.prom")
    assert config.table.path == str(tmp_path.parent / "t.csv")
    assert config.table.incoming == str(tmp_path / "incoming")
    assert config.validation.suite == str(tmp_path / "s.json")
    assert read_config(write(tmp_path, TOML)).table.path == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{TOML}[modle]\nx = 1", "unknown key 'modle'; did you mean 'model'"),
        (f"{TOML}[model]\ncodesize = 1", "unknown key 'model.codesize'; did you mean 'code_size'"),
        (f"{TOML}[model]\nzzz = 1", "unknown key 'model.zzz'; valid are name, hidden, code_size"),
        (f"{TOML}[columns.tx]\ntitel = 1", "unknown key 'columns.tx.titel'; did you mean 'title'"),
        (f'{TOML}[columns.tx]\ntitle = "a\\u202eb"', "columns.tx.title = 'a\\u202eb': the sign U+202E cannot be seen"),
        (f"{TOML}[model]\nzzz = 1", "trim, options (what only one family has goes into model.options)"),
        (f"{TOML}[model]\ntrim = 0.5", "model.trim = 0.5: input should be less than 0.5"),
        (f"{TOML}entitys = ['a']", "unknown key 'contract.entitys'; did you mean 'entities'"),
        ("", "'contract' is missing; add it, or make the file again with assay init"),
        ('[contract]\nid = "tx"', "'contract.timestamp' is missing"),
        (f"{TOML}numeric = ['eur']", "column 'eur' is named in two roles"),
        (f"{TOML}[table]\ntime_zone = 'Europe/Berlim'", "is no time zone; did you mean 'Europe/Berlin'"),
        (f"{TOML}[table]\ndelimiter = '\"'", "table.delimiter = '\"': '\"' cannot separate cells"),
        (f"{TOML}[table]\ndelimiter = '§'", "'§' cannot separate cells"),
        (f"{TOML}[validation]\nmax_rejected = 5", "validation.max_rejected = 5: input should be less than"),
        (f"{TOML}[threshold]\nstrategy = 'best'", "threshold.strategy = 'best': input should be"),
        (f"{TOML}[features]\nwindows_days = [0]", "features.windows_days.0 = 0: input should be greater"),
        (f"{TOML}[features]\nfamilies = ['chnge']", "'chnge' is no family of features; did you mean 'change'"),
        (
            f"{TOML}entities = ['a', 'b']\n[features]\nfamilies = ['risk:c']",
            "'risk:c', but the contract's entities are",
        ),
        (f"{TOML}entities = ['a', 'b']\n[features]\nfamilies = ['risk:a+a']", "'risk:a+a', but the contract's"),
        (f"{TOML}[encoding]\nbound = 3", "encoding.bound = 3: input should be greater than or equal to 10"),
        ("work_dir = ' '\n" + TOML, "work_dir is empty; name a folder"),
        ("x = = 1", "is not a valid TOML file"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path, text, message):
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as error:
        read_config(path)
    assert str(error.value).startswith(str(path))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_and_undecodable_files(tmp_path):
    with pytest.raises(ConfigError, match="does not exist; make a configuration with: assay init"):
        read_config(tmp_path / "none.toml")
    path = tmp_path / "latin.toml"
    path.write_bytes("name = 'ä'".encode("latin-1"))
    with pytest.raises(ConfigError, match="is not a valid TOML file"):
        read_config(path)


def test_an_unknown_key_is_told_before_other_mistakes(tmp_path):
    with pytest.raises(ConfigError, match="unknown key 'modle'"):
        read_config(write(tmp_path, '[contract]\nid = "a"\n[modle]\n'))


def test_settings_are_changed_one_by_one_and_the_others_stay():
    config = Config.model_validate({**BASE, "model": {"name": "dense", "seed": 3}})
    changed = with_settings(config, model={"seed": 4}, threshold={"alerts_per_day": 7}, name="cards")
    expected = {**BASE, "name": "cards", "model": {"name": "dense", "seed": 4}, "threshold": {"alerts_per_day": 7}}
    assert changed == Config.model_validate(expected)
    assert config.model.seed == 3


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"modle": {"seed": 1}}, "^unknown key 'modle'; did you mean 'model'"),
        ({"model": {"sed": 1}}, r"^unknown key 'model\.sed'; did you mean 'seed'"),
        ({"model": {"seed": -1}}, r"^model\.seed = -1: "),
        ({"threshold": {"segment": "channel"}}, "^threshold.segment is 'channel'"),
    ],
)
def test_a_changed_setting_is_checked_as_one_of_a_file(sections, message):
    with pytest.raises(ConfigError, match=message):
        with_settings(Config.model_validate(BASE), **sections)
