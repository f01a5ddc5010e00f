"""A headless Chromium for the tests of the pages; the tests are skipped where none is installed."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
# Nothing but the pages: no sandbox, which root may not have, and no traffic of the browser's own.
WORDS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
DESKTOP = {"viewport": {"width": 1280, "height": 900}}
TIMEOUT = 30_000  # ms; studies that run beside the browser leave it little of a small machine
expect.set_options(timeout=TIMEOUT)


@contextmanager
def launched() -> Iterator[Browser]:
    """The browser; skips the test that asks for it where there is none."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"no browser is installed (none of {', '.join(NAMES)}): apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=WORDS)
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, file: Path, **look: Any) -> Iterator[Page]:
    """A page from a file; fails if it wrote to the console, raised an error or asked a network for anything."""
    context = browser.new_context(**{**DESKTOP, **look})
    context.set_default_timeout(TIMEOUT)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
    page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
    page.on("request", lambda r: r.url.startswith(("file:", "data:", "blob:")) or complaints.append(f"asks {r.url}"))
    page.goto(file.as_uri())
    yield page
    context.close()
    if complaints:
        pytest.fail(f"{file}: {'; '.join(complaints)}")
