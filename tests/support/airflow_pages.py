"""Pages of Airflow's API server as its users get them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastapi.testclient import TestClient


def signed_in(role: str) -> dict[str, str]:
    """The headers of a user with that role of the simple auth manager."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    token = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username="r", role=role))
    return {"Authorization": f"Bearer {token}"}


def get(client: TestClient, path: str, role: str = "VIEWER") -> Any:
    """The answer to such a user."""
    return client.get(path, headers=signed_in(role))
