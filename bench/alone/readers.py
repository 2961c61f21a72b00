"""Rows from what the measuring programs print: JSON, lines that say one thing each, or a Markdown table."""

import re
from collections.abc import Callable

from engines import rows_in

Reader = Callable[[str], list[dict]]


def json_rows(text: str) -> list[dict]:
    return rows_in(text) if "[" in text else []


def number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def lines(row: str, *before: str) -> Reader:
    """Every line with the pattern `row` is a row of its named groups, with those of the last lines with the patterns `before`."""
    def read(text: str) -> list[dict]:
        known: dict = {}
        rows = []
        for line in text.splitlines():
            for pattern in before:
                if found := re.search(pattern, line):
                    known |= {name: number(value) for name, value in found.groupdict().items()}
            if found := re.search(row, line):
                rows.append(known | {name: number(value) for name, value in found.groupdict().items()})
        return rows
    return read


def markdown_rows(text: str) -> list[dict]:
    cells = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in text.splitlines() if line.startswith("| ")]
    return [dict(zip(cells[0], map(number, row))) for row in cells[1:]]
