"""benchmarks/house.py on small trees worked out by hand, and the limits that this house keeps."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
WALLS = 'ORDER = [\n    *("errors", "tables", "validation"),\n    *("features", "intake", "scoring"),\n]\n'


@pytest.fixture(scope="module")
def house() -> ModuleType:
    spec = importlib.util.spec_from_file_location("house", ROOT / "benchmarks" / "house.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["house"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def build(tmp_path: Path):
    """Write files, by path, beside a tests/test_walls.py that names six rooms, and return their root."""

    def write(files: dict[str, str]) -> Path:
        for path, text in {"tests/test_walls.py": WALLS, **files}.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)
        return tmp_path

    return write


def test_rooms_are_folders_and_lone_files_of_pipeline_and_the_other_packages(house, build):
    root = build(
        {
            "pipeline/__init__.py": "from pipeline.errors import InputError\n",
            "pipeline/errors.py": "class InputError(Exception):\n    pass\n",
            "pipeline/tables/__init__.py": "",
            "pipeline/tables/sql.py": "A = 1\nB = 2\n",
            "pipeline/tables/deep/part.py": "C = 3\n",
            "models/base.py": "D = 4\n",
            "flows/cli.py": "E = 5\n",
            "flows/commands/start.py": "F = 6\n\nG = 7\n",
            "expectations/suites.py": "",
            "benchmarks/other.py": "H = 8\n",
        }
    )
    assert house.measure(root)["rooms"] == {
        "errors": {"files": 1, "lines": 2},
        "expectations": {"files": 1, "lines": 0},
        "flows": {"files": 1, "lines": 1},
        "flows/commands": {"files": 1, "lines": 3},
        "models": {"files": 1, "lines": 1},
        "tables": {"files": 3, "lines": 3},
    }


def test_arrows_join_rooms_once_however_they_are_imported(house, build):
    root = build(
        {
            "pipeline/__init__.py": "from pipeline.scoring.score import score\n",
            "pipeline/errors.py": "",
            "pipeline/tables/__init__.py": "X = 1\n",
            "pipeline/tables/sql.py": "from pipeline import errors\nfrom . import X\n",
            "pipeline/tables/files.py": "from pipeline.errors import InputError\nimport pandas.errors\n",
            "pipeline/scoring/score.py": (
                "def score():\n    import pipeline.tables.sql as s\n"
                "    from ..tables import files\n    import models.base\n"
            ),
            "models/base.py": "",
            "flows/cli.py": "from pipeline.tables import X\nfrom flows.commands import start\n",
            "flows/commands/start.py": "from flows import cli\n",
        }
    )
    house_of = house.measure(root)
    assert house_of["places"]["arrows"] == [
        "flows -> flows/commands",
        "flows -> tables",
        "flows/commands -> flows",
        "scoring -> models",
        "scoring -> tables",
        "tables -> errors",
    ]
    assert house_of["measures"]["arrows"] == 6
    assert house_of["places"]["against the order"] == []
    assert house_of["places"]["circles among files"] == ["flows/cli.py <-> flows/commands/start.py"]


@pytest.mark.parametrize(
    ("path", "text", "arrow"),
    [
        ("pipeline/tables/sql.py", "from pipeline.scoring import score", "tables -> scoring"),
        ("pipeline/errors.py", "def f():\n    from pipeline.tables.files import open", "errors -> tables"),
        ("pipeline/scoring/score.py", "import flows.cli", "scoring -> flows"),
        ("models/base.py", "from pipeline import errors", "models -> errors"),
        ("models/base.py", "from expectations.suites import SUITE", "models -> expectations"),
        ("expectations/suites.py", "from models import base", "expectations -> models"),
    ],
)
def test_an_arrow_against_the_order_is_named(house, build, *, path, text, arrow):
    modules = ("pipeline/scoring/score", "pipeline/tables/files", "pipeline/errors", "flows/cli", "models/base")
    root = build({**{f"{name}.py": "" for name in modules}, "expectations/suites.py": "", path: text})
    assert house.measure(root)["places"]["against the order"] == [arrow]


def test_a_circle_holds_all_files_that_reach_one_another(house):
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": {"d"}, "f": {"a"}, "g": set()}
    assert house.circles(graph) == [["a", "b", "c"], ["d", "e"]]


def test_intake_is_composed_where_its_steps_are_called(house, build):
    root = build(
        {
            "pipeline/validation/validate.py": "def validate(t): ...\ndef again(t):\n    return validate(t)\n",
            "pipeline/features/table.py": "def compute(rows): ...\ndef both(rows):\n    compute(rows)\n",
            "pipeline/intake.py": (
                "from pipeline.validation.validate import validate\nfrom pipeline.features.table import compute\n"
                "def one(t):\n    validate(t)\ndef two(t):\n    compute(t)\n"
            ),
            "pipeline/scoring/shadow.py": (
                "from pipeline.features.table import compute as run\n"
                "class Shadow:\n    def rows(self):\n        run(self)\n    def other(self):\n        self.compute()\n"
            ),
            "flows/score.py": (
                "from pipeline.validation import validate\nfrom flows.train import validate as check\n"
                "def score(t):\n    def inner():\n        validate.validate(t)\n    check(t)\n"
            ),
            "flows/train.py": "def validate(t): ...\ndef train(t):\n    validate(t)\n",
        }
    )
    assert house.measure(root)["places"]["compositions of intake"] == [
        "flows/score.py score.<locals>.inner",
        "pipeline/intake.py",
        "pipeline/scoring/shadow.py Shadow.rows",
    ]


FUNCTIONS = '''
import functools

class Public:
    def method(self, a, b, c, d):
        """Take four."""

    @classmethod
    def wide(cls, a, b, c, d, e):
        return cls

    @staticmethod
    def plain(self, a, /, b, c, d, *, e):
        """Take five, of which none is its own object."""
        def inner(self, a, b, c, d): ...

    def _private(self): ...

class _Hidden:
    def method(self): ...

@functools.cache
def keyword_only(
    a,
    *,
    b,
):
    """Have a docstring
    of two lines."""
    return (
        a + b
    )
'''


def test_functions_are_counted_by_arguments_docstring_and_body(house, build):
    root = build({"pipeline/errors.py": FUNCTIONS})
    house_of = house.measure(root)
    assert house_of["places"]["functions with more than four positional arguments"] == [
        "pipeline/errors.py Public.wide: 5",
        "pipeline/errors.py Public.plain.<locals>.inner: 5",
    ]
    assert house_of["places"]["public functions without docstring"] == ["pipeline/errors.py Public.wide"]
    # method, wide, plain, inner, _private, _Hidden.method, keyword_only; the first three and the last are public.
    assert (house_of["measures"]["functions"], house_of["measures"]["public functions"]) == (7, 4)


def test_a_body_is_counted_without_decorators_signature_and_docstring(house, build):
    def function(name: str, lines: int) -> str:
        return (
            f'@cache\ndef {name}(\n    a,\n):\n    """One.\n\n    Two."""\n'
            + "    a = 1\n" * (lines - 1)
            + "    return a\n"
        )

    decorated = "def outer():\n" + "    @cache\n    @other\n" + "    def inner():\n" + "        a = 1\n" * 38
    root = build({"pipeline/errors.py": function("short", 40) + function("long", 41) + decorated})
    house_of = house.measure(root)
    # outer's 41 lines begin with its function's decorators; that function itself has 38.
    assert house_of["places"]["bodies over 40 lines"] == ["pipeline/errors.py long: 41", "pipeline/errors.py outer: 41"]
    assert house_of["measures"]["share of bodies over 40 lines"] == 2 / 4


def test_a_name_is_double_where_two_files_define_it(house, build):
    root = build(
        {
            "pipeline/tables/sql.py": "ROWS = 1\n_hidden = 2\nclass Table:\n    LOCAL = 1\ndef once(): ...\n",
            "pipeline/tables/files.py": "ROWS: int = 2\n_hidden = 3\nLOCAL = 4\ndef other():\n    once = 1\n",
            "models/base.py": "Table, other = 1, 2\nfrom pipeline.tables.sql import once\n",
        }
    )
    assert house.measure(root)["places"]["double names"] == [
        "ROWS: pipeline/tables/files.py, pipeline/tables/sql.py",
        "Table: models/base.py, pipeline/tables/sql.py",
        "other: models/base.py, pipeline/tables/files.py",
    ]


def test_participles_are_counted_once_a_function(house, build):
    source = (
        "found = 1\n"
        "def one(given, rows):\n    found = rows\n    found = found + 1\n    return [kept for kept in rows]\n"
        "def two():\n    with open('x') as found, open('y') as batch:\n        known(found.told)\n"
        "    def inner(*, given):\n        ...\n"
    )
    root = build({"pipeline/errors.py": source})
    house_of = house.measure(root)
    assert house_of["places"]["participles"] == ["found: 2", "given: 2", "kept: 1"]
    assert house_of["measures"]["participles"] == 5


def test_prints_every_room_and_measure_and_writes_them(house, build, tmp_path, capsys):
    root = build({"pipeline/errors.py": "ROWS = 1\n", "models/base.py": "ROWS = 2\n\n"})
    house.main([str(root), "--json", str(tmp_path / "out.json")])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["errors", "1", "1"] in lines
    assert ["models", "1", "2"] in lines
    assert ["rooms", "2", "25"] in lines
    assert ["share", "of", "bodies", "over", "40", "lines", "0.00%", "0.60%"] in lines
    assert ["ROWS:", "models/base.py,", "pipeline/errors.py"] in lines
    assert json.loads((tmp_path / "out.json").read_text()) == house.measure(root)


@pytest.fixture(scope="module")
def today(house) -> dict:
    return house.measure(ROOT)


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("rooms", 25),
        ("arrows", 165),
        ("against the order", 0),
        ("circles among files", 0),
        ("compositions of intake", 1),
        ("share of bodies over 40 lines", 0.006),
    ],
)
def test_this_house_keeps_its_limit(house, today, name, limit):
    assert house.LIMITS[name] == limit
    assert today["measures"][name] <= limit, today["places"].get(name, "")


def test_what_the_measures_go_by_is_there(house, today):
    """Else a step of the intake that got another name would count as never called."""
    assert "pipeline/intake.py" in today["places"]["compositions of intake"]
    assert set(house.read_order(ROOT)) <= set(today["rooms"])
