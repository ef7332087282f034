"""Tools that use the estimators: displays, ONNX export and the demo."""
