"""A report in a real browser, at a phone's and a desk's width.

python tests/bench/browser.py REPORT.html [FOLDER], with Chromium and its driver on the
machine and `pip install selenium`; FOLDER gets a picture of the page at each width.
Exit code 1 for errors in the console, a request to anywhere, text wider than the
window, or an image without its alternative text.
"""

import base64
import shutil
import sys
from pathlib import Path

from selenium import webdriver

WIDTHS = (390, 1440)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
PROBE = """
return {
  wide: [...document.querySelectorAll("main *")]
      .filter(e => e.getBoundingClientRect().right > screen.width + 1)
      .filter(e => !e.closest(".output_html, .output_png"))
      .map(e => e.tagName + " " + e.className),
  width: window.innerWidth,
  height: document.documentElement.scrollHeight,
  images: document.images.length,
  broken: [...document.images].filter(i => !i.complete || !i.naturalWidth).length,
  silent: [...document.images].filter(i => i.alt.trim().length < 10).length,
  requests: performance.getEntriesByType("resource").map(e => e.name)
      .filter(name => !name.startsWith("data:")),
  small: [...document.querySelectorAll("p, li, td, th")]
      .filter(e => parseFloat(getComputedStyle(e).fontSize) < 12).length,
};
"""


def main(page, folder=None):
    """Look at a page at every width; the number of problems."""
    problems = 0
    for width in WIDTHS:
        options = webdriver.ChromeOptions()
        for flag in FLAGS:
            options.add_argument(flag)
        metrics = {"width": width, "height": 900, "pixelRatio": 1.0}
        options.add_experimental_option("mobileEmulation", {"deviceMetrics": metrics})
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        service = webdriver.ChromeService(shutil.which("chromedriver"))
        with webdriver.Chrome(options=options, service=service) as driver:
            driver.get(Path(page).resolve().as_uri())
            found = driver.execute_script(PROBE)
            messages = [entry["message"] for entry in driver.get_log("browser")]
            if folder:
                place = Path(folder) / f"report-{width}.png"
                parameters = {"captureBeyondViewport": True}
                picture = driver.execute_cdp_cmd("Page.captureScreenshot", parameters)
                place.write_bytes(base64.b64decode(picture["data"]))
        print(f"{width} pixels: {found}, console: {messages or 'nothing'}")
        problems += len(found["wide"]) + found["broken"] + found["silent"]
        problems += len(found["requests"]) + len(messages) + found["small"]
        problems += found["width"] != width
    return problems


if __name__ == "__main__":
    sys.exit(min(1, main(*sys.argv[1:])))
