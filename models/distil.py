#!/usr/bin/env python3
"""Distils the AWS API models that botocore ships into `<service>.json`: facts only, no prose.

    python3 models/distil.py .../site-packages/botocore/data

What stays are names, types, constraints, errors and traits of shapes; every text written for readers goes. Members keep
the order of the model, all else is sorted, so that the difference of two botocore versions is the difference of the APIs.
"""

import gzip
import json
import re
import sys
from pathlib import Path

BOTOCORE_VERSION = "1.44.5"

# Service directory in botocore's data, and the API version there.
SERVICES = {"ecs": "2014-11-13", "logs": "2014-03-28", "secretsmanager": "2017-10-17", "sts": "2011-06-15"}

PROSE = {"documentation", "deprecatedMessage", "deprecatedSince", "documentationUrl"}
METADATA = [
    "apiVersion",
    "endpointPrefix",
    "jsonVersion",
    "protocol",
    "protocols",
    "serviceId",
    "signatureVersion",
    "signingName",
    "targetPrefix",
    "xmlNamespace",
]


def without_prose(value):
    """The value without members that hold text for readers, all the way down."""
    if isinstance(value, dict):
        return {key: without_prose(item) for key, item in value.items() if not is_prose(key, item)}
    if isinstance(value, list):
        return [without_prose(item) for item in value]
    return value


def is_prose(key, value):
    """Whether a member is prose; a shape's member that happens to have such a name is an object and stays."""
    return key in PROSE and isinstance(value, str)


def referenced(shapes, operations):
    """The names of all shapes that operations use, straight or through others."""
    pending = []
    for operation in operations.values():
        pending += [operation[side]["shape"] for side in ("input", "output") if side in operation]
        pending += [error["shape"] for error in operation.get("errors", [])]
    found = set()
    while pending:
        name = pending.pop()
        if name in found:
            continue
        found.add(name)
        shape = shapes[name]
        pending += [member["shape"] for member in shape.get("members", {}).values()]
        pending += [shape[part]["shape"] for part in ("member", "key", "value") if part in shape]
    return found


def distil_operation(operation):
    """One operation; its errors by name alone."""
    facts = without_prose(operation)
    if "errors" in facts:
        facts["errors"] = [error["shape"] for error in facts["errors"]]
    return facts


def distil(model):
    """The facts of one service."""
    operations, shapes = model["operations"], model["shapes"]
    used = referenced(shapes, operations)
    return {
        "metadata": {key: model["metadata"][key] for key in METADATA if key in model["metadata"]},
        "operations": {name: distil_operation(operations[name]) for name in sorted(operations)},
        "shapes": {name: without_prose(shapes[name]) for name in sorted(used)},
    }


def check_version(data):
    """Stops unless `data` belongs to the botocore that the models are pinned to."""
    text = (data.parent / "__init__.py").read_text()
    version = re.search(r"__version__ = ['\"](.+?)['\"]", text).group(1)
    if version != BOTOCORE_VERSION:
        sys.exit(f"botocore {version} given, {BOTOCORE_VERSION} expected: change BOTOCORE_VERSION to move the models on")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    data = Path(sys.argv[1])
    check_version(data)
    for service, version in SERVICES.items():
        with gzip.open(data / service / version / "service-2.json.gz") as file:
            facts = distil(json.load(file))
        target = Path(__file__).parent / f"{service}.json"
        target.write_text(json.dumps(facts, indent=1, ensure_ascii=True) + "\n")
        print(f"{target}: {len(facts['operations'])} operations, {len(facts['shapes'])} shapes")


if __name__ == "__main__":
    main()
