"""Who must agree to a rollout, and whose approval counts."""

from __future__ import annotations

import pytest

from sniffer.core.errors import SettingsError
from sniffer_airflow.rollout.policy import ApprovalPolicy, Proposal, needs_approval, objection

FOUR_EYES = ApprovalPolicy(four_eyes=True, approve_automatic=False)
TWO_EYES = ApprovalPolicy(four_eyes=False, approve_automatic=False)


def proposal(
    *asked_by: str, overridden_by: str | None = None, automatic: bool = False, wanted: bool = False
) -> Proposal:
    return Proposal(4, asked_by, overridden_by, is_automatic=automatic, approval_is_wanted=wanted)


@pytest.mark.parametrize(
    ("environ", "four_eyes"),
    [
        ({}, False),
        ({"SNIFFER_RUN_IN": "pods"}, True),
        ({"SNIFFER_ROLLOUT_TARGET": "kubernetes:sniffer/tf-serving"}, True),
        ({"SNIFFER_ROLLOUT_TARGET": "local:/srv"}, False),
        ({"SNIFFER_RUN_IN": "pods", "SNIFFER_FOUR_EYES": "no"}, False),
        ({"SNIFFER_FOUR_EYES": "yes"}, True),
    ],
)
def test_four_eyes_are_the_default_in_kubernetes_alone(environ: dict[str, str], four_eyes: bool) -> None:
    assert ApprovalPolicy.read(environ) == ApprovalPolicy(four_eyes, approve_automatic=False)


@pytest.mark.parametrize("name", ["SNIFFER_FOUR_EYES", "SNIFFER_APPROVE_AUTOMATIC"])
def test_a_setting_that_is_neither_yes_nor_no_is_named(name: str) -> None:
    with pytest.raises(SettingsError, match=name):
        ApprovalPolicy.read({name: "perhaps"})


def test_automatic_rollouts_wait_when_they_are_to() -> None:
    policy = ApprovalPolicy.read({"SNIFFER_APPROVE_AUTOMATIC": "yes"})
    assert needs_approval(proposal(automatic=True), policy)
    assert not needs_approval(proposal(automatic=True), TWO_EYES)
    assert not needs_approval(proposal("ana"), policy)


@pytest.mark.parametrize(
    ("found", "by_four_eyes"),
    [
        (proposal(automatic=True), False),
        (proposal("ana"), True),
        (proposal("ana", automatic=True), True),
        (proposal(overridden_by="cleo", automatic=True), True),
    ],
)
def test_under_four_eyes_what_a_person_wanted_needs_an_approval(found: Proposal, by_four_eyes: bool) -> None:
    assert needs_approval(found, FOUR_EYES) == by_four_eyes
    assert not needs_approval(found, TWO_EYES)


def test_an_approval_that_is_asked_for_is_needed_under_every_policy() -> None:
    assert needs_approval(proposal(wanted=True), TWO_EYES)
    assert needs_approval(proposal(wanted=True), FOUR_EYES)


@pytest.mark.parametrize(
    ("approver", "why_not"),
    [
        ("ana", "ana asked for this rollout"),
        ("ben", "ben asked for this rollout"),
        (" ANA ", "asked for this rollout"),
        ("cleo", "cleo overrode the gate"),
        (None, "nobody is known"),
        ("", "nobody is known"),
        ("dora", None),
    ],
)
def test_nobody_who_is_involved_approves(approver: str | None, why_not: str | None) -> None:
    found = objection(proposal("ana", "ben", overridden_by="cleo"), FOUR_EYES, approver)
    assert found is None if why_not is None else why_not in (found or "")


def test_without_four_eyes_any_user_who_is_known_approves() -> None:
    assert objection(proposal("ana"), TWO_EYES, "ana") is None
    assert objection(proposal("ana"), TWO_EYES, None) is not None


def test_all_who_asked_are_recorded() -> None:
    assert proposal("ana", "ben").requester == "ana, ben"
    assert proposal(automatic=True).requester is None
    assert proposal("ana", overridden_by="cleo").involved() == ("ana", "cleo")
