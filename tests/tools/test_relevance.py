"""The tests nearest to a changed module run first."""

from tools.relevance import by_relevance, importers

SOURCES = {
    "api/__init__.py": "",
    "api/limits.py": "",
    "api/quota.py": "from api.limits import LIMIT",
    "api/server.py": "import api.quota",
    "tests/api/conftest.py": "from api import server",
    "tests/api/test_limits.py": "from api.server import run",
    "tests/api/test_quota.py": "from api import quota",
    "tests/api/test_requests.py": "import json",
    "tests/models/test_limits_of_models.py": "from api.limits import LIMIT",
    "tests/models/test_a.py": "from api.quota import quota",
    "tests/test_other.py": "",
}


def test_importers_are_found_by_module_by_name_and_by_conftest() -> None:
    graph = importers(SOURCES)
    assert graph["api/limits.py"] == {"api/quota.py", "tests/models/test_limits_of_models.py"}
    assert graph["api/quota.py"] == {"api/server.py", "tests/api/test_quota.py", "tests/models/test_a.py"}
    assert {"tests/api/test_requests.py", "tests/api/test_limits.py"} <= graph["tests/api/conftest.py"]
    assert "api/server.py" in graph["api/__init__.py"]


def test_files_are_sorted_by_name_then_distance_then_package() -> None:
    tests = [path for path in SOURCES if "test_" in path]
    assert by_relevance(tests, ["api/limits.py"], importers(SOURCES)) == [
        "tests/api/test_limits.py",
        "tests/models/test_limits_of_models.py",
        "tests/api/test_quota.py",
        "tests/models/test_a.py",
        "tests/api/test_requests.py",
        "tests/test_other.py",
    ]
