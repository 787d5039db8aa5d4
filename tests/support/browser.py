"""A headless Chromium that says what a reader's browser would meet on a page.

It is driven through its debugging pipe (no port, no extra package), so that a phone's 390 pixels
are really 390.
"""

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
browser_tests = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason="no Chromium found: apt-get install chromium"),
]

_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--proxy-server=127.0.0.1:9",  # nobody answers there: neither page nor browser gets out
    "--proxy-bypass-list=<-loopback>",
    "--remote-debugging-pipe",
]
_START = (  # the browser expects its debugging pipe at descriptors 3 and 4
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); "
    "os.execv(sys.argv[3], sys.argv[3:])"
)
_MEASURE = """(async () => {
  await Promise.all([...document.images].map(image => image.decode().catch(() => null)));
  const box = element => { const {left, right, width, height} = element.getBoundingClientRect();
                           return {left, right, width, height}; };
  return {
    inner_width: innerWidth,
    scroll_width: document.documentElement.scrollWidth,
    title: document.title,
    language: document.documentElement.lang,
    headings: [...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map(h => Number(h.tagName[1])),
    figures: [...document.querySelectorAll('figure')].map(figure => {
      const image = figure.querySelector('img');
      return {...box(image), natural_width: image.naturalWidth, alt: image.alt,
              caption: figure.querySelector('figcaption')?.innerText ?? ''};
    }),
    broken_links: [...document.querySelectorAll('a[href^="#"]')].map(a => a.hash)
      .filter(hash => !document.getElementById(hash.slice(1))),
    rows: [...document.querySelectorAll('tbody tr')].length,
  };
})()"""
_DETAILS_SHOWN = "document.querySelector('details dl')?.checkVisibility() ?? false"


def inspect(
    html: str, width: int, screenshot: Path | None = None, dark: bool = False
) -> dict[str, Any]:
    """Open a page `width` CSS pixels wide and report what a reader's browser would meet.

    - `requests`: every address asked for, except the page itself and what it carries inside.
    - `console`: messages and errors, `title`, `language`, `headings` (levels), `rows` (of tables).
    - `inner_width`, `scroll_width`: of the page; the second is larger if it scrolls sideways.
    - `figures`: each `alt`, `caption`, `natural_width` (0 if broken), `left`, `right`, `width`,
      `height`. `broken_links`: anchors that lead nowhere.
    - `details_shown`, `printed_details_shown`: whether the folded part is, on screen and paper.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        file = Path(folder) / "page.html"
        file.write_text(html, encoding="utf-8")
        return inspect_file(file, width, screenshot, dark)


def inspect_file(
    file: Path, width: int, screenshot: Path | None = None, dark: bool = False
) -> dict[str, Any]:
    """The same of a page that lies on disk, beside the files that it shows."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        browser = _Browser(Path(folder) / "profile")
        try:
            return _visit(browser, file.as_uri(), width, screenshot, dark)
        finally:
            browser.close()


@contextlib.contextmanager
def opened(html: str, width: int, dark: bool = False, scripts: bool = True) -> Iterator["_Browser"]:
    """A page that lies open, to be pointed at, typed to and asked (`evaluate`). `scripts`: whether
    its own ones run."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        file = Path(folder) / "page.html"
        file.write_text(html, encoding="utf-8")
        with opened_file(file, width, dark, scripts) as browser:
            yield browser


@contextlib.contextmanager
def opened_file(
    file: Path, width: int, dark: bool = False, scripts: bool = True
) -> Iterator["_Browser"]:
    """The same of a page that lies on disk, beside the files that it reads."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        browser = _Browser(Path(folder) / "profile")
        try:
            browser.call("Emulation.setScriptExecutionDisabled", value=not scripts)
            _visit(browser, file.as_uri(), width, None, dark)
            scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
            browser.call("Emulation.setEmulatedMedia", media="screen", features=[scheme])
            yield browser
        finally:
            browser.close()


def _visit(
    browser: "_Browser", address: str, width: int, screenshot: Path | None, dark: bool
) -> dict[str, Any]:
    for domain in ("Page", "Network", "Runtime", "Log"):
        browser.call(f"{domain}.enable")
    size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.call("Emulation.setDeviceMetricsOverride", **size)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.call("Emulation.setEmulatedMedia", features=[scheme])
    browser.call("Page.navigate", url=address)
    browser.wait_for("Page.loadEventFired")
    found = browser.evaluate(_MEASURE)
    found["details_shown"] = browser.evaluate(_DETAILS_SHOWN)
    if screenshot is not None:
        picture = browser.call("Page.captureScreenshot", captureBeyondViewport=True)
        screenshot.write_bytes(base64.b64decode(picture["data"]))
    browser.call("Emulation.setEmulatedMedia", media="print")
    found["printed_details_shown"] = browser.evaluate(_DETAILS_SHOWN)
    urls = [event["request"]["url"] for event in browser.seen("Network.requestWillBeSent")]
    found["requests"] = [url for url in urls if url != address and not url.startswith("data:")]
    found["console"] = [
        json.dumps(event)
        for name in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        for event in browser.seen(name)
    ]
    return found


class _Browser:
    """A headless Chromium with one open page, spoken to in JSON through a pipe."""

    def __init__(self, profile: Path) -> None:
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        flags = [*_FLAGS, f"--user-data-dir={profile}"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, str(theirs_in), str(theirs_out), CHROMIUM, *flags],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._buffer = b""
        self._events: list[dict[str, Any]] = []
        self._count = 0
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and wait for its answer; events met on the way are kept."""
        self._count += 1
        command = {"id": self._count, "method": method, "params": parameters}
        command |= {"sessionId": self._session} if self._session else {}
        os.write(self._out, json.dumps(command).encode() + b"\0")
        while (answer := self._read()).get("id") != self._count:
            self._events.append(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def evaluate(self, expression: str) -> Any:
        answer = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        return answer["result"].get("value")  # none of a call that returns nothing

    def point(self, place: str, across: float) -> None:
        """Move the pointer into the element, so far across it, from 0 to 1."""
        box = self.evaluate(
            f"(() => {{ const e = document.querySelector({place!r}); e.scrollIntoView("
            "{block: 'center', behavior: 'instant'}); const b = e.getBoundingClientRect(); "
            f"return [b.left + b.width * {across}, b.top + b.height / 2]; }})()"
        )
        event = {"type": "mouseMoved", "x": box[0], "y": box[1]}
        self.call("Input.dispatchMouseEvent", **event)
        self.settle()

    def press(self, key: str) -> None:
        """Press a key, such as "ArrowRight", where the focus is."""
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key)
        self.settle()

    def settle(self) -> None:
        """Wait until the page has drawn what happened."""
        self.evaluate("new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))")

    def picture(self, file: Path) -> None:
        """A screenshot of the whole page."""
        taken = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(taken["data"]))

    def wait_for(self, event: str) -> None:
        while not self.seen(event):
            self._events.append(self._read())

    def seen(self, event: str) -> list[dict[str, Any]]:
        return [each["params"] for each in self._events if each.get("method") == event]

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._in)
        os.close(self._out)

    def _read(self, patience: float = 60.0) -> dict[str, Any]:
        deadline = time.monotonic() + patience
        while b"\0" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._in], [], [], left)[0]:
                raise TimeoutError(f"Chromium said nothing for {patience:.0f} seconds")
            received = os.read(self._in, 1 << 20)
            if not received:
                raise RuntimeError("Chromium ended; run its command line by hand to see why")
            self._buffer += received
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)
