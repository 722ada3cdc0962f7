"""The client's part for what trained networks are worth: results, diagnoses, analyses, the sealed test."""

from collections.abc import AsyncIterator

from descent.asynchronous import loop
from descent.asynchronous.asking import Asking
from descent.naming import id_of
from descent.pacing import Pace
from models.answers import Analysis, Diagnosis, Job, JobDiagnosis, JobResults, Page, Run, TestEvaluation
from models.spec.analyses import LaterAnalysis

RUN_PREFIX = "run_"


class Measuring(Asking):
    """Jobs and runs by their id, or by the `Job` or `Run` itself."""

    async def results(self, job: str | Job) -> JobResults:
        """What a job's runs come to together: its folds, its replicates, its ensemble."""
        return await self._ask(JobResults, "GET", f"/v1/jobs/{id_of(job)}/results")

    async def diagnosis(self, job: str | Job) -> JobDiagnosis:
        """What ails a job, told from its losses, and what to change in its spec."""
        return await self._ask(JobDiagnosis, "GET", f"/v1/jobs/{id_of(job)}/diagnosis")

    async def run_diagnosis(self, run: str | Run) -> Diagnosis:
        return await self._ask(Diagnosis, "GET", f"/v1/runs/{id_of(run)}/diagnosis")

    async def analyses(self, named: str | Job | Run, *, details: bool = False) -> list[Analysis]:
        """What was measured of a run, or of all runs of a job; with `details`, curves and grids, too."""
        parameters = [("details", str(details).lower())]
        return await self._all(Analysis, f"{_path_of(named)}/analyses", parameters)

    async def analyse(
        self, named: str | Job | Run, analysis: LaterAnalysis | dict[str, object] | str
    ) -> list[Analysis]:
        """Have a run measured, or all runs of a job that have succeeded. What was measured before is not made anew.

        Example:
            >>> await client.analyse(job, "hessian")
            >>> [one.values["largest_eigenvalue"] for one in await client.wait_for_analyses(job)]
            [41.7, 39.2, 44.0]

        """
        asked = analysis if isinstance(analysis, str | dict) else analysis.model_dump(mode="json")
        path = f"{_path_of(named)}/analyses"
        if path.startswith("/v1/runs/"):
            return [await self._ask(Analysis, "POST", path, body=asked)]
        page = await self._ask(Page[Analysis], "POST", path, body=asked)
        return page.data

    async def wait_for_analyses(
        self, named: str | Job | Run, timeout: float | None = None, *, details: bool = False
    ) -> list[Analysis]:
        """The analyses once all of them have ended, however they ended.

        Raises:
            TimedOut: after `timeout` seconds.

        """
        pace = Pace(timeout)
        while not all(one.is_terminal for one in await self.analyses(named)):
            await loop.sleep(pace.next_pause_while(f"{id_of(named)} is still being analysed"))
        return await self.analyses(named, details=details)

    async def open_test(self, job: str | Job, *, opened_by: str = "", reason: str = "") -> TestEvaluation:
        """Look at a job's sealed test rows: its succeeded runs are measured on them, and the look is on record."""
        body = {"opened_by": opened_by, "reason": reason}
        return await self._ask(TestEvaluation, "POST", f"/v1/jobs/{id_of(job)}/test-evaluation", body=body)

    async def wait_for_test(self, job: str | Job, timeout: float | None = None) -> TestEvaluation:
        """The test scores of an opened job, once all of its runs have been measured or could not be.

        Raises:
            TimedOut: after `timeout` seconds.

        """
        pace = Pace(timeout)
        while not (found := await self.test_evaluation(job)).is_terminal:
            await loop.sleep(pace.next_pause_while(f"{id_of(job)} is still being tested"))
        return found

    async def test_evaluation(self, job: str | Job) -> TestEvaluation:
        """What the sealed rows say of a job that was opened."""
        return await self._ask(TestEvaluation, "GET", f"/v1/jobs/{id_of(job)}/test-evaluation")

    def test_ledger(self) -> AsyncIterator[TestEvaluation]:
        """Every look at sealed rows, newest first."""
        return self._pages(TestEvaluation, "/v1/test-ledger")


def _path_of(named: str | Job | Run) -> str:
    room = "runs" if isinstance(named, Run) or id_of(named).startswith(RUN_PREFIX) else "jobs"
    return f"/v1/{room}/{id_of(named)}"
