#!/usr/bin/env python3
"""What a visitor of a scheduler that stands by sees, in a real Chromium, and when it comes to lead;
gallery_browser_test starts the two schedulers."""
import argparse
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "support"))
from devtools import Browser  # noqa: E402


def walk(page, options):
    page.go(options.standby + "#/jobs/j0000000000000000")
    where = page.wait("document.querySelector('main a')?.href", "the standby says where the farm is shown")
    assert where == options.leader + "#/jobs/j0000000000000000", where
    assert "stands by" in page.evaluate("document.querySelector('h1').innerText")
    pictures = os.environ.get("TILTSHIFT_GALLERY_PICTURES")
    if pictures:
        page.screenshot(os.path.join(pictures, "standby.png"))
    page.click("main a")
    page.wait(f"location.href.startsWith('{options.leader}')")
    page.wait("/no such job/.test(document.querySelector('main').innerText)", "the leader is asked for that job")
    page.go(options.standby)
    page.wait("document.querySelector('main a')?.href === '" + options.leader + "'")
    os.kill(options.leader_pid, signal.SIGTERM)
    page.wait("document.querySelector('h1').innerText === 'Jobs'", "the standby leads, and shows the farm by itself")


def main():
    options = argparse.ArgumentParser(description=__doc__)
    for name in ("--folder", "--leader", "--standby"):
        options.add_argument(name, required=True)
    options.add_argument("--leader-pid", type=int, required=True)
    options = options.parse_args()
    page = Browser(options.folder)
    page.window(1280, 900)
    try:
        walk(page, options)
    finally:
        page.close()


main()
