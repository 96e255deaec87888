"""The walls between the rooms: who may import whom, no pickle in the packages, and tests that mirror them."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("models", "pipeline", "flows", "expectations")
# What each package may not import, whatever the file.
FORBIDDEN = {
    "models": {"pipeline", "flows", "expectations"},
    "expectations": {"pipeline", "flows", "models"},
    "pipeline": {"flows"},
    "flows": set(),
}
# Where a name may be imported, by the beginning of the file's path.
ONLY_IN = {
    "prefect": ("flows/",),
    "mlflow": ("pipeline/tracking/",),
    "great_expectations": ("expectations/", "pipeline/validation/"),
    "expectations": ("expectations/", "pipeline/validation/"),
    "fastapi": ("pipeline/review/",),
    "fsspec": ("pipeline/workspace/",),
    "pyspark": ("pipeline/tables/spark.py", "pipeline/features/spark.py", "pipeline/features/bucketed.py"),
    "py4j": ("pipeline/tables/spark.py",),
}
# The rooms of pipeline/ in the order of the data's way: a room imports those before it, and itself.
ORDER = [
    *("errors", "numbers", "settings", "tables", "validation", "inference", "labels", "workspace"),
    *("features", "intake", "calibration", "detector", "tracking", "scoring", "evaluation"),
    *("monitoring", "selection", "pages", "review", "upkeep", "simulation"),
]
# Files of tests that mirror no file of the packages, and why.
OF_NO_ONE_FILE = {
    "tests/flows/test_audit.py": "scoring, then the labels from review",
    "tests/flows/test_bad_input.py": "bad input to scoring and to training",
    "tests/flows/test_engines.py": "scoring by Spark, from file to alerts",
    "tests/flows/test_faults.py": "scoring that fails or is killed wherever it touches the disk",
    "tests/flows/test_faults_of_versions.py": "training, threshold and search that fail or are killed anywhere",
    "tests/flows/test_models.py": "training, scoring and the commands that show rows, one after the other",
    "tests/flows/test_runners.py": "several runners on one folder, on one host and on several",
    "tests/flows/test_what_people_see.py": "hostile and sensitive values through training, scoring and other commands",
    "tests/models/test_device.py": "every model trained on a device that is not the CPU",
    "tests/models/test_every_model.py": "what every model does alike",
    "tests/models/test_surface.py": "what importing the package gives, and what it costs",
    "tests/pipeline/detector/test_memory.py": "the memory of a fit, to which the encoder, the parts and models/ add",
    "tests/pipeline/review/web/test_browser.py": "the desk in a real browser: templates, style and scripts",
    "tests/pipeline/review/web/test_fuzz.py": "the API against its own description",
    "tests/pipeline/review/web/test_hostile.py": "hostile cells through queue, alert, exports, packet and report",
    "tests/pipeline/test_surface.py": "what importing the package gives, and what it costs",
}
PICKLES = {"pickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
PICKLING = {"torch.save", "torch.load", "pandas.read_pickle", "torch.jit.save", "torch.jit.load"}


def imported(tree: ast.AST, path: str) -> Iterator[tuple[str, str]]:
    """Yield each module or name that a file imports, at any depth, with the name it is bound to."""
    package = path.split("/")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.split(".")[0]
                yield (alias.name, alias.asname) if alias.asname else (alias.name, top)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                yield f"{base}.{alias.name}", alias.asname or alias.name
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = ast.unparse(node.func).split(".")[-1]
            if called in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                yield node.args[0].value, ""


def is_against_the_order(path: str, module: str) -> bool:
    """Whether a file of pipeline/ imports a room that comes after its own."""
    own, other = (
        words[1].removesuffix(".py") if len(words) > 1 else "" for words in (path.split("/"), module.split("."))
    )
    if not (path.startswith("pipeline/") and module.startswith("pipeline.") and own in ORDER and other in ORDER):
        return False
    return ORDER.index(other) > ORDER.index(own)


def violations(path: str, source: str) -> list[str]:
    """Return what a file of the packages imports or calls against the rules, `path` relative to the root."""
    tree = ast.parse(source)
    found = []
    bound = {}
    for module, name in imported(tree, path):
        top = module.split(".")[0]
        bound[name] = module if "." not in module or name != top else top
        if top in FORBIDDEN[path.split("/", maxsplit=1)[0]]:
            found.append(f"{path} imports {module}")
        elif top in ONLY_IN and not path.startswith(ONLY_IN[top]):
            found.append(f"{path} imports {module}, which only {' and '.join(ONLY_IN[top])} may")
        elif top in PICKLES:
            found.append(f"{path} imports {module}")
        elif is_against_the_order(path, module):
            found.append(f"{path} imports {module}, which comes after it in the order of the rooms")
        if module in PICKLING:
            found.append(f"{path} imports {module}")
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            first, _, rest = ast.unparse(node).partition(".")
            if f"{bound.get(first, first)}.{rest}" in PICKLING or node.attr == "to_pickle":
                found.append(f"{path} uses {ast.unparse(node)}")
        elif isinstance(node, ast.keyword) and (node.arg, ast.unparse(node.value)) == ("allow_pickle", "True"):
            found.append(f"{path} allows pickle")
    return found


def files() -> list[str]:
    return [
        file.relative_to(ROOT).as_posix() for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))
    ]


def test_every_package_is_looked_at() -> None:
    seen = {path.split("/")[0] for path in files()}
    assert seen == set(PACKAGES)
    assert {"pipeline/tracking/store.py", "pipeline/workspace/ledger.py"} <= set(files())


def test_every_room_has_its_place_in_the_order() -> None:
    names = {path.split("/")[1].removesuffix(".py") for path in files() if path.startswith("pipeline/")}
    assert names - {"__init__"} == set(ORDER)


def test_every_file_of_tests_mirrors_a_file_or_has_a_reason_not_to() -> None:
    mirrored = {f"tests/{folder}/test_{name}" for folder, _, name in (path.rpartition("/") for path in files())}
    tests = (file for package in PACKAGES for file in (ROOT / "tests" / package).rglob("test_*.py"))
    assert {file.relative_to(ROOT).as_posix() for file in tests} - mirrored == set(OF_NO_ONE_FILE)


def circles(imports: dict[str, set[str]]) -> list[str]:
    """Return the files that can be reached from themselves, by their imports."""
    found = []
    for start, first in imports.items():
        seen: set[str] = set()
        ahead = set(first)
        while ahead:
            file = ahead.pop()
            seen.add(file)
            ahead |= imports.get(file, set()) - seen
        found += [start] if start in seen else []
    return found


def test_no_file_imports_itself_in_a_circle() -> None:
    modules = {path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): path for path in files()}
    imports = {}
    for module, path in modules.items():
        names = [name for name, _ in imported(ast.parse((ROOT / path).read_text(encoding="utf-8")), path)]
        owners = {name if name in modules else name.rpartition(".")[0] for name in names}
        imports[module] = (owners & set(modules)) - {module}
    assert circles(imports) == []
    assert sorted(circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()})) == ["b", "c"]


def test_no_file_reaches_over_a_wall() -> None:
    found = [line for path in files() for line in violations(path, (ROOT / path).read_text(encoding="utf-8"))]
    assert found == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("models/dense.py", "from pipeline.settings.config import Config"),
        ("models/dense.py", "import flows.train"),
        ("models/dense.py", "import expectations"),
        ("models/dense.py", "from ..pipeline import settings"),
        ("models/dense.py", "def f():\n    import mlflow"),
        ("models/dense.py", "import great_expectations as gx"),
        ("expectations/suites.py", "from pipeline.errors import InputError"),
        ("expectations/suites.py", "import models.base"),
        ("pipeline/scoring/score.py", "from flows import score"),
        ("pipeline/scoring/score.py", "def f():\n    if True:\n        from flows.score import score"),
        ("pipeline/scoring/score.py", "from prefect import task"),
        ("pipeline/scoring/score.py", "class A:\n    def f(self):\n        import prefect.client"),
        ("pipeline/scoring/score.py", "import numpy, mlflow"),
        ("pipeline/scoring/score.py", "from mlflow.pyfunc import load_model"),
        ("pipeline/scoring/score.py", "import importlib\nimportlib.import_module('mlflow.pyfunc')"),
        ("pipeline/scoring/score.py", "__import__('prefect')"),
        ("pipeline/scoring/score.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import mlflow"),
        ("pipeline/scoring/score.py", "from expectations.suites import read_suite"),
        ("pipeline/scoring/score.py", "import great_expectations"),
        ("pipeline/features/table.py", "from ...flows import score"),
        ("pipeline/features/table.py", "from pipeline.detector.artefact import Detector"),
        ("pipeline/features/table.py", "from pipeline import scoring"),
        ("pipeline/tables/reading.py", "def f():\n    from pipeline.workspace.history import History"),
        ("pipeline/errors.py", "from ..pipeline.numbers import percent"),
        ("pipeline/tracking/store.py", "import prefect"),
        ("pipeline/tracking/store.py", "import great_expectations"),
        ("pipeline/validation/validate.py", "import mlflow"),
        ("pipeline/pages/report.py", "import fastapi"),
        ("flows/train.py", "from fastapi import FastAPI"),
        ("pipeline/scoring/score.py", "from pipeline.review.desk import Desk"),
        ("flows/train.py", "import mlflow"),
        ("flows/train.py", "import great_expectations"),
        ("pipeline/features/table.py", "import pyspark"),
        ("flows/train.py", "from expectations import suites"),
        ("models/base.py", "import pickle"),
        ("models/base.py", "from joblib import dump"),
        ("models/base.py", "def f():\n    import cloudpickle as cp"),
        ("models/base.py", "import torch\ntorch.save({}, 'x')"),
        ("models/base.py", "import torch as t\nt.load('x')"),
        ("models/base.py", "from torch import load"),
        ("models/base.py", "import torch.nn\ntorch.save({}, 'x')"),
        ("models/base.py", "import numpy as np\nnp.load('x', allow_pickle=True)"),
        ("pipeline/tables/reading.py", "import pandas as pd\npd.read_pickle('x')"),
        ("pipeline/tables/reading.py", "frame.to_pickle('x')"),
    ],
)
def test_a_breach_is_found(path: str, source: str) -> None:
    assert len(violations(path, source)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("models/dense.py", "from models.base import Autoencoder\nimport torch\ntorch.nn.Linear(1, 1)"),
        ("models/base.py", "from safetensors.torch import load_file, save_file"),
        ("models/base.py", "def load(folder):\n    return folder\nload('x')"),
        ("models/base.py", "import numpy as np\nnp.load('x', allow_pickle=False)"),
        ("expectations/suites.py", "import great_expectations as gx"),
        ("pipeline/validation/validate.py", "from expectations.suites import read_suite\nimport great_expectations"),
        ("pipeline/validation/rows.py", "from expectations import suites"),
        ("pipeline/tracking/store.py", "def f():\n    from mlflow import MlflowClient"),
        ("pipeline/scoring/score.py", "from pipeline.tracking.store import load_detector"),
        ("pipeline/scoring/score.py", "from . import alerts"),
        ("pipeline/scoring/score.py", "from pipeline.detector.artefact import Detector"),
        ("pipeline/scoring/score.py", "from pipeline import numbers"),
        ("flows/train.py", "from prefect import flow\nfrom pipeline.tracking.store import log_training"),
    ],
)
def test_what_is_allowed_is_left_alone(path: str, source: str) -> None:
    assert violations(path, source) == []
