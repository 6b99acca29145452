"""Deploys template.yaml into a running ministack and prints what came of it as one line of JSON.

Reads its settings (a JSON object) from standard input:
  endpoint   the AWS endpoint
  template   path of template.yaml
  binaries   folder of the built function binaries
  state      folder of the local stack's state
  secrets    environment variable → value of the secret it shall name
  variables  environment variable → value, for every function
  sam_env    where to write the functions' variables for `sam local`
Answers {"functions": [...], "changed": [...], "api_id", "url_id"}; `changed` names the functions whose
code is new, or every function when the template or the settings are.
"""

import hashlib
import io
import json
import os
import sys
import time
import zipfile
from pathlib import Path

REGION = os.environ.setdefault("AWS_DEFAULT_REGION", os.environ.get("AWS_REGION", "us-east-1"))

import boto3  # noqa: E402  (the region has to be known first)
from botocore.config import Config  # noqa: E402
from botocore.exceptions import ClientError  # noqa: E402

from rewrite import function_names, rewritten, yaml_parse  # noqa: E402

STACK = "m3corecrm"
ARTIFACTS = "m3-local-artifacts"


def fail(message):
    sys.exit(f"deploy: {message}")


class Deployment:
    def __init__(self, settings):
        self.settings = settings
        self.template = Path(settings["template"])
        self.state = Path(settings["state"])
        self.clients = {}

    def client(self, service):
        if service not in self.clients:
            self.clients[service] = boto3.client(
                service, endpoint_url=self.settings["endpoint"], region_name=REGION,
                aws_access_key_id="test", aws_secret_access_key="test",
                config=Config(retries={"max_attempts": 2}, s3={"addressing_style": "path"}, proxies={}))
        return self.clients[service]

    def put_secrets(self):
        """Writes each secret and returns environment variable → its name."""
        secrets, names = self.client("secretsmanager"), {}
        for variable, value in self.settings["secrets"].items():
            name = f"m3/local/{variable.removesuffix('_SECRET').lower().replace('_', '-')}"
            text = json.dumps(value)
            try:
                secrets.create_secret(Name=name, SecretString=text)
            except secrets.exceptions.ResourceExistsException:
                if secrets.get_secret_value(SecretId=name)["SecretString"] != text:
                    secrets.put_secret_value(SecretId=name, SecretString=text)
            names[variable] = name
        return names

    def stage_binaries(self, names):
        """Puts each function's package in the bucket and returns name → object key.

        A package is one shell line that runs a hard link of the built binary: debug binaries are
        large, and zipping a dozen of them would take longer than everything else together.
        """
        links = self.state / "bin"
        links.mkdir(parents=True, exist_ok=True)
        s3 = self.client("s3")
        try:
            s3.create_bucket(Bucket=ARTIFACTS)
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                raise
        present = {item["Key"] for item in s3.list_objects_v2(Bucket=ARTIFACTS).get("Contents", [])}
        keys, in_use = {}, set()
        for name in names:
            binary = Path(self.settings["binaries"]) / name
            if not binary.is_file():
                fail(f"function {name} has no binary at {binary}; does functions/{name} build one of that name?")
            stat = binary.stat()
            link = links / f"{name}-{stat.st_mtime_ns:x}-{stat.st_size:x}"
            if not link.exists():
                link_or_copy(binary, link)
            in_use.add(link.name)
            keys[name] = f"{link.name}.zip"
            if keys[name] not in present:
                s3.put_object(Bucket=ARTIFACTS, Key=keys[name], Body=package(link))
        for link in links.iterdir():
            if link.name not in in_use:
                link.unlink()
        return keys

    def apply(self, template, values, fingerprint):
        """Creates or updates the stack; nothing when `fingerprint` is the deployed one's."""
        cloudformation = self.client("cloudformation")
        try:
            found = cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]
        except ClientError:
            found = None
        if found and found["StackStatus"].endswith("_FAILED") or found and "ROLLBACK" in found["StackStatus"]:
            cloudformation.delete_stack(StackName=STACK)
            found = None
        deployed = {tag["Key"]: tag["Value"] for tag in (found or {}).get("Tags", [])}
        if deployed.get("fingerprint") == fingerprint:
            return False
        act = cloudformation.update_stack if found else cloudformation.create_stack
        act(StackName=STACK, TemplateBody=json.dumps(template), Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"],
            Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in values.items()],
            Tags=[{"Key": "fingerprint", "Value": fingerprint}])
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            stack = cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]
            if stack["StackStatus"] in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
                return True
            if not stack["StackStatus"].endswith("_IN_PROGRESS") or "ROLLBACK" in stack["StackStatus"]:
                fail(f"the stack is {stack['StackStatus']}: {self.first_failure(cloudformation)}")
            time.sleep(0.1)
        fail("the stack did not settle within 60 s")

    @staticmethod
    def first_failure(cloudformation):
        events = cloudformation.describe_stack_events(StackName=STACK)["StackEvents"]
        failures = [e for e in events if e["ResourceStatus"].endswith("_FAILED")]
        return "; ".join(f"{e['LogicalResourceId']}: {e.get('ResourceStatusReason')}" for e in failures[-3:])

    def finish(self, template):
        """Sets what the stack does not apply (CORS, expiry) and returns the ids that the plain ports stand for."""
        resources = self.client("cloudformation").describe_stack_resources(StackName=STACK)["StackResources"]
        found = {}
        for resource in resources:
            logical_id = resource["LogicalResourceId"]
            if resource["ResourceType"] == "AWS::ApiGatewayV2::Api":
                found["api"] = resource["PhysicalResourceId"]
                cors = template["Resources"][logical_id]["Properties"].get("CorsConfiguration")
                if cors:
                    self.client("apigatewayv2").update_api(ApiId=found["api"], CorsConfiguration=cors)
            elif resource["ResourceType"] == "AWS::DynamoDB::Table":
                expiry = template["Resources"][logical_id]["Properties"].get("TimeToLiveSpecification")
                if expiry:
                    self.client("dynamodb").update_time_to_live(
                        TableName=resource["PhysicalResourceId"],
                        TimeToLiveSpecification={**expiry, "Enabled": str(expiry["Enabled"]).lower() == "true"})
        urls = self.client("lambda").list_function_url_configs(FunctionName="webhooks")["FunctionUrlConfigs"]
        if urls:
            found["webhooks"] = urls[0]["FunctionUrl"].split("//", 1)[1].split(".", 1)[0]
        return found

    def write_sam_env(self, names):
        """What `sam local --env-vars` takes: logical id → the variables that the deployed function has."""
        functions, everything = self.client("lambda"), {}
        for logical_id, name in names.items():
            found = functions.get_function_configuration(FunctionName=name)
            everything[logical_id] = found["Environment"]["Variables"]
        Path(self.settings["sam_env"]).write_text(json.dumps(everything, indent=2) + "\n")

    def run(self):
        names = function_names(yaml_parse(self.template.read_text()))
        environment = {**self.settings["variables"], **self.put_secrets()}
        keys = self.stage_binaries(names.values())
        before = self.deployed_keys()
        template, values = rewritten(self.template, ARTIFACTS, keys, environment)
        text = json.dumps([template, values, self.settings["secrets"]], sort_keys=True)
        applied = self.apply(template, values, hashlib.sha256(text.encode()).hexdigest())
        fronts = self.finish(template)
        target = self.state / "fronts.json"
        target.with_suffix(".new").write_text(json.dumps(fronts))
        target.with_suffix(".new").rename(target)
        self.write_sam_env(names)
        changed = [name for name in keys if before.get(name) != keys[name]] if applied else []
        (self.state / "deployed.json").write_text(json.dumps(keys))
        print(json.dumps({"functions": sorted(keys), "applied": applied, "changed": changed,
                          "api_id": fronts.get("api"), "url_id": fronts.get("webhooks")}))

    def deployed_keys(self):
        try:
            return json.loads((self.state / "deployed.json").read_text())
        except FileNotFoundError:
            return {}


def link_or_copy(source, target):
    try:
        os.link(source, target)
    except OSError:
        import shutil

        shutil.copy2(source, target)


def package(binary):
    """A zip whose `bootstrap` runs the binary in its own place."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        entry = zipfile.ZipInfo("bootstrap")
        entry.external_attr = 0o755 << 16
        archive.writestr(entry, f"#!/bin/sh\nexec '{binary}'\n")
    return buffer.getvalue()


if __name__ == "__main__":
    Deployment(json.load(sys.stdin)).run()
