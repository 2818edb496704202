"""Predicts the times in a table of measured kernels: one row out for every row in. The table's columns choose the model."""

from codesign.predicting.predicting import notes, predict
from codesign.predicting.registry import Options, TableModel
from codesign.predicting.summary import Cell, summarise

__all__ = ["Cell", "Options", "TableModel", "notes", "predict", "summarise"]
