"""Milliseconds from the move of a slider to the new picture, in a browser on this machine.

    python bench/explore.py docs/models/cats64.model

Needs chromium and the package playwright. --screenshot FILE.png keeps what the page looks like.
"""
import argparse
import os
import shutil
import statistics
import subprocess
import sys

from playwright.sync_api import sync_playwright

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update"]
MOVE = """async (moves) => {
    const picture = document.getElementById("picture"), times = [];
    const slider = document.querySelector("#directions input");
    for (let i = 0; i < moves; i++) {
        const shown = new Promise((then) => picture.addEventListener("load", then, { once: true }));
        const start = performance.now();
        slider.value = (i % 50) / 10 - 2.5;
        slider.dispatchEvent(new Event("input", { bubbles: true }));
        await shown;
        times.push(performance.now() - start);
    }
    return times;
}"""


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--moves", type=int, default=200)
    parser.add_argument("--screenshot", metavar="FILE.png")
    args = parser.parse_args()
    server = subprocess.Popen([sys.executable, os.path.join(ROOT, "explore.py"), args.checkpoint,
                               "--port", "0", "--no_browser"], stdout=subprocess.PIPE, text=True)
    where = next(line.strip() for line in server.stdout if line.startswith("http://"))
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page(viewport={"width": 1000, "height": 800}, locale="en-US")
        page.goto(f"{where}#seed=3&mix=12:0-3")
        page.wait_for_timeout(4000)                     # the wall is painted
        if args.screenshot:
            page.screenshot(path=args.screenshot)
        page.evaluate(MOVE, 20)
        times = sorted(page.evaluate(MOVE, args.moves))
        browser.close()
    server.terminate()
    print(f"{len(times)} moves: median {statistics.median(times):.0f} ms, 95 % within "
          f"{times[int(0.95 * len(times))]:.0f} ms, longest {times[-1]:.0f} ms")


if __name__ == "__main__":
    main()
