from collections import Counter

import pytest

from benchmarks.mutants import main, report, sample, tally

NAMES = [f"pipeline.labels.known.x_available_at__mutmut_{number}" for number in range(20)]


def test_a_mutant_that_a_test_fails_for_or_never_ends_with_is_killed_and_one_not_tried_does_not_count():
    lines = [
        "    pipeline.labels.known.x_available_at__mutmut_1: killed",
        "    pipeline.labels.known.xǁLabelsǁknown__mutmut_12: survived",
        "    pipeline.labels.known.xǁLabelsǁknown__mutmut_13: timeout",
        "    pipeline.labels.known.xǁLabelsǁknown__mutmut_14: no tests",
        "    pipeline.labels.known.xǁLabelsǁknown__mutmut_15: not checked",
        "    pipeline.calibration.intervals.x_rank_for_rate__mutmut_2: segfault",
        "",
        "nothing: of interest",
    ]
    assert tally(lines) == {"pipeline.calibration.intervals": (1, 1), "pipeline.labels.known": (2, 4)}
    assert tally([]) == {}


def test_a_sample_is_of_so_many_others_for_another_seed_and_the_same_ones_again_for_the_same_in_any_order():
    some = sample(NAMES, size=8, seed=1)
    assert len(set(some)) == 8
    assert set(some) < set(NAMES)
    assert some == sorted(some) == sample(reversed(NAMES), size=8, seed=1)
    assert some != sample(NAMES, size=8, seed=2)
    assert sample(NAMES, size=50, seed=1) == sorted(NAMES)
    assert sample([], size=3, seed=0) == []


def test_every_mutant_has_the_same_chance_to_be_in_a_sample():
    counts = Counter(name for seed in range(1000) for name in sample(NAMES, size=5, seed=seed))
    # Binomial of 1,000 and a quarter: a standard deviation is 13.7.
    assert all(counts[name] == pytest.approx(250, abs=4 * 13.7) for name in NAMES)


def test_what_a_sample_came_to_is_said_with_wilsons_interval_and_all_mutants_without():
    lines = [f"    {name}: {verdict}" for name, verdict in zip(NAMES, 15 * ["killed"] + 5 * ["survived"], strict=True)]
    lines.append("    pipeline.scoring.maps.x_maps__mutmut_1: killed")
    text = ["   15 of    20 killed  pipeline.labels.known", "    1 of     1 killed  pipeline.scoring.maps"]
    text.append("   16 of    21 killed (76.2%)")
    assert report(lines) == text
    # (p + z² / 2n ± z √(p (1 - p) / n + z² / 4n²)) / (1 + z² / n), z = 1.96
    z, n, p = 1.959964, 21, 16 / 21
    middle, half = p + z**2 / (2 * n), z * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5
    low, high = (f"{100 * (middle + way * half) / (1 + z**2 / n):.1f} %" for way in (-1, 1))
    *same, last = report(lines, seed=7)
    assert same == text
    assert last.startswith("A sample, drawn with seed 7;")
    assert last.endswith(f"by its 95 % Wilson interval: 76.2 % ({low} to {high}) killed")
    assert report([]) == ["    0 of     0 killed (0.0%)"]


@pytest.mark.parametrize("words", [["--sample", "3", "pipeline.labels.*"], ["--sample", "0"]])
def test_a_sample_is_of_all_mutants_and_not_of_none(words, capsys):
    with pytest.raises(SystemExit):
        main(words)
    assert "--sample draws one mutant or more from all of them" in capsys.readouterr().err
