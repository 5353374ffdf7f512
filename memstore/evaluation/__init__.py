"""Which reranker and which profile answer best, measured on questions whose answers are known."""

from memstore.evaluation.arms import Arm, LeftOut, OpenArms, combined, open_arms
from memstore.evaluation.baselines import baseline_arms
from memstore.evaluation.comparing import Progress, compare
from memstore.evaluation.comparison import (
    Answer,
    Comparison,
    Difference,
    Found,
    Measured,
    Observed,
    Summary,
)
from memstore.evaluation.datasets import Dataset, read_dataset
from memstore.evaluation.questions import Question, sample
from memstore.evaluation.reports import Plan, Report, measure
from memstore.evaluation.supersession import Pair
from memstore.evaluation.temporary_store import ingest_corpus, temporary_store

__all__ = [
    "Answer",
    "Arm",
    "Comparison",
    "Dataset",
    "Difference",
    "Found",
    "LeftOut",
    "Measured",
    "Observed",
    "OpenArms",
    "Pair",
    "Plan",
    "Progress",
    "Question",
    "Report",
    "Summary",
    "baseline_arms",
    "combined",
    "compare",
    "ingest_corpus",
    "measure",
    "open_arms",
    "read_dataset",
    "sample",
    "temporary_store",
]
