"""What uses the estimators: displays, ONNX, and the demonstration."""
