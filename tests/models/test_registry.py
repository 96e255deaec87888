import json

import numpy as np
import pytest

from models.baselines import NearestNeighbours, PrincipalComponents
from models.denoising import DenoisingAutoencoder
from models.registry import load, model_class


def test_a_short_name_gives_its_class():
    assert model_class("denoising") is DenoisingAutoencoder
    assert model_class("knn") is NearestNeighbours
    with pytest.raises(ValueError, match="there is no model 'pca2'; known are denoising"):
        model_class("pca2")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 1}, "has format 1, and this version reads 3"),
        ({"format": None}, "has format None"),
        ({"class": "Popen"}, "names the class 'Popen'; known are DenoisingAutoencoder"),
        ({"class": "os.system"}, "names the class 'os.system'"),
    ],
)
def test_a_foreign_artefact_is_refused(changes, message, tmp_path):
    PrincipalComponents().fit(np.eye(3)).save(tmp_path)
    described = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps(described | changes))
    with pytest.raises(ValueError, match=message):
        load(tmp_path)
