"""Turns the deployed SAM template into one that ministack can run.

What is left out stays out of reach of the functions too: the network, the database, the alarms and
the access policies belong to the cloud. The values that functions would get from them come from the
local settings instead.
"""

import re

from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

# Everything else is dropped, and references to it become DROPPED.
KEPT = {
    "AWS::ApiGatewayV2::Api",
    "AWS::ApiGatewayV2::Stage",
    "AWS::DynamoDB::Table",
    "AWS::Events::Rule",
    "AWS::Lambda::EventSourceMapping",
    "AWS::Lambda::Function",
    "AWS::Lambda::Url",
    "AWS::S3::Bucket",
    "AWS::SQS::Queue",
    "AWS::Scheduler::Schedule",
}
DROPPED = "not-in-the-local-stack"
ROLE = "arn:aws:iam::000000000000:role/local"
INTRINSIC_TARGET = re.compile(r"\$\{([A-Za-z0-9]+)(?:\.[A-Za-z0-9.]+)?\}")
FUNCTION_IN_URI = re.compile(r"functions/\$\{([A-Za-z0-9]+)(?:\.Arn|\.Alias)?\}/invocations")


class NoManagedPolicies:
    """Policy names are looked up to build roles, and roles are dropped."""

    def load(self):
        return {}


def function_names(template):
    """Logical id → the binary's name, which is also the function's name in the local stack."""
    names = {}
    for logical_id, resource in template["Resources"].items():
        if resource["Type"] == "AWS::Serverless::Function":
            build = resource.get("Metadata", {}).get("BuildProperties", {})
            kebab = re.sub(r"(?<!^)(?=[A-Z])", "-", logical_id.removesuffix("Function")).lower()
            names[logical_id] = build.get("Binary", kebab)
    return names


def parameter_values(template):
    """A value for every parameter, as the translator wants to know them: its default or a placeholder."""
    values = {}
    for name, parameter in template.get("Parameters", {}).items():
        fallback = parameter.get("AllowedValues", [DROPPED])[0]
        values[name] = str(parameter.get("Default", fallback))
    return values


def rewritten(path, bucket, code_keys, environment):
    """The CloudFormation template for ministack, and its parameter values.

    `code_keys` gives each function's object in `bucket`. Of `environment`, the names of secrets only
    replace what the template already gives a function; every other variable goes to all functions, so
    that none ever calls a real provider.
    """
    template = yaml_parse(path.read_text())
    names = function_names(template)
    for logical_id, name in names.items():
        template["Resources"][logical_id]["Properties"]["CodeUri"] = {"Bucket": bucket, "Key": code_keys[name]}
    origins = environment.get("CORS_ORIGINS", "").split(",")
    cors = {key: cors_of(resource.get("Properties", {}).get("CorsConfiguration"), origins)
            for key, resource in template["Resources"].items()}
    values = parameter_values(template)
    flat = transform(template, dict(values), NoManagedPolicies())
    resources = flat["Resources"]
    kept = {key: value for key, value in resources.items() if value["Type"] in KEPT}
    for key, resource in list(kept.items()):
        if resource["Type"] == "AWS::ApiGatewayV2::Api":
            kept.update(routes_of(key, resource))
            resource["Properties"].pop("Body", None)
            resource["Properties"]["CorsConfiguration"] = cors.get(key, {})
        elif resource["Type"] == "AWS::Lambda::Function":
            localise_function(resource, names[key], environment)
    dropped = set(resources) - set(kept)
    flat["Resources"] = {key: without(dropped, resource) for key, resource in kept.items()}
    for section in ("Outputs", "Rules", "Metadata"):
        flat.pop(section, None)
    # Parameters are plain strings here: SSM and resource types would be looked up.
    for parameter in flat.get("Parameters", {}).values():
        parameter["Type"] = "String"
    return flat, {name: value for name, value in values.items() if name in flat.get("Parameters", {})}


def routes_of(api, resource):
    """Integration and route resources for the OpenAPI body of an HTTP API, which ministack ignores."""
    paths = resource["Properties"].get("Body", {}).get("paths", {})
    added = {}
    for path, methods in paths.items():
        for method, operation in methods.items():
            integration = operation.get("x-amazon-apigateway-integration", {})
            match = FUNCTION_IN_URI.search(str(integration.get("uri", "")))
            if not match:
                continue
            function = match.group(1)
            target = f"{api}To{function}"
            added[target] = {"Type": "AWS::ApiGatewayV2::Integration", "Properties": {
                "ApiId": {"Ref": api}, "IntegrationType": "AWS_PROXY", "PayloadFormatVersion": "2.0",
                "IntegrationUri": {"Fn::GetAtt": [function, "Arn"]}}}
            verb = "ANY" if method == "x-amazon-apigateway-any-method" else method.upper()
            key = "$default" if path == "/$default" else f"{verb} {path}"
            added[f"{api}Route{len(added)}"] = {"Type": "AWS::ApiGatewayV2::Route", "Properties": {
                "ApiId": {"Ref": api}, "RouteKey": key,
                "Target": {"Fn::Join": ["/", ["integrations", {"Ref": target}]]}}}
    resource["Properties"].setdefault("Name", api)
    resource["Properties"].setdefault("ProtocolType", "HTTP")
    return added


def cors_of(node, origins):
    """The CORS rules that an HTTP API declares, with `origins` for the allowed ones; none when it has none.

    Looked for at any depth: a condition may stand around them.
    """
    if isinstance(node, dict) and "AllowOrigins" in node:
        return {**node, "AllowOrigins": origins}
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else []
    return next((found for child in children if (found := cors_of(child, origins))), {})


def localise_function(resource, name, environment):
    properties = resource["Properties"]
    properties["FunctionName"] = name
    properties["Role"] = ROLE
    for network in ("VpcConfig", "Layers", "KmsKeyArn", "FileSystemConfigs"):
        properties.pop(network, None)
    variables = properties.setdefault("Environment", {}).setdefault("Variables", {})
    variables.update({key: value for key, value in environment.items()
                      if key in variables or not key.endswith("_SECRET")})


def without(dropped, node):
    """`node` with references to dropped resources replaced by a placeholder."""
    if isinstance(node, list):
        return [without(dropped, item) for item in node]
    if not isinstance(node, dict):
        return node
    if len(node) == 1:
        (key, value), = node.items()
        if key == "Ref" and value in dropped:
            return DROPPED
        if key == "Fn::GetAtt" and (value.split(".") if isinstance(value, str) else value)[0] in dropped:
            return DROPPED
        if key == "Fn::Sub" and isinstance(value, str):
            return {key: INTRINSIC_TARGET.sub(lambda m: DROPPED if m.group(1) in dropped else m.group(0), value)}
    result = {key: without(dropped, value) for key, value in node.items()}
    if "DependsOn" in result and "Type" in result:
        wanted = result["DependsOn"] if isinstance(result["DependsOn"], list) else [result["DependsOn"]]
        result["DependsOn"] = [name for name in wanted if name not in dropped]
    return result
