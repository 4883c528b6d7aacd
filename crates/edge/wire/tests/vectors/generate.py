"""Writes botocore.json beside this file: requests signed by botocore, offline, at a fixed time.

Run it with a Python that has botocore: `python generate.py`. The keys are AWS's documentation examples.
"""

import datetime
import json
import pathlib

import botocore
import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

NOW = datetime.datetime(2026, 2, 28, 23, 59, 58, tzinfo=datetime.timezone.utc)
botocore.auth.get_current_datetime = lambda *_, **__: NOW

KEY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
TOKEN = "FwoGZXIvYXdzEBYaD/+=="
JSON = {"Content-Type": "application/x-amz-json-1.1"}
FORM = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
ENDPOINT = "http://127.0.0.1:4566"
IDENTITY = "/?Action=GetCallerIdentity&Version=2011-06-15"
SOCKET = (
    "/acs/ws?clusterArn=arn%3Aaws%3Aecs%3Aus-east-1%3A000000000000%3Acluster%2Fdefault"
    "&agentHash=a1b2&seqNum=1&sendCredentials=true"
)

HEADER, S3, QUERY, S3QUERY = (
    botocore.auth.SigV4Auth,
    botocore.auth.S3SigV4Auth,
    botocore.auth.SigV4QueryAuth,
    botocore.auth.S3SigV4QueryAuth,
)


def signed(name, signer, service, method, target, headers=None, body="", token=None, unsigned=False):
    request = AWSRequest(method=method, url=ENDPOINT + target, headers=headers or {}, data=body.encode())
    if unsigned:
        request.context["payload_signing_enabled"] = False
    signer(Credentials(KEY, SECRET, token), service, "us-east-1").add_auth(request)
    return {
        "name": name,
        "service": service,
        "token": token,
        "method": method,
        "target": request.url.removeprefix(ENDPOINT),
        "headers": [["Host", ENDPOINT.removeprefix("http://")], *([k, v] for k, v in request.headers.items())],
        "body": body,
    }


CASES = [
    signed("json", HEADER, "ecs", "POST", "/", {**JSON, "X-Amz-Target": "Ecs.ListClusters"}, "{}"),
    signed("json with a session token", HEADER, "ecs", "POST", "/", {**JSON, "X-Amz-Target": "T.O"}, '{"a":"é"}', TOKEN),
    signed("form", HEADER, "sts", "POST", "/", FORM, IDENTITY[2:]),
    signed("empty body", HEADER, "ecs", "GET", "/"),
    signed("web socket", HEADER, "ecs", "GET", SOCKET),
    signed("query is sorted", HEADER, "logs", "GET", "/?b=2&a=2&a=1&B=3&a-=4&=5"),
    signed("query of unreserved characters", HEADER, "logs", "GET", "/?-._~09azAZ=-._~09azAZ"),
    signed("query of escapes", HEADER, "logs", "GET", "/?q=a%20b%2Fc%3D%26%25&%C3%A9=%E2%82%AC&flag"),
    signed("path is normalised", HEADER, "lambda", "GET", "/a/./b/../c//d/"),
    signed("path climbs over the root", HEADER, "lambda", "GET", "/../../a/.."),
    signed("path is encoded twice", HEADER, "lambda", "GET", "/functions/arn%3Aaws%3Alambda/a%20b%2Fc~_-."),
    signed("header values are folded", HEADER, "ecs", "GET", "/", {"X-Note": "  a   b\t c  ", "X-Empty": ""}),
    signed("unsigned payload", HEADER, "lambda", "PUT", "/x", body="anything", unsigned=True),
    signed("s3 path is encoded once", S3, "s3", "PUT", "/bucket/a%20b/./c//%C3%A9~", body="content"),
    signed("s3 with a session token", S3, "s3", "GET", "/bucket?list-type=2&prefix=a%2Fb", token=TOKEN),
    signed("presigned", QUERY, "sts", "GET", IDENTITY),
    signed("presigned with a session token", QUERY, "sts", "GET", IDENTITY, token=TOKEN),
    signed("presigned with a header", QUERY, "sts", "GET", IDENTITY, {"x-k8s-aws-id": "cluster"}),
    signed("presigned s3", S3QUERY, "s3", "GET", "/bucket/env%20files/%C3%A9.env?versionId=1", token=TOKEN),
]

vectors = {"botocore": botocore.__version__, "now": NOW.strftime("%Y%m%dT%H%M%SZ"), "cases": CASES}
path = pathlib.Path(__file__).with_name("botocore.json")
path.write_text(json.dumps(vectors, indent=1, ensure_ascii=False) + "\n")
