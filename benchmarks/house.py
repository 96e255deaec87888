"""How the packages are built: their rooms, the imports between these, and what is long, unexplained or ambiguous.

    python benchmarks/house.py
    python benchmarks/house.py FOLDER --json out.json

Reads the source of pipeline/, models/, flows/ and expectations/, and runs none of it. FOLDER is another checkout.

- A *room* is a folder of pipeline/ with all below it, a file beside these folders, flows, flows/commands, models, or
  expectations. ``pipeline/__init__.py`` is the door of all rooms and itself none.
- An *arrow* is a pair of rooms of which one imports the other, at whatever depth of a file. Arrows *against the
  order* lead to a room that comes later in the order of tests/test_walls.py, or from one package to one above it.
- A *circle* is a set of files that import one another round about.
- *Intake* is composed once where ``validate`` and ``compute``, of the rooms of validation and features, are called
  in pipeline/intake.py alone; every other function that calls one of them is a further composition.
- A *body* is what remains of a function's lines without its decorators, signature and docstring.
- A *double name* is a public class, function or constant that the top level of two files or more defines.
- A *participle* is a local variable or an argument whose name says what was done to a thing, not what it is.
"""

import argparse
import ast
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("models", "expectations", "pipeline", "flows")
"""In the order of their imports; models and expectations know nothing of each other."""
LIMITS: dict[str, float] = {
    "rooms": 25,
    "arrows": 165,
    "against the order": 0,
    "circles among files": 0,
    "compositions of intake": 1,
    "share of bodies over 40 lines": 0.006,
}
LONG_BODY = 40
POSITIONAL = 4
PARTICIPLES = {
    *("asked", "chosen", "done", "drawn", "found", "given", "got", "held", "kept", "known", "left", "made"),
    *("own", "said", "seen", "shown", "taken", "told", "used", "wanted"),
}
STEPS = (("pipeline.validation.", ".validate"), ("pipeline.features.", ".compute"))
"""What only the intake calls: how the dotted names begin and end."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Source:
    """A Python file of the packages.

    Attributes
    ----------
    path : str
        Relative to the root, with "/".
    text : str
    """

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """The parsed file."""
        return ast.parse(self.text)

    @property
    def lines(self) -> int:
        """Lines of the file."""
        return len(self.text.splitlines())

    @property
    def module(self) -> str:
        """Dotted name; a folder's ``__init__`` has the folder's."""
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @property
    def package(self) -> str:
        """The first word of the path."""
        return self.path.partition("/")[0]

    @property
    def room(self) -> str:
        """The room that the file belongs to; "" for the door of pipeline/."""
        words = self.path.split("/")
        if self.package == "pipeline":
            return "" if words[1] == "__init__.py" else words[1].removesuffix(".py")
        return "flows/commands" if words[:2] == ["flows", "commands"] else self.package

    @cached_property
    def functions(self) -> list[tuple[str, Function]]:
        """Every function at any depth, with its qualified name (``Class.method``, ``outer.<locals>.inner``)."""
        return list(_functions(self.tree, ""))

    @cached_property
    def imports(self) -> list[tuple[str, str]]:
        """Every imported name at any depth, as the file calls it, and its dotted name in full."""
        return list(_imports(self))


def _functions(node: ast.AST, prefix: str) -> Iterator[tuple[str, Function]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function):
            yield prefix + child.name, child
            yield from _functions(child, f"{prefix}{child.name}.<locals>.")
        else:
            yield from _functions(child, f"{prefix}{child.name}." if isinstance(child, ast.ClassDef) else prefix)


def _imports(source: Source) -> Iterator[tuple[str, str]]:
    folder = source.path.split("/")[:-1]
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.asname or alias.name, alias.name
        elif isinstance(node, ast.ImportFrom):
            above = folder[: len(folder) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                yield alias.asname or alias.name, f"{base}.{alias.name}"


def read_sources(root: Path) -> list[Source]:
    """Read the files of the packages that a checkout has, by path."""
    paths = sorted(path for package in PACKAGES for path in (root / package).rglob("*.py"))
    return [Source(path.relative_to(root).as_posix(), path.read_text(encoding="utf-8")) for path in paths]


def read_order(root: Path) -> list[str]:
    """Read the order of pipeline's rooms: the texts of ``ORDER`` in tests/test_walls.py."""
    tree = ast.parse((root / "tests/test_walls.py").read_text(encoding="utf-8"))
    order = next(
        node.value for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "ORDER"
    )
    texts = [node for node in ast.walk(order) if isinstance(node, ast.Constant)]
    return [str(node.value) for node in sorted(texts, key=lambda node: (node.lineno, node.col_offset))]


def file_imports(sources: list[Source]) -> dict[str, set[str]]:
    """Return which files of the packages each file imports, by path.

    A name that a folder's ``__init__`` defines counts as an import of that ``__init__``, a file of the folder as one
    of the file alone.
    """
    paths = {source.module: source.path for source in sources}
    graph: dict[str, set[str]] = {}
    for source in sources:
        modules = (name if name in paths else name.rpartition(".")[0] for _, name in source.imports)
        graph[source.path] = {paths[module] for module in modules if module in paths} - {source.path}
    return graph


def room_arrows(sources: list[Source], graph: dict[str, set[str]]) -> list[tuple[str, str]]:
    """Return the pairs of rooms of which the first imports the second, sorted."""
    rooms = {source.path: source.room for source in sources}
    pairs = {(rooms[path], rooms[other]) for path, others in graph.items() for other in others}
    return sorted((one, other) for one, other in pairs if one and other and one != other)


def against_order(arrows: list[tuple[str, str]], order: list[str]) -> list[tuple[str, str]]:
    """Return the arrows that lead to a later room of the order, or to a package above one's own."""
    places = {"models": 0, "expectations": 0, **{room: place for place, room in enumerate(order, 1)}}
    top = len(places)
    ends = [(places.get(one, top), places.get(other, top)) for one, other in arrows]
    return [
        arrow
        for arrow, (start, end) in zip(arrows, ends, strict=True)
        if end > start or (start == end == 0) or (end == top and not arrow[0].startswith("flows"))
    ]


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the sets of files that reach one another by imports, each sorted."""
    reach = {path: _reached(path, graph) for path in graph}
    sets = {frozenset(other for other in reach[path] if path in reach[other]) for path in graph if path in reach[path]}
    return sorted(sorted(files) for files in sets)


def _reached(path: str, graph: dict[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    ahead = list(graph[path])
    while ahead:
        other = ahead.pop()
        if other not in reached:
            reached.add(other)
            ahead.extend(graph[other])
    return reached


def intake_compositions(sources: list[Source]) -> list[str]:
    """Return the places that bring a table to accepted rows or features themselves; pipeline/intake.py is one."""
    places = []
    for source in sources:
        own = [f"{source.path} {name}" for name, function in source.functions if _composes(source, function)]
        places += [source.path] if source.path == "pipeline/intake.py" and own else own
    return places


def _composes(source: Source, function: Function) -> bool:
    if source.path.startswith(tuple(start.replace(".", "/") for start, _ in STEPS)):
        return False
    for node in _own_nodes(function):
        if isinstance(node, ast.Call):
            first, dot, rest = ast.unparse(node.func).partition(".")
            names = [name + dot + rest for own, name in [*source.imports, (first, first)] if own == first]
            if any(name.startswith(start) and name.endswith(end) for name in names for start, end in STEPS):
                return True
    return False


def _own_nodes(function: Function) -> Iterator[ast.AST]:
    """Yield what lies in a function and in no function inside it."""
    ahead = list(ast.iter_child_nodes(function))
    while ahead:
        node = ahead.pop()
        yield node
        if not isinstance(node, Function):
            ahead.extend(ast.iter_child_nodes(node))


def body_lines(function: Function) -> int:
    r"""Return the lines of a function without its decorators, signature and docstring.

    Examples
    --------
    >>> function = ast.parse('def f(a,\n      b):\n    "Add."\n    return a + b').body[0]
    >>> body_lines(function)
    1
    """
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    if not body:
        return 0
    first = min([body[0].lineno, *(line.lineno for line in getattr(body[0], "decorator_list", []))])
    return (function.end_lineno or first) - first + 1


def positional_arguments(name: str, function: Function) -> int:
    """Return how many arguments a function takes by position, a method's own object or class not among them."""
    arguments = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]
    is_method = "." in name and not name.removesuffix(function.name).endswith("<locals>.")
    return len(arguments) - (is_method and arguments[:1] in (["self"], ["cls"]))


def is_public(name: str) -> bool:
    """Whether a function can be called from outside: no word of its qualified name is private or local."""
    return not any(word.startswith(("_", "<")) for word in name.split("."))


def double_names(sources: list[Source]) -> dict[str, list[str]]:
    """Return the public names that the top level of more than one file defines, with these files."""
    files: dict[str, list[str]] = defaultdict(list)
    for source in sources:
        for name in sorted(set(_defined(source.tree))):
            if not name.startswith("_"):
                files[name].append(source.path)
    return {name: paths for name, paths in sorted(files.items()) if len(paths) > 1}


def _defined(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, Function | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                yield from (part.id for part in ast.walk(target) if isinstance(part, ast.Name))


def participles(sources: list[Source]) -> dict[str, int]:
    """Return how many functions bind each participle as a local variable or an argument, most first."""
    counts: Counter[str] = Counter()
    for source in sources:
        for _, function in source.functions:
            nodes = list(_own_nodes(function))
            names = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
            names |= {node.arg for node in nodes if isinstance(node, ast.arg)}
            counts.update(names & PARTICIPLES)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def find_places(sources: list[Source], order: list[str]) -> dict[str, list[str]]:
    """Return a line a place, by what is counted."""
    graph = file_imports(sources)
    functions = [(source.path, name, function) for source in sources for name, function in source.functions]
    bodies = {f"{path} {name}": body_lines(function) for path, name, function in functions}
    arguments = {f"{path} {name}": positional_arguments(name, function) for path, name, function in functions}
    public = {f"{path} {name}": function for path, name, function in functions if is_public(name)}
    arrows = room_arrows(sources, graph)
    return {
        "arrows": [f"{one} -> {other}" for one, other in arrows],
        "against the order": [f"{one} -> {other}" for one, other in against_order(arrows, order)],
        "circles among files": [" <-> ".join(files) for files in circles(graph)],
        "compositions of intake": intake_compositions(sources),
        "functions with more than four positional arguments": [
            f"{place}: {count}" for place, count in arguments.items() if count > POSITIONAL
        ],
        "bodies over 40 lines": [f"{place}: {lines}" for place, lines in bodies.items() if lines > LONG_BODY],
        "public functions without docstring": [
            place for place, function in public.items() if ast.get_docstring(function) is None
        ],
        "double names": [f"{name}: {', '.join(paths)}" for name, paths in double_names(sources).items()],
        "participles": [f"{name}: {count}" for name, count in participles(sources).items()],
    }


def measure(root: Path) -> dict[str, Any]:
    """Return everything that the house is measured by.

    Returns
    -------
    dict
        ``rooms``: files and lines by room. ``measures``: a number by what it measures, the keys of `LIMITS` among
        them. ``places``: for each measure that counts places, what and where they are.
    """
    sources = read_sources(root)
    places = find_places(sources, read_order(root))
    rooms: dict[str, dict[str, int]] = {}
    for source in sources:
        size = rooms.setdefault(source.room, {"files": 0, "lines": 0})
        size["files"] += 1
        size["lines"] += source.lines
    rooms.pop("", None)
    functions = [name for source in sources for name, _ in source.functions]
    measures: dict[str, float] = {"rooms": len(rooms)}
    measures |= {name: len(lines) for name, lines in places.items()}
    measures |= {"participles": sum(participles(sources).values())}
    measures |= {"functions": len(functions), "public functions": sum(map(is_public, functions))}
    measures["share of bodies over 40 lines"] = measures["bodies over 40 lines"] / max(1, len(functions))
    return {"rooms": dict(sorted(rooms.items())), "measures": measures, "places": places}


def main(words: list[str] | None = None) -> None:
    """Measure a checkout and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT, help="a checkout; this one by default")
    parser.add_argument("--json", type=Path, help="a file that everything is written to as well")
    options = parser.parse_args(words)
    house = measure(options.folder)
    print(f"{'room':<20}{'files':>7}{'lines':>9}")
    for room, size in house["rooms"].items():
        print(f"{room:<20}{size['files']:>7}{size['lines']:>9,}")
    print(f"\n{'measure':<52}{'today':>8}{'at most':>9}")
    for name, value in house["measures"].items():
        form = ".2%" if name.startswith("share") else ","
        limit = format(LIMITS[name], form) if name in LIMITS else ""
        print(f"{name:<52}{value:>8{form}}{limit:>9}")
    for name, lines in house["places"].items():
        if lines and name != "arrows":
            print(f"\n{name}", *lines, sep="\n  ")
    if options.json:
        options.json.write_text(json.dumps(house, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
