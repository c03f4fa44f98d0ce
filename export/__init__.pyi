from .converter import convert as convert
from .exporter import export as export
from .importer import import_onnx as import_onnx
from .verifier import verify as verify
