from benchmarks.mutants import tally


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
