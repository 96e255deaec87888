import optuna
import pytest

from pipeline.errors import ConfigError
from pipeline.selection.search_space import check_space, settings_of, suggest
from pipeline.settings.config import Config
from tests.pipeline.fitted import config


def space(**tuning):
    return config(tuning=tuning, model={"options": {"noise": 0.1}, "hidden": (16,), "code_size": 6})


def trials(settings: Config, number=40):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(number):
        yield study.ask()


def test_every_family_gets_the_settings_it_takes_and_no_other():
    settings = space(families=("denoising", "linear", "knn"), options={"knn": {"n_neighbors": [1, 50]}})
    check_space(settings)
    seen = set()
    for trial in trials(settings):
        model = suggest(trial, settings)
        seen.add(model.name)
        assert model == settings_of(trial, settings)
        if model.name == "denoising":
            assert model.hidden in {(64,), (128,), (256,), (128, 64)}
            assert 2 <= model.code_size <= 64
            assert 0.0005 <= model.learning_rate <= 0.01
            assert model.options == {"noise": 0.1}  # the family of [model] keeps its own options
            assert model.max_epochs == 6
        elif model.name == "linear":
            assert model.hidden is None
            assert model.options == {}
        else:
            assert (model.code_size, model.learning_rate) == (None, None)
            assert 1 <= model.options["n_neighbors"] <= 50
    assert seen == {"denoising", "linear", "knn"}


def test_ranges_are_drawn_in_factors_and_lists_as_they_are():
    options = {"noise": [0.001, 1.0]}
    settings = space(families=("denoising",), hidden=(), code_size=(), learning_rate=(), options={"denoising": options})
    noises = sorted(suggest(trial, settings).options["noise"] for trial in trials(settings, 200))
    assert sum(noise < 0.0316 for noise in noises) == pytest.approx(100, abs=25)  # half of them below the middle factor
    assert suggest(next(trials(settings)), settings).hidden == (16,)
    options = {"noise": [0.1, 0.2, 0.4], "scale_loss": [True, False]}
    listed = space(families=("denoising",), options={"denoising": options})
    check_space(listed)
    found = [suggest(trial, listed).options for trial in trials(listed)]
    assert {each["noise"] for each in found} == {0.1, 0.2, 0.4}
    assert {each["scale_loss"] for each in found} == {True, False}


@pytest.mark.parametrize(
    ("tuning", "message"),
    [
        ({"families": ("denosing",)}, "'denosing' is no family of models; did you mean 'denoising'"),
        ({"families": ("dense",), "options": {"dense": {"noise": [1.0, 2.0]}}}, "noise = 1.0 is no option of 'dense'"),
        ({"families": ("dense",), "options": {"knn": {"n_neighbors": [1]}}}, "names 'knn', which is not among"),
    ],
)
def test_what_is_not_there_is_refused_before_anything_is_read(tuning, message):
    with pytest.raises(ConfigError, match=message):
        check_space(space(**tuning))
