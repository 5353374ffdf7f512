"""Fitting how a scorer's scores become log-odds to what the store holds."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from memstore.catalog import calibrations, log, memories
from memstore.catalog.calibrations import CalibrationRow
from memstore.catalog.engine import reading, writing
from memstore.errors import BadInput
from memstore.scoring.calibration import (
    ContrastCalibration,
    PlattCalibration,
    parameters_of,
)
from memstore.scoring.fitting import (
    LEAST_SLOPE,
    Observations,
    cross_validated,
    fit_contrast,
    fit_platt,
    log_odds_of,
    quality,
)
from memstore.store.judged_questions import JudgedQuestion
from memstore.store.observing import DEPTH, observe
from memstore.store.opening import OpenStore
from memstore.store.pseudo_queries import ANSWERS, pseudo_queries, sources
from memstore.store.rerankers import Choice
from memstore.store.scorers import (
    encoder_calibration,
    encoder_key,
    reranker_calibration_in,
    reranker_key,
)
from memstore.times import from_microseconds
from memstore.types import ScoreKind

LEAST_QUESTIONS = 30  # with an answer among their candidates
LEAST_MEMORIES = 50
Method = Literal["questions", "pseudo-queries"]
Fitted = ContrastCalibration | PlattCalibration


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationReport:
    """A calibration of one scorer, and how well it fits.

    `method` says whether it was fitted to judged `questions` or to pseudo-queries made of the
    store's memories by the `seed`. `candidates` of them were looked at, of which `relevant` answer.
    `log_loss` (nats per candidate) and `ece` (expected calibration error, 0 to 1) are those of
    questions the fit has not seen; `log_loss_before` and `ece_before` those of the calibration it
    replaces, None without one. `stored` is False after a dry run; `used` is False for a calibration
    of an encoder that the store no longer has.
    """

    scorer: str
    kind: ScoreKind
    method: Method
    questions: int
    candidates: int
    relevant: int
    log_loss: float
    ece: float
    log_loss_before: float | None
    ece_before: float | None
    seed: int
    parameters: Mapping[str, float]
    fitted_at: datetime
    stored: bool = True
    used: bool = True


_EVIDENCE = (
    *("method", "questions", "candidates", "relevant", "log_loss", "ece"),
    *("log_loss_before", "ece_before", "seed"),
)


def calibrate(
    opened: OpenStore,
    questions: Sequence[JudgedQuestion] | None,
    *,
    namespace: str,
    choice: Choice,
    seed: int,
    limit: int,
    dry_run: bool,
    now: int,
    progress: Callable[[int], None] | None = None,
) -> CalibrationReport:
    """Fit the calibration of the store's encoder, or of a reranker; see `MemoryStore.calibrate`."""
    if not dry_run:
        opened.check_writable()
    identity = opened.identity
    method: Method = "questions" if questions is not None else "pseudo-queries"
    asked = made_up(opened, namespace, limit, seed, now) if questions is None else questions[:limit]
    reranker = choice.reranker
    observed = observe(
        opened,
        asked,
        namespace=namespace,
        now=from_microseconds(now),
        rerank="none" if reranker is None else reranker,
        depth=DEPTH if reranker is None else opened.settings.rerank_depth,
        progress=progress,
    )
    answered = len(set(observed.questions[observed.relevant].tolist()))
    if answered < LEAST_QUESTIONS:
        raise BadInput(
            f"{answered} of {len(asked)} questions have an answer among their candidates; a fit "
            f"needs {LEAST_QUESTIONS}. Give more judged questions, or store more memories."
        )
    kind: ScoreKind = "maxsim" if reranker is None else reranker.kind

    def fit(some: Observations) -> Fitted:
        return fit_contrast(some) if reranker is None else fit_platt(some, kind)

    fitted = fit(observed)
    steepness = fitted.slope if isinstance(fitted, PlattCalibration) else fitted.slope_at(8)
    if steepness <= 2 * LEAST_SLOPE:
        raise BadInput(
            f"The scores do not tell the answers of {answered} questions from other memories, so "
            "they say nothing of relevance. Give (other) judged questions, or use another encoder "
            "or reranker."
        )
    found = cross_validated(fit, observed, seed=seed)
    if method == "pseudo-queries":  # they have two answers, and a question is taken to have one
        fitted = dataclasses.replace(fitted, bias=fitted.bias - math.log(ANSWERS))
    with reading(opened.engine, opened.path) as connection:
        key = encoder_key(identity) if reranker is None else reranker_key(reranker)
        current = (
            encoder_calibration(connection, identity)
            if reranker is None
            else reranker_calibration_in(connection, reranker)
        )
    before = None if current is None else quality(log_odds_of(current, observed), observed.relevant)
    report = CalibrationReport(
        scorer=key,
        kind=kind,
        method=method,
        questions=answered,
        candidates=len(observed),
        relevant=int(observed.relevant.sum()),
        log_loss=found.log_loss,
        ece=found.ece,
        log_loss_before=None if before is None else before.log_loss,
        ece_before=None if before is None else before.ece,
        seed=seed,
        parameters=parameters_of(fitted),
        fitted_at=from_microseconds(now),
        stored=not dry_run,
    )
    if not dry_run:
        _store(opened, report, now)
    return report


def made_up(
    opened: OpenStore, namespace: str, limit: int, seed: int, now: int
) -> list[JudgedQuestion]:
    """Return questions made of the memories of a namespace and all below it.

    Raises:
        BadInput: it holds too few memories.
    """
    with reading(opened.engine, opened.path) as connection:
        spaces = list(memories.namespaces_under(connection, namespace))
        found = sources(connection, spaces, now=now)
    if len(found) < LEAST_MEMORIES:
        raise BadInput(
            f"{namespace!r} holds {len(found)} memories that questions can be made of; it takes "
            f"{LEAST_MEMORIES}. Store more, or give judged questions."
        )
    return pseudo_queries(found, asked=namespace, limit=limit, seed=seed)


def _store(opened: OpenStore, report: CalibrationReport, now: int) -> None:
    row = CalibrationRow(
        scorer=report.scorer,
        kind=report.kind,
        parameters=report.parameters,
        evidence={name: getattr(report, name) for name in _EVIDENCE},
        fitted_at=now,
    )
    with writing(opened.engine, opened.path) as connection:
        opened.check_encoder(connection, opened.encoder, opened.vector_settings)
        calibrations.write_calibration(connection, row)
        payload = {"scorer": report.scorer}
        log.append_event(connection, log.STORE, log.CALIBRATE, now=now, payload=payload)


def stored(opened: OpenStore) -> tuple[CalibrationReport, ...]:
    """Return the calibrations that were fitted in this store, by scorer."""
    own = encoder_key(opened.identity)
    with reading(opened.engine, opened.path) as connection:
        rows = calibrations.list_calibrations(connection)
    return tuple(_report(row, own) for row in rows)


def _report(row: CalibrationRow, own: str) -> CalibrationReport:
    evidence: dict[str, Any] = {name: row.evidence.get(name) for name in _EVIDENCE}
    kind: Any = row.kind
    return CalibrationReport(
        scorer=row.scorer,
        kind=kind,
        parameters=row.parameters,
        fitted_at=from_microseconds(row.fitted_at),
        used=row.scorer == own or row.scorer.startswith("reranker "),
        **evidence,
    )
