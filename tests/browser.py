"""A headless Chromium for tests, spoken to in its DevTools protocol over two pipes.

The browser reads commands on file descriptor 3 and answers on 4: JSON, each message ended by NUL.
"""

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

PATIENCE = 120.0
"""Seconds after which a command that was not answered has failed, on a machine with much else to do."""

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--hide-scrollbars", "--remote-debugging-pipe",
)  # fmt: skip


def find_chromium() -> str | None:
    """Path of the browser, None if this machine has none."""
    return next(
        (place for name in ("chromium", "chromium-browser", "google-chrome") if (place := shutil.which(name))), None
    )


class Browser:
    """One tab; `errors` is what its console says of trouble, `requests` the addresses that were asked for."""

    def __init__(self, program: str, profile: Path) -> None:
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 20) for end in (theirs_in, theirs_out)]  # clear of 3 and 4
        log = os.open(profile / "browser.log", os.O_WRONLY | os.O_CREAT)
        actions = [(os.POSIX_SPAWN_DUP2, end, at) for end, at in zip((*ends, log, log), (3, 4, 1, 2), strict=True)]
        arguments = [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        self._process = os.posix_spawn(program, arguments, os.environ, file_actions=actions, setpgroup=0)
        for end in (theirs_in, theirs_out, *ends, log):
            os.close(end)
        self._in, self._out, self._last, self._rest = ours_in, ours_out, 0, b""
        self._session: str | None = None
        self.errors: list[str] = []
        self.requests: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        """End the browser."""
        os.killpg(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)
        os.close(self._in)
        os.close(self._out)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its answer; what happens meanwhile is noted."""
        self._last += 1
        session = {"sessionId": self._session} if self._session else {}
        message = {"id": self._last, "method": method, "params": parameters, **session}
        os.write(self._out, json.dumps(message).encode() + b"\0")
        for answer in self._messages():
            if answer.get("id") == self._last:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return dict(answer["result"])
            self._note(answer)
        raise AssertionError(f"{method} was not answered within {PATIENCE:g} s")

    def _messages(self) -> Iterator[dict[str, Any]]:
        ends_at = time.monotonic() + PATIENCE
        while (left := ends_at - time.monotonic()) > 0:
            message, nul, rest = self._rest.partition(b"\0")
            if nul:
                self._rest = rest
                yield json.loads(message)
            elif select.select([self._in], [], [], left)[0]:
                read = os.read(self._in, 1 << 20)
                assert read, "the browser has ended"
                self._rest += read

    def _note(self, message: Mapping[str, Any]) -> None:
        method, said = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(said["exceptionDetails"])[:500])
        elif method == "Log.entryAdded" and said["entry"]["level"] == "error":
            self.errors.append(said["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and said["type"] in ("error", "warning", "assert"):
            self.errors.append(json.dumps(said["args"])[:500])
        elif method == "Network.requestWillBeSent":
            self.requests.append(said["request"]["url"][:200])

    def open(self, page: Path, after: str = "") -> None:
        """Load a page from disk, with `after` behind its name, and wait until its script says it is ready."""
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=page.resolve().as_uri() + after)
        self.wait("location.protocol === 'file:' && document.documentElement?.dataset.ready === 'yes'")

    def ask(self, expression: str) -> Any:
        """Value of an expression (or of what it promises) in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, condition: str) -> None:
        """Wait until a condition holds in the page."""
        ends_at = time.monotonic() + PATIENCE
        while not self.ask(condition):
            assert time.monotonic() < ends_at, f"never true: {condition}; errors: {self.errors}"
            select.select([], [], [], 0.02)

    def press(self, key: str, text: str = "") -> None:
        """Press and release a key."""
        code = {"Tab": 9, "Enter": 13, "Escape": 27, "ArrowDown": 40, "ArrowUp": 38, " ": 32}.get(
            key, ord(key[0].upper())
        )
        text = text or {"Enter": "\r", " ": " "}.get(key, key if len(key) == 1 else "")
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=code,
                text=text if kind == "keyDown" else "",
            )

    def look(self, width: int, height: int, dark: bool = False, media: str = "") -> None:
        """Be a window of a size, in a light or dark scheme."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=media, features=[scheme])

    def picture(self, path: Path, whole: bool = False) -> None:
        """Store what is seen (or the whole page) as PNG."""
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer["data"]))

    def print(self, path: Path) -> None:
        """Store the page as PDF, as it would be printed."""
        path.write_bytes(base64.b64decode(self.call("Page.printToPDF", preferCSSPageSize=True)["data"]))
