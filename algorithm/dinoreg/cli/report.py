"""`dinoreg report`: pages of registrations that are done."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

from dinoreg.cli.options import let_threads_sleep
from dinoreg.errors import ConfigError
from regtask.errors import DataError, Fault

log = logging.getLogger(__name__)

_DESCRIPTION = """Write a page per pair, to look through in a browser without a network, and an index, the
worst first, from fields that are there already. Nothing is registered. Of OUT as dinoreg register wrote it:
OUT/report.html; of a folder of such folders also index.html there. With --dataset, of Learn2Reg fields
by whatever program: OUT/reports/index.html and a page per pair."""


def add_report_parser(verbs: Any) -> None:
    """Add the verb to the subparsers of the command."""
    parser = verbs.add_parser("report", help="pages of what was registered", description=_DESCRIPTION)
    parser.add_argument("folder", type=Path, metavar="OUT")
    parser.add_argument(
        "--dataset", type=Path, metavar="JSON", help="TASK_dataset.json, for Learn2Reg fields"
    )
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="where the JSON's paths begin")
    parser.add_argument("--split", choices=("auto", "test", "val", "train"), default="auto")
    parser.add_argument("--space", choices=("lps", "ras", "voxel"), help="of points in csv files")


def run_report(options: argparse.Namespace) -> None:
    """Run the verb from parsed options.

    Raises:
        TaskError: see `dinoreg.task.reports.write_reports` and `dinoreg.desk.folder.read_result`.
    """
    let_threads_sleep()
    if not options.folder.is_dir():
        raise DataError(Fault("no such folder", str(options.folder), "what dinoreg run or register wrote"))
    if options.dataset is not None:
        _report_task(options)
    else:
        _report_results(options)


def _report_task(options: argparse.Namespace) -> None:
    from dinoreg.task.reports import write_reports
    from regtask.dataset import read_dataset

    dataset = read_dataset(options.dataset, options.data_dir)
    log.info("%s", write_reports(options.folder, dataset, dataset.pairs(options.split)))


def _report_results(options: argparse.Namespace) -> None:
    from dinoreg.desk.folder import is_result, read_result
    from dinoreg.desk.report import write_report
    from dinoreg.desk.result_files import REPORT
    from dinoreg.report.page import index_row, write_index

    folder = options.folder
    if is_result(folder):
        write_report(folder, read_result(folder, space=options.space))
        log.info("%s", folder / REPORT)
        return
    results = sorted(path for path in folder.iterdir() if is_result(path))
    if not results:
        raise ConfigError(
            Fault(
                "nothing that dinoreg register wrote",
                str(folder),
                "transform.h5 and register.json, there or in its folders",
                remedy="for fields in Learn2Reg's form name the task: --dataset TASK_dataset.json",
            )
        )
    rows = []
    for result in results:
        shown = read_result(result, title=result.name, space=options.space)
        page = write_report(result, shown)
        rows.append(index_row(shown, page, f"{result.name}/{REPORT}"))
        log.info("%s", result / REPORT)
    write_index(folder / "index.html", folder.resolve().name, rows)
    log.info("%s", folder / "index.html")
