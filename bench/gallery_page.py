#!/usr/bin/env python3
"""What the gallery's page of a large job costs a browser: how soon it can be used, what it holds, how it scrolls.

    scripts/build release tiltshift tiltshift-scheduler tiltshift-worker
    scripts/demo                                # pictures to look at
    bench/gallery_page.py --pictures out/demo --variants 100000

A farm renders the job with the no-op renderer; its 1x1 pictures are then replaced by links to those of --pictures, so
that the browser has real ones to decode. Prints the figure, the limit, and the share of the limit."""
import argparse
import glob
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "support"))
from devtools import Browser  # noqa: E402

USABLE_S, HELD_MB = 1.0, 200.0
SPEC = """kind: campaign
name: a large one
model: diorama
prompt: "a miniature {color} {subject}, {seed}"
axes:
  subject: [robot, cat, rocket, car, dog, house, bottle, person, boat, tree]
  color: [red, yellow, blue, orange, white, green, purple, pink, black, grey]
  seed: {range: 1-%d}
"""


def start_farm(folder, variants, port):
    spec = os.path.join(folder, "spec.yaml")
    with open(spec, "w") as file:
        file.write(SPEC % (variants // 100))
    out = os.path.join(folder, "out")
    log = open(os.path.join(folder, "render.log"), "w")
    farm = subprocess.Popen([os.path.join(ROOT, "build/release/bin/tiltshift"), "render", spec, "--out", out, "--render", "noop",
                             "--no-sheet", "--gallery", f"127.0.0.1:{port}"], stdout=log, stderr=log)
    while "the gallery stays" not in open(log.name).read():
        if farm.poll() is not None:
            raise SystemExit(open(log.name).read())
        time.sleep(0.2)
    return farm, os.path.join(out, ".tiltshift", "blobs")


def link_pictures(blobs, pictures):
    real = itertools.cycle(sorted(set(glob.glob(os.path.join(pictures, "*.png"))) - {os.path.join(pictures, "sheet.png")}))
    for path in glob.glob(os.path.join(blobs, "jobs", "*", "outputs", "*.png")):
        os.unlink(path)
        os.link(next(real), path)


# What the page's own process has for itself.
def held_mb(browser):
    renderers = [process["id"] for process in browser.call("SystemInfo.getProcessInfo")["processInfo"] if process["type"] == "renderer"]
    held = []
    for pid in renderers:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            text = file.read()
        held.append(sum(int(size) for size in re.findall(r"^Private_\w+:\s+(\d+) kB", text, re.M)) / 1024)
    return max(held)


SCROLL = """new Promise((done) => {
  const steps = %d, frames = [], whole = document.documentElement.scrollHeight - innerHeight;
  let step = 0, last = performance.now();
  const next = (now) => {
    frames.push(now - last); last = now;
    if (step++ === steps) return done(frames.slice(1).sort((a, b) => a - b));
    scrollTo(0, %s); requestAnimationFrame(next);
  };
  requestAnimationFrame(next);
})"""


def frames(browser, what, where, steps=240):
    times = browser.evaluate(SCROLL % (steps, where))
    print(f"{what}: frames of {times[len(times) // 2]:.1f} ms (median), {times[int(len(times) * .95)]:.1f} ms (95%), "
          f"{times[-1]:.1f} ms (longest), {100 * sum(t < 33.4 for t in times) / len(times):.0f}% under 33 ms")


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--variants", type=int, default=100_000)
    options.add_argument("--pictures", required=True)
    options.add_argument("--port", type=int, default=17080)
    options = options.parse_args()
    folder = tempfile.mkdtemp(prefix="ts-gallery-page-")
    farm, browser = None, None
    try:
        farm, blobs = start_farm(folder, options.variants, options.port)
        link_pictures(blobs, options.pictures)
        url = f"http://127.0.0.1:{options.port}"
        job = json.load(urllib.request.urlopen(f"{url}/api/jobs"))["jobs"][0]["id"]
        browser = Browser(folder)
        browser.window(1440, 900)
        browser.go(url)
        browser.wait("document.querySelectorAll('.job').length === 1")
        browser.go("about:blank")
        browser.call("Network.setCacheDisabled", cacheDisabled=True)
        began = time.monotonic()
        browser.go(f"{url}/#/jobs/{job}")
        browser.wait("document.querySelectorAll('.tile .label').length > 20 && document.querySelector('.tile .label').innerText !== ''")
        listed = time.monotonic() - began
        browser.wait("[...document.querySelectorAll('.tile')].filter((t) => t.getBoundingClientRect().top < innerHeight)"
                     ".every((t) => t.querySelector('canvas.there'))")
        pictured = time.monotonic() - began
        print(f"{options.variants:,} variants; from the address to a grid that can be scrolled and filtered: {listed:.2f} s, "
              f"limit {USABLE_S:.0f} s ({100 * listed / USABLE_S:.0f}%); to every picture of the window: {pictured:.2f} s")
        frames(browser, "slowly, 40 pixels a frame", "scrollY + 40")
        frames(browser, "through all of it in 240 frames", "whole * step / steps")
        browser.wait("[...document.querySelectorAll('.tile')].every((t) => t.querySelector('canvas.there'))")
        time.sleep(1)
        browser.call("Performance.enable")
        metrics = {entry["name"]: entry["value"] for entry in browser.call("Performance.getMetrics")["metrics"]}
        held = held_mb(browser)
        print(f"the page's process holds {held:.0f} MB, limit {HELD_MB:.0f} MB ({100 * held / HELD_MB:.0f}%); of that JavaScript "
              f"{metrics['JSHeapUsedSize'] / 1e6:.1f} MB; {metrics['Nodes']:.0f} nodes, {browser.evaluate('document.querySelectorAll(`.tile`).length')} tiles")
        frames(browser, "once more", "whole * step / steps")
        time.sleep(1)
        again = held_mb(browser)
        browser.call("HeapProfiler.collectGarbage")
        time.sleep(1)
        print(f"after that {again:.0f} MB; once the browser has tidied up {held_mb(browser):.0f} MB")
        began = time.monotonic()
        browser.evaluate("(() => { const e = document.querySelector('[name=color]'); e.value = 'pink'; e.dispatchEvent(new Event('change')); })()")
        browser.wait(f"document.querySelector('.count').innerText === '{options.variants // 10:,} pictures'")
        print(f"a filter: {time.monotonic() - began:.2f} s")
    finally:
        if browser:
            browser.close()
        if farm:
            farm.terminate()
            farm.wait()
        shutil.rmtree(folder, ignore_errors=True)


main()
