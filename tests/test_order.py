"""Where a test stands: folders are those of the package, or suites told here, and no two files share a name."""

from collections import Counter as Tally
from pathlib import Path

TESTS = Path(__file__).parent
ROOT = TESTS.parent
PACKAGE = ROOT / "budget_middleware"
FILES = [path for path in TESTS.rglob("*.py") if "__pycache__" not in path.parts]

SUITES = {
    "benchmarks": "what the benchmarks, which are no part of the package, say of what they saw",
    "browser": "a real Chromium that looks at the dashboard",
    "bills": "what whole exchanges are booked at: APIs, prices and request together",
    "e2e": "real workers of real servers",
    "faults": "real workers that lose their server, their network or their lives",
    "gateways": "other people's gateways with us in front",
    "jaeger": "a real Jaeger",
    "middleware": "middleware.py and what starts and stops it: lifespan.py, servers.py",
    "mutations": "faults that are planted in the code, and the tests that find them",
    "observability": "a real Prometheus and a real collector",
    "overload": "more requests than a machine can serve",
    "partition": "networks that are cut",
    "recordings": "what real clients and fake providers have said, played through a guard",
    "rolling": "two versions of the code at one store",
    "sdk": "the clients of providers",
    "simulation": "thousands of stories on a clock of their own",
}
"""Folders of tests that no one folder of the package is named for."""

OF_THE_REPOSITORY = {
    "test_docs.py",
    "test_failure_modes_doc.py",
    "test_invariants.py",
    "test_makefile.py",
    "test_order.py",
    "test_reference_pages.py",
    "test_runaway_tests.py",
    "test_security_doc.py",
    "test_stable_ids.py",
    "test_tidy.py",
    "test_tutorial.py",
    "test_windows_doc.py",
}
"""Tests at the top that hold documents and files; each other one is named for a module at the package's top."""


def test_every_folder_is_one_of_the_package_or_a_suite():
    folders = {path.parent.name for path in TESTS.glob("*/*.py")}
    of_the_package = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders - of_the_package == SUITES.keys()


def test_a_folder_within_one_of_the_packages_is_the_packages_too():
    within = {path.parent.relative_to(TESTS) for path in FILES if path.parent != TESTS}
    assert [folder for folder in within if folder.parts[0] not in SUITES and not (PACKAGE / folder).is_dir()] == []


def test_a_file_at_the_top_is_named_for_its_module():
    modules = {f"test_{path.name}" for path in PACKAGE.glob("*.py")}
    assert {path.name for path in TESTS.glob("test_*.py")} - modules == OF_THE_REPOSITORY


def test_no_two_files_share_a_name():
    names = Tally(path.name for path in FILES)
    assert {name for name, n_files in names.items() if n_files > 1} == {"__main__.py", "conftest.py"}
