"""pipeline/settings/output.py: the names of what is added, and of the table's own columns beside it."""

from pipeline.settings.output import ALERTS, FIGURES, MARKS, SCORES, name_beside, name_within


def test_the_columns_are_those_of_the_design():
    named = "anomaly_score p_value tail_p_value one_class_p_value is_flagged batch_id model_version scored_at"
    assert tuple(named.split()) == SCORES
    assert ALERTS[len(SCORES) :] == ("picked", "threshold", "rank", "like_frauds", "reasons", "unflagged_at", "reason")
    assert {*FIGURES, *MARKS, "is_flagged"} == {*SCORES}


def test_a_column_is_found_again_under_the_name_that_it_was_given():
    for added in (SCORES, ALERTS, ()):
        table = ["tx", "rank", "p_value", "reason"]
        file = [*(name_beside(name, added) for name in table), *added]
        assert len(set(file)) == len(file)
        assert [name_within(name, file) for name in table] == file[: len(table)]
