"""Whether each commit since the rule began has the form `area: imperative`, at most 72 characters, and says why.

Exit 1 with a line for each that has not.
"""

import re
import subprocess
import sys

RULE_BEGAN = "39cbb44"
LONGEST_SUBJECT = 72
_SUBJECT = re.compile(r"[a-z0-9][a-z0-9 ,_/.-]*: [a-z].*[^.]")


def fault_of(subject: str, body: str) -> str | None:
    """What is wrong with a message; None: nothing."""
    if len(subject) > LONGEST_SUBJECT:
        return f"its subject has {len(subject)} characters, at most {LONGEST_SUBJECT} are accepted"
    if not _SUBJECT.fullmatch(subject):
        return "its subject is not `area: imperative`, such as `stores: refuse a counter that is full`"
    return None if body.strip() else "it has no body that says why"


def main() -> None:
    """Look at the commits that this clone has."""
    is_known = subprocess.run(["git", "cat-file", "-e", RULE_BEGAN], check=False, capture_output=True).returncode == 0
    since = f"{RULE_BEGAN}..HEAD" if is_known else "HEAD"
    command = ["git", "log", "--no-merges", "--format=%h%x00%s%x00%b%x01", since]
    log = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    commits = [entry.strip().split("\0") for entry in log.split("\x01") if entry.strip()]
    faults = [(name, subject, fault) for name, subject, body in commits if (fault := fault_of(subject, body))]
    for name, subject, fault in faults:
        print(f"{name} {subject!r}: {fault}")
    print(f"{len(commits)} commits, {len(faults)} of another form")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
