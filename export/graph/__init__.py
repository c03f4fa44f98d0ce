"""Build and change ONNX graphs: nodes, layers, weights in files of their own."""
