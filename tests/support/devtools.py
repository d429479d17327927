"""A headless Chromium, driven by the DevTools protocol over a pipe (--remote-debugging-pipe): messages are JSON
with a NUL behind each. https://chromedevtools.github.io/devtools-protocol/"""
import base64
import collections
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

PATIENCE_S = 20


def find_browser():
    return next(filter(None, map(shutil.which, ("chromium-headless-shell", "chromium"))), None)


class Browser:
    def __init__(self, downloads):
        self.profile = tempfile.mkdtemp(prefix="ts-browser-")
        to_read, self.to = os.pipe()
        self.read, from_write = os.pipe()

        def in_the_child():  # what it is told comes on 3, what it says goes to 4
            os.dup2(to_read, 13), os.dup2(from_write, 14)
            os.dup2(13, 3), os.dup2(14, 4)

        self.process = subprocess.Popen(
            [find_browser(), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage",
             "--no-first-run", "--disable-background-networking", f"--user-data-dir={self.profile}",
             "--remote-debugging-pipe"],
            preexec_fn=in_the_child, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_read), os.close(from_write)
        self.bytes, self.number = b"", 0
        self.events = collections.deque()
        self.answers = {}
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=downloads)

    def close(self):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.profile, ignore_errors=True)

    def call(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if getattr(self, "session", None) and not method.startswith(("Target.", "Browser.", "SystemInfo.")):
            message["sessionId"] = self.session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        number, until = self.number, time.monotonic() + PATIENCE_S
        while number not in self.answers:
            self.listen(until - time.monotonic())
        answer = self.answers.pop(number)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def listen(self, seconds):
        ready, _, _ = select.select([self.read], [], [], max(0, seconds))
        if not ready:
            raise TimeoutError("the browser says nothing")
        piece = os.read(self.read, 1 << 20)
        if not piece:
            raise RuntimeError("the browser has ended")
        *messages, self.bytes = (self.bytes + piece).split(b"\0")
        for message in map(json.loads, messages):
            if "id" in message:
                self.answers[message["id"]] = message
            else:
                self.events.append(message)

    def evaluate(self, script):
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{script}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def wait(self, script, what=None):
        until = time.monotonic() + PATIENCE_S
        while True:
            value = self.evaluate(script)
            if value:
                return value
            if time.monotonic() > until:
                shown = self.evaluate("document.body.innerText")
                focus = self.evaluate("document.activeElement?.outerHTML.slice(0, 200)")
                raise TimeoutError(f"never: {what or script}; focus is on {focus}; the page says:\n{shown}")
            time.sleep(0.02)

    def go(self, url):
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'")

    # With the mouse, in the middle of what is there; so what lies above it counts.
    def click(self, selector):
        found = f"document.querySelector({json.dumps(selector)})"
        self.wait(f"!!{found}", f"{selector} is there")
        x, y = self.evaluate(
            f"(() => {{ const e = {found}; e.scrollIntoView({{block: 'nearest'}}); const r = e.getBoundingClientRect();"
            " return [r.x + r.width / 2, r.y + r.height / 2]; })()")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def key(self, key, text=""):
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, text=text if kind == "keyDown" else "",
                      windowsVirtualKeyCode={"Enter": 13, "Tab": 9, "Escape": 27, "ArrowLeft": 37, "ArrowUp": 38,
                                             "ArrowRight": 39, "ArrowDown": 40, "End": 35, "Home": 36}.get(key, 0))

    def type(self, text):
        self.call("Input.insertText", text=text)

    def window(self, width, height, phone=False, dark=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        self.call("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce"}])

    def screenshot(self, path):
        picture = self.call("Page.captureScreenshot", format="png")
        with open(path, "wb") as file:
            file.write(base64.b64decode(picture["data"]))

    # What went wrong in the page since it was asked last: exceptions, and what the policy refused.
    def complaints(self):
        said = []
        while self.events:
            event = self.events.popleft()
            if event["method"] == "Runtime.exceptionThrown":
                said.append(json.dumps(event["params"]["exceptionDetails"])[:600])
            elif event["method"] == "Log.entryAdded" and event["params"]["entry"]["level"] == "error":
                said.append(event["params"]["entry"]["text"] + " " + event["params"]["entry"].get("url", ""))
        return said
