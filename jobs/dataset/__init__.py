"""JSONL in, examples and a report out. Torch-free."""

from jobs.dataset.check import check_file, read_examples
from jobs.dataset.example import Example, Kind, Message
from jobs.dataset.limits import Limits
from jobs.dataset.problem import Problem, Severity, Verdict
from jobs.dataset.repair import Change, Repair, repair_file
from jobs.dataset.report import Report
from jobs.dataset.split import split_examples

__all__ = [
    "Change",
    "Example",
    "Kind",
    "Limits",
    "Message",
    "Problem",
    "Repair",
    "Report",
    "Severity",
    "Verdict",
    "check_file",
    "read_examples",
    "repair_file",
    "split_examples",
]
