"""Chromium without a window, driven over its DevTools protocol through a pair of pipes."""

import base64
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
FLAGS = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking"
FLAGS += " --disable-component-update --disable-sync --disable-extensions --hide-scrollbars"
START = """
import os, sys
os.dup2(int(sys.argv[1]), 3)  # where --remote-debugging-pipe reads
os.dup2(int(sys.argv[2]), 4)  # and writes
os.execv(sys.argv[3], sys.argv[3:])
"""


class Browser:
    """A page in Chromium; `open_page` makes one.

    Attributes:
        events: dicts of "method" and "params", such as requests and messages of the console.
    """

    def __init__(self, send, receive):
        self.send, self.receive, self.session = send, receive, None
        self.numbers, self.events, self.unread = itertools.count(1), [], b""

    def call(self, method, **parameters):
        """Call a method of the protocol; its result. Events until then are kept."""
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        self.send.write(json.dumps(message).encode() + b"\0")
        self.send.flush()
        while (answer := self.read()).get("id") != number:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def wait(self, event, **parameters):
        """Read until an event with these parameters has come."""
        while not any(
            known["method"] == event and parameters.items() <= known["params"].items()
            for known in self.events
        ):
            self.read()

    def read(self):
        """The next message; an event is kept."""
        while b"\0" not in self.unread:
            more = self.receive.read1()
            assert more, "Chromium has ended"
            self.unread += more
        text, _, self.unread = self.unread.partition(b"\0")
        message = json.loads(text)
        if "method" in message:
            self.events.append(message)
        return message

    def ask(self, expression):
        """The value of an expression in JavaScript."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return found["result"]["value"]

    def resize(self, width):
        """Show the page as a screen of this width in pixels does."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)

    def capture(self, path):
        """Write a picture of the whole page."""
        picture = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        Path(path).write_bytes(base64.b64decode(picture["data"]))

    def print_page(self, path):
        """Write the page as a PDF, of the size that it asks for."""
        options = {"preferCSSPageSize": True, "printBackground": True}
        Path(path).write_bytes(base64.b64decode(self.call("Page.printToPDF", **options)["data"]))


@contextlib.contextmanager
def open_page(page, profile, width):
    """Open a file in Chromium at a width; the Browser.

    Args:
        page: Path of the file.
        profile: Path of a folder for what Chromium writes.
        width: of the screen, in pixels.
    """
    there, send = os.pipe()
    receive, back = os.pipe()
    options = [*FLAGS.split(), "--remote-debugging-pipe", f"--user-data-dir={profile}"]
    command = [sys.executable, "-c", START, str(there), str(back), CHROMIUM, *options]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, pass_fds=(there, back), **quiet)
    os.close(there)
    os.close(back)
    with open(send, "wb") as outgoing, open(receive, "rb") as incoming:
        browser = Browser(outgoing, incoming)
        targets = browser.call("Target.getTargets")["targetInfos"]
        target = next(t["targetId"] for t in targets if t["type"] == "page")
        attached = browser.call("Target.attachToTarget", targetId=target, flatten=True)
        browser.session = attached["sessionId"]
        for part in ("Page", "Network", "Log", "Runtime"):
            browser.call(f"{part}.enable")
        browser.resize(width)
        browser.call("Page.setLifecycleEventsEnabled", enabled=True)
        loader = browser.call("Page.navigate", url=Path(page).resolve().as_uri())["loaderId"]
        browser.wait("Page.lifecycleEvent", name="load", loaderId=loader)  # not of the empty page
        yield browser
        browser.session = None
        browser.call("Browser.close")
    process.wait()
