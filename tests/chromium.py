"""A headless Chromium, spoken to through two pipes: the protocol of its developer tools, without a package for it."""

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
    """The program; None where there is none."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


class Tab:
    """One page. What its console said is kept in `said`."""

    def __init__(self, into: int, out: int):
        self._into, self._out, self._rest, self._numbers = into, out, b"", itertools.count(1)
        self.said: list[str] = []
        self.fetched: list[str] = []  # addresses that the page asked for
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = None
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._ask(f"{domain}.enable")

    def show(self, *, width: int, dark: bool = False, media: str = "screen") -> None:
        """The window is so many pixels wide from now on, its theme and medium are these."""
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        self._ask("Emulation.setDeviceMetricsOverride", **metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._ask("Emulation.setEmulatedMedia", media=media, features=[scheme])

    def open(self, page: pathlib.Path, *, width: int, dark: bool = False, media: str = "screen") -> None:
        """Returns when all charts are drawn."""
        self.said.clear()
        self.fetched.clear()
        self.show(width=width, dark=dark, media=media)
        address = page.resolve().as_uri()
        self._ask("Page.navigate", url=address)
        self.wait(
            f"location.href === {json.dumps(address)} && document.documentElement?.dataset.drawn === 'all'"
        )

    def wait(self, code: str) -> None:
        """Until the expression is true, 20 s at most."""
        deadline = time.monotonic() + 20
        while not self.run(code):
            assert time.monotonic() < deadline, f"not so in 20 s: {code}; the console: {self.said}"
            time.sleep(0.05)

    def run(self, code: str) -> Any:
        """The value of an expression in the page."""
        answer = self._ask("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def point_at(self, selector: str, *, click: bool = False, wheel: float = 0, ctrl: bool = False) -> None:
        """Moves the mouse to the middle of the first such element, and there clicks, or turns the wheel."""
        middle = """(() => {
            const it = document.querySelector(%s);
            it.scrollIntoView({block: 'center', behavior: 'instant'});
            const box = it.getBoundingClientRect();
            return {x: box.x + box.width / 2, y: box.y + box.height / 2};
        })()"""
        place = self.run(middle % json.dumps(selector))
        events: list[dict[str, Any]] = [{"type": "mouseMoved"}]
        if click:
            events += [
                {"type": kind, "button": "left", "clickCount": 1}
                for kind in ("mousePressed", "mouseReleased")
            ]
        if wheel:
            events.append({"type": "mouseWheel", "deltaX": 0, "deltaY": wheel})
        for event in events:
            self._ask("Input.dispatchMouseEvent", **place, **event, modifiers=2 if ctrl else 0)

    def screenshot(self, out: pathlib.Path) -> None:
        """The whole page, not the window alone."""
        image = self._ask("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        out.write_bytes(base64.b64decode(image["data"]))

    def pdf(self, out: pathlib.Path) -> None:
        """As it is printed."""
        printed = self._ask("Page.printToPDF", printBackground=True)
        out.write_bytes(base64.b64decode(printed["data"]))

    def _ask(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        if session := getattr(self, "_session", None):
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer)
                return answer["result"]
            self._keep(answer)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            assert select.select([self._into], [], [], 30)[0], "Chromium did not answer for 30 s"
            read = os.read(self._into, 1 << 16)
            assert read, "Chromium ended"
            self._rest += read
        message, self._rest = self._rest.split(b"\0", 1)
        return json.loads(message)

    def _keep(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        if event["method"] == "Runtime.consoleAPICalled":
            words = " ".join(str(part.get("value", part.get("description"))) for part in params["args"])
            self.said.append(f"{params['type']}: {words}")
        elif event["method"] == "Runtime.exceptionThrown":
            self.said.append(f"exception: {params['exceptionDetails']}")
        elif event["method"] == "Log.entryAdded":
            self.said.append(f"{params['entry']['level']}: {params['entry']['text']}")
        elif event["method"] == "Network.requestWillBeSent":
            self.fetched.append(params["request"]["url"])


@contextlib.contextmanager
def tab(program: str, home: pathlib.Path):
    """A `Tab` of a Chromium that lives as long as the block, in a folder of its own."""
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
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
    # Chromium reads from its third and writes to its fourth file.
    shell = f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}'
    process = subprocess.Popen(
        ["bash", "-c", shell, program, *flags],
        pass_fds=(theirs_in, theirs_out),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        yield Tab(ours_in, ours_out)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(ours_in)
        os.close(ours_out)
