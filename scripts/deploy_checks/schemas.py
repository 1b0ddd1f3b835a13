"""Whether Kubernetes, and operators of custom resources, would take an object: by their schemas, not by a server."""

import gzip
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import kubernetes_validate.utils

from .objects import Object, name

# The oldest that the chart says it takes, and the two newest.
VERSIONS = ("1.32", "1.36", "1.37")
CRDS = Path(__file__).parent / "crds"
GROUPS = ("monitoring.coreos.com", "ray.io")

# It reads and parses megabytes of definitions for each object.
kubernetes_validate.utils.schema_contents = cache(kubernetes_validate.utils.schema_contents)


def check(objects: list[Object], versions: tuple[str, ...] = VERSIONS) -> Iterator[str]:
    """Each object against the schema of each version of Kubernetes, or of its custom resource."""
    for thing in objects:
        group = thing["apiVersion"].partition("/")[0]
        if group in GROUPS:
            yield from _custom(thing)
            continue
        for version in versions:
            try:
                kubernetes_validate.validate(thing, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                yield f"{name(thing)} in Kubernetes {version}: {_at(error)}: {error.message[:300]}"
            except kubernetes_validate.SchemaNotFoundError as error:
                yield f"{name(thing)}: {error.message}"


def _custom(thing: Object) -> Iterator[str]:
    version = thing["apiVersion"].partition("/")[2]
    validator = _validator(thing["kind"], version)
    if validator is None:
        yield f"{name(thing)}: no schema of {thing['apiVersion']} {thing['kind']} is known here"
        return
    for error in validator.iter_errors(thing):
        yield f"{name(thing)}: {_at(error)}: {error.message[:300]}"


@cache
def _validator(kind: str, version: str) -> Any:
    for file in CRDS.glob("*.json.gz"):
        custom = json.loads(gzip.decompress(file.read_bytes()))
        if custom["kind"] == kind and version in custom["versions"]:
            return jsonschema.Draft7Validator(_strict(custom["versions"][version]))
    return None


def _strict(schema: Any) -> Any:
    """As the API server reads it with `fieldValidation: Strict`: what is not in it is an error."""
    if isinstance(schema, list):
        return [_strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _strict(value) for key, value in schema.items() if key != "properties"}
    if schema.get("x-kubernetes-int-or-string"):
        made["type"] = ["integer", "string"]
    if "properties" in schema:
        made["properties"] = {key: _strict(value) for key, value in schema["properties"].items()}
        embedded = ("apiVersion", "kind", "metadata")
        known = {key: {} for key in embedded if schema.get("x-kubernetes-embedded-resource")}
        made["properties"] |= known
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            made.setdefault("additionalProperties", False)
    return made


def _at(error: Any) -> str:
    return ".".join(str(part) for part in error.absolute_path) or "the object"
