"""An event in words: what somebody did, and to what end."""

from pipeline.review.events import Event
from pipeline.review.web.pages import LABELS

WORDS = {
    "publish": "took a batch in",
    "withdraw": "withdrew a batch",
    "deliver": "took labels in",
    "decide": "decided",
    "supersede": "decided again",
    "second": "decided as the second",
    "golden": "decided once more",
    "undo": "took back",
    "snooze": "snoozed",
    "wake": "woke",
    "escalate": "escalated",
    "assign": "assigned",
    "comment": "commented",
    "unmask": "unmasked",
    "export": "exported",
    "packet": "made a packet",
    "import": "brought a packet back",
    "webhook": "called the webhook",
    "login": "signed in",
    "logout": "signed out",
    "refuse": "was refused",
    "user": "changed a user",
    "token": "changed a token",
}


def in_words(event: Event) -> str:
    """Return what an event did, in a few words.

    Examples
    --------
    >>> fields = dict(number=1, action=1, who="ann", at=None, subject="k", before={}, address="", previous="")
    >>> in_words(Event(kind="decide", after={"label": "not_fraud", "comment": "known shop"}, **fields))
    'decided not fraud: known shop'
    """
    after = event.after
    label = LABELS.get(str(after.get("label") or (after.get("decision") or {}).get("label") or ""), "")
    words = [WORDS.get(event.kind, event.kind)]
    if event.kind in ("decide", "supersede", "second", "golden"):
        words += [
            label,
            f"({after['code']})" if after.get("code") else "",
            "in a packet" if after.get("packet") else "",
        ]
    elif event.kind == "undo":
        words.append(f"event {after.get('undoes', '')}")
    elif event.kind == "snooze":
        words.append(f"until {str(after.get('snoozed_until'))[:16].replace('T', ' ')}")
    elif event.kind == "assign":
        words.append(f"to {after.get('assignee') or 'nobody'}")
    elif event.kind in ("packet", "import"):
        words.append(f"of {after['user']}")
    elif event.kind == "unmask":
        words.append(str(after.get("column", "")))
    text = " ".join(word for word in words if word)
    note = next((str(after[name]) for name in ("comment", "text", "why") if after.get(name)), "")
    return f"{text}: {note}" if note else text
