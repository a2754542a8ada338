"""The open workspace: one engine for the shell, the page, the worker and Python programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from labeler import workspace
from labeler.domain import (
    OPEN_STATES,
    Action,
    Answer,
    Flag,
    LabelerError,
    NothingToDo,
    Progress,
    Proposal,
    RoundResult,
    RoundState,
    Split,
    UnknownName,
    VanishedFile,
)
from labeler.record import images, jobs, leases, queries
from labeler.record.jobs import JobView
from labeler.record.store import Session, Store, sqlite_url
from labeler.record.tables import Image, Round, SortRun
from labeler.record.together import Together
from labeler.rounds import (
    agreement,
    aside,
    batches,
    decisions,
    disputes,
    explanation,
    exporting,
    figures,
    handout,
    intake,
    journal,
    loop,
    networks,
    predicting,
    ranking,
    sort_audit,
    sort_plan,
    sorting,
    steps,
    tuning,
    verification,
    versioning,
    versions,
    views,
)
from labeler.rounds.batches import Batch, Live, Mode
from labeler.rounds.decisions import Receipt, Reviewer
from labeler.rounds.explanation import Explanation
from labeler.rounds.learning import Learner, Report
from labeler.settings import Settings, load

#: Newest model versions that the worker leaves besides those that are needed: with several people there is one for
#: every ranking. The shell prunes when it is asked to.
MODELS_KEPT = 50
#: Decisions that `labeler undo` takes back in one transaction: it holds the record for a quarter of a second.
UNDO_STEP = 10


class Annotator(Protocol):
    """Whoever answers proposals from Python: an :class:`labeler.Oracle`, or a program of yours."""

    name: str
    kind: str

    def answer(self, proposals: Sequence[Proposal], root: Path, classes: Sequence[str]) -> Sequence[Answer]: ...


class Workspace:
    """An opened workspace. Make one with :meth:`open`, and close it or use it in a ``with`` statement.

    Safe to use from several threads; several processes may have the same workspace open.
    """

    def __init__(self, paths: workspace.WorkspacePaths, settings: Settings, store: Store, progress: Report) -> None:
        self.paths = paths
        self.settings = settings
        self.store = store
        self._together = Together(store)
        self.progress = progress
        #: Called after answers are on record instead of moving their files at once: the page's server has a thread
        #: for it, so that nobody waits for a disk. The journal makes it safe: a move is replayed until it is done.
        self.move_later: Callable[[], None] | None = None

    @classmethod
    def open(
        cls,
        directory: str | Path | None = None,
        *,
        progress: Callable[[Progress], None] | None = None,
        **overrides: Any,
    ) -> Workspace:
        """Open the workspace at ``directory`` (default: ``LABELER_WORKSPACE``, else the current folder).

        Args:
            directory: the workspace's root.
            progress: called with every step of long work.
            overrides: settings that differ from the environment and ``labeler.toml``, e.g. ``backbone="vgg16"``.

        Raises:
            WorkspaceError: it is none. SettingError: a setting does not fit. RecordError: the record is unreadable.
        """
        paths = workspace.find(Path(directory) if directory is not None else None)
        settings = load(paths.root).replace(**overrides)
        return cls(paths, settings, Store(settings.database or sqlite_url(paths.database)), progress)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.store.close()

    @property
    def learner(self) -> Learner:
        return Learner(self.store, self.paths, self.settings, self.progress)

    # ------------------------------------------------------------------------------------------------ the loop

    def round(
        self,
        k: int | None = None,
        annotator: Annotator | None = None,
        *,
        strategy: str | None = None,
        seed: int | None = None,
        refresh: str | None = None,
    ) -> RoundResult:
        """Resume the open round or propose one; with an annotator also answer, commit, retrain and evaluate it.

        Args:
            k: images to propose; an open round keeps its own.
            annotator: who answers, e.g. ``Oracle.from_folder("truth")``; without one the round waits for the page.
            strategy, seed, refresh: override the settings for a round that is proposed now.

        Raises:
            NothingToDo: the pool is empty.
            LabelerError: anything else a user can act on; what was decided is kept.
        """
        settings = self.settings.replace(
            **{
                name: value
                for name, value in (("k", k), ("strategy", strategy), ("seed", seed), ("refresh", refresh))
                if value is not None
            }
        )
        self.resume()
        learner = Learner(self.store, self.paths, settings, self.progress)
        row, notes = self._current(learner, settings)
        if annotator is not None:
            if RoundState(row.state) in OPEN_STATES:
                self._answer(row, annotator)
            loop.finish_decided(learner)
            notes += tuning.after_round(learner, row.id)
            notes.append(figures.advice(self.store, settings)["sentence"])
        return views.round_result(self.store, row.id, tuple(notes))

    def _current(self, learner: Learner, settings: Settings) -> tuple[Round, list[str]]:
        """The round under way, else a new one; decided rounds that never finished are finished first."""
        loop.finish_decided(learner)
        with self.store.read() as session:
            row = queries.unfinished_round(session)
        if row is not None:
            return row, []
        return loop.propose(learner, k=settings.k, strategy=settings.strategy, seed=settings.seed)

    def _answer(self, row: Round, annotator: Annotator) -> None:
        with self.store.read() as session:
            waiting = queries.waiting(session, row.id)
        answers = annotator.answer(waiting, self.paths.root, self.settings.classes)
        self._record(annotator.name, annotator.kind, answers, row.number)
        with self.store.read() as session:
            left = queries.undecided(session, row.id)
        if left:
            raise LabelerError(f"{annotator.name} left {left} of the batch undecided", "answer every proposal")

    def resume(self) -> None:
        """Replay the move journal, go on with a sorting run that was cut off, and clear away what a killed process
        left; cheap when there is nothing to do."""
        journal.drain(self.store, self.paths, verify=True)
        sorting.finish(self.store, self.paths, self.progress)
        journal.clear_leftovers(self.paths)
        versioning.clear_unrecorded(self.store, self.paths)
        networks.clear_scratch(self.paths)
        aside.clear_leftovers(self.paths)

    # --------------------------------------------------------------------------------------------- for the page

    def batch(
        self,
        annotator: str,
        mode: str = "label",
        *,
        now: bool = False,
        admin: bool = True,
        after: int | None = None,
    ) -> Batch:
        """What a person has before him in a mode (label, grid, mistakes, disputed, sorted); leased to that person.

        Args:
            now: do not wait for a model under training.
            admin: may see what is disputed.
            after: a round the person is still at; asks for the one to follow it.
        """
        return batches.batch(self.store, self.settings, annotator, Mode(mode), at_once=now, admin=admin, after=after)

    def live(self) -> Live:
        """The running job, counts, and which model and ranking are in use; cheap."""
        with self.store.read() as session:
            return batches.live(session)

    def decide(
        self, annotator: str, answers: Sequence[Answer], *, round: int | None, admin: bool = True
    ) -> list[Receipt]:
        """Put answers on record and move the files; durable when it returns.

        The last answer of a batch asks the worker for a new ranking. An op_id that is on record changes nothing.

        Args:
            round: the one the answers belong to; None for a second look at an image.
            admin: may take back what others decided.

        Raises:
            UnknownName: an image, a class or a round that does not exist; nothing of the call was stored.
        """
        return self._record(annotator, "person", answers, round, admin=admin)

    def _record(
        self, annotator: str, kind: str, answers: Sequence[Answer], number: int | None, *, admin: bool = True
    ) -> list[Receipt]:
        receipts = self._together.write(lambda session: self._written(session, annotator, kind, answers, number, admin))
        if self.move_later is not None:
            self.move_later()
        else:
            journal.drain(self.store, self.paths)
        return receipts

    def _written(
        self,
        session: Session,
        annotator: str,
        kind: str,
        answers: Sequence[Answer],
        number: int | None,
        admin: bool,
    ) -> list[Receipt]:
        row = queries.round_by_number(session, number) if number is not None else None
        if number is not None and row is None:
            raise UnknownName(f"no round {number} in this workspace", "reload the page")
        who = queries.annotator(session, annotator, kind)
        overlap = self.settings.overlap if kind == "person" else 1
        reviewer = Reviewer(who.id, admin, overlap, self.settings.lease_s)
        receipts = decisions.record(session, reviewer, answers, row, self.settings.classes)
        if kind == "person":
            leases.renew(session, who.id, self.settings.lease_s)
            over = row is not None and row.state == RoundState.COMMITTING.value
            handout.ask_if_due(session, self.settings, queries.last_decision_id(session), round_is_over=over)
        return receipts

    def flag(self, annotator: str, flags: Sequence[Flag]) -> list[bool]:
        """Put remarks about images on record; False for those whose op_id is there already.

        Raises:
            UnknownName: an image that does not exist; nothing of the call was stored.
        """
        with self.store.write() as session:
            who = queries.annotator(session, annotator)
            found = images.images_by_sha(session, [flag.sha256 for flag in flags])
            unknown = next((flag.sha256 for flag in flags if flag.sha256 not in found), None)
            if unknown is not None:
                raise UnknownName(f"no image {unknown[:12]} in this workspace", "reload the page")
            return [images.add_note(session, found[f.sha256].id, who.id, f.text, f.op_id) for f in flags]

    def explain(self, image_id: int) -> Explanation:
        """Why an image was chosen: what was said of it, and its three nearest labelled neighbours.

        Raises:
            UnknownName: no such image.
        """
        return explanation.explain(self.learner, image_id)

    def image_file(self, image_id: int) -> Path:
        """The file of an image.

        Raises:
            UnknownName: no such image. VanishedFile: its file is gone.
        """
        with self.store.read() as session:
            image = session.get(Image, image_id)
        if image is None:
            raise UnknownName(f"no image {image_id} in this workspace", "reload the page")
        file = self.paths.absolute(image.path)
        if not file.is_file():
            raise VanishedFile(f"{image.path} is gone", "put it back, or skip it")
        return file

    def request_round(self) -> JobView:
        """Ask the worker for a new ranking, unless that is under way."""
        with self.store.write() as session:
            return jobs.view(jobs.queue(session, handout.REFRESH_JOB))

    def run_round_job(self) -> str:
        """What the worker does: finish decided rounds, learn, renew the ranking; returns a line for the page."""
        self.resume()
        made, left = ranking.renew(self.learner)
        with self.store.write() as session:  # what was answered meanwhile may be worth another one
            newest = queries.last_decision_id(session)
            if left or newest - made.last_decision_id >= (self.settings.retrain_after or self.settings.k):
                jobs.queue(session, handout.REFRESH_JOB)
        tuning.ask_if_due(self.learner)
        versions.prune_when_many(self.store, self.paths, keep=MODELS_KEPT)
        if not made.pool:
            return "the pool is empty: every image has its label"
        return f"{made.pool} images ranked by {made.strategy}" + (f", {left} are still to come" if left else "")

    def run_finetune_job(self) -> str:
        """What the second worker does: try to refresh the backbone; returns a line for the page."""
        said = tuning.refresh(self.learner)
        with self.store.write() as session:  # what was labelled meanwhile, and the new order of the pool
            jobs.queue(session, handout.REFRESH_JOB)
        return said

    def overview(self) -> dict[str, Any]:
        """Counts, rounds with their metrics and the model in use, as JSON-able values."""
        return views.overview(self.store, self.settings)

    # ----------------------------------------------------------------------------------------- the steps alone

    def import_images(
        self, source: str | Path, *, into: str = "auto", mode: intake.Mode = "copy"
    ) -> intake.ImportResult:
        """Take in a file, a folder, a labelled tree or a CSV; see `labeler import`."""
        return intake.import_images(
            self.store, self.paths, self.settings, Path(source), into=into, mode=mode, progress=self.progress
        )

    def train(self, *, seed: int | None = None, tensorboard: Path | None = None) -> dict[str, Any]:
        """Train the model that is set on every label there is, now; see :func:`labeler.rounds.steps.train`.

        Args:
            tensorboard: folder for the event files of a network's training.
        """
        self.resume()
        return steps.train(self.learner, seed=seed, tensorboard=tensorboard)

    def evaluate(
        self, *, split: str = "test", report: Path | None = None, groups: Path | None = None
    ) -> dict[str, Any]:
        """Metrics of the model in use on a split; an estimate, marked as one, where the split is empty.

        Args:
            report: folder for a page with figures.
            groups: CSV of path,group for it.
        """
        return steps.evaluate(self.learner, split=Split(split), report=report, groups=groups)

    def compare(self, names: Sequence[str], *, seeds: int = 3, report: Path | None = None) -> dict[str, Any]:
        """Train models on the same images, test them on the same others; loads TensorFlow into this process."""
        return steps.compare(self.learner, names, seeds=seeds, report=report)

    def show_augmentation(self, file: Path, *, count: int, seed: int | None = None) -> dict[str, Any]:
        """Draw augmented views of ``count`` photographs to a picture file."""
        return steps.show_augmentation(self.learner, file, count=count, seed=seed)

    def predict(self, files: Sequence[str | Path], *, out: Path | None = None) -> list[dict[str, Any]]:
        """Class probabilities of any image files; one that cannot be read is reported, not raised.

        Args:
            out: write the rows there too, as CSV or JSON by its name.
        """
        rows = predicting.predict(self.learner, [Path(file) for file in files])
        if out is not None:
            exporting.write_predictions(out, rows, self.settings.classes)
        return rows

    def undo(self, count: int = 1) -> list[dict[str, Any]]:
        """Take back the newest ``count`` decisions of reviewers; their files move back.

        Some at a time, so that people who label meanwhile wait a moment and not until the end; what they decide
        after the call is not taken back by it.
        """
        taken_back: list[dict[str, Any]] = []
        with self.store.read() as session:
            last = queries.last_decision_id(session)
        while len(taken_back) < count:
            with self.store.write() as session:
                some = self._take_back(session, min(UNDO_STEP, count - len(taken_back)), last)
            taken_back += some
            if not some:
                break
        if not taken_back:
            raise NothingToDo("there is no decision to undo")
        problems = journal.drain(self.store, self.paths)
        if problems:
            raise problems[0]
        return taken_back

    def _take_back(self, session: Session, count: int, last: int) -> list[dict[str, Any]]:
        taken_back: list[dict[str, Any]] = []
        who = queries.annotator(session, self.settings.annotator)
        for _ in range(count):
            row = queries.newest_in_force(session, up_to=last)
            if row is None:
                break
            image = session.get_one(Image, row.image_id)
            answer = Answer(image.sha256, Action.UNDO, None, decisions.new_operation())
            of_round = session.get(Round, row.round_id) if row.round_id is not None else None
            decisions.record(session, Reviewer(who.id), [answer], of_round, self.settings.classes)
            leases.let_go(session, image.id)  # or it would be kept for whoever answered it, until his lease ends
            taken_back.append({"sha256": image.sha256, "action": row.action, "label": row.label, "now": image.label})
        return taken_back

    # ------------------------------------------------------------------------------------------- finishing the pool

    def sort(
        self,
        above: float | None = None,
        annotator: Annotator | None = None,
        *,
        audit: int | None = None,
        seed: int | None = None,
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """Let the model in use file the images of the pool that it is sure of into ``pools/Sorted/<class>/``.

        Args:
            above: least probability of the predicted class; default the setting ``sort_above``.
            annotator: who answers the audit at once; without one its images wait on the page.
            audit: images drawn by lot for that; default the setting ``sort_audit``.
            seed: of the lot.
            dry_run: only say what would be done; nothing is written.

        Returns:
            The run in the form of ``labeler sort --json``.

        Raises:
            NothingToDo: the pool is empty, or the model is sure enough of none of it.
            LabelerError: there is no model; or a disk refused, and the next start goes on.
        """
        settings = self.settings
        above = settings.sort_above if above is None else above
        audit = settings.sort_audit if audit is None else audit
        if dry_run:
            return sort_plan.would_sort(self.learner, above=above)
        self.resume()
        run, notes = sorting.sort(self.learner, above=above, audit=audit, seed=settings.seed if seed is None else seed)
        if annotator is not None:
            asked = sort_audit.proposals(self.store, run.id)
            answers = annotator.answer(asked, self.paths.root, settings.classes)
            if answers:
                self._record(annotator.name, annotator.kind, answers, None)
        return self._sorted(run.id, notes)

    def unsort(self, run: int | None = None) -> dict[str, Any]:
        """Take a whole sorting run back, by default the newest: images nobody has decided since go home to the pool.

        Raises:
            NothingToDo: there is none to take back. UnknownName: no run of that number.
        """
        self.resume()
        taken_back, notes = sorting.undo(self.store, self.paths, run, self.progress)
        return self._sorted(taken_back.id, notes)

    def sort_runs(self) -> list[dict[str, Any]]:
        """Every sorting run, oldest first, with what its audit says."""
        return sort_audit.views(self.store)

    def _sorted(self, run: int, notes: Sequence[str]) -> dict[str, Any]:
        with self.store.read() as session:
            return {**sort_audit.view(session, session.get_one(SortRun, run)), "dry_run": False, "notes": list(notes)}

    def review_labels(self, top: int = 50) -> dict[str, Any]:
        """The labels the model most disputes, and look-alikes with different labels; see `labeler review-labels`."""
        return disputes.review(self.learner, top)

    def verify(self, *, repair: bool = False, deep: bool = False) -> dict[str, Any]:
        """Compare record and disk both ways; with ``repair`` heal what is certain, with ``deep`` read every file."""
        return verification.verify(
            self.store, self.paths, self.settings, repair=repair, deep=deep, progress=self.progress
        )

    def backup(self, file: str | Path, *, with_models: bool = False, force: bool = False) -> dict[str, Any]:
        """Write the record to one file while others go on; see `labeler backup`. Photographs are not in it.

        Raises:
            BackupError: the file is there already, or cannot be written; nothing is left of it.
        """
        from labeler.rounds import backup  # here, for it is the only one that packs archives

        return backup.backup(
            self.store,
            self.paths,
            self.settings,
            Path(file),
            with_models=with_models,
            force=force,
            progress=self.progress,
        )

    def status(self) -> Mapping[str, Any]:
        """What is where: counts by split and class, the round under way, the model in use."""
        return {**views.status(self.store, self.settings), "stopping": figures.advice(self.store, self.settings)}

    # -------------------------------------------------------------------------------------------- for the figures

    def figures(self) -> dict[str, Any]:
        """The Model tab: curve, mistakes, calibration, pool, rounds, and whether labelling may end."""
        return figures.model(self.store, self.settings, self.paths)

    def figure_cell(self, true: str, predicted: str) -> dict[str, Any]:
        """The images behind one cell of the confusion matrix, 60 at most; `UnknownName` for an unknown class."""
        return figures.cell(self.store, self.settings.classes, true, predicted)

    def flagged(self) -> list[dict[str, Any]]:
        """The images people marked, newest mark first."""
        return figures.flagged(self.store)

    def team(self, viewer: str, *, everyone: bool) -> dict[str, Any]:
        """Who labelled what and how fast; without ``everyone`` the viewer's own figures and the totals."""
        return agreement.team(self.store, viewer, everyone=everyone)

    def agreement(self, viewer: str, *, everyone: bool) -> dict[str, Any] | None:
        """How far people agree on the images several of them labelled; takes seconds."""
        return agreement.together(self.store, viewer, everyone=everyone)
