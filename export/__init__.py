"""ganlens.export: turns checkpoints into checked ONNX files."""

from .to_onnx import ExportOptions, ExportReport, export_onnx

__all__ = ["ExportOptions", "ExportReport", "export_onnx"]
