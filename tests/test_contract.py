"""The API held against botocore's own models: every request that they allow is understood, every answer is of their shape, and
every error is one that they name."""

import botocore.exceptions
import botocore.loaders
import botocore.model
import botocore.validate
import pytest
from installation import Installation

SERVICES = ["ecs", "logs", "sts"]
# What any service answers, whatever its model says (AWS General Reference, "Common errors").
COMMON_ERRORS = {"AccessDeniedException", "InvalidParameterException", "MissingAuthenticationToken", "ValidationError", "ValidationException"}
# They answer with an event stream, which is another protocol; what they do without it is a test of its own.
STREAMS = {"StartLiveTail", "GetLogObject"}
DEPTH_MAX = 6


def model(service):
    loader = botocore.loaders.create_loader()
    return botocore.model.ServiceModel(loader.load_service_model(service, "service-2"), service)


OPERATIONS = [(service, name) for service in SERVICES for name in model(service).operation_names if name not in STREAMS]


def example(shape, whole, depth=0):
    """A value of the shape: with all members, or with the required ones alone."""
    if shape.type_name == "structure":
        names = shape.members if whole and depth < DEPTH_MAX else shape.required_members
        if getattr(shape, "is_tagged_union", False):
            names = list(shape.members)[:1]
        return {name: example(shape.members[name], whole, depth + 1) for name in names}
    if shape.type_name == "list":
        count = max(shape.metadata.get("min", 0), 1 if whole else 0)
        return [example(shape.member, whole, depth + 1) for _ in range(count)]
    if shape.type_name == "map":
        return {example(shape.key, whole, depth + 1): example(shape.value, whole, depth + 1)} if whole else {}
    if shape.type_name == "string":
        enum = shape.metadata.get("enum")
        return enum[-1 if whole else 0] if enum else "x" * max(shape.metadata.get("min", 1), 1)
    smallest = shape.metadata.get("min", 1)
    return {"boolean": True, "timestamp": 1_700_000_000, "blob": b"x", "float": 1.0, "double": 1.0}.get(
        shape.type_name, max(smallest, 1)
    )


@pytest.fixture(scope="module")
def contract(tmp_path_factory):
    here = Installation(tmp_path_factory.mktemp("contract") / "data")
    here.up()
    yield here
    here.down()


def call(here, service, name, request):
    client = here.client(service)
    operation = client.meta.service_model.operation_model(name)
    method = {client.meta.method_to_api_mapping[it]: it for it in client.meta.method_to_api_mapping}[name]
    try:
        answer = getattr(client, method)(**request)
    except botocore.exceptions.ClientError as error:
        return client, operation, None, error
    return client, operation, answer, None


def check(here, service, name, request):
    client, operation, answer, error = call(here, service, name, request)
    if error is None:
        answer.pop("ResponseMetadata")
        if operation.output_shape is not None:
            report = botocore.validate.ParamValidator().validate(answer, operation.output_shape)
            assert not report.has_errors(), f"{name}: {report.generate_report()}"
        return
    code, status = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
    if code == "NotImplemented":
        assert status == 501 and error.response["Error"]["Message"]
        return
    modelled = {shape.name for shape in operation.error_shapes} | {shape.name for shape in client.meta.service_model.error_shapes}
    assert code in modelled | COMMON_ERRORS, f"{name}: {error}"
    if code in {shape.name for shape in client.meta.service_model.error_shapes}:
        assert isinstance(error, client.exceptions.from_code(code)), f"{name}: {error}"
    assert status < 500, f"{name}: {error}"
    assert error.response["Error"]["Message"], f"{name}: {code} says nothing"


@pytest.mark.parametrize(("service", "name"), OPERATIONS)
def test_a_request_of_the_models_shape_is_understood(contract, service, name):
    operation = model(service).operation_model(name)
    for whole in (False, True):
        request = example(operation.input_shape, whole) if operation.input_shape else {}
        check(contract, service, name, request)


def test_a_request_of_another_shape_is_refused(contract):
    """Checks of the model that clients make too, made without them."""
    client = contract.client("ecs", parameter_validation=False)
    for call_, request in [
        (client.run_task, {}),
        (client.run_task, {"taskDefinition": 7}),
        (client.create_cluster, {"clusterName": ["a"]}),
        (client.run_task, {"taskDefinition": "x", "launchType": "MOON"}),
        (client.describe_tasks, {"tasks": "x"}),
        (client.run_task, {"taskDefinition": "x", "count": 1.5}),
    ]:
        with pytest.raises(botocore.exceptions.ClientError) as error:
            call_(**request)
        told = error.value.response
        assert told["ResponseMetadata"]["HTTPStatusCode"] == 400, told
        assert told["Error"]["Code"] in {"InvalidParameterException", "ClientException", "SerializationException", "ValidationException"}, told
