"""Validates openapi.yaml, and each of its examples against its schema."""

import sys

import yaml
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012


class WithoutMerging(yaml.SafeLoader):
    """Times stay text, as in JSON; a key that is given twice is a fault, and so are merge keys."""

    def construct_mapping(self, node, deep=False):
        names = [self.construct_object(name, deep=True) for name, _ in node.value]
        for name in names:
            if name == "<<" or names.count(name) > 1:
                sys.exit(f"{node.start_mark}: {name!r} is a merge key or given twice")
        return super().construct_mapping(node, deep)


WithoutMerging.yaml_implicit_resolvers = {
    start: [one for one in resolvers if not one[0].endswith((":timestamp", ":merge"))]
    for start, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def media(document, at=""):
    """All objects that have a schema and examples."""
    if isinstance(document, dict):
        if "schema" in document:
            for name, example in document.get("examples", {}).items():
                yield f"{at}/examples/{name}", example["value"], document["schema"]
            if "example" in document:
                yield f"{at}/example", document["example"], document["schema"]
        for name, value in document.items():
            yield from media(value, f"{at}/{name}")
    elif isinstance(document, list):
        for place, value in enumerate(document):
            yield from media(value, f"{at}/{place}")


def main():
    with open("openapi.yaml", encoding="utf-8") as file:
        document = yaml.load(file, WithoutMerging)
    faults = [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()]
    resource = Resource(contents=document, specification=DRAFT202012)
    registry = Registry().with_resource("urn:document", resource)

    def rooted(schema):
        if isinstance(schema, dict):
            return {
                name: f"urn:document{value}" if name == "$ref" else rooted(value)
                for name, value in schema.items()
            }
        return [rooted(one) for one in schema] if isinstance(schema, list) else schema

    count = 0
    for place, example, schema in media(document):
        count += 1
        validator = OAS31Validator(rooted(schema), registry=registry)
        faults += [f"{place}: {error.message}" for error in validator.iter_errors(example)]
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method in ("servers", "parameters"):
                continue
            described = [operation.get("requestBody")]
            described += [one for code, one in operation["responses"].items() if code < "300"]
            for one in filter(None, described):
                for kind, content in one.get("content", {}).items():
                    if kind.endswith("json") and not {"example", "examples"} & set(content):
                        faults.append(f"{method} {path}: no example of its {kind}")
    print(f"{count} examples")
    sys.exit("\n".join(faults) or 0)


main()
