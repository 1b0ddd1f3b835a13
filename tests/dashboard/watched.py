"""A page in a browser, and all that it should not have done; texts that would like it to."""

from collections.abc import Iterator
from typing import Any

from playwright.sync_api import Browser, Page, expect
from tests.dashboard.conftest import TOKEN, served

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
]

# Elements that no page of ours has, and texts could make.
INJECTED = ", ".join(f"main {kind}" for kind in ("img", "script", "svg", "style", "iframe", "a[href^=javascript]"))


def hostile(row: int) -> str:
    return " ".join(HOSTILE[(row + more) % len(HOSTILE)] for more in (0, 1))


class Watched:
    """A page, and all that it should not have done."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.address = address
        self.base = address.partition("/#")[0]
        self.wrong: list[str] = []
        page.on("dialog", lambda dialog: (self.wrong.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.on("pageerror", lambda error: self.wrong.append(f"error {error}"))
        page.on("console", lambda said: self.wrong.append(said.text) if said.type == "error" else None)
        page.on(
            "request",
            lambda asked: None if asked.url.startswith((self.base, "data:")) else self.wrong.append(asked.url),
        )

    def open(self, path: str = "/") -> None:
        self.page.goto(f"{self.base}{path}#token={TOKEN}")
        expect(self.page.locator("main h1")).to_be_visible()


def look(chromium: Browser, source: Any, **context: Any) -> Iterator[Watched]:
    with served(source) as address:
        opened = chromium.new_context(**context)
        watched = Watched(opened.new_page(), address)
        try:
            yield watched
        finally:
            opened.close()
    assert watched.wrong == []
