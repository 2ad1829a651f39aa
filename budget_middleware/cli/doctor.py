"""`doctor`: checks settings, store and telemetry, says how to fix what is wrong, and what to do next."""

import asyncio
import os
from argparse import Namespace
from typing import Any

from budget_middleware.cli.output import print_json, print_line
from budget_middleware.cli.parsing import add_command
from budget_middleware.operations.doctor import Health, examine, next_step


def add_to(commands: Any) -> None:
    add_command(
        commands,
        "doctor",
        _doctor,
        says="Check settings, store and telemetry, and say how to fix what is wrong; exit 1 if a check fails.",
    )


def _doctor(arguments: Namespace) -> int:
    findings = asyncio.run(examine(os.environ))
    if arguments.json:
        print_json(findings)
    else:
        for finding in findings:
            fix = f"; fix: {finding.fix}" if finding.fix else ""
            print_line(f"{finding.status:<4}  {finding.check:<11}  {finding.message}{fix}")
        print_line(f"next: {next_step(findings, os.environ)}")
    return 1 if any(finding.status is Health.FAIL for finding in findings) else 0
