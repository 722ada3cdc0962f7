# Made from descent/asynchronous/measuring.py: change that file, then `make format`.
"""The client's part for what trained networks are worth: results, diagnoses, analyses, the sealed test."""

import time
from collections.abc import Iterator

from descent.asking import Asking
from descent.naming import id_of
from descent.pacing import Pace
from models.answers import Analysis, Diagnosis, Job, JobDiagnosis, JobResults, Page, Run, TestEvaluation
from models.spec.analyses import LaterAnalysis

RUN_PREFIX = "run_"


class Measuring(Asking):
    """Jobs and runs by their id, or by the `Job` or `Run` itself."""

    def results(self, job: str | Job) -> JobResults:
        """What a job's runs come to together: its folds, its replicates, its ensemble."""
        return self._ask(JobResults, "GET", f"/v1/jobs/{id_of(job)}/results")

    def diagnosis(self, job: str | Job) -> JobDiagnosis:
        """What ails a job, told from its losses, and what to change in its spec."""
        return self._ask(JobDiagnosis, "GET", f"/v1/jobs/{id_of(job)}/diagnosis")

    def run_diagnosis(self, run: str | Run) -> Diagnosis:
        return self._ask(Diagnosis, "GET", f"/v1/runs/{id_of(run)}/diagnosis")

    def analyses(self, named: str | Job | Run, *, details: bool = False) -> list[Analysis]:
        """What was measured of a run, or of all runs of a job; with `details`, curves and grids, too."""
        parameters = [("details", str(details).lower())]
        return self._all(Analysis, f"{_path_of(named)}/analyses", parameters)

    def analyse(self, named: str | Job | Run, analysis: LaterAnalysis | dict[str, object] | str) -> list[Analysis]:
        """Have a run measured, or all runs of a job that have succeeded. What was measured before is not made anew.

        Example:
            >>> client.analyse(job, "hessian")
            >>> [one.values["largest_eigenvalue"] for one in client.wait_for_analyses(job)]
            [41.7, 39.2, 44.0]

        """
        asked = analysis if isinstance(analysis, str | dict) else analysis.model_dump(mode="json")
        path = f"{_path_of(named)}/analyses"
        if path.startswith("/v1/runs/"):
            return [self._ask(Analysis, "POST", path, body=asked)]
        page = self._ask(Page[Analysis], "POST", path, body=asked)
        return page.data

    def wait_for_analyses(
        self, named: str | Job | Run, timeout: float | None = None, *, details: bool = False
    ) -> list[Analysis]:
        """The analyses once all of them have ended, however they ended.

        Raises:
            TimedOut: after `timeout` seconds.

        """
        pace = Pace(timeout)
        while not all(one.is_terminal for one in self.analyses(named)):
            time.sleep(pace.next_pause_while(f"{id_of(named)} is still being analysed"))
        return self.analyses(named, details=details)

    def open_test(self, job: str | Job, *, opened_by: str = "", reason: str = "") -> TestEvaluation:
        """Look at a job's sealed test rows: its succeeded runs are measured on them, and the look is on record."""
        body = {"opened_by": opened_by, "reason": reason}
        return self._ask(TestEvaluation, "POST", f"/v1/jobs/{id_of(job)}/test-evaluation", body=body)

    def wait_for_test(self, job: str | Job, timeout: float | None = None) -> TestEvaluation:
        """The test scores of an opened job, once all of its runs have been measured or could not be.

        Raises:
            TimedOut: after `timeout` seconds.

        """
        pace = Pace(timeout)
        while not (found := self.test_evaluation(job)).is_terminal:
            time.sleep(pace.next_pause_while(f"{id_of(job)} is still being tested"))
        return found

    def test_evaluation(self, job: str | Job) -> TestEvaluation:
        """What the sealed rows say of a job that was opened."""
        return self._ask(TestEvaluation, "GET", f"/v1/jobs/{id_of(job)}/test-evaluation")

    def test_ledger(self) -> Iterator[TestEvaluation]:
        """Every look at sealed rows, newest first."""
        return self._pages(TestEvaluation, "/v1/test-ledger")


def _path_of(named: str | Job | Run) -> str:
    room = "runs" if isinstance(named, Run) or id_of(named).startswith(RUN_PREFIX) else "jobs"
    return f"/v1/{room}/{id_of(named)}"
