"""Put the tables of benchmarks/results/*.json into README.md, docs/gpu.md and docs/results.md.

    python benchmarks/make_results.py            # writes them
    python benchmarks/make_results.py --check    # exit code 1 where one differs, nothing is written

A table stands between the lines `<!-- table: NAME -->` and `<!-- end of table -->`; the rest of a page is
written by hand.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from collections.abc import Callable, Mapping
from typing import Any

import bench_desk
import bench_evaluation
import bench_field_kernels
import bench_guidance
import bench_invariance
import bench_left_out
import bench_motion
import bench_part
import bench_registration
import bench_rigid
import bench_sampling
import bench_stages
import bench_startup
import bench_swapped
import bench_turned
import bench_wall
import count_traffic
import encoder_table
from common import ROOT
from dinoreg.study.ablation_table import CaseResult, format_means
from pair_rows import group_rows, score_of

RESULTS = ROOT / "benchmarks" / "results"
PAGES = ("README.md", "docs/gpu.md", "docs/results.md")
_TABLE = re.compile(r"<!-- table: (?P<name>\S+) -->\n(?P<body>.*?)<!-- end of table -->", re.DOTALL)

# The columns of the table in README.md: method, title.
_SUMMARY = {
    "identity": "no displacement",
    "package": "convexAdam 0.2.0",
    "syn": "ANTs SyN",
    "ssd": "`ssd`",
    "mind": "`mind`",
    "mind+intensity": "`mind+intensity`",
    "auto": "`auto`",
}
# Its lines: task, what is registered to what.
_SUMMARY_TASKS = {
    **encoder_table.IMAGES,
    "LungMR": "proton MR, two people",
    "BrainMulti": "MR contrasts of one head",
    "ThoraxCBCT": "CBCT to CT, simulated",
}


def main() -> None:
    """Write the pages, or compare them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    options = parser.parse_args()
    stale = []
    for page in PAGES:
        path = ROOT / page
        before = path.read_text(encoding="utf-8")
        after = fill(before, TABLES)
        if after != before:
            stale.append(page)
            if not options.check:
                path.write_text(after, encoding="utf-8")
    if options.check and stale:
        sys.exit(f"{', '.join(stale)}: not what benchmarks/results says; run `python {sys.argv[0]}`")
    print("up to date" if not stale else f"written: {', '.join(stale)}")


def fill(page: str, tables: Mapping[str, Callable[[], str]]) -> str:
    """Return a page with its tables made anew.

    Raises:
        ValueError: the page names a table that nobody makes, or a table does not end.
    """
    named = set(re.findall(r"<!-- table: (\S+) -->", page))
    if named - set(tables):
        raise ValueError(f"unknown tables {sorted(named - set(tables))}, expected some of {sorted(tables)}")
    if page.count("<!-- table: ") != page.count("<!-- end of table -->"):
        raise ValueError("a table without its end, or an end without its table")
    return _TABLE.sub(
        lambda found: (
            f"<!-- table: {found['name']} -->\n{tables[found['name']]().rstrip()}\n<!-- end of table -->"
        ),
        page,
    )


def summary() -> str:
    """Return the table of README.md: per task one line, the best method in bold."""
    groups = group_rows(_read("registration")["rows"])
    lines = [f"| task | {' | '.join(_SUMMARY.values())} |", "|---" * (len(_SUMMARY) + 1) + "|"]
    for task, images in _SUMMARY_TASKS.items():
        found = {method: groups[task, method] for method in _SUMMARY if (task, method) in groups}
        means = {method: statistics.fmean(map(score_of, group)) for method, group in found.items()}
        by_overlap = found["auto"][0]["dice"] is not None
        best = max(means, key=means.__getitem__) if by_overlap else min(means, key=means.__getitem__)
        cells = {method: f"{v:.3f}" if by_overlap else f"{v:.2f} mm" for method, v in means.items()}
        cells[best] = f"**{cells[best]}**"
        each = " | ".join(cells.get(method, "") for method in _SUMMARY)
        lines.append(f"| {task} ({images}) | {each} |")
    return "\n".join(lines)


def ablation() -> str:
    """Return the means per row of the ablation with the oracle encoder."""
    rows = _read("ablation_oracle")["rows"]
    results = {
        row["name"]: {case: CaseResult(**values) for case, values in row["cases"].items()} for row in rows
    }
    return format_means(results, {row["name"]: row["what"] for row in rows})


def guidance() -> str:
    """Return the table of feature-guided free-form registration."""
    return bench_guidance.format_rows([r for r in _read("guidance")["rows"] if r["experiment"] == "table"])


def motion() -> str:
    """Return the table of landmark tracking."""
    results = [bench_motion.Result(**values) for values in _read("motion")["results"]]
    return bench_motion.means_table("method", results, sorted({result.patient for result in results}))


def _read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return content


TABLES: Mapping[str, Callable[[], str]] = {
    "summary": summary,
    "registration": lambda: bench_registration.table(_read("registration")["rows"]),
    "wall": lambda: bench_wall.table(_read("wall")["rows"]),
    "encoder": lambda: encoder_table.format_overview(_read("encoder")["rows"]),
    "encoder-gains": lambda: encoder_table.format_gains(_read("encoder")["rows"]),
    "desk": lambda: bench_desk.table(_read("desk")["rows"]),
    "rigid": lambda: bench_rigid.table(_read("rigid")["rows"]),
    "turned": lambda: bench_turned.table(_read("turned")["rows"]),
    "left-out": lambda: bench_left_out.table(_read("left_out")["rows"]),
    "invariance": lambda: bench_invariance.table(_read("invariance")["rows"]),
    "swapped": lambda: bench_swapped.table(_read("swapped")["rows"]),
    "part": lambda: bench_part.table(_read("part")["rows"]),
    "stages": lambda: bench_stages.format_tables(_read("stages")["rows"]),
    "ablation": ablation,
    "evaluation": lambda: bench_evaluation.table(_read("evaluation")["rows"]),
    "field-kernels": lambda: bench_field_kernels.table(_read("field_kernels")["rows"]),
    "sampling": lambda: bench_sampling.table(_read("sampling")["rows"]),
    "traffic": lambda: count_traffic.table(_read("adam_traffic")["rows"]),
    "guidance": guidance,
    "motion": motion,
    "startup": lambda: bench_startup.table(_read("startup")["rows"]),
}


if __name__ == "__main__":
    main()
