"""What the images are made of: pinned, with digests, and no more than each needs; and how they are run."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
IMAGES = ["api", "worker"]


def pinned(path: Path) -> dict[str, str]:
    """Name and version of each line."""
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^\s\\]+)", path.read_text(), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in found}


def wanted(extra: str, seen: frozenset[str] = frozenset()) -> set[str]:
    """What an extra of the project asks for by name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names: set[str] = {canonicalize_name(Requirement(one).name) for one in project["dependencies"]}
    for one in map(Requirement, project["optional-dependencies"][extra]):
        if one.name == "descent":
            names |= {name for inner in one.extras - seen for name in wanted(inner, seen | one.extras)}
        else:
            names.add(canonicalize_name(one.name))
    return names


@pytest.mark.parametrize("image", [*IMAGES, "build"])
def test_every_package_of_an_image_has_digests_and_the_version_that_is_tested(image: str) -> None:
    path = ROOT / "requirements" / f"{image}.txt"
    locked, tested = pinned(path), pinned(ROOT / "constraints.txt")
    assert locked
    for entry in re.split(r"\n(?=[A-Za-z])", path.read_text().strip()):
        if not entry.startswith("#"):
            assert "--hash=sha256:" in entry, entry[:80]
    assert {name: version for name, version in locked.items() if tested.get(name, version) != version} == {}
    assert locked.keys() - tested.keys() <= {"setuptools"}, "what is not in constraints.txt is in no test either"


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_has_what_its_room_asks_for_and_torch_in_the_workers_alone(image: str) -> None:
    locked = pinned(ROOT / "requirements" / f"{image}.txt")
    # Which build of torch it is the index decides: the Dockerfile installs it by version.
    assert (wanted(image) | wanted("s3")) - {"torch"} <= locked.keys()
    assert "torch" not in locked
    assert "pytest" not in locked
    if image == "api":
        assert not {"scikit-learn", "sympy", "triton"} & locked.keys()
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert dockerfile.count("--require-hashes") == 3
    assert "torch" not in dockerfile.split("AS build-api")[1].split("AS build-worker")[0]


def test_every_action_is_pinned_by_its_commit() -> None:
    for workflow in (ROOT / ".github" / "workflows").glob("*.yml"):
        uses = re.findall(r"uses: *(\S+)", workflow.read_text())
        assert uses
        for action in uses:
            assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", action), action


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return found


def test_every_service_is_sealed(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert "privileged" not in service
        assert not any("docker.sock" in volume for volume in service.get("volumes", ()))


def test_only_the_api_is_published_and_only_on_this_machine(compose: dict[str, Any]) -> None:
    published = {name: service["ports"] for name, service in compose["services"].items() if "ports" in service}
    assert list(published) == ["api"]
    assert all(port.startswith("127.0.0.1:") for port in published["api"])
    assert compose["networks"]["inside"]["internal"]
    outside = {name for name, service in compose["services"].items() if "outside" in service.get("networks", ())}
    assert outside == {"api"}


def test_the_stack_does_not_start_without_a_key_which_the_api_alone_sees(compose: dict[str, Any]) -> None:
    assert compose["secrets"]["admin_key"]["file"].startswith("${DESCENT_ADMIN_KEY_FILE:?")
    seen = {
        name
        for name, service in compose["services"].items()
        if any(volume.startswith("api-secrets:") for volume in service.get("volumes", ()))
    }
    assert seen == {"secrets", "api"}
    for name, service in compose["services"].items():
        assert "DESCENT_ADMIN_KEY" not in str(service.get("environment", "")), name


def test_each_service_mounts_only_the_secrets_that_it_needs(compose: dict[str, Any]) -> None:
    mounted = {
        name: volume.partition(":")[0]
        for name, service in compose["services"].items()
        for volume in service.get("volumes", ())
        if volume.endswith(":/run/secrets:ro")
    }
    assert mounted == {
        "postgres": "database-secrets",
        "migrate": "database-secrets",
        "broker": "redis-secrets",
        "metrics": "redis-secrets",
        "worker": "secrets",
        "predictor": "secrets",
        "api": "api-secrets",
    }
    for name in ("postgres", "broker", "metrics"):
        assert "DESCENT_" not in str(compose["services"][name].get("environment", "")), name
