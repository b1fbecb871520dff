"""ValidatingAdmissionPolicies judged as the API server does it, their CEL by the reference implementation's runtime.

Standard CEL only: what Kubernetes adds to the language is unknown here, and fails a test that uses it.
"""

from __future__ import annotations

import contextlib
import functools
from dataclasses import dataclass, field
from typing import Any

from cel_expr_python import cel

from support.manifests import Manifests, Resource

_NAMES = ("object", "oldObject", "request", "params", "variables")


@dataclass(frozen=True)
class Write:
    """One request that changes something. The object is None when it is deleted, `before` when it is created."""

    user: str
    operation: str
    group: str
    resource: str
    name: str
    object: Resource | None = None
    before: Resource | None = None
    namespace: str = "sniffer"

    def request(self) -> Resource:
        """What CEL knows as `request`."""
        return {
            "userInfo": {"username": self.user},
            "operation": self.operation,
            "name": self.name,
            "namespace": self.namespace,
        }


@dataclass
class _Evaluation:
    """One policy with one request; variables are evaluated when an expression asks for them, as in Kubernetes."""

    policy: Resource
    write: Write
    params: Resource | None
    known: dict[str, Any] = field(default_factory=dict)

    def value(self, expression: str) -> Any:
        """What the expression is; ValueError for an error in it, which Kubernetes answers by the failure policy."""
        for variable in self.policy["spec"].get("variables", []):
            name = variable["name"]
            if f"variables.{name}" in expression and name not in self.known:
                # In error it is missing, and whoever needs it is in error too: `true ||` does not need it.
                with contextlib.suppress(ValueError):
                    self.known[name] = self.value(variable["expression"])
        found = compiled(expression).eval(
            data={
                "object": self.write.object,
                "oldObject": self.write.before,
                "request": self.write.request(),
                "params": self.params,
                "variables": self.known,
            }
        )
        if found.type().name() == "ERROR":
            raise ValueError(str(found.value()))
        return found.plain_value()


@functools.cache
def compiled(expression: str) -> Any:
    """The expression as the API server compiles it when a policy is created; raises on a mistake in it."""
    return cel.NewEnv(variables=dict.fromkeys(_NAMES, cel.Type.DYN)).compile(expression)


def refusals(manifests: Manifests, write: Write) -> list[str]:
    """Why the policies that are bound refuse the request; empty: it is admitted."""
    return _objections(manifests, write, "Deny")


def warnings(manifests: Manifests, write: Write) -> list[str]:
    """What the policies that only warn say of the request."""
    return _objections(manifests, write, "Warn")


def _objections(manifests: Manifests, write: Write, action: str) -> list[str]:
    found: list[str] = []
    for binding in manifests.of_kind("ValidatingAdmissionPolicyBinding"):
        assert binding["spec"]["validationActions"] in (["Deny"], ["Warn"])
        if binding["spec"]["validationActions"] != [action]:
            continue
        policy = manifests.get("ValidatingAdmissionPolicy", binding["spec"]["policyName"])
        if any(_matches(rule, write) for rule in policy["spec"]["matchConstraints"]["resourceRules"]):
            found += _refusals(policy, binding, write, manifests)
    return found


def _matches(rule: Resource, write: Write) -> bool:
    return (
        write.group in rule["apiGroups"]
        and write.resource in rule["resources"]
        and write.operation in rule["operations"]
    )


def _refusals(policy: Resource, binding: Resource, write: Write, manifests: Manifests) -> list[str]:
    spec, params = policy["spec"], None
    if "paramKind" in spec:
        named = binding["spec"]["paramRef"]
        params = manifests.get(spec["paramKind"]["kind"], named["name"])
        assert params["metadata"]["namespace"] == named["namespace"]
    evaluation = _Evaluation(policy, write, params)
    if not all(evaluation.value(each["expression"]) for each in spec.get("matchConditions", [])):
        return []
    found = []
    for validation in spec["validations"]:
        try:
            admitted = evaluation.value(validation["expression"])
        except ValueError as error:
            assert spec["failurePolicy"] == "Fail"
            found.append(f"{policy['metadata']['name']}: {error}")
        else:
            found += [] if admitted is True else [_message(evaluation, validation)]
    return found


def _message(evaluation: _Evaluation, validation: Resource) -> str:
    if "messageExpression" not in validation:
        return str(validation["message"])
    said = evaluation.value(validation["messageExpression"])
    # Kubernetes takes one line, else it says only which expression failed.
    assert isinstance(said, str) and said.strip() and "\n" not in said
    return said
