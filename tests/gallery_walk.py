#!/usr/bin/env python3
"""What visitors of the gallery do, in a real Chromium; gallery_browser_test starts the farm that it is shown. A step
that does not come to what it should ends the walk with the page's words. With --pictures FOLDER the pages are kept as
PNGs, light, dark and as on a phone."""
import argparse
import glob
import io
import os
import re
import sys
import time
import zipfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "support"))
from devtools import Browser  # noqa: E402

CONTROLS = {"button", "link", "textbox", "combobox", "listbox", "option", "spinbutton", "searchbox", "dialog", "progressbar", "navigation",
            "search", "image"}

# Words that are too faint for WCAG 2.2, 1.4.3; hearts lie on pictures, and have a ground of their own.
FAINT = r"""(() => {
  const colour = (text) => { const [r, g, b, a = 1] = text.match(/[\d.]+/g).map(Number); return [r, g, b, a]; };
  const over = ([r, g, b, a], under) => [r, g, b].map((part, at) => part * a + under[at] * (1 - a));
  const light = (parts) => { const [r, g, b] = parts.map((part) => { part /= 255; return part <= .04045 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4; });
    return .2126 * r + .7152 * g + .0722 * b; };
  const ground = (element) => {
    const layers = [];
    for (; element; element = element.parentElement) {
      const layer = colour(getComputedStyle(element).backgroundColor);
      layers.push(layer);
      if (layer[3] === 1) break;
    }
    return layers.reduceRight((under, layer) => over(layer, under), [255, 255, 255]);
  };
  const seen = (element) => element.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true }) && !element.closest('.heart, .hidden, :disabled, option');
  const faint = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement, words = texts.currentNode.data.trim();
    if (!words || !seen(element)) continue;
    const style = getComputedStyle(element), under = ground(element), size = parseFloat(style.fontSize);
    const [a, b] = [light(over(colour(style.color), under)), light(under)].sort((x, y) => y - x);
    const ratio = (a + .05) / (b + .05);
    if (ratio < (size >= 24 || (size >= 18.66 && style.fontWeight >= 700) ? 3 : 4.5)) faint.push(`${ratio.toFixed(2)}: ${words}`);
  }
  return faint;
})()"""

COMMITTED = "document.querySelectorAll('.tile.committed canvas.there').length"


class Walk:
    def __init__(self, options):
        self.options = options
        self.folder = options.folder
        self.downloads = os.path.join(self.folder, "downloads")
        os.makedirs(self.downloads, exist_ok=True)
        self.page = Browser(self.downloads)
        self.page.window(1280, 900)
        self.campaign, self.rude, self.contest, self.big, self.many = options.jobs

    def text(self, selector):
        return self.page.evaluate(f"document.querySelector('{selector}')?.innerText ?? ''")

    def goto(self, where):
        self.page.evaluate(f"location.hash = '#/{where}'")

    # What a screen reader is told of the page, and whether its words can be read in light and in dark.
    def judge(self, name):
        nodes = [node for node in self.page.call("Accessibility.getFullAXTree")["nodes"] if not node["ignored"]]
        for node in nodes:
            if node["role"]["value"] in CONTROLS:
                assert node.get("name", {}).get("value", "").strip(), f"{name}: no name: {node}"
        roles = {node["role"]["value"] for node in nodes}
        assert "heading" in roles and ("dialog" in roles or "main" in roles), f"{name}: {roles}"
        for dark in (False, True):
            self.page.window(1280, 900, dark=dark)
            faint = self.page.evaluate(FAINT)
            assert not faint, f"{name}, dark {dark}: {faint}"
        self.page.window(1280, 900)

    def shoot(self, name):
        self.judge(name)
        if not self.options.pictures:
            return
        os.makedirs(self.options.pictures, exist_ok=True)
        for look, window in {"": (1280, 900), "-dark": (1280, 900, False, True), "-phone": (390, 844, True)}.items():
            self.page.window(*window)
            time.sleep(0.5)
            self.page.screenshot(os.path.join(self.options.pictures, f"{name}{look}.png"))
        self.page.window(1280, 900)
        time.sleep(0.3)

    def secret(self, path):
        with open(path) as file:
            return file.read().strip()

    def log_in(self, token):
        page = self.page
        page.wait("document.activeElement?.id === 'token'", "the token is asked for")
        page.type(token)
        page.key("Enter", "\r")

    def log_ins(self):
        page = self.page
        page.go(self.options.url)
        page.wait("document.activeElement?.id === 'token'", "the token is asked for")
        self.shoot("login")
        self.log_in("ts_0123_wrong")
        page.wait("document.querySelector('[role=alert]').innerText.length > 5", "a wrong token is refused")
        page.evaluate("document.getElementById('token').value = ''")
        self.log_in(self.secret(self.options.worker_token))
        page.wait("/worker/.test(document.querySelector('[role=alert]').innerText)")
        page.evaluate("document.getElementById('token').value = ''")
        self.log_in(self.secret(self.options.token))
        page.wait("document.querySelectorAll('.job').length === 5", "the five jobs are listed")
        cookies = page.call("Network.getCookies")["cookies"]
        assert len(cookies) == 1 and cookies[0]["httpOnly"] and cookies[0]["sameSite"] == "Strict", cookies
        assert self.secret(self.options.token) not in str(cookies)
        assert not page.evaluate("document.cookie"), "a script sees the cookie"

    # Pictures come by themselves.
    def jobs(self):
        page = self.page
        page.wait("document.querySelectorAll('.strip img').length > 8", "pictures come to the list")
        page.wait("[...document.querySelectorAll('.job')].some((job) => /figurines[^]*24 of 24/.test(job.innerText))")
        self.shoot("jobs")

    def live_grid(self):
        page = self.page
        self.goto(f"jobs/{self.big}")
        before = page.wait(COMMITTED, "the first pictures of a hundred thousand")
        page.wait(f"{COMMITTED} > {before}", "more come while one looks")
        page.wait("/images\\/s · about/.test(document.querySelector('.facts').innerText)", "rate and time left")
        moves = "getComputedStyle(document.querySelector('.state.running'), '::before').animationName"
        assert page.evaluate(moves) == "none", "it moves for who wants no motion"
        page.call("Emulation.setEmulatedMedia", features=[])
        assert page.evaluate(moves) == "breathe"
        page.window(1280, 900)
        page.click(".acts .pause")
        page.wait("document.querySelector('.state').innerText === 'paused'")
        page.wait("document.activeElement.matches('.acts .resume')", "focus is on what took its place")
        page.wait("/paused: /.test(document.querySelector('.head [role=status]').innerText)", "it is said")
        page.wait("/paused/.test(document.querySelector('.why').innerText) && !document.querySelector('.why').hidden", "why it waits")
        page.click(".acts .priority")
        page.wait("!!document.querySelector('dialog.ask')")
        page.evaluate("document.querySelector('[name=priority]').select()")
        page.type("-7")
        page.click("dialog.ask .first")
        page.wait("/priority -7/.test(document.querySelector('.facts').innerText)")
        tiles = "document.querySelectorAll('.tile').length"
        page.evaluate("scrollTo(0, document.documentElement.scrollHeight / 2)")
        page.wait("Number(document.querySelector('.tile')?.dataset.place) > 40000", "the middle of it")
        page.wait("document.querySelector('.tile .label').innerText !== ''")
        assert page.evaluate(tiles) < 150, page.evaluate(tiles)
        assert page.evaluate("[...document.querySelectorAll('.tile')].every((tile) => tile.getAttribute('aria-setsize') === '100000'"
                             " && tile.getAttribute('aria-posinset') === `${Number(tile.dataset.place) + 1}`)")
        page.evaluate("document.querySelector('.grid').focus()")
        page.key("End")
        page.wait("document.querySelector('.tile.active')?.getAttribute('aria-posinset') === '100000'", "the last of them")
        page.click(".acts .resume")
        page.wait("document.querySelector('.state').innerText === 'running'")
        page.click(".acts .cancel")
        page.click("dialog.ask .first")
        page.wait("document.querySelector('.state').innerText === 'cancelled'")
        self.shoot("big")

    def grid(self):
        page = self.page
        self.goto(f"jobs/{self.campaign}")
        page.wait(f"{COMMITTED} === 24", "all of the campaign")
        self.shoot("grid")
        for axis, value, left in (("color", "red", 12), ("subject", "cat", 4), ("color", "", 8), ("subject", "", 24)):
            page.evaluate(f"(() => {{ const e = document.querySelector('[name={axis}]'); e.value = '{value}';"
                          " e.dispatchEvent(new Event('change', {bubbles: true})); })()")
            page.wait(f"document.querySelectorAll('.tile').length === {left} && /^{left} /.test(document.querySelector('.count').innerText)",
                      f"{axis} {value} leaves {left}")
        page.evaluate("document.querySelector('.grid').focus()")
        for key in ("Home", "ArrowRight", "ArrowRight"):
            page.key(key)
        page.key("f", "f")
        page.wait("document.querySelectorAll('.tile.liked').length === 1", "f makes a favourite")
        page.key("Enter", "\r")
        page.wait("document.querySelector('.stage img')?.naturalWidth === 64", "one picture, large")
        assert "robot" in self.text(".side") and "red" in self.text(".side")
        page.wait("/SHA-256/.test(document.querySelector('.side').innerText)", "who made it")
        self.shoot("variant")
        page.key("ArrowRight")
        page.wait("location.hash.endsWith('/variants/3')")
        page.wait("document.querySelector('.side h2').innerText === 'Picture 3'")
        page.wait("!!document.activeElement.closest('dialog')", "focus stays in the dialog")
        page.click(".like")
        page.wait("document.querySelector('.like').getAttribute('aria-pressed') === 'true'")

    def compare(self):
        page = self.page
        page.click(".compare")
        page.wait("/Choose a picture/.test(document.querySelector('.notice')?.innerText)", "the second is asked for")
        page.wait("document.activeElement.matches('.grid')", "the keyboard chooses it")
        page.click("#tile-9 .pic")
        page.wait("document.querySelectorAll('.pair img').length === 2 && [...document.querySelectorAll('.pair img')].every((i) => i.naturalWidth === 64)")
        assert "cat" in self.text(".pair") and "robot" in self.text(".pair"), self.text(".pair")
        self.shoot("compare")
        page.click(".close")
        page.wait("!document.querySelector('dialog')")

    def favourites(self):
        page = self.page
        self.goto(f"jobs/{self.campaign}/favourites")
        page.wait(f"{COMMITTED} === 2")
        self.shoot("favourites")
        page.click(".zip")
        path = os.path.join(self.downloads, "figurines.zip")
        until = time.monotonic() + 20
        while not (os.path.exists(path) and not glob.glob(self.downloads + "/*.crdownload")):
            assert time.monotonic() < until, os.listdir(self.downloads)
            time.sleep(0.02)
        with zipfile.ZipFile(path) as pictures:
            assert pictures.testzip() is None
            assert len(pictures.namelist()) == 2, pictures.namelist()
            for name in pictures.namelist():
                with io.BytesIO(pictures.read(name)) as picture:
                    assert picture.read(8) == b"\x89PNG\r\n\x1a\n", name
        page.go(self.options.url + f"#/jobs/{self.campaign}/favourites")
        page.evaluate("location.reload()")
        page.wait(f"{COMMITTED} === 2", "they are kept")
        page.click(".more")
        page.wait("!!document.querySelector('dialog.ask [name=count]')")
        page.evaluate("document.querySelector('[name=count]').select()")
        page.type("3")
        self.shoot("more-like-this")
        page.click("dialog.ask .first")
        page.wait(f"/jobs\\/j/.test(location.hash) && !location.hash.includes('{self.campaign}')", "a job of its own")
        page.wait("/^3 of 3/.test(document.querySelector('.facts b')?.innerText)", "three more like them")

    def contest_entries(self):
        page = self.page
        self.goto(f"jobs/{self.contest}/entries")
        page.wait("document.querySelectorAll('tbody tr').length === 2 && /done/.test(document.querySelector('tbody').innerText)")
        table = self.text("tbody")
        assert re.search(r"ada-1\s+ada[^\n]*", table) and "blue cat" in table, table
        self.shoot("entries")
        page.click("tbody tr td + td a")
        page.wait(f"{COMMITTED} === 2 && /^ada-1/.test(document.querySelector('.entry').innerText)", "both of an entry's pictures")
        self.shoot("entry")
        page.click("#tile-1 .pic")
        page.wait("document.querySelector('.stage img')?.naturalWidth === 64")
        page.key("Escape")
        page.wait("!document.querySelector('dialog') && location.hash.includes('/entry/')", "back to the entry")

    def failures(self):
        page = self.page
        self.goto(f"jobs/{self.rude}/failures")
        page.wait("/mind your words/.test(document.querySelector('tbody')?.innerText)", "why it failed")
        self.shoot("failures")
        open(os.path.join(self.folder, "kind"), "w").close()
        page.click(".acts .retry")
        page.wait("document.querySelector('.state').innerText === 'done'", "it is done at the second try")

    # More than a page of them, to the last, and whichever was read meanwhile stays where it is.
    def many_failures(self):
        page = self.page
        self.goto(f"jobs/{self.many}/failures")
        page.wait("/^100 of /.test(document.querySelector('.listed')?.innerText)", "the first hundred")
        page.evaluate("document.querySelector('tbody a').id = 'first'")
        for _ in range(2):
            page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
            page.wait("document.querySelectorAll('tbody tr').length > 100", "more as one scrolls")
        page.wait("document.querySelector('.state').innerText === 'failed'", "all have failed")
        page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
        page.wait("document.querySelectorAll('tbody tr').length === 230 && /^230 failures/.test(document.querySelector('.listed').innerText)", "all of them")
        assert page.evaluate("[...document.querySelectorAll('tbody tr')].every((row, at) => row.innerText.startsWith(`${at}\t`) && /rude, \\d+\t.*mind your words/.test(row.innerText))"), self.text("tbody")
        assert page.evaluate("document.querySelector('tbody a').id") == "first", "rows that did not change are made anew"

    def workers(self):
        page = self.page
        page.click("#nav a[href='#/workers']")
        page.wait("document.activeElement.innerText === 'Workers' && document.activeElement.matches('h1')", "the page that was come to")
        page.wait("/easel/.test(document.querySelector('.workers')?.innerText) && /Rendered/.test(document.querySelector('.workers').innerText)")
        page.wait("document.querySelector('.worker .small').innerText.length > 10", "what it does")
        self.shoot("workers")

    # Who may only read sees no button, and the farm would refuse.
    def as_reader(self):
        page = self.page
        page.click("#logout")
        self.log_in(self.secret(self.options.read_token))
        page.wait("document.querySelectorAll('.job').length === 6")
        assert "Workers" not in self.text("#nav")
        self.goto(f"jobs/{self.campaign}")
        page.wait(f"{COMMITTED} === 24")
        assert page.evaluate("document.querySelectorAll('.acts button').length") == 0
        refused = page.evaluate(f"fetch('/api/jobs/{self.campaign}/cancel', {{method: 'POST', body: '{{}}',"
                                " headers: {'X-Tiltshift': '1', 'Content-Type': 'application/json'}}).then((r) => r.status)")
        assert refused == 403, refused
        page.click("#logout")
        page.wait("!!document.getElementById('token')")
        assert page.evaluate("fetch('/api/jobs').then((r) => r.status)") == 401

    def run(self):
        for step in (self.log_ins, self.jobs, self.live_grid, self.grid, self.compare, self.favourites, self.contest_entries,
                     self.failures, self.many_failures, self.workers, self.as_reader):
            began = time.monotonic()
            step()
            # What was refused on purpose is an error in the browser's log too.
            complaints = [said for said in self.page.complaints() if not re.search(r"status of (401|403)", said)]
            assert not complaints, f"{step.__name__}: {complaints}"
            print(f"{step.__name__}: {time.monotonic() - began:.1f} s", flush=True)


def main():
    options = argparse.ArgumentParser(description=__doc__)
    for name in ("--url", "--folder", "--token", "--read-token", "--worker-token"):
        options.add_argument(name, required=True)
    options.add_argument("--jobs", nargs=5, required=True)
    options.add_argument("--pictures", default=os.environ.get("TILTSHIFT_GALLERY_PICTURES"))
    walk = Walk(options.parse_args())
    try:
        walk.run()
    except Exception:
        walk.page.screenshot(os.path.join(walk.folder, "failed.png"))
        raise
    finally:
        walk.page.close()


main()
