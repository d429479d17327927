#!/usr/bin/env python3
"""Holds docs/ to the code: the API's reference to proto/, each limit to its constant, links to what they lead to, and
docs/README.md to what is there. check_docs.py ROOT"""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(sys.argv[1])
ROW = re.compile(r"\| .+? \| ([\d,]+)[^|]* \| `([\w/.]+)` `(k\w+)` \|")
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)]*)?\)")


def number(expression):
    """Of a constant's initialiser: 16u << 20, size_t{1} << 30, 366 * 86'400."""
    plain = re.sub(r"\b[\w:]+\{(\d+)\}", r"\1", expression.replace("'", ""))
    plain = re.sub(r"(\d)[uUlL]+\b", r"\1", plain)
    if not re.fullmatch(r"[\d <*+()-]+", plain):
        raise ValueError(f"can't read {expression}")
    return eval(plain)  # digits and operators alone


def limits():
    rows = 0
    for line in (ROOT / "docs/limits.md").read_text().splitlines():
        if not (row := ROW.fullmatch(line)):
            if line.startswith("| ") and "`k" in line:
                yield f"docs/limits.md: what is this row? {line}"
            continue
        rows += 1
        said, file, name = int(row[1].replace(",", "")), row[2], row[3]
        found = re.search(rf"\b{name} = ([^;,]+)", (ROOT / file).read_text())
        if found is None:
            yield f"docs/limits.md: {file} has no {name}"
        elif number(found[1].strip()) != said:
            yield f"docs/limits.md: {name} of {file} is {found[1]}, not {said}"
    if rows < 50:
        yield f"docs/limits.md: only {rows} rows"


def links():
    documents = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")), *sorted(ROOT.glob("deploy/**/*.md"))]
    for document in documents:
        for target, _ in LINK.findall(document.read_text()):
            if "://" not in target and not (document.parent / target).exists():
                yield f"{document.relative_to(ROOT)}: leads to {target}, which is not there"


def index():
    text = (ROOT / "docs/README.md").read_text()
    for document in sorted(ROOT.glob("docs/*.md")):
        if document.name != "README.md" and f"({document.name})" not in text:
            yield f"docs/README.md: lacks {document.name}"


def main():
    made = subprocess.run([ROOT / "scripts/api-reference", "--check"], capture_output=True, text=True)
    wrong = [*made.stderr.splitlines(), *limits(), *links(), *index()]
    sys.exit("\n".join(wrong) or made.returncode)


main()
