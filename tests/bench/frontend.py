"""Measures the front end in a headless Chromium: first paint, and frames while zooming and panning.

Run it with the front end built (``npm run build`` in js/):

    python tests/bench/frontend.py [--nodes 1000 10000 100000] [--chromium PATH]

First paint counts from the arrival of the container's bytes to the end of the first drawing:
decoding, checksum, call tree and layout included. A frame's work is what the page takes in it
(all animation-frame callbacks); the interval is from one frame to the next, at least what the
display takes (16.7 ms at 60 Hz).
"""

from __future__ import annotations

import argparse
import base64
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parent))
import frontend_profiles

STATIC = Path(__file__).resolve().parents[2] / "src" / "spprof" / "static"

# Times the animation-frame callbacks from outside: the measured code knows nothing of it.
INSTRUMENT = """
window.frames_ = {work: [], interval: []};
const request = window.requestAnimationFrame.bind(window);
let current = -1, last = 0;
window.requestAnimationFrame = (callback) => request((now) => {
  const began = performance.now();
  callback(now);
  const spent = performance.now() - began;
  const {work, interval} = window.frames_;
  if (now === current) work[work.length - 1] += spent;
  else {
    work.push(spent);
    if (current >= 0 && now - last < 200) interval.push(now - last);
    current = last = now;
  }
});
"""

# One input an animation frame, as a hand on a wheel or a mouse gives them.
DRIVE = """
async ({kind, frames}) => {
  const chart = document.querySelector('.sp-chart');
  const box = chart.getBoundingClientRect();
  const next = () => new Promise((resolve) => requestAnimationFrame(resolve));
  window.frames_ = {work: [], interval: []};
  for (let i = 0; i < frames; i++) {
    const at = {
      bubbles: true, cancelable: true, clientY: box.top + 60,
      clientX: box.left + box.width * (kind === 'zoom' ? 0.3 : 0.5),
    };
    const step = kind === 'zoom'
      ? {ctrlKey: true, deltaY: i % 60 < 30 ? -60 : 60}
      : {deltaX: i % 80 < 40 ? 40 : -40};
    chart.dispatchEvent(new WheelEvent('wheel', {...at, ...step}));
    await next();
  }
  return window.frames_;
}
"""


def page_of(container: bytes) -> str:
    """The self-contained page of a profile, as the HTML format writes it."""
    style = (STATIC / "standalone.css").read_text(encoding="utf-8")
    script = (STATIC / "standalone.js").read_text(encoding="utf-8")
    data = base64.b64encode(container).decode("ascii")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>b</title>'
        f'<style>{style}</style></head><body><div id="spprof-root"></div>'
        f'<script id="spprof-profile" type="application/octet-stream;base64">{data}</script>'
        f"<script>{script}</script></body></html>"
    )


def drive(page: Page, kind: str, frames: int) -> tuple[float, float]:
    """Median work and median interval of a frame, in ms."""
    if kind == "pan":
        page.evaluate(DRIVE, {"kind": "zoom", "frames": 8})
    measured: dict[str, Any] = page.evaluate(DRIVE, {"kind": kind, "frames": frames})
    return statistics.median(measured["work"]), statistics.median(measured["interval"])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nodes", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--repeats", type=int, default=5, help="loads a page; the median counts")
    parser.add_argument("--frames", type=int, default=180)
    parser.add_argument(
        "--chromium", default=os.environ.get("SPPROF_CHROMIUM") or shutil.which("chromium")
    )
    options = parser.parse_args()
    arguments = ["--disable-gpu", "--no-first-run", "--disable-background-networking"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        arguments.append("--no-sandbox")

    print(
        f"{'nodes':>8} {'container':>10} {'first paint':>12} "
        f"{'zoom work':>10} {'interval':>9} {'pan work':>9} {'interval':>9}"
    )
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=options.chromium, args=arguments)
        for nodes in options.nodes:
            container = frontend_profiles.synthetic(nodes)
            path = Path(folder) / f"{nodes}.html"
            path.write_text(page_of(container), encoding="utf-8")
            paints: list[float] = []
            for _ in range(options.repeats):
                page = browser.new_page(viewport={"width": 1280, "height": 720})
                page.add_init_script(INSTRUMENT)
                page.goto(path.as_uri())
                page.get_by_role("treeitem").first.wait_for(timeout=60_000)
                paints.append(
                    page.evaluate("performance.getEntriesByName('spprof.show')[0].duration")
                )
                if len(paints) < options.repeats:
                    page.close()
            zoom = drive(page, "zoom", options.frames)
            pan = drive(page, "pan", options.frames)
            page.close()
            print(
                f"{nodes:>8} {len(container) / 1e6:>7.1f} MB {statistics.median(paints):>9.0f} ms "
                f"{zoom[0]:>7.1f} ms {zoom[1]:>6.1f} ms {pan[0]:>6.1f} ms {pan[1]:>6.1f} ms"
            )
        browser.close()


if __name__ == "__main__":
    main()
