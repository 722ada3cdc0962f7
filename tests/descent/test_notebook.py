"""In a notebook a job and a comparison show themselves."""

import json
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from descent import Client
from descent.comparison import Comparison
from descent.notebook import comparison_html, job_html
from models.answers import Job
from tests.descent.conftest import Service, make_job
from tests.descent.test_compare import make_comparison


def test_a_job_shows_what_it_is_and_how_far_it_is() -> None:
    progress = {"completed": 25, "total": 100, "unit": "steps", "eta_seconds": 3.0}
    shown = job_html(Job.model_validate(make_job(name="<b>adam</b>", status="running", progress=progress)))
    assert "&lt;b&gt;adam&lt;/b&gt;" in shown, "a name is a name"
    assert "25%" in shown
    assert "running" in shown
    assert 'value="0.2500"' in shown


def test_a_comparison_shows_its_table_and_verdict() -> None:
    shown = comparison_html(Comparison.read(json.dumps(make_comparison()).encode()))
    assert shown.startswith("<pre")
    assert "adam" in shown


def test_a_client_that_is_made_in_a_notebook_teaches_it_both(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    taught: dict[type, Any] = {}
    formatter = SimpleNamespace(for_type=taught.__setitem__)
    shell = SimpleNamespace(display_formatter=SimpleNamespace(formatters={"text/html": formatter}))
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    with Client(service.url):
        assert taught == {Job: job_html, Comparison: comparison_html}
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))
    Client(service.url).close()


def test_ipython_itself_shows_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    from IPython.core.interactiveshell import InteractiveShell

    from descent.notebook import register

    shell = InteractiveShell.instance()
    try:
        register()
        formatter: Any = shell.display_formatter
        shown, _ = formatter.format(Job.model_validate(make_job()))
        assert "<progress" in shown["text/html"]
    finally:
        InteractiveShell.clear_instance()
