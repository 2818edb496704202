"""The programs that ship with codesign: each is a ``Workload`` that registers through the entry points ``codesign.workloads``."""

from traces.workloads.workload import Conflict, Limit, Option, Program, StageRules, Workload

__all__ = ["Conflict", "Limit", "Option", "Program", "StageRules", "Workload"]
