"""Headless Chromium for tests, driven through two pipes by its DevTools protocol."""

import base64
import contextlib
import itertools
import json
import os
import pathlib
import select
import shutil
import signal
import subprocess
import time
from typing import Any

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def find() -> str | None:
    """Return the path of the browser; None if it is not installed."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


class Tab:
    """One browser tab."""

    def __init__(self, read_fd: int, write_fd: int):
        self._read_fd, self._write_fd, self._buffer, self._ids = read_fd, write_fd, b"", itertools.count(1)
        self.console: list[str] = []  # messages
        self.requests: list[str] = []  # addresses that the page requested
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = None
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._ask(f"{domain}.enable")

    def resize(self, *, width: int, dark: bool = False, media: str = "screen") -> None:
        """Set the width of the window in pixels, its theme and its medium."""
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        self._ask("Emulation.setDeviceMetricsOverride", **metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._ask("Emulation.setEmulatedMedia", media=media, features=[scheme])

    def open(self, page: pathlib.Path, *, width: int, dark: bool = False, media: str = "screen") -> None:
        """Open a page and wait until all charts are drawn."""
        self.console.clear()
        self.requests.clear()
        self.resize(width=width, dark=dark, media=media)
        address = page.resolve().as_uri()
        self._ask("Page.navigate", url=address)
        self.wait(
            f"location.href === {json.dumps(address)} && document.documentElement?.dataset.drawn === 'all'"
        )

    def wait(self, code: str) -> None:
        """Wait until the expression is true, at most 20 s."""
        deadline = time.monotonic() + 20
        while not self.run(code):
            assert time.monotonic() < deadline, f"still false after 20 s: {code}; console: {self.console}"
            time.sleep(0.05)

    def run(self, code: str) -> Any:
        """Return the value of a JavaScript expression in the page."""
        answer = self._ask("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def point_at(self, selector: str, *, click: bool = False, wheel: float = 0, ctrl: bool = False) -> None:
        """Move the mouse to the middle of the first matching element; optionally click or turn the wheel."""
        middle = """(() => {
            const element = document.querySelector(%s);
            element.scrollIntoView({block: 'center', behavior: 'instant'});
            const box = element.getBoundingClientRect();
            return {x: box.x + box.width / 2, y: box.y + box.height / 2};
        })()"""
        position = self.run(middle % json.dumps(selector))
        events: list[dict[str, Any]] = [{"type": "mouseMoved"}]
        if click:
            events += [
                {"type": event_type, "button": "left", "clickCount": 1}
                for event_type in ("mousePressed", "mouseReleased")
            ]
        if wheel:
            events.append({"type": "mouseWheel", "deltaX": 0, "deltaY": wheel})
        for event in events:
            self._ask("Input.dispatchMouseEvent", **position, **event, modifiers=2 if ctrl else 0)

    def screenshot(self, out: pathlib.Path) -> None:
        """Write a PNG of the whole page."""
        image = self._ask("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        out.write_bytes(base64.b64decode(image["data"]))

    def allow_downloads(self, folder: pathlib.Path) -> None:
        """Save downloads in this folder."""
        self._ask("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder))

    def pdf(self, out: pathlib.Path) -> None:
        """Write the printed page."""
        printed = self._ask("Page.printToPDF", printBackground=True)
        out.write_bytes(base64.b64decode(printed["data"]))

    def _ask(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._ids)
        message = {"id": number, "method": method, "params": params}
        if session := getattr(self, "_session", None):
            message["sessionId"] = session
        os.write(self._write_fd, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer)
                return answer["result"]
            self._record(answer)

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            assert select.select([self._read_fd], [], [], 30)[0], "Chromium did not answer for 30 s"
            received = os.read(self._read_fd, 1 << 16)
            assert received, "Chromium exited"
            self._buffer += received
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)

    def _record(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        if event["method"] == "Runtime.consoleAPICalled":
            text = " ".join(str(part.get("value", part.get("description"))) for part in params["args"])
            self.console.append(f"{params['type']}: {text}")
        elif event["method"] == "Runtime.exceptionThrown":
            self.console.append(f"exception: {params['exceptionDetails']}")
        elif event["method"] == "Log.entryAdded":
            self.console.append(f"{params['entry']['level']}: {params['entry']['text']}")
        elif event["method"] == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])


@contextlib.contextmanager
def tab(browser: str, home: pathlib.Path):
    """Yield a `Tab` of a browser process with its profile in the folder `home`."""
    browser_read, write_fd = os.pipe()
    read_fd, browser_write = os.pipe()
    flags = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--hide-scrollbars",
        "--remote-debugging-pipe",
        f"--user-data-dir={home}",
    ]
    # --remote-debugging-pipe: Chromium reads from file descriptor 3 and writes to 4.
    shell = f'exec "$0" "$@" 3<&{browser_read} 4>&{browser_write}'
    process = subprocess.Popen(
        ["bash", "-c", shell, browser, *flags],
        pass_fds=(browser_read, browser_write),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(browser_read)
    os.close(browser_write)
    try:
        yield Tab(read_fd, write_fd)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(read_fd)
        os.close(write_fd)
