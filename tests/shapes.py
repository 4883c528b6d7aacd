"""Raw answers held against botocore's models: its parser passes over what a model does not have."""

import json


def unknown_members(value, shape, place=""):
    """Members of a raw answer that the model does not have."""
    if getattr(shape, "is_document_type", False):
        return
    if shape.type_name == "structure" and isinstance(value, dict):
        known = {member.serialization.get("name", name): member for name, member in shape.members.items()}
        for name, inner in value.items():
            if name not in known:
                yield f"{place}.{name}"
            else:
                yield from unknown_members(inner, known[name], f"{place}.{name}")
    elif shape.type_name == "list" and isinstance(value, list):
        for inner in value:
            yield from unknown_members(inner, shape.member, f"{place}[]")
    elif shape.type_name == "map" and isinstance(value, dict):
        for inner in value.values():
            yield from unknown_members(inner, shape.value, f"{place}{{}}")


def watch(client):
    """Makes every answer of a client that has more than its model says an error."""

    def look(operation_model, response_dict, **_):
        body, shape = response_dict["body"], operation_model.output_shape
        if response_dict["status_code"] == 200 and body and shape is not None and operation_model.metadata["protocol"] == "json":
            extra = list(unknown_members(json.loads(body), shape))
            assert not extra, f"{operation_model.name}: the model does not have {extra}"

    client.meta.events.register("before-parse", look)
    return client
