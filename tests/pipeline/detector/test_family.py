"""Which model a configuration gives, and what it may not ask for."""

import inspect
import re
import sys
import tomllib
from pathlib import Path

import pytest

from models.registry import MODELS, model_class
from pipeline.detector.family import build_model, can_ignore, parameters_of
from pipeline.errors import ConfigError
from pipeline.settings.config import ModelConfig
from tests.processes import run


def built(name, **settings):
    return build_model(ModelConfig(name=name, **settings))


@pytest.mark.parametrize("name", MODELS)
def test_every_family_can_be_named_and_settings_left_out_are_its_own(name):
    model, plain = built(name), model_class(name)()
    assert type(model) is type(plain)
    changed = {key for key, value in parameters_of(model).items() if value != getattr(plain, key)}
    assert changed == ({"noise", "learning_rate"} if name == "denoising" else set())
    assert name in ModelConfig.model_fields["name"].description


def test_the_denoising_noise_is_small_unless_the_configuration_says_otherwise():
    assert built("denoising").noise == 0.02
    assert built("denoising", options={"noise": 0.3, "corruption": "masking"}).corruption == "masking"
    assert built("denoising", options={"noise": 0.3}).noise == 0.3


@pytest.mark.parametrize("name", MODELS)
def test_shared_settings_reach_every_family_that_has_them(name):
    given = {"hidden": (7, 5), "code_size": 3, "loss": "huber", "batch_size": 64, "learning_rate": 0.02}
    given |= {"max_epochs": 9, "patience": 2, "seed": 11}
    model, taken = built(name, **given), inspect.signature(model_class(name)).parameters
    for setting, value in given.items():
        parameter = {"seed": "random_state"}.get(setting, setting)
        assert (parameter in taken) == hasattr(model, parameter)
        assert getattr(model, parameter, value) == value


def test_the_columns_groups_reach_a_loss_by_column_type_only():
    groups = [("number", 2), ("category", 3)]
    assert build_model(ModelConfig(name="dense", loss="mixed"), groups).column_groups == groups
    assert build_model(ModelConfig(name="dense", loss="squared"), groups).column_groups is None
    assert build_model(ModelConfig(name="variational"), groups).column_groups is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "denoisng"}, "model.name = 'denoisng' is no family of models; did you mean 'denoising'?"),
        ({"name": "xgboost"}, "model.name = 'xgboost' is no family of models; valid are denoising, dense, linear"),
        (
            {"name": "sparse", "options": {"targt": 0.1}},
            "model.options.targt = 0.1 is no option of 'sparse'; did you mean 'target'?",
        ),
        (
            {"name": "variational", "options": {"noise": 0.1}},
            "model.options.noise = 0.1 is no option of 'variational'; valid are scale_loss, decoder, beta, n_draws",
        ),
        (
            {"name": "knn", "options": {"k": 3}},
            "model.options.k = 3 is no option of 'knn'; valid are n_neighbors",
        ),
        (
            {"name": "sparse", "options": {"target": "small"}},
            "model.options.target = 'small' of 'sparse': input should be a valid number",
        ),
        (
            {"name": "dense", "options": {"code_size": 3}},
            "model.options.code_size = 3 is no option of 'dense', but a setting: write it as model.code_size",
        ),
        (
            {"name": "dense", "options": {"random_state": 3}},
            "model.options.random_state = 3 is no option of 'dense', but a setting: write it as model.seed",
        ),
        ({"name": "dense", "options": {"checkpoint": "x"}}, "model.options.checkpoint = 'x' is no option of 'dense'"),
        ({"name": "dense", "score": "elbo"}, "model.score = 'elbo' is no score of 'dense'; valid are mean_squared"),
        (
            {"name": "variational", "score": "elbow"},
            "model.score = 'elbow' is no score of 'variational'; did you mean 'elbo'?",
        ),
        ({"name": "knn", "trim": 0.1}, "model.trim = 0.1 asks for a second fit, which 'knn' does not have"),
    ],
)
def test_what_a_family_does_not_have_is_refused_in_one_sentence(settings, message):
    with pytest.raises(ConfigError, match="^" + re.escape(message)) as caught:
        build_model(ModelConfig(**settings))
    assert "\n" not in str(caught.value)


def test_a_score_that_only_one_family_has_is_taken_by_it():
    assert built("variational", score="reconstruction_probability").residual_score == "reconstruction_probability"


def test_the_committee_can_leave_columns_of_its_matrix_out():
    assert can_ignore(ModelConfig(name="committee"))
    assert not can_ignore(ModelConfig(name="denoising"))
    assert not can_ignore(ModelConfig(name="none such"))


def test_reading_a_configuration_does_not_import_the_library():
    code = "import sys; import pipeline.settings.file, pipeline.detector.family; sys.exit('torch' in sys.modules)"
    assert run(sys.executable, "-c", code).status == 0


def test_the_section_that_the_documentation_shows_gives_a_model():
    page = (Path(__file__).parents[3] / "docs" / "data-scientist.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```toml\n(\[model\].*?)```", page, re.DOTALL)
    model = build_model(ModelConfig.model_validate(tomllib.loads(block)["model"]))
    assert (type(model).__name__, model.hidden, model.beta) == ("VariationalAutoencoder", (64, 32), 0.5)
    assert all(f"`{name}`" in page for name in MODELS)
