"""Telling people how scoring stands, by mail, chat, pager or webhook: once for each thing, and never what rows hold."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from pipeline.settings.config import Config
from pipeline.tables.writing import write_text
from pipeline.workspace.folder import WorkFolder
from pipeline.workspace.standing import Standing, State


@dataclass(frozen=True)
class Notice:
    """What people are told.

    Parameters
    ----------
    state : {"fine", "attention", "stopped"}
    title, body : str
        Names of the table and of files, and what is wrong in words of Assay's own: no cell of any row.
    """

    state: State
    title: str
    body: str


def notify(config: Config, standing: Standing) -> list[str]:
    """Tell whoever `[notify]` names how scoring stands, unless they know.

    The same is told again after ``notify.repeat_hours``, and that all is fine only after something was not.

    Parameters
    ----------
    config : Config
    standing : Standing

    Returns
    -------
    list of str
        What could not be sent, a sentence each. It is tried again the next time.
    """
    settings, memory = config.notify, WorkFolder(config).nightly / "notices.json"
    if not settings.is_set:
        return []
    notice, last = _notice(standing), _read(memory)
    key = hashlib.sha256(json.dumps([notice.state, notice.body]).encode()).hexdigest()
    if notice.state == "fine" and last.get("state", "fine") == "fine":
        return []
    is_same = last.get("key") == key
    if is_same and standing.at - datetime.fromisoformat(last["at"]) < timedelta(hours=settings.repeat_hours):
        return []
    faults = _send(notice, getattr(settings, notice.state), os.environ)
    if not faults:
        try:
            values = {"key": key, "state": notice.state, "at": standing.at.isoformat()}
            write_text(memory, json.dumps(values))
        except OSError as error:
            return [f"{memory} can't be written to ({error.strerror}), so the same will be told again; mend that"]
    return faults


def _notice(standing: Standing) -> Notice:
    briefs = list(dict.fromkeys(finding.brief for finding in standing.findings))
    lines = [f"- {text}" for text in briefs] or ["All is fine again."]
    if briefs:
        lines.append(f"More in the work folder {standing.work_dir}: assay status")
    return Notice(standing.state, f"Assay, {standing.name}: {standing.state}", "\n".join(lines))


def _send(notice: Notice, variables: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    if not variables:
        return []
    try:
        import apprise
    except ModuleNotFoundError:
        return ["[notify] needs Apprise, which is not installed; install it with: pip install 'assay[notify]'"]
    kinds = {
        "fine": apprise.NotifyType.SUCCESS,
        "attention": apprise.NotifyType.WARNING,
        "stopped": apprise.NotifyType.FAILURE,
    }
    faults = []
    for name in variables:
        targets = apprise.Apprise()
        if not environment.get(name, "").strip():
            faults.append(f"nobody was told: the environment variable {name} of [notify] is not set; set it to a URL")
        elif not targets.add(environment[name]) or not len(targets):
            faults.append(
                f"nobody was told: what {name} holds is no URL that Apprise knows; write such as mailtos://..."
            )
        elif not targets.notify(title=notice.title, body=notice.body, notify_type=kinds[notice.state]):
            faults.append(f"not everybody was told: what {name} leads to did not take the notice; see whether it is up")
    return faults


def _read(path: Path) -> dict[str, str]:
    try:
        raw: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return raw
