"""How many small changes of the code the tests notice: ``make mutants`` prints it, a line for each file.

mutmut changes one operator, number, name or argument at a time and runs the tests that reach the function. A mutant is
killed when one of them fails or does not end; a survivor is shown by ``mutmut show NAME``. What is mutated, and which
tests run, is said by ``[tool.mutmut]`` in pyproject.toml.

All of them take hours. ``make mutants SAMPLE=400`` tries as many, drawn from all with the same chance, and prints the
share killed with its interval; ``SEED=1`` draws others.
"""

import argparse
import io
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np

from pipeline.evaluation.injection import share

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


def sample(names: Iterable[str], size: int, seed: int) -> list[str]:
    """Return as many of the names as `size` says, all of them if they are fewer, each with the same chance.

    The order in which the names come does not matter, and a seed draws the same ones again.

    Examples
    --------
    >>> sample(["c", "a", "b"], size=5, seed=0)
    ['a', 'b', 'c']
    """
    ordered = sorted(names)
    places = np.random.default_rng(seed).choice(len(ordered), size=min(size, len(ordered)), replace=False)
    return [ordered[place] for place in np.sort(places)]


def make() -> None:
    """Write the mutants into mutants/, or those of files that changed, and try none of them."""
    from mutmut.__main__ import copy_also_copy_files, copy_src_dir, create_mutants

    Path("mutants").mkdir(exist_ok=True)
    with redirect_stdout(io.StringIO()):
        copy_src_dir()
        copy_also_copy_files()
        create_mutants(max_children=2)


def results(mutmut: str) -> dict[str, str]:
    """Return the line that mutmut prints of each mutant, by the mutant's name."""
    run = subprocess.run([mutmut, "results", "--all", "true"], check=True, capture_output=True, text=True)
    return {line.strip().partition(": ")[0]: line for line in run.stdout.splitlines() if "__mutmut_" in line}


def report(lines: Iterable[str], seed: int | None = None) -> list[str]:
    r"""Return the lines to print: how many were killed by module and in all, and the interval where they are a sample.

    Parameters
    ----------
    lines : iterable of str
        As `tally` takes them.
    seed : int, optional
        What the mutants were drawn by; None when they are all that were asked for.

    Examples
    --------
    >>> print(*report(["    pipeline.numbers.x_number__mutmut_1: killed"], seed=3), sep="\n")
        1 of     1 killed  pipeline.numbers
        1 of     1 killed (100.0%)
    A sample, drawn with seed 3; of all mutants, by its 95 % Wilson interval: 100 % (20.7 % to 100 %) killed
    """
    counts = tally(lines)
    killed, tried = (sum(column) for column in zip((0, 0), *counts.values(), strict=True))
    text = [f"{part:5,} of {whole:5,} killed  {module}" for module, (part, whole) in counts.items()]
    text.append(f"{killed:5,} of {tried:5,} killed ({killed / max(tried, 1):.1%})")
    if seed is not None:
        interval = share(killed, tried, level=0.95)
        text.append(
            f"A sample, drawn with seed {seed}; of all mutants, by its 95 % Wilson interval: {interval:%} killed"
        )
    return text


def main(words: Sequence[str] | None = None) -> None:
    """Run mutmut, and print what it found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="mutants to try, such as 'pipeline.labels.*'; all of them without")
    parser.add_argument("--sample", type=int, help="try as many, drawn from all")
    parser.add_argument("--seed", type=int, default=0, help="of the draw (0)")
    parser.add_argument("--max-children", type=int, default=2, help="mutants tried at a time (2)")
    options = parser.parse_args(words)
    if options.sample is not None and (options.names or options.sample < 1):
        parser.error(
            "--sample draws one mutant or more from all of them; leave out the names, or give a number above 0"
        )
    mutmut = str(Path(sys.executable).parent / "mutmut")
    names = options.names
    if options.sample is not None:
        make()
        names = sample(results(mutmut), options.sample, options.seed)
    run = subprocess.run([mutmut, "run", "--max-children", str(options.max_children), *names], check=False)
    lines = results(mutmut)
    if options.sample is None:
        print(*report(lines.values()), sep="\n")
    else:
        print(*report([lines[name] for name in names], options.seed), sep="\n")
    sys.exit(run.returncode)


if __name__ == "__main__":
    main()
