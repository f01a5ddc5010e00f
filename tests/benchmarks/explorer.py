"""How fluid the candidate explorer is with 1,000 candidates and 500 items: size of the page, milliseconds of each act.

PYTHONPATH=workflow/scripts:tests/unit:tests/workflow python tests/benchmarks/explorer.py
"""

import sys
import tempfile
import time
from pathlib import Path

import synthetic
import synthetic_pages
from browser import launched, opened

ACTS = {
    "sort by quality": "table.order([5, 'desc']).draw()",
    "sort by text": "table.order([2, 'asc']).draw()",
    "search": "table.search('99').draw()",
    "clear the search": "table.search('').draw()",
    "another signal": "byId('signal').value = 5, byId('signal').dispatchEvent(new Event('change'))",
    "point at a row": "plot.signal('lit', 7).runAsync()",
    "compare another": "pick(33)",
}
TIMED = """async act => {
  const start = performance.now();
  await eval?.(act);
  await new Promise(done => requestAnimationFrame(() => setTimeout(done)));
  return performance.now() - start;
}"""


def main() -> None:
    design = synthetic.Design(candidates=1000, items=500)
    with tempfile.TemporaryDirectory() as folder, launched() as browser:
        file = synthetic_pages.build(Path(folder), synthetic.frames(design), design, models=("small",))["small"]
        sys.stdout.write(f"page: {file.stat().st_size / 1e6:.1f} MB\n")
        start = time.perf_counter()
        with opened(browser, file, bypass_csp=True) as page:  # the policy of the page forbids eval
            page.wait_for_selector("#scatter canvas")
            sys.stdout.write(f"open: {1000 * (time.perf_counter() - start):.0f} ms\n")
            for name, act in ACTS.items():
                sys.stdout.write(f"{name}: {page.evaluate(TIMED, act):.0f} ms\n")


if __name__ == "__main__":
    main()
