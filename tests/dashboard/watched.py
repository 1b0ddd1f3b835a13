"""A page in a browser, and all that it should not have done; texts that would like it to."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, Page, expect
from tests.dashboard.conftest import PATIENCE_MS, TOKEN, served

HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    '"><svg onload=alert(1)>',
    "javascript:alert(1)",
    "\u202eevil\u202c left to right",
    "\x1b[31mred\x1b[0m\x07",
    "<style>*{display:none}</style>",
    "{{constructor.constructor('alert(1)')()}}",
    "<a href=https://evil.example>click</a>",
    "\ufeff\u200b\u2028\u2029",
    "![x](https://evil.example/x.png)",
    "=cmd|' /C calc'!A0",
    "<IMG SRC=JaVaScRiPt:alert(1)>",
    "<img src='x' onerror='alert(1)'/>",
    "<img/src/onerror=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<svg/onload=alert(1)//",
    "<svg><animate onbegin=alert(1) attributeName=x dur=1s>",
    "<math><mi xlink:href=javascript:alert(1)>x</mi></math>",
    "<iframe src=javascript:alert(1)></iframe>",
    "<iframe srcdoc='<script>parent.alert(1)</script>'></iframe>",
    "<object data=javascript:alert(1)></object>",
    "<embed src=https://evil.example/x.swf>",
    "<link rel=stylesheet href=https://evil.example/x.css>",
    "<base href=https://evil.example/>",
    "<meta http-equiv=refresh content='0;url=https://evil.example'>",
    "<form action=https://evil.example><input type=submit></form>",
    "<button formaction=javascript:alert(1)>x</button>",
    "<details open ontoggle=alert(1)>x</details>",
    "<video><source onerror=alert(1)></video>",
    "<audio src=x onerror=alert(1)>",
    "<body onload=alert(1)>",
    "<input autofocus onfocus=alert(1)>",
    "<marquee onstart=alert(1)>x</marquee>",
    "<style>@import 'https://evil.example/x.css';</style>",
    '<div style="background:url(https://evil.example/x.png)">x</div>',
    "<template><script>alert(1)</script></template>",
    "</script><script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    "</textarea><script>alert(1)</script>",
    "--><script>alert(1)</script><!--",
    "<![CDATA[<script>alert(1)</script>]]>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "${alert(1)}",
    "#{alert(1)}",
    "`${alert(1)}`",
    "';alert(1);//",
    '";alert(1);//',
    "\\';alert(1);//",
    "__proto__",
    "constructor",
    "toString",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:msgbox(1)",
    "//evil.example/x.js",
    "../../../../etc/passwd",
    "%3Cscript%3Ealert(1)%3C/script%3E",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "\u0000before\u0000after",
    "a\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301",
]

# Elements that no page of ours has, and texts could make.
INJECTED = ", ".join(
    f"main {kind}"
    for kind in (
        "img", "script", "svg", "math", "style", "iframe", "object", "embed", "link", "meta", "video", "audio",
        "marquee", "details", "template", "form", "[style*=url]", "[onload]", "[onerror]", "[onfocus]",
        "a[href^=javascript]", "a[href*='//']",
    )
)  # fmt: skip
# What the browser reports of a page that did what its policy forbids.
REPORT = """addEventListener("securitypolicyviolation", (event) => {
  window.reported(`${event.violatedDirective} ${event.blockedURI}`);
})"""


def hostile(row: int, of: int = 6) -> str:
    """All that there is, in so many texts."""
    return " ".join(HOSTILE[row % of :: of])


class Watched:
    """A page, and all that it should not have done."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.address = address
        self.base = address.partition("/#")[0]
        self.wrong: list[str] = []
        page.on("dialog", lambda dialog: (self.wrong.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.expose_function("reported", lambda what: self.wrong.append(f"report {what}"))
        page.add_init_script(REPORT)
        page.on("pageerror", lambda error: self.wrong.append(f"error {error}"))
        page.on("console", lambda said: self.wrong.append(said.text) if said.type == "error" else None)
        page.on(
            "request",
            lambda asked: None if asked.url.startswith((self.base, "data:")) else self.wrong.append(asked.url),
        )

    def open(self, path: str = "/") -> None:
        self.page.goto(f"{self.base}{path}#token={TOKEN}")
        expect(self.page.locator("main h1")).to_be_visible()


@contextmanager
def new_page(chromium: Browser, **context: Any) -> Iterator[Page]:
    """In a window of its own, and with patience."""
    opened = chromium.new_context(**context)
    opened.set_default_timeout(PATIENCE_MS)
    try:
        yield opened.new_page()
    finally:
        opened.close()


def look(chromium: Browser, source: Any, **context: Any) -> Iterator[Watched]:
    with served(source) as address, new_page(chromium, **context) as page:
        watched = Watched(page, address)
        yield watched
    assert watched.wrong == []
