"""A report opened in the browser, with what it complains of."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WATCH = """
window.refused = [];
addEventListener("securitypolicyviolation", (event) => refused.push(event.violatedDirective));
"""


@dataclass
class Opened:
    """A page with what it complained of and what it asked for besides itself."""

    page: Any
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)


def open_page(browser: Any, file: Path, script: str = WATCH, **context: Any) -> Iterator[Opened]:
    own = browser.new_context(**context)
    own.add_init_script(script)
    opened = Opened(own.new_page())
    page = opened.page
    page.on("console", lambda message: opened.complaints.append(message.text))
    page.on("pageerror", lambda error: opened.complaints.append(str(error)))
    page.on("request", lambda request: opened.requests.append(request.url))
    page.on("dialog", lambda dialog: (opened.dialogs.append(dialog.message), dialog.dismiss()))
    page.goto(file.as_uri())
    yield opened
    own.close()


def wait_until_drawn(page: Any) -> None:
    """By Playwright's own polling: `wait_for_function` would need the page to allow `eval`."""
    from playwright.sync_api import expect

    expect(page.locator("[data-chart]:not([data-drawn])")).to_have_count(0, timeout=30_000)
