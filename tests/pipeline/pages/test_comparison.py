"""The page of a comparison of real detectors."""

from pipeline.pages import comparison as page
from pipeline.selection.gates import gates


def test_the_page_holds_everything_and_text_from_data_is_harmless(small_comparison):
    comparison, _, _ = small_comparison
    text = page.render_comparison(comparison, gates(comparison), "Version 2 is not promoted")
    assert "<script" not in text
    assert "<b>later</b>" not in text
    assert "&lt;b&gt;later&lt;/b&gt;" in text
    assert "://" not in text
    for part in (
        "Version 2 is not promoted",
        "Drift of the data",
        "Alerts that leave",
        "Recall by amount",
        "denoising",
    ):
        assert part in text
    header, rows = page.table_of(comparison)
    assert header == ["", "version 1", "version 2"]
    assert len(rows) == 2 * len(comparison.figures)


def test_the_series_that_are_logged_are_what_is_drawn(small_comparison):
    comparison, _, _ = small_comparison
    series = page.series_of(comparison, 0)
    assert sum(value for _, value in series["alerts_on_day"]) == comparison.outcomes[0].flagged.sum()
    assert [step for step, _ in series["precision_at_recall"]] == list(range(1, 101))
