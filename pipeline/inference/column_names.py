"""What the name of a column says about its role: common English and German words of the field."""

import re
import unicodedata

_KEY = r"(?:ids?|nr|no|num|number|nummer|key|ref|reference|referenz|uuid|guid|code|hash)"
_ACTOR = (
    r"customer|cust|client|kunden?|cards?|karten?|accounts?|acct|kontos?|konten|iban|users?|terminals?|"
    r"merchants?|merch|haendler|shops?|stores?|filialen?|devices?|geraete?|ip|emails?|phone|payer|payee|sender|"
    r"receiver|recipient|empfaenger|absender|beneficiary|orig|dest|cc|pan|holder|wallet|counterparty|employee|"
    r"agent|machine|automat|atm|pos|seller|buyer"
)

# Patterns are searched in the words of a name joined by "_"; the score is the sum of all that are found.
_PATTERNS: dict[str, tuple[tuple[str, float], ...]] = {
    "id": (
        (rf"(?:^|_)(?:transaction|tx|txn|trx|trans|payment|booking|operation|event)_?{_KEY}$", 4),
        (rf"^(?:transaktion|buchung|zahlung|beleg|vorgang)s?_?{_KEY}$", 4),
        (r"^(?:id|uuid|guid|row|row_?id|index|transaction|transaktion|tx_?id)$", 3),
        (rf"(?:_|^){_KEY}$|nummer$", 1),
        (rf"(?:^|_)(?:{_ACTOR})(?:_|$)|^(?:kunden|karten|konto|haendler|terminal|filial|geraete)", -2),
    ),
    "timestamp": (
        (r"date_?time|time_?stamp|zeitstempel|buchungs_?zeit|buchungs_?datum|(?:^|_)ts$", 4),
        (r"^(?:transaction|tx|txn|trx|trans|event|booking|payment)_(?:dt|date|time|at|on)", 4),
        (r"^(?:created|occurred|happened|booked|authori[sz]ed)(?:_(?:at|on|date|time))?$", 3),
        (r"(?:^|_)(?:date|time|datum|zeit|uhrzeit|dt|at|when|zeitpunkt|tag|unix|epoch)(?:_|$)|datum$", 2),
        (
            r"birth|(?:^|_)dob|geburt|expir|ablauf|valid|gueltig|opened|eroeffn|updat|label|report|settle|wert",
            -6,
        ),
    ),
    "amount": (
        (r"(?:^|_)(?:amount|amt|montant|importe?o?|bedrag)(?:_|$)|betrag|umsatz", 4),
        (r"(?:^|_)(?:value|price|sum|total|wert|preis|summe|cost|kosten|paid|eur|usd|gbp|chf)(?:_|$)", 2),
        (
            r"balance|saldo|tax|steuer|fee|gebuehr|avg|mean|(?:^|_)(?:old|new|limit|count|max|min|lat|usual)",
            -6,
        ),
        (r"score|risk|date|datum|time|(?:^|_)(?:id|is|has|num)(?:_|$)", -6),
    ),
    "entities": (
        (rf"(?:^|_)(?:{_ACTOR})(?:_|$)", 2),
        (r"^(?:kunden|karten|konto|haendler|terminal|filial|geraete|empfaenger)", 2),
        (rf"(?:_|^){_KEY}$|nummer$", 1),
        (
            r"(?:^|_)(?:type|typ|category|kategorie|class|status|state|country|land|age|brand|risk|score)(?:_|$)",
            -4,
        ),
        (
            r"(?:^|_)(?:balance|saldo|amount|betrag|count|cnt|anzahl|lat|lon|long|date|time)(?:_|$)|balance",
            -4,
        ),
    ),
    "label": (
        (r"fraud|betrug|frode", 4),
        (r"^(?:class|label|target|y|outcome)$|(?:^|_)(?:label|target|klasse)(?:_|$)", 3),
        (r"chargeback|charge_back|rueckbuchung|scam", 2),
        (r"flagged|suspect|score|scenario|type|amount|date|time|(?:^|_)at$", -3),
    ),
    "labelled_at": (
        (r"^(?:label+ed|fraud|chargeback|confirmed|reported|betrugs?)\w*_(?:at|date|time|on|datum)$", 2),
        (r"^label_?(?:date|time|at)$|meldedatum", 2),
    ),
    "quantity": (
        (
            r"(?:^|_)(?:count|cnt|num|nb|anzahl|qty|quantity|menge|age|alter|days?|tage|hours?|minutes?)(?:_|$)",
            1,
        ),
        (r"(?:^|_)(?:since|seit|score|ratio|rate|pct|percent|lag|distance|dist|lat|lon|long|pop)(?:_|$)", 1),
        (r"amount|betrag|balance|saldo|limit", 1),
    ),
    "code": ((r"(?:^|_)(?:code|mcc|zip|plz|post_?code|postleitzahl|bin|blz|bic|swift|addr|region)(?:_|$)", 1),),
}
_PERSONAL = (
    (r"e_?mail", "an e-mail address"),
    (r"(?:^|_)(?:phone|tel|telephone|telefon|mobile|mobil|handy|fax)", "a telephone number"),
    (r"iban|(?:^|_)(?:bban|account_(?:number|no|num)|acct_(?:num|no))(?:_|$)|kontonummer", "a bank account"),
    (r"(?:^|_)(?:pan|cc_?(?:num|number|no)|card_?(?:num|number|no|nr))(?:_|$)|kartennummer", "a card number"),
    (r"(?:^|_)(?:ip|ip_?address|ip_?addr|ipv4|ipv6|mac_address)(?:_|$)", "a network address"),
    (r"(?:^|_)(?:address|adresse|addr|street|strasse|anschrift|home)(?:_|$)", "an address"),
    (r"(?:^|_)(?:latitude|longitude|lat|lon|lng|long$|breitengrad|laengengrad)(?:_|$)", "an address"),
    (r"(?:^|_)(?:dob|birth|birthday|birthdate|geburt\w*)(?:_|$)", "a date of birth"),
    (r"(?:^|_)(?:ssn|passport|ausweis\w*|tax_?id|steuer_?id|social_security)(?:_|$)", "an identity document"),
    (r"(?:^|_)(?:first|last|sur|full|given|family|user|holder|vor|nach)_?name(?:_|$)", "a person's name"),
    (
        r"^(?:first|last)$|(?:^|_)(?:name|surname|kundenname|inhaber|karteninhaber|username)(?:_|$)",
        "a person's name",
    ),
)
_NOT_A_PERSON = r"merch|merchant|haendler|shop|store|filial|terminal|product|produkt|category|file|device"


def join_words(name: str) -> str:
    """Return the words of a name in lower case, joined by "_", with accents spelled out.

    Examples
    --------
    >>> join_words("TransactionID"), join_words("TX_DATETIME"), join_words("isFraud"), join_words("card1")
    ('transaction_id', 'tx_datetime', 'is_fraud', 'card_1')
    >>> join_words("Händler-Nr.")
    'haendler_nr'
    """
    for sign, spelling in (
        ("ä", "ae"),
        ("ö", "oe"),
        ("ü", "ue"),
        ("Ä", "Ae"),
        ("Ö", "Oe"),
        ("Ü", "Ue"),
        ("ß", "ss"),
    ):
        name = name.replace(sign, spelling)
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return "_".join(re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", plain)).lower()


def name_score(role: str, name: str) -> float:
    """Return how much a name speaks for a role: above 0 for it, below 0 against it, 0 when it says nothing.

    Examples
    --------
    >>> name_score("amount", "TX_AMOUNT"), name_score("amount", "colour"), name_score("amount", "oldbalance")
    (4, 0, -6)
    """
    words = join_words(name)
    return sum(points for pattern, points in _PATTERNS[role] if re.search(pattern, words))


def names_fraud(name: str) -> bool:
    """Return whether a name says that a column speaks of fraud.

    Examples
    --------
    >>> names_fraud("Fraud Case"), names_fraud("TX_CHARGEBACK"), names_fraud("colour")
    (True, True, False)
    """
    return bool(re.search(r"fraud|betrug|frode|charge_?back|rueckbuchung|scam", join_words(name)))


def personal_data(name: str) -> str | None:
    """Return which kind of personal data a name suggests ("a card number"), or None.

    Examples
    --------
    >>> personal_data("customer_email"), personal_data("Kartennummer"), personal_data("merchant_name")
    ('an e-mail address', 'a card number', None)
    """
    words = join_words(name)
    if re.search(_NOT_A_PERSON, words):
        return None
    return next((kind for pattern, kind in _PERSONAL if re.search(pattern, words)), None)
