"""How many small changes of the code the tests notice: ``make mutants`` prints it, a line for each file.

mutmut changes one operator, number, name or argument at a time and runs the tests that reach the function. A mutant is
killed when one of them fails or does not end; a survivor is shown by ``mutmut show NAME``. What is mutated, and which
tests run, is said by ``[tool.mutmut]`` in pyproject.toml.
"""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

KILLED = ("killed", "timeout", "segfault")


def tally(lines: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Return how many mutants of each module were killed, and how many were tried.

    Parameters
    ----------
    lines : iterable of str
        What ``mutmut results --all true`` prints: the name of a mutant, a colon and what became of it.

    Examples
    --------
    >>> tally(["    pipeline.numbers.x_number__mutmut_1: killed", "    pipeline.numbers.x_number__mutmut_2: survived"])
    {'pipeline.numbers': (1, 2)}
    """
    killed, tried = Counter[str](), Counter[str]()
    for line in lines:
        name, found, verdict = line.strip().partition(": ")
        if not found or "__mutmut_" not in name or verdict == "not checked":
            continue
        module = name.rpartition(".")[0]
        tried[module] += 1
        killed[module] += verdict in KILLED
    return {module: (killed[module], tried[module]) for module in sorted(tried)}


def main() -> None:
    """Run mutmut, and print what it found."""
    mutmut = str(Path(sys.executable).parent / "mutmut")
    run = subprocess.run([mutmut, "run", *sys.argv[1:]], check=False)
    results = subprocess.run([mutmut, "results", "--all", "true"], check=True, capture_output=True, text=True)
    counts = tally(results.stdout.splitlines())
    for module, (killed, tried) in counts.items():
        print(f"{killed:5,} of {tried:5,} killed  {module}")
    killed, tried = (sum(column) for column in zip(*counts.values(), strict=True)) if counts else (0, 0)
    print(f"{killed:5,} of {tried:5,} killed ({killed / max(tried, 1):.1%})")
    sys.exit(run.returncode)


if __name__ == "__main__":
    main()
