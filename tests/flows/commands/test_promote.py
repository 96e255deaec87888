"""assay promote, rollback and history on real parts."""

from pathlib import Path

from pipeline.selection.records import AliasRecords
from pipeline.settings.file import read_config
from pipeline.tracking.aliases import find_aliases
from tests.flows.assay import run, said


def test_a_better_version_is_promoted_a_worse_one_is_not_unless_forced_and_rollback_undoes_it(fresh: Path) -> None:
    config = read_config(fresh)
    better = run("promote", "candidate", "--config", fresh, "--why", "sees amounts")
    assert better.exit_code == 0, better.output
    assert "champion: version 2, was 1" in said(better)
    assert "FAILED" not in better.output
    assert find_aliases(config) == {"champion": "2", "previous": "1"}

    worse = run("promote", "1", "--config", fresh)
    assert worse.exit_code == 1
    assert "version 1 was not promoted" in said(worse)
    assert "Average precision" in said(worse)
    assert "FAILED" in worse.output
    assert find_aliases(config) == {"champion": "2", "previous": "1"}
    page = max((fresh.parent / "assay-data" / "comparisons").glob("*/comparison.html")).read_text()
    assert "is not promoted" in page
    assert '<span class="verdict fraud">failed</span>' in page

    without = run("promote", "1", "--config", fresh, "--force")
    assert without.exit_code == 1
    assert "--force needs a reason" in said(without)
    forced = run("promote", "1", "--config", fresh, "--force", "--why", "the feed is broken")
    assert forced.exit_code == 0, forced.output
    assert find_aliases(config) == {"champion": "1", "previous": "2"}

    back = run("rollback", "--config", fresh, "--why", "it is mended")
    assert back.exit_code == 0, back.output
    assert find_aliases(config) == {"champion": "2", "previous": "1"}
    again = run("promote", "2", "--config", fresh)
    assert again.exit_code == 1
    assert "is the champion already" in said(again)

    changes = [change for change in AliasRecords(config).all() if change.alias == "champion"]
    assert [(change.action, change.version) for change in changes] == [
        ("register", "1"),
        ("promote", "2"),
        ("force", "1"),
        ("rollback", "2"),
    ]
    assert "average precision" in changes[2].failed_gates
    told = said(run("history", "--config", fresh))
    for text in ("sees amounts", "the feed is broken (failed gates:", "it is mended", changes[0].who):
        assert " ".join(text.split()) in told
