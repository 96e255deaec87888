"""What a cell of the label says: fraud, not fraud, not known (yet), or nothing that is understood.

Some words have one meaning wherever they come, such as 1, yes and legit. All others mean what ``[table]`` has in
``label_fraud``, ``label_normal`` and ``label_unknown``. Case, blanks around a word, and "_" or "-" between words are
not looked at, and a number is its value: "Not_Fraud" is "not fraud", "1.0" is "1".
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.settings.config import TableConfig

FRAUD_WORDS = (
    "1", "true", "yes", "y", "fraud", "fraudulent", "confirmed fraud", "is fraud", "true positive", "scam",
    "chargeback", "illicit", "bad", "ja", "j", "wahr", "betrug", "betrügerisch", "oui", "vrai", "fraude",
    "sí", "si", "waar",
)  # fmt: skip
NORMAL_WORDS = (
    "0", "false", "no", "n", "legit", "legitimate", "genuine", "normal", "not fraud", "no fraud", "non fraud",
    "nonfraud", "notfraud", "not fraudulent", "non fraudulent", "false positive", "false alarm", "licit",
    "good", "clean", "ok", "nein", "falsch", "kein betrug", "non", "faux", "nee", "onwaar", "legitim",
)  # fmt: skip
NOTHING_WORDS = ("null", "na", "n/a", "#n/a", "<na>", "\\n")
"""What other programs write into a cell that is empty."""
PENDING_WORDS = (
    "?", "unsure", "not sure",
    "unknown", "unlabelled", "unlabeled", "undecided", "pending", "open", "review", "in review", "under review",
    "not reviewed", "unreviewed", "unbekannt", "offen", "inconnu",
)  # fmt: skip
_SHOWN = 5  # words of a meaning that a message names


def canonical(cells: pa.Array) -> pa.Array:
    """Return cells as the words that are compared; a missing or blank cell, and nan, becomes "".

    Parameters
    ----------
    cells : pyarrow.Array
        n_rows cells: text, numbers or truth values.

    Examples
    --------
    >>> canonical(pa.array(["Yes ", "NOT_FRAUD", "01.0", "-1", None])).to_pylist()
    ['yes', 'not fraud', '1', '-1', '']
    >>> canonical(pa.array([2.0, None])).to_pylist(), canonical(pa.array([True])).to_pylist()
    (['2', ''], ['true'])
    """
    words = pc.utf8_lower(pc.utf8_trim_whitespace(cells.cast(pa.string()).fill_null("")))
    words = pc.replace_substring_regex(words, r"[\s_]+", " ")
    words = pc.replace_substring_regex(words, r"(\pL) ?-+ ?(\pL)", r"\1 \2")
    words = pc.replace_substring_regex(words, r"^[+-]?nan$", "")
    words = pc.replace_substring_regex(words, r"^[+-]?0+(?:[.,]0*)?$", "0")
    return pc.replace_substring_regex(words, r"^\+?(-?)0*([1-9]\d*)(?:[.,]0*)?$", r"\1\2")


def meanings(settings: TableConfig) -> dict[str, int | None]:
    """Return what every word means that is understood, by its canonical form: 1 fraud, 0 not fraud, None not known.

    Where the settings turn the usual meaning of a word round, none of the usual ones holds: of a label of 2 for fraud
    and 1 for none, nobody knows what 0 would mean.

    Parameters
    ----------
    settings : TableConfig
        ``label_fraud``, ``label_normal`` and ``label_unknown``.

    Examples
    --------
    >>> meanings(TableConfig(label_fraud=("stolen",)))["stolen"], "0" in meanings(TableConfig(label_fraud=("2",)))
    (1, True)
    >>> turned = meanings(TableConfig(label_normal=("1",), label_fraud=("2",)))
    >>> [word for word, meaning in turned.items() if meaning is not None]
    ['2', '1']
    """
    usual = dict.fromkeys(FRAUD_WORDS, 1) | dict.fromkeys(NORMAL_WORDS, 0)
    own: dict[str, int | None] = {}
    for words, meaning in ((settings.label_fraud, 1), (settings.label_normal, 0), (settings.label_unknown, None)):
        own |= dict.fromkeys(canonical(pa.array(words, pa.string())).to_pylist(), meaning)
    if any(usual.get(word, meaning) != meaning for word, meaning in own.items() if meaning is not None):
        usual = {}
    nothing = canonical(pa.array(settings.null_words, pa.string())).to_pylist()
    return {"": None, **dict.fromkeys((*NOTHING_WORDS, *PENDING_WORDS, *nothing)), **usual, **own}


def read_labels(cells: pa.Array, settings: TableConfig) -> tuple[pa.Array, np.ndarray]:
    """Return what the cells of a label say, and which of them are not understood.

    Parameters
    ----------
    cells : pyarrow.Array
        n_rows cells, as found.
    settings : TableConfig

    Returns
    -------
    labels : pyarrow.Array
        int8: 1 fraud, 0 not fraud, missing where it is not known or not understood.
    failures : array of shape (n_rows,), bool

    Examples
    --------
    >>> labels, failures = read_labels(pa.array(["Y", "n", "NULL", "perhaps"]), TableConfig())
    >>> labels.to_pylist(), failures.tolist()
    ([1, 0, None, None], [False, False, False, True])
    """
    known, encoded = meanings(settings), cells.dictionary_encode(null_encoding="encode")
    # A label has few words, and each is read once.
    places = pc.index_in(canonical(encoded.dictionary), pa.array(list(known), pa.string()))
    labels = pa.array(list(known.values()), pa.int8()).take(places).take(encoded.indices)
    is_strange = np.asarray(places.is_null().to_numpy(zero_copy_only=False), dtype=bool)
    return labels, is_strange[encoded.indices.to_numpy()]


def describe_words(settings: TableConfig) -> str:
    """Return which words a label may hold, for messages.

    Examples
    --------
    >>> describe_words(TableConfig())
    '1, true, yes, y or fraud for fraud, 0, false, no, n or legit for none, or empty'
    >>> describe_words(TableConfig(label_fraud=("2",), label_normal=("1",)))
    '2 for fraud, 1 for none, or empty'
    """
    known = meanings(settings)
    texts = []
    for meaning, own in ((1, settings.label_fraud), (0, settings.label_normal)):
        own = tuple(word for word in own if word)
        usual = [word for word, value in known.items() if value == meaning]
        usual = [word for word in usual if word not in canonical(pa.array(own, pa.string())).to_pylist() and word]
        texts.append(_listed([*own, *usual][: max(_SHOWN, len(own))]))
    blank = "or empty" if known[""] is None else "or empty for none, too"
    return f"{texts[0]} for fraud, {texts[1]} for none, {blank}"


def _listed(words: list[str]) -> str:
    return " or ".join(filter(None, [", ".join(words[:-1]), *words[-1:]])) or "no word"


def spell_labels(labels: pa.Array | pa.ChunkedArray, settings: TableConfig) -> pa.Array | pa.ChunkedArray:
    """Return labels as people read them and `read_labels` reads them back: 1 and 0, unless these mean something else.

    Parameters
    ----------
    labels : pyarrow.Array or ChunkedArray
        Whole numbers, 1 fraud and 0 not fraud.
    settings : TableConfig

    Examples
    --------
    >>> spell_labels(pa.array([1, 0, None]), TableConfig(label_fraud=("2",), label_normal=("1",))).to_pylist()
    ['2', '1', None]
    """
    known = meanings(settings)
    if known.get("1") == 1 and known.get("0") == 0:
        return labels
    words = [next((word for word in own if word), "") for own in (settings.label_normal, settings.label_fraud)]
    return pa.array(words, pa.string()).take(labels.cast(pa.int64()))
