"""ganlens.export: turns checkpoints into checked ONNX files."""
