"""A headless Chromium, or the reason why there is none."""

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

SYSTEM_BROWSERS = ("chromium", "chromium-headless-shell", "google-chrome", "chromium-browser")
REMEDY = (
    "Run: playwright install --with-deps chromium-headless-shell; or install a system's "
    "chromium, or name one by GEMMBENCH_CHROMIUM"
)


def executables() -> list[str | None]:
    """What may be started, the best first; None is Playwright's own."""
    named = os.environ.get("GEMMBENCH_CHROMIUM")
    if named:
        return [named]
    return [None, *filter(None, map(shutil.which, SYSTEM_BROWSERS))]


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    api = pytest.importorskip(
        "playwright.sync_api",
        reason="needs Playwright. Run: pip install 'gemmbench[browser-test]'",
    )
    pytest.importorskip("plotly", reason="needs plotly. Run: pip install 'gemmbench[plot]'")
    with api.sync_playwright() as playwright:
        reasons = []
        for path in executables():
            try:
                started = playwright.chromium.launch(executable_path=path)
            except api.Error as error:
                reasons.append(str(error).strip().splitlines()[0])
                continue
            yield started
            started.close()
            return
        pytest.skip(f"no Chromium starts ({reasons[0]}). {REMEDY}")
