"""A task module in Python: statistics over the numeric columns of a CSV text.

The input is the CSV itself (`text/csv`), or JSON `{"csv": "…", "group_by": "column"}`. The output
says, for each group and column, how many values there are, their mean, median, deviation and range.
"""

import csv
import io
import json
import statistics
from collections import defaultdict

import wit_world.exports
from componentize_py_types import Err
from wit_world.exports.handler import Descriptor, Failure_InvalidInput, Payload
from wit_world.imports import context, log

INPUT = {
    "type": "object",
    "required": ["csv"],
    "properties": {"csv": {"type": "string"}, "group_by": {"type": "string"}},
}


def _request(payload):
    text = payload.body.decode("utf-8")
    if payload.content_type.split(";")[0].strip() == "text/csv":
        return {"csv": text}
    return json.loads(text)


def _number(text):
    try:
        return float(text)
    except (TypeError, ValueError):
        return None


def _summary(values):
    return {
        "count": len(values),
        "mean": round(statistics.fmean(values), 6),
        "median": statistics.median(values),
        "stdev": round(statistics.stdev(values), 6) if len(values) > 1 else 0.0,
        "min": min(values),
        "max": max(values),
    }


def summarise(text, group_by=None):
    rows = csv.DictReader(io.StringIO(text))
    if group_by is not None and group_by not in (rows.fieldnames or ()):
        raise ValueError(f"there is no column {group_by!r}")
    groups = defaultdict(lambda: defaultdict(list))
    for row in rows:
        group = groups[row[group_by] if group_by else "all"]
        for column, text in row.items():
            value = _number(text)
            if value is not None and column != group_by:
                group[column].append(value)
    return {name: {column: _summary(values) for column, values in columns.items()} for name, columns in groups.items()}


class Handler(wit_world.exports.Handler):
    def describe(self):
        return Descriptor("Statistics over the columns of a CSV text", json.dumps(INPUT), '{"type": "object"}')

    def run(self, input):
        try:
            request = _request(input)
            result = summarise(request["csv"], request.get("group_by"))
        except (ValueError, KeyError, TypeError) as error:
            raise Err(Failure_InvalidInput(f"not a CSV request: {error}")) from None
        context.progress(1.0, "summarised")
        log.emit(log.Level.INFO, "summarised", [log.Field("groups", str(len(result)))])
        return Payload("application/json", json.dumps(result).encode())
